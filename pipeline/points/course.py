"""Where a search for points starts: the states that a network visits, their scale, and the seeds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ..core.errors import ModuleError, first_line
from ..spectrum.adapt import Adapted
from ..spectrum.tangent import Push, Step
from ..spectrum.verify import Visited, alone
from . import search

# A sequence explodes if its inputs, given a second time, carry it more than this many times as far as the first time. Twice
# the steps carry a sum of inputs 1.4 times as far, a ramp 2 times and an integrator of an integrator of a ramp 8 times.
FAR = 100.0
# If all sequences explode, states count that are at most this many times as far as the median of those that count.
RANGE = 10.0
LARGEST = 1e150  # the squares of numbers that are not much larger overflow


@dataclass(frozen=True)
class Course:
    """A map with its trajectories.

    Attributes:
        step: (N, S) state, (N, I) input -> (N, S) state.
        push: how deviations are pushed through a step.
        visited: (N, S) states along the trajectories, without those that an explosion has carried away.
        radius: root mean square distance of the visited states from their mean.
        seeds: (seeds, S) states from which the search starts.
        at: (I,) the constant input.
        natural_q: as in FixedPoints.
        tried: where the step is tried again after the search; None if it is known from its weights, or not to be tried.
    """

    step: Step
    push: Push
    visited: Tensor
    radius: float
    seeds: Tensor
    at: Tensor
    natural_q: float
    tried: Visited | None

    def held(self, states: Tensor) -> Tensor:
        """One step of states (N, S) under the constant input."""
        return self.step(states, self.at.expand(len(states), *self.at.shape))


def course(adapted: Adapted, at: Tensor | None, seeds: int, noise: float, source: Generator) -> Course:
    """The model's trajectories under its inputs, and the states from which the search starts.

    Raises:
        ModuleError: the constant input does not fit the inputs, or the model cannot be searched.
    """
    inputs, begin, step = adapted.inputs, adapted.state[0], _explained(adapted.tangent.one(0))
    held = _held(at, inputs)
    _check_rows(step, begin, inputs[0], apart=adapted.tangent.visited is not None)
    trajectory, counted = _counted(step, begin, inputs)
    moves = search.speed(trajectory.diff(dim=0))[counted[1:] & counted[:-1]]
    visited = trajectory[counted]
    largest = float(visited.abs().amax())
    if largest > LARGEST:
        raise ModuleError(
            f"states are as large as {largest:.0e}, so that their squares overflow; the model, state or inputs should be scaled"
        )
    radius = float((visited - visited.mean(0)).square().sum(-1).mean().sqrt()) or 1.0
    first = _drawn(visited, seeds, noise * radius / visited.shape[-1] ** 0.5, source)
    tried = adapted.tangent.visited
    if tried is not None:
        tried.add(trajectory, inputs)
    return Course(step, adapted.tangent.differentiate, visited, radius, first, held, float(moves.nanmedian()), tried)


@contextmanager
def in_words() -> Iterator[None]:
    """A context in which an error of torch becomes a ModuleError, such as that of a derivative that does not exist."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        raise ModuleError(f"the search for points failed: {first_line(error)}") from error


def check_real(inputs: Any, at: Any) -> None:
    """ModuleError if the inputs or the constant input are no real numbers; the Jacobian with respect to them is a result."""
    if isinstance(inputs, Tensor) and not inputs.is_floating_point():
        advice = "give their real and imaginary parts" if inputs.is_complex() else "embed the tokens first"
        raise ModuleError(f"fixed points need real inputs, found {inputs.dtype}; {advice}")
    if not (at is None or isinstance(at, Tensor)):
        raise ModuleError(f"at should be a tensor (I,), found {type(at).__name__}")
    if at is not None and at.is_complex():
        raise ModuleError(f"at should be real, found {at.dtype}")


def _held(at: Tensor | None, inputs: Tensor) -> Tensor:
    """The constant input (I,) for inputs (T, B, I); ModuleError if it is not like one of them."""
    if inputs.dim() != 3:
        raise ModuleError(f"fixed points need inputs (T, B, I), found {tuple(inputs.shape)}")
    held = inputs.new_zeros(inputs.shape[2]) if at is None else at.detach().to(inputs)
    if held.shape != inputs.shape[2:] or not held.isfinite().all():
        wanted, found = tuple(inputs.shape[2:]), tuple(held.shape)
        raise ModuleError(f"at should be finite, of the shape {wanted} of one input, found {found}")
    return held


def _explained(step: Step) -> Step:
    """A step whose errors, of any kind because it is the user's, are ModuleErrors that say what was called."""

    def call(state: Tensor, x: Tensor) -> Tensor:
        try:
            return step(state, x)
        except Exception as error:
            shapes = f"state {tuple(state.shape)} and input {tuple(x.shape)}"
            raise ModuleError(f"a step with {shapes} failed in the search for points: {first_line(error)}") from error

    return call


def _check_rows(step: Step, state: Tensor, x: Tensor, *, apart: bool) -> None:
    """ModuleError if a step works with B rows only, or mixes rows; the search runs it with as many rows as seeds are left."""
    for rows in (1, len(state) + 1):
        places = torch.arange(rows, device=state.device) % len(state)
        try:
            new = step(state[places], x[places])
        except ModuleError as error:
            raise ModuleError(f"a step should work with any number of rows, not only with {len(state)}; {error}") from error
        if apart:
            alone(step, state[places], x[places], new)


def _counted(step: Step, state: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The states (T + 1, B, S) that the inputs lead to, and which of them (T + 1, B) no explosion has carried away.

    A sequence explodes if it becomes infinite or NaN, or would go on growing under the same inputs. Of exploding sequences,
    the states count that are no farther out than those of the others; if there are no others, those before the growth.
    """
    states = [state]
    for x in inputs:
        states.append(step(states[-1], x))
    trajectory = torch.stack(states)
    drift = _distance(trajectory, state).amax(0)
    last, further = states[-1], drift
    for x in inputs:
        last = step(last, x)
        further = torch.maximum(further, _distance(last, state))
    calm = drift.isfinite() & (further <= FAR * drift)
    if calm.all():
        return trajectory, calm.expand(len(trajectory), -1)
    others = trajectory[:, calm].flatten(0, 1) if calm.any() else state
    distances = _distance(trajectory, others.median(0).values)
    limit = distances[:, calm].amax() if calm.any() else _before_growth(distances)
    return trajectory, calm | (distances <= limit)


def _distance(states: Tensor, origin: Tensor) -> Tensor:
    """Largest absolute difference (...) of states (..., S) from the origin, which does not overflow; inf for NaN."""
    return (states - origin).abs().amax(-1).nan_to_num(torch.inf, torch.inf)


def _before_growth(distances: Tensor) -> Tensor:
    """The largest of the distances that are left when those above RANGE times the median are removed until there are none."""
    left = distances[distances.isfinite() & (distances > 0)]
    if not len(left):
        return distances.new_zeros(())
    while left.amax() > RANGE * left.median():
        left = left[left <= RANGE * left.median()]
    return left.amax()


def _drawn(visited: Tensor, seeds: int, noise: float, source: Generator) -> Tensor:
    """Seeds (seeds, S): visited states plus noise, each state at most once if there are enough."""
    order = torch.cat([torch.randperm(len(visited), generator=source, device="cpu") for _ in range(-(-seeds // len(visited)))])[
        :seeds
    ]
    shift = torch.randn(seeds, visited.shape[-1], generator=source, dtype=torch.float64, device="cpu")
    return visited[order.to(visited.device)] + noise * shift.to(visited)
