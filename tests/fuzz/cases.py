"""What a case is: a model, how it is measured, and the spectra that are right; and what all kinds of cases share."""

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

SHORT = (torch.bfloat16, torch.float16)  # dtypes whose networks are not compared with their own calls
EITHER, MEASURED, REFUSED = "refused or measured", "measured", "refused"


@dataclass(frozen=True)
class Truth:
    """A driven map of one sequence, in float64, that a model should be measured as."""

    step: Callable[[Tensor, Tensor, int], Tensor]  # state (S,), input, number of the step -> state (S,)
    start: Tensor  # (B, S)
    inputs: Tensor  # (T, B, ...)
    orders: list[list[int]] = field(default_factory=list)  # orders of the state's numbers that the library may use

    def around(self, change):
        """The truth with a changed step, `change(step, s, x, t)`."""
        step = self.step
        return replace(self, step=lambda s, x, t: change(step, s, x, t))

    def later(self):
        """The truth without its first step, from the state that this gives."""
        rest = [self.step(s, x, 0) for s, x in zip(self.start, self.inputs[0], strict=True)]
        return replace(self, start=torch.stack(rest).detach(), inputs=self.inputs[1:])


@dataclass(frozen=True)
class Case:
    """A model, how it is measured, and what would be right."""

    model: Any
    inputs: Tensor
    options: dict[str, Any]
    truths: list[Truth]  # any of them is right; if there is none, only a refusal is
    expected: str = MEASURED
    notes: list[str] = field(default_factory=list)
    follow: Callable[[Any, int], Tensor] | None = None  # the states (n, B, S) that n calls of the model itself give
    lost: bool = False  # whether the first input only gives the state from which the truths, so far at zeros, start
    comparable: bool = True  # whether those states are the truth's to single precision
    surrogate: bool = False  # whether a warning should say that derivatives are not those of the values
    makes_tensors: bool = False  # whether it makes tensors on the default device
    ambient: str = "none"
    family: str = ""
    seed: int = 0

    def __str__(self):
        told = {n: v for n, v in self.options.items() if n != "state"}
        state = "none" if self.options.get("state") is None else "given"
        options = f"inputs {tuple(self.inputs.shape)} {self.inputs.dtype}, state {state}, {told}, ambient {self.ambient}"
        return f"{self.family}:{self.seed} ({self.expected}) {', '.join(map(str, self.notes))}; {options}"

    def noted(self, *notes, **changes):
        """The case with further notes and other fields."""
        return replace(self, notes=[*self.notes, *notes], **changes)

    def refused(self):
        """The case if no answer is right."""
        return replace(self, truths=[], expected=REFUSED)

    def around(self, change):
        """The case with the steps of its truths changed, see `Truth.around`."""
        return replace(self, truths=[t.around(change) for t in self.truths])


def drawn_options(draw, *, settled=False):
    """Options of a measurement; `settled` always has a transient, whose default depends on the number of steps."""
    options = {"transient": draw.choice([0, 0, 0, 3, 6]), "every": draw.choice([1, 1, 1, 2, None])}
    if not settled and draw.random() < 0.2:
        del options["transient"]
    return options | ({"count": 2} if draw.random() < 0.15 else {})


def drawn_type(draw):
    return draw.choice([torch.float32] * 4 + [torch.float64, torch.bfloat16, torch.float16])


def exactly(tensor):
    """A copy in float64 or complex128; whole numbers stay as they are."""
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    return tensor.detach().to(tensor.dtype if whole else torch.promote_types(tensor.dtype, torch.float64), copy=True)


def each_tensor(function, state):
    """A structure with a function applied to its tensors."""
    if is_dataclass(state):
        return replace(state, **{name: function(value) for name, value in vars(state).items()})
    return torch.utils._pytree.tree_map(lambda p: function(p) if isinstance(p, Tensor) else p, state)


def chained(inputs, state, call, flat, lost=False):
    """A function (model, n) -> states (n, B, S) that calls a model again and again.

    Args:
        inputs: what the model is given, one call after another.
        state: the initial state.
        call: (model, x, state) -> state.
        flat: (state) -> (B, S).
        lost: whether the first call only gives the initial state.
    """

    def follow(model, steps):
        now, states = each_tensor(torch.clone, state), []
        for x in inputs[: steps + lost]:
            now = call(model, x.clone(), now)
            states.append(flat(each_tensor(torch.clone, now)))
        return torch.stack(states[lost:])

    return follow
