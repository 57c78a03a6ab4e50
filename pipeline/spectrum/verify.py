"""Whether a model's step is what it is taken for: a differentiable function of state and input that leaves sequences apart."""

import random
from collections.abc import Callable, Iterable
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ModuleError, first_line
from .tangent import Push, Step, push_backward, push_forward, under

STEPS = 3  # of the given inputs, on which a model is tried
# States of sequences at which it is tried again after the measurement, in one call, and the least number of steps with these.
ROWS, LEAST_PLACES = 256, 16
FIRST_MARK = 24  # steps after which the state is kept first, to be compared with that after a whole sequence
GROWN = 12.0  # nats by which rounding errors may grow until then
# Largest relative difference that counts as rounding, by precision: of two ways to compute the same step, and of a finite
# difference from the derivative.
SAME = {torch.float64: 1e-8, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
SLOPE = {torch.float64: 1e-4, torch.float32: 5e-2}
# Width of a finite difference, as a share of the state's size: wide enough for rounding in the computation's precision, and
# too narrow for a lower one.
WIDTH = {torch.float64: 1e-6, torch.float32: 1e-2}


class ImpureError(ModuleError):
    """A step is no function of state and input, however it is called."""


def close(one: Tensor, other: Tensor, tolerance: float | None = None) -> bool:
    """Whether states (B, S) are equal up to rounding, wherever both are finite."""
    return bool(_equal(one, other, SAME[one.dtype] if tolerance is None else tolerance).all())


def pure(step: Step, state: Tensor, x: Tensor, first: Tensor) -> None:
    """ImpureError if a step draws random numbers, or gives something else than it gave first."""
    again = _drawn(step, state, x)
    if again is None:
        raise ImpureError(_RANDOM)
    if not _same(first, again):
        raise ImpureError(_CHANGED)


def _drawn(step: Step, state: Tensor, x: Tensor) -> Tensor | None:
    """The state after a step; None if the step draws random numbers from a global generator."""
    for _ in range(3):  # another thread may draw random numbers too, but hardly three times in a row
        before = _generators()
        new = step(state, x)
        if _generators() == before:
            return new
    return None


def unchanged(first: Tensor, again: Tensor) -> None:
    """ModuleError if the same call gave two different states (B, S)."""
    if not _same(first, again):
        raise ModuleError(_CHANGED)


_RANDOM = "the step draws random numbers, so that no two calls give the same; call model.eval() first, or take the noise out"
_CHANGED = (
    "the step gives another state when it is called again with the same state and input: it draws random numbers or "
    "keeps a memory of its own; call model.eval(), or make what it keeps (buffers, attributes) part of the state"
)


def _same(first: Tensor, again: Tensor) -> bool:
    return close(first, again) and torch.equal(first.isfinite(), again.isfinite())


def alone(step: Step, state: Tensor, x: Tensor, new: Tensor) -> None:
    """ModuleError if a sequence's new state depends on other sequences in the batch."""
    sequences = len(state)
    if sequences < 2:
        return
    moved = state + 0.1 * (1 + state.abs()) * _noise(state)
    swapped = x.roll(1, 0)
    for row in (0, sequences - 1):
        others = torch.arange(sequences, device=state.device) != row
        state_, x_ = state.clone(), x.clone()
        state_[others], x_[others] = moved[others], swapped[others]
        if not close(step(state_, x_)[row : row + 1], new[row : row + 1]):
            raise ModuleError(_MIXED)


_MIXED = (
    "sequences mix: the new state of one depends on the other sequences in the batch (batch statistics, a mean over "
    "the batch, or an inner module that takes the batch for steps in time); give one sequence, or call model.eval()"
)


def derivative(step: Step, places: list[tuple[Tensor, Tensor]]) -> tuple[Push, bool]:
    """How deviations are pushed through a step, and whether the derivative is that of a surrogate.

    Forward mode is tried first, then reverse mode; the one that is returned agrees with a finite difference at one of the
    given pairs of a state (B, S) and an input, unless an autograd.Function of the model's own defines another derivative.

    Raises:
        ModuleError: neither mode works, or neither agrees with a finite difference.
    """
    state, x = places[0]
    reason, working = "", []
    for push in (push_forward, push_backward):
        try:
            found = confirmed(step, push, places)
        except Exception as error:  # torch raises many kinds where a mode is impossible
            reason = first_line(error)
            continue
        if found:
            return push, False
        working.append(push)
    if not working:
        raise ModuleError(f"the step cannot be differentiated: {reason}")
    push = working[0]
    if _has_custom_function(step, state, x):
        return push, True
    if not _wrong(under(step, x), push, state, width=1e-2, tolerance=5e-2).any():
        raise ModuleError(
            f"the step computes in a lower precision than {state.dtype} (.float(), .half(), bfloat16 or autocast inside), so "
            "that its derivative is rounded; take the cast out"
        )
    raise ModuleError(_fault(step, push, state, x))


def _fault(step: Step, push: Push, state: Tensor, x: Tensor) -> str:
    """What is wrong with a derivative that no finite difference confirms."""
    _, pushed = push(under(step, x), generic(state), _noise(state)[:, None])
    finite = pushed[:, 0].isfinite().all(-1) | ~step(state, x).isfinite().all(-1)
    return _CUT if finite.all() else _NOT_FINITE


_CUT = (
    "the derivative of the step is not that of its values, as a finite difference shows: something in it is cut off from "
    "differentiation (.detach(), .data, torch.inference_mode(), NumPy) or rounds (.float(), .half()); take that out"
)


_NOT_FINITE = (
    "the derivative of the step is not finite where the state is: a square root, norm or standard deviation at 0, or torch.where "
    "over such a value; add a small number inside the root"
)


def check_finite(spectrum_nan: Tensor, states_finite: Tensor) -> None:
    """ModuleError if growth (B,) is NaN in a sequence whose states were finite."""
    if len(states_finite) and (spectrum_nan & states_finite).any():
        raise ModuleError(_NOT_FINITE)


def confirmed(step: Step, push: Push, places: Iterable[tuple[Tensor, Tensor]]) -> bool:
    """Whether, for each sequence, a finite difference confirms the derivative at one of the states (B, S) with their inputs.

    One is enough, because at any one of them a step may have a kink.
    """
    wrong = None
    for state, x in places:
        found = _wrong(under(step, x), push, state)
        wrong = found if wrong is None else wrong & found
        if not wrong.any():
            return True
    return False


class Visited:
    """States along a trajectory at which a step is tried again after the measurement: large ones, and some of all times.

    Attributes:
        places: states (B, S), inputs (B, ...) and the states that they led to.
        pinned: further places, all of which are tried.
        marks: number of steps -> the states that they led to from the beginning, for 24, 48, 96, ... steps and for all.
        finite: (B,) whether all states of a sequence were finite; empty before the first step.
    """

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.pinned: list[Place] = []
        self.marks: dict[int, Tensor] = {}
        self.finite = torch.empty(0, dtype=torch.bool)
        self._steps, self._mark = 0, FIRST_MARK

    def add(self, states: Tensor, inputs: Tensor) -> None:
        """Take the steps of states (T + 1, B, S) under inputs (T, B, ...)."""
        finite = states.isfinite().all(-1).all(0)
        self.finite = finite if not self._steps else self.finite & finite
        self.marks.pop(self._steps, None) if self._steps != self._mark // 2 else None
        while self._mark <= self._steps + len(inputs):
            self.marks[self._mark] = states[self._mark - self._steps]
            self._mark *= 2
        self._steps += len(inputs)
        self.marks[self._steps] = states[-1]
        self.places += zip(states[:-1], inputs, states[1:], strict=True)
        if len(self.places) > 4 * self._number:
            self.places = self._chosen(2 * self._number)

    @property
    def _number(self) -> int:
        """How many places are tried again."""
        return max(LEAST_PLACES, ROWS // len(self.places[0][0])) if self.places else 0

    def _chosen(self, number: int) -> list["Place"]:
        """At most so many of the places in their order: those with the largest states, and others at equal distances."""
        if len(self.places) <= number:
            return self.places
        sizes = torch.stack([state for state, _, _ in self.places]).abs().nan_to_num(0.0, 0.0).amax((1, 2)).tolist()
        largest = sorted(range(len(sizes)), key=lambda i: -sizes[i])[: number // 2]
        others = [i for i in range(len(sizes)) if i not in largest]
        spread = np.linspace(0, len(others) - 1, number - len(largest)).round().astype(int)
        return [self.places[i] for i in sorted({*largest, *(others[i] for i in spread)})]

    def last_mark(self, most: int, largest: float) -> int:
        """The largest number of at most `most` steps that is marked and over which rounding errors do not grow out of hand.

        `largest` is the largest exponent of the trajectory; 0 if there is no such mark.
        """
        return max((n for n in self.marks if n <= most and largest * n < GROWN), default=0)

    def check(self, step: Step, push: Push, *, surrogate: bool) -> None:
        """ModuleError if a step gives something else than it did, mixes sequences there, or has another derivative."""
        places = self._chosen(self._number)
        batches = places[:: max(1, len(places) // 8)]
        if places and _apart(step, places):
            batches = [_joined(places)]
        for state, x, _ in [*batches, *self.pinned]:
            if not surrogate and not confirmed(step, push, [(generic(state, seed), x) for seed in (1, 2)]):
                raise ModuleError(_fault(step, push, state, x))

    def check_one_by_one(self, step: Step) -> None:
        """ModuleError if a step gives something else than it did in one of as many calls as there were steps, up to 128."""
        for state, x, new in islice(cycle(self._chosen(self._number)), min(self._steps, 128)):
            if not close(new, step(state, x)):
                raise ModuleError(_CHANGED)


Place = tuple[Tensor, Tensor, Tensor]


def _apart(step: Step, places: list[Place]) -> bool:
    """Whether a step gives at places what it gave, in one batch; False if it takes B sequences only, or one that is its own.

    Raises:
        ModuleError: it gives something else, or mixes sequences.
    """
    try:
        together = _gives(step, _joined(places))
    except ModuleError:
        together = None
    if together:
        return True
    if not all(_gives(step, place) for place in places):
        raise ModuleError(_CHANGED)
    if together is False and len(places[0][0]) > 1:
        raise ModuleError(_MIXED)
    return False


def _gives(step: Step, place: Place) -> bool:
    """Whether a step gives the state that it gave at a place, and draws no random numbers for it."""
    state, x, new = place
    again = _drawn(step, state, x)
    return again is not None and close(new, again)


def _joined(places: list[Place]) -> Place:
    state, x, new = (torch.cat(parts) for parts in zip(*places, strict=True))
    return state, x, new


def working_push(step: Step, state: Tensor, x: Tensor) -> Push:
    """Forward mode where it works, else reverse mode; ModuleError if neither does."""
    reason = ""
    for push in (push_forward, push_backward):
        try:
            push(under(step, x), state, torch.ones_like(state)[:, None])
        except Exception as error:  # torch raises many kinds where a mode is impossible
            reason = first_line(error)
        else:
            return push
    raise ModuleError(f"the step cannot be differentiated: {reason}")


def generic(state: Tensor, seed: int = 0) -> Tensor:
    """States (B, S) moved slightly, away from points where a step may have a kink, such as 0."""
    return state + 1e-3 * (state.abs() + 1e-2 * _size(state)) * _noise(state, seed)


def _wrong(
    step: Callable[[Tensor], Tensor], push: Push, state: Tensor, width: float | None = None, tolerance: float | None = None
) -> Tensor:
    """(B,) where the derivative along a random direction differs from a finite difference by more than rounding explains."""
    tolerance = SLOPE[state.dtype] if tolerance is None else tolerance
    scale, still = _scale(state), (state == 0).all(-1, keepdim=True)
    if still.any():
        scale = torch.where(still, _size(step(state)), scale)
    deviation = (WIDTH[state.dtype] if width is None else width) * scale * _noise(state)
    new, pushed = push(step, state, deviation[:, None])
    change = (step(state + deviation) - step(state - deviation)) / 2
    known = (change.isfinite() & new.isfinite()).all(-1)
    rounding = 100 * torch.finfo(state.dtype).eps * new.abs().amax(-1, keepdim=True)
    allowed = tolerance * pushed[:, 0].abs() + 1e-2 * tolerance * pushed[:, 0].abs().amax(-1, keepdim=True) + rounding
    return known & ~((change - pushed[:, 0]).abs() <= allowed).all(-1)  # also where the derivative is NaN


def _scale(states: Tensor) -> Tensor:
    """(B, S) the absolute values of states, or their median where that is larger; where it is 0, their root mean square."""
    median = states.abs().nan_to_num(0.0).median(-1, keepdim=True).values
    return torch.maximum(states.abs(), torch.where(median > 0, median, _size(states)))


def _size(states: Tensor) -> Tensor:
    """(B, 1) root mean square of states (B, S), or a small number where it is 0 or not finite."""
    size = states.square().mean(-1, keepdim=True).sqrt()
    return torch.where(size.isfinite() & (size > 0), size, 1e-2)


def _has_custom_function(step: Step, state: Tensor, x: Tensor) -> bool:
    """Whether the graph of a step holds a torch.autograd.Function that is not torch's own."""
    with torch.enable_grad():
        new = step(state.detach().requires_grad_(), x)
    nodes, seen = [new.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        nodes += [n for n, _ in node.next_functions]
    return False


def _equal(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    both = one.isfinite() & other.isfinite()
    scale = torch.where(both, one.abs(), 0.0).amax(-1, keepdim=True)
    return ~both | ((one - other).abs() <= tolerance * scale)


def _noise(like: Tensor, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same at every call."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64, device="cpu").to(like)


def _generators() -> tuple[bytes, bytes, int]:
    """The states of the global random generators."""
    name, keys, place, *_ = np.random.get_state(legacy=True)  # noqa: NPY002 it is the global one that a step may draw from
    return torch.get_rng_state().numpy().tobytes(), bytes(np.asarray(keys)), hash((name, place, random.getstate()))
