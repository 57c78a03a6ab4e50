"""Fixed and slow points of any recurrent network: the public functions."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Generator, Tensor

from ..core.errors import ModuleError
from ..core.progress import Advance, progress
from ..spectrum.adapt import Model, adapt, warn_of_surrogate
from ..spectrum.tangent import measuring
from . import search
from .course import Course, check_real, in_words
from .course import course as start
from .points import FixedPoints, distinct, eigen, index, nearest

# Rounds of further search from halfway between known points, which finds saddles of GRUs and LSTMs that no visited state
# leads to.
ROUNDS = 4


@dataclass(frozen=True)
class _Points:
    """States (N, S) and their q (N,)."""

    states: Tensor
    q: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def at(self, places: Tensor) -> "_Points":
        """The points at the given indices, or where a mask is true."""
        return _Points(self.states[places], self.q[places])

    def joined(self, more: "_Points") -> "_Points":
        """These points followed by others."""
        return _Points(torch.cat([self.states, more.states]), torch.cat([self.q, more.q]))

    def distinct(self, distance: float) -> "_Points":
        """Points that are farther than the distance from one another, sorted from the smallest q."""
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
    verify: bool = True,
) -> FixedPoints:
    """The fixed points of a recurrent network under a constant input, with the linear map near each.

    The search starts from states that the network visits and solves F(h) = h by the Levenberg-Marquardt method in float64,
    so that it finds saddles as well as stable points (Sussillo and Barak 2013). Up to four further rounds, as long as they
    find new points, start from at most `seeds` of the midpoints between two known points. The search cannot prove that
    there are no other points, but see `FixedPoints.index`. The model is not changed.

    If trajectories explode, only the states before that count as visited: those that are no farther out than the trajectories
    that do not explode.

    Args:
        model: as for `lyapunov_spectrum`: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose
            forward is (x, state) -> state or (output, state); or a plain function step(state, x) -> state.
        inputs: the inputs that drive the trajectories, as the module takes them; (T, B, I) for a cell, a custom module or a
            function.
        state: the initial state of the trajectories; defaults to zeros for torch's modules, required for all others.
        at: (I,) the constant input; 0 by default.
        seeds: number of states, drawn from the visited ones, from which the search starts; also the largest number of
            midpoints per further round.
        noise: standard deviation of the noise added to each number of these states, relative to that of the visited states.
        iterations: largest number of steps of the search.
        tolerance: largest q = |F(h) - h|^2 / 2 that counts as a fixed point.
        distance: points closer than this are merged, in units of the radius, the root mean square distance of the visited
            states from their mean.
        reach: points farther than this from all visited states are omitted, in units of the radius.
        generator: random generator for the seeds; by default one with the same seed at each call.
        verify: as for `lyapunov_spectrum`.

    Returns:
        FixedPoints, which may be empty.

    Raises:
        ModuleError: if the model, state, inputs or an option cannot be used; the message says what would be right.
    """
    _check(seeds, iterations, noise=noise, tolerance=tolerance, distance=distance, reach=reach)
    source = _source(generator)
    with (
        _search(model, inputs, state, at, seeds, noise, source, verify) as course,
        progress("fixed points", (1 + ROUNDS) * iterations) as advanced,
    ):
        first = _solved(course, course.seeds, iterations, tolerance, advanced)
        points, outliers = _split(course, _Points(*first), distance, reach)
        known = 0
        for _ in range(ROUNDS):
            if len(points) < 2 or len(points) == known:
                break
            known = len(points)
            more = _Points(*_solved(course, _between(points.states, seeds, source), iterations, tolerance, advanced))
            points, further = _split(course, points.joined(more), distance, reach)
            outliers = outliers.joined(further).distinct(distance * course.radius)
        return _described(course, points, len(first[0]), len(outliers))


def slow_points(  # noqa: D417 the other arguments are those of fixed_points
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
    verify: bool = True,
) -> tuple[FixedPoints, ...]:
    """The states that a recurrent network hardly leaves under a constant input, such as approximate attractors.

    Adam minimises the sum of q, and a state is recorded where its q first falls below a tolerance. Use several tolerances,
    and compare them with `natural_q`. The share `found / seeds` distinguishes fixed points from merely slow ones: given
    enough iterations, it does not fall with the tolerance if the seeds move towards fixed points. The number of points
    does not show this, because points on the way to the same fixed point merge.

    Args:
        model, inputs, state, at, seeds, noise, distance, reach, generator, verify: as for `fixed_points`.
        iterations: number of steps of Adam, during which its learning rate falls to 0.
        tolerances: largest values of q, one result for each.

    Returns:
        One FixedPoints per tolerance, with q below the tolerance but not 0; their `index` has no meaning.

    Raises:
        ModuleError: as for `fixed_points`.
    """
    if not isinstance(tolerances, Sequence) or not tolerances:
        found = f"{tolerances!r}" if tolerances else "none"
        raise ModuleError(f"tolerances should be at least one number above 0, found {found}")
    for tolerance in tolerances:
        _check(seeds, iterations, noise=noise, tolerance=tolerance, distance=distance, reach=reach)
    with (
        _search(model, inputs, state, at, seeds, noise, _source(generator), verify) as course,
        progress("slow points", iterations) as advanced,
    ):
        snapshots = search.slow(course.held, course.seeds, iterations=iterations, tolerances=tolerances, advanced=advanced)
        split = [(len(q), *_split(course, _Points(states, q), distance, reach)) for states, q in snapshots]
        return tuple(_described(course, points, found, len(outliers)) for found, points, outliers in split)


def _check(seeds: Any, iterations: Any, **positive: Any) -> None:
    """ModuleError if an option is out of its range."""
    for name, value in (("seeds", seeds), ("iterations", iterations)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ModuleError(f"{name} is {value!r}; it should be a whole number above 0")
    for name, value in positive.items():
        usable = isinstance(value, Real) and math.isfinite(float(value)) and float(value) >= 0
        if not usable or (float(value) == 0 and name != "noise"):
            raise ModuleError(f"{name} is {value!r}; it should be a number above 0{', or 0' if name == 'noise' else ''}")


@contextmanager
def _search(
    model: Model, inputs: Tensor, state: Any, at: Tensor | None, seeds: int, noise: float, source: Generator, verify: bool
) -> Iterator[Course]:
    """A context for a search with its start; afterwards the model should still be the same function."""
    check_real(inputs, at)
    with measuring(), in_words():
        adapted = adapt([model], inputs, state, torch.float64, None, verify=verify)
        yield start(adapted, at, seeds, noise, source)
        adapted.recheck(None)
    if adapted.surrogate:
        warn_of_surrogate("the Jacobians", stacklevel=5)


def _source(generator: Generator | None) -> Generator:
    if not (generator is None or isinstance(generator, Generator)):
        raise ModuleError(f"generator should be a torch.Generator, found {type(generator).__name__}")
    return torch.Generator().manual_seed(0) if generator is None else generator


def _between(points: Tensor, most: int, source: Generator) -> Tensor:
    """At most `most` random midpoints between two of the points (N, S): saddles lie between the basins that they separate."""
    pairs = torch.combinations(torch.arange(len(points), device="cpu"))
    chosen = pairs[torch.randperm(len(pairs), generator=source, device="cpu")[:most]].to(points.device)
    return points[chosen].mean(1)


def _solved(course: Course, seeds: Tensor, iterations: int, tolerance: float, advanced: Advance) -> tuple[Tensor, Tensor]:
    """The points (N, S) that the seeds lead to, and their q (N,); one for each seed that converges."""
    states, q = search.exact(course.held, seeds, iterations=iterations, tolerance=tolerance, push=course.push, advanced=advanced)
    converged = q < tolerance
    return states[converged], q[converged]


def _split(course: Course, points: _Points, distance: float, reach: float) -> tuple[_Points, _Points]:
    """The distinct points within reach of the visited states, and the outliers."""
    points = points.distinct(distance * course.radius)
    close = nearest(points.states, course.visited) <= reach * course.radius
    return points.at(close), points.at(~close)


def _described(course: Course, points: _Points, found: int, outliers: int) -> FixedPoints:
    """The points with their linear maps; `found` and `outliers` as in FixedPoints."""
    states = points.states
    _, recurrent = search.jacobian(course.held, states, course.push)
    at = course.at.expand(len(states), *course.at.shape)
    _, driven = search.jacobian(lambda x: course.step(states, x), at, course.push)
    if course.tried is not None and len(states):
        course.tried.pinned.append((states, at, course.held(states)))
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
