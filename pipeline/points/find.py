"""Fixed and slow points of anybody's recurrent network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Generator, Tensor

from ..errors import ModuleError
from ..spectrum.adapt import Model, adapt
from . import search
from .points import FixedPoints, distinct, eigen, index, nearest

Step = Callable[[Tensor, Tensor], Tensor]
ROUNDS = 4  # searches from between the points found: saddles of GRUs and LSTMs that no visited state leads to turn up there


@dataclass(frozen=True)
class _Course:
    """A map, the states (N, S) that its trajectories visited, how far these spread, and where the search begins (seeds, S)."""

    step: Step
    visited: Tensor
    radius: float
    seeds: Tensor
    at: Tensor
    natural_q: float

    def held(self, states: Tensor) -> Tensor:
        """The step of states (N, S) under the constant input."""
        return self.step(states, self.at.expand(len(states), *self.at.shape))


@dataclass(frozen=True)
class _Points:
    """States (N, S) and their q (N,)."""

    states: Tensor
    q: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def at(self, places: Tensor) -> "_Points":
        return _Points(self.states[places], self.q[places])

    def joined(self, more: "_Points") -> "_Points":
        return _Points(torch.cat([self.states, more.states]), torch.cat([self.q, more.q]))

    def distinct(self, distance: float) -> "_Points":
        """Those that are farther than the distance from each other, the smallest q first."""
        return self.at(distinct(self.states, self.q, distance))


def fixed_points(
    model: Model,
    inputs: Tensor,
    *,
    state: Any = None,
    at: Tensor | None = None,
    seeds: int = 512,
    noise: float = 0.5,
    iterations: int = 200,
    tolerance: float = 1e-20,
    distance: float = 1e-3,
    reach: float = 3.0,
    generator: Generator | None = None,
) -> FixedPoints:
    """The states that a recurrent network keeps under a constant input, with the linear map near each.

    The search begins from states that the network visits and solves F(h) = h by Levenberg-Marquardt in float64, so that saddles
    are found as well as stable points (Sussillo and Barak 2013); then, up to four times while that brings new ones, from at most
    `seeds` of the places halfway between two points found. It cannot prove that there are no others, but see `FixedPoints.index`.
    The model is not changed.

    Args:
        model: as for `lyapunov_spectrum`: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose
            forward is (x, state) -> state or (output, state); or a plain function step(state, x) -> state.
        inputs: that drive the trajectories, as the module takes them; for a cell, a module of one's own or a function (T, B, I).
        state: where the trajectories start; zeros for torch's modules if left out, needed for others.
        at: (I,) the constant input; 0 by default.
        seeds: states, drawn from those visited, from which the search begins; and the most places between points, each time.
        noise: standard deviation of what is added to each of their numbers, relative to the visited states' own.
        iterations: steps of the search at the most.
        tolerance: a point's q = |F(h) - h|^2 / 2 is below.
        distance: points closer than this are one; a share of the radius, the root mean square distance of the visited states
            from their mean.
        reach: points farther than this from all visited states are left out; a multiple of the radius.
        generator: of the seeds; by default one that is the same at each call.

    Returns:
        FixedPoints, none if there are none.

    Raises:
        ModuleError: the model, state, inputs or an option cannot be used, with what would be right.
    """
    _check(seeds, iterations, noise=noise, tolerance=tolerance, distance=distance, reach=reach)
    with torch.inference_mode(False), torch.no_grad():
        source = _source(generator)
        course = _course(model, inputs, state, at, seeds, noise, source)
        first = _solved(course, course.seeds, iterations, tolerance)
        points, left_out = _parted(course, _Points(*first), distance, reach)
        known = 0
        for _ in range(ROUNDS):
            if len(points) < 2 or len(points) == known:
                break
            known = len(points)
            more = _Points(*_solved(course, _between(points.states, seeds, source), iterations, tolerance))
            points, far = _parted(course, points.joined(more), distance, reach)
            left_out = left_out.joined(far).distinct(distance * course.radius)
        return _described(course, points, len(first[0]), len(left_out))


def slow_points(  # noqa: D417 the others are those of fixed_points
    model: Model,
    inputs: Tensor,
    *,
    state: Any = None,
    at: Tensor | None = None,
    seeds: int = 512,
    noise: float = 0.0,
    iterations: int = 2000,
    tolerances: Sequence[float] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
    distance: float = 1e-2,
    reach: float = 3.0,
    generator: Generator | None = None,
) -> tuple[FixedPoints, ...]:
    """States that a recurrent network hardly leaves under a constant input: an approximate attractor that holds no fixed point.

    Adam lowers the sum of q; a state counts where its q first falls below a tolerance. Look at several, and compare them with
    `natural_q`. What tells true fixed points from slow ones is the share `found / seeds`: given enough iterations it stays as the
    tolerance shrinks, where seeds are on their way to true ones. The number of points does not: those on the way to one merge.

    Args:
        model, inputs, state, at, seeds, noise, distance, reach, generator: as for `fixed_points`.
        iterations: steps of Adam, whose learning rate falls to 0 over them.
        tolerances: of q.

    Returns:
        FixedPoints, whose q is below the tolerance but not 0, for each tolerance; their `index` means nothing.

    Raises:
        ModuleError: as for `fixed_points`.
    """
    if not tolerances:
        raise ModuleError("tolerances should be at least one number above 0, found none")
    for tolerance in tolerances:
        _check(seeds, iterations, noise=noise, tolerance=tolerance, distance=distance, reach=reach)
    with torch.inference_mode(False), torch.no_grad():
        course = _course(model, inputs, state, at, seeds, noise, _source(generator))
        snapshots = search.slow(course.held, course.seeds, iterations=iterations, tolerances=tolerances)
        parted = [(len(q), *_parted(course, _Points(states, q), distance, reach)) for states, q in snapshots]
        return tuple(_described(course, points, found, len(far)) for found, points, far in parted)


def _check(seeds: Any, iterations: Any, **positive: Any) -> None:
    """ModuleError for an option that is out of its range."""
    for name, value in (("seeds", seeds), ("iterations", iterations)):
        if not isinstance(value, Integral) or value < 1:
            raise ModuleError(f"{name} is {value!r}; it should be a whole number above 0")
    for name, value in positive.items():
        usable = isinstance(value, Real) and math.isfinite(float(value)) and float(value) >= 0
        if not usable or (float(value) == 0 and name != "noise"):
            raise ModuleError(f"{name} is {value!r}; it should be a number above 0{', or 0' if name == 'noise' else ''}")


def _course(model: Model, inputs: Tensor, state: Any, at: Tensor | None, seeds: int, noise: float, source: Generator) -> _Course:
    """The model under its inputs, and where the search begins."""
    if not (at is None or isinstance(at, Tensor)):
        raise ModuleError(f"at should be a tensor (I,), found {type(at).__name__}")
    adapted = adapt([model], inputs, state, torch.float64, None)
    width = adapted.inputs.shape[2:]
    held = adapted.inputs.new_zeros(width) if at is None else at.detach().to(adapted.inputs)
    if held.shape != width or not held.isfinite().all():
        raise ModuleError(f"at should be finite, of the shape {tuple(width)} of one input, found {tuple(held.shape)}")
    trajectory = adapted.tangent.trajectory(adapted.state, adapted.inputs)[:, 0]
    moves = search.speed(trajectory.diff(dim=0)).flatten()
    visited = trajectory.flatten(0, 1)
    visited = visited[visited.isfinite().all(-1)]
    radius = float((visited - visited.mean(0)).square().sum(-1).mean().sqrt()) or 1.0
    begin = _drawn(visited, seeds, noise * radius / visited.shape[-1] ** 0.5, source)
    return _Course(adapted.tangent.one(0), visited, radius, begin, held, float(moves.nanmedian()))


def _source(generator: Generator | None) -> Generator:
    return torch.Generator().manual_seed(0) if generator is None else generator


def _drawn(visited: Tensor, seeds: int, noise: float, source: Generator) -> Tensor:
    """Seeds (seeds, S): each visited state at most once where there are enough, with noise."""
    order = torch.cat([torch.randperm(len(visited), generator=source) for _ in range(-(-seeds // len(visited)))])[:seeds]
    shift = torch.randn(seeds, visited.shape[-1], generator=source, dtype=torch.float64)
    return visited[order.to(visited.device)] + noise * shift.to(visited)


def _between(points: Tensor, most: int, source: Generator) -> Tensor:
    """Halfway between any two of the points (N, S), at the most so many: saddles lie between what they part."""
    pairs = torch.combinations(torch.arange(len(points)))
    chosen = pairs[torch.randperm(len(pairs), generator=source)[:most]].to(points.device)
    return points[chosen].mean(1)


def _solved(course: _Course, seeds: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """The points (N, S) that seeds lead to, one for each that leads to any, and their q (N,)."""
    states, q = search.exact(course.held, seeds, iterations=iterations, tolerance=tolerance)
    found = q < tolerance
    return states[found], q[found]


def _parted(course: _Course, points: _Points, distance: float, reach: float) -> tuple[_Points, _Points]:
    """The distinct points that are not far away, and those that are."""
    points = points.distinct(distance * course.radius)
    close = nearest(points.states, course.visited) <= reach * course.radius
    return points.at(close), points.at(~close)


def _described(course: _Course, points: _Points, found: int, outliers: int) -> FixedPoints:
    """The points with their linear maps."""
    states = points.states
    _, recurrent = search.jacobian(course.held, states)
    at = course.at.expand(len(states), *course.at.shape)
    _, driven = search.jacobian(lambda x: course.step(states, x), at)
    values, right, left = eigen(recurrent)
    return FixedPoints(
        states=states,
        q=points.q,
        at=course.at,
        recurrent=recurrent,
        driven=driven,
        eigenvalues=values,
        right=right,
        left=left,
        seeds=len(course.seeds),
        found=found,
        outliers=outliers,
        index=index(recurrent),
        natural_q=course.natural_q,
        visited_q=float(search.speed(course.held(course.visited) - course.visited).nanmedian()),
    )
