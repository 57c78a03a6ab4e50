"""Models that are called: how a module or function takes its input and state, found out by calling it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ModuleError
from .copies import copied
from .states import Structure, converted, flatten, is_phase, like, rebuild
from .tangent import Step
from .verify import STEPS, ImpureError, alone, close, pure


@dataclass(frozen=True)
class Form:
    """How a model takes an input and a state.

    Attributes:
        time: place of the axis of steps in a sequence, 0 or 1; None for a model that takes one step.
        axis: place of the axis of sequences in each tensor of the state.
        lifted: whether the model's state has a leading axis of layers, of size 1, that the given one lacks.
    """

    time: int | None
    axis: int
    lifted: bool = False

    def swap(self, inputs: Tensor) -> Tensor:
        """Inputs as the model takes them, as (T, B, ...), and the other way round."""
        return inputs.transpose(0, 1) if self.time == 1 else inputs

    def one(self, x: Tensor) -> Tensor:
        """One input (B, ...) as the model takes it."""
        return x if self.time is None else x.unsqueeze(self.time)

    def __str__(self) -> str:
        x = {None: "one step x (B, ...)", 0: "a sequence x (T, B, ...)", 1: "a sequence x (B, T, ...)"}[self.time]
        return f"{x} and state {'(B, ...)' if self.axis == 0 else '(layers, B, ...)'}"


@dataclass(frozen=True)
class Called:
    """A model as a step on a flat state.

    Attributes:
        model: a copy of the module in the dtype of the computation, or the function.
        form: how it takes input and state.
        structure: that of its state.
        pick: which part of the answer is the new state.
    """

    model: Any
    form: Form
    structure: Structure
    pick: Callable[[Any], Any]

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        """The new flat state (B, S) from state (B, S) and input x (B, ...).

        Raises:
            ModuleError: the call fails, or gives a state of another structure, shape or dtype.
        """
        return self.after(self.form.one(x.clone()), state)

    def sequence(self, state: Tensor, inputs: Tensor) -> Tensor:
        """The flat state (B, S) after a whole sequence of inputs (T, B, ...), for a model that takes sequences."""
        return self.after(self.form.swap(inputs).clone(), state)

    def after(self, x: Tensor, state: Tensor) -> Tensor:
        """The flat state after a call with x as the model takes it."""
        new = self.structure.flat(self.pick(call(self.model, x, self.structure.state(state))))
        if len(new) != len(state):
            raise ModuleError(f"the step should keep the state's shape: it gives {len(new)} sequences for {len(state)}")
        return new


def call(model: Any, x: Tensor, *state: Any) -> Any:
    """What a module gives for (x, state), or a function for (state, x); ModuleError if the call fails."""
    try:
        with torch.backends.cudnn.flags(enabled=False) if x.is_cuda else nullcontext():  # cuDNN has no forward mode
            return model(x, *state) if isinstance(model, nn.Module) else model(*state, x)
    except Exception as error:
        if isinstance(error, ModuleError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModuleError(f"{reason} ({type(error).__name__})") from error


def called(model: Any, inputs: Tensor, state: Any, dtype: torch.dtype, *, verify: bool) -> tuple[Called, list[Tensor], Tensor]:
    """The model in the form in which it can be called, the flat states (B, S) of its first steps, and its inputs (T, B, ...).

    The forms are tried in turn. The right one keeps the state's structure and shapes and, if it is to be verified, leaves
    sequences apart and gives after several steps at once what it gives step by step.

    Raises:
        ModuleError: no form fits, and the message says why the likeliest one does not; or the model is no function.
    """
    if state is None and not isinstance(model, nn.Module):
        raise ModuleError("a step function needs `state=`, a tensor (B, S) or a structure of tensors")
    own = copied(model, dtype, inputs.device)
    reasons = []
    for form in _forms(model, state is None):
        try:
            found = _tried(own, form, inputs, state, dtype, verify)
        except _Unfit as error:
            reasons.append((form, str(error)))
        except ImpureError as error:
            raise ModuleError(str(error)) from error
        else:
            return found
    raise ModuleError(_explained(model, state, reasons))


def as_handed_over(model: Any, found: Called, dtype: torch.dtype) -> Step:
    """The step of a model in its own precision, on flat states and inputs of the computation's dtype, which it returns."""
    precise = found.structure.like
    own_state = converted(precise, dtype, _device(precise))
    axis = found.structure.axis
    sequences = next(p.shape[axis] for p in flatten(own_state, own_state) if is_phase(p))
    own = replace(found, model=copied(model, None, None), structure=Structure.of(own_state, sequences, axis))
    return lambda state, x: own.step(state.to(dtype), x.to(like(x.dtype, dtype))).to(state.dtype)


def _device(state: Any) -> torch.device:
    return next(p.device for p in flatten(state, state) if is_phase(p))


class _Unfit(Exception):
    """A form does not fit a model."""


def _forms(model: Any, inferred: bool) -> Iterator[Form]:
    """The forms that a model may have, the likeliest first."""
    steps, sequences = [Form(None, 0), Form(None, 1)], [Form(0, 0), Form(0, 1), Form(1, 0), Form(1, 1)]
    if not isinstance(model, nn.Module):
        yield from steps
        return
    inner = _recurrent_parts(model)
    if inner or inferred:
        first = int(any(getattr(part, "batch_first", False) for _, part in inner))
        sequences = [Form(t, a) for t in (first, 1 - first) for a in (1, 0)]
        if not inferred:
            yield from (*sequences[:2], Form(first, 1, lifted=True), *sequences[2:], Form(1 - first, 1, lifted=True), *steps)
            return
        yield from sequences
        return
    yield from (*steps, *sequences)


def _recurrent_parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """torch's recurrent modules inside a module, by name; those take sequences."""
    return [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, nn.RNNBase) or getattr(part, "original_name", "") in ("RNN", "LSTM", "GRU")
    ]


def _tried(
    own: Any, form: Form, given: Tensor, state: Any, dtype: torch.dtype, verify: bool
) -> tuple[Called, list[Tensor], Tensor]:
    """The model in one form; _Unfit if the form does not fit, ModuleError if the model is unfit in any form."""
    try:
        inputs = form.swap(given)
        if state is None:
            return _inferred(own, form, inputs, verify)
        own_state = converted(_lifted(state) if form.lifted else state, dtype, inputs.device)
        structure = Structure.of(own_state, inputs.shape[1], form.axis)
        begin = structure.flat(own_state)
        answer = call(own, form.one(inputs[0].clone()), structure.state(begin))
        found = Called(own, form, structure, _pick(answer, structure, function=not isinstance(own, nn.Module)))
        return found, _fitting(found, begin, structure.flat(found.pick(answer)), inputs, verify), inputs
    except ImpureError:
        raise
    except ModuleError as error:
        raise _Unfit(str(error)) from error


def _lifted(state: Any) -> Any:
    """The state with a leading axis of layers."""
    parts = flatten(state, state)
    if not all(isinstance(p, Tensor) and p.dim() == 2 for p in parts):
        raise ModuleError("the state has layers already")
    return rebuild(state, iter([p[None] for p in parts]))


def _pick(answer: Any, structure: Structure, *, function: bool) -> Callable[[Any], Any]:
    """Which part of a model's answer is the new state: all that a function gives; of a module's, it may follow the output."""
    if structure.fits(answer):
        return lambda a: a
    if isinstance(answer, list | tuple) and not function:
        if len(answer) > 1 and structure.fits(answer[1]):
            return lambda a: a[1]
        if len(answer) > 2 and structure.fits(tuple(answer[1:])):
            return lambda a: tuple(a[1:])
        if len(answer) > 2 and structure.fits(answer[-1]):
            return lambda a: a[-1]
    only = flatten(answer, answer)
    if len(only) == 1 and len(structure.leaves) == 1 and not structure.fits(answer):
        one = replace(structure, like=answer)
        if one.fits(answer):
            return lambda a: rebuild(structure.like, iter(flatten(a, answer)))
    pair = isinstance(answer, list | tuple) and len(answer) == 2 and not function
    structure.flat(answer[1] if pair else answer)  # says what does not fit
    raise ModuleError("the answer holds no new state")


def _fitting(found: Called, begin: Tensor, first: Tensor, inputs: Tensor, verify: bool) -> list[Tensor]:
    """States (B, S) of the first steps, of which the first is known; ModuleError if a form is not the model's."""
    steps = inputs[:STEPS]
    states = [begin, first]
    for x in steps[1:]:
        states.append(found.step(states[-1], x))
    if verify:
        pure(found.step, begin, steps[0], states[1])
        alone(found.step, states[-2], steps[-1])
        if found.form.time is not None and not close(found.sequence(begin, steps), states[-1]):
            raise ModuleError(_NOT_STEPS)
    return states


_NOT_STEPS = (
    "its forward over several steps at once gives another state than over one step at a time, so that the state is not all "
    "that it keeps from one step to the next"
)


def _inferred(own: Any, form: Form, inputs: Tensor, verify: bool) -> tuple[Called, list[Tensor], Tensor]:
    """A model that takes sequences and can be called without a state: it starts from the state after the first input."""
    if len(inputs) < 2:
        raise ModuleError("there are not at least two steps, the first of which makes the state")
    answer = call(own, form.one(inputs[0].clone()))
    if not isinstance(answer, list | tuple) or len(answer) < 2:
        raise ModuleError("it returns no (output, state)")
    reason = ""
    for pick in (lambda a: a[1], lambda a: tuple(a[1:]), lambda a: a[-1]):
        try:
            structure = Structure.of(pick(answer), inputs.shape[1], form.axis)
            found = Called(own, form, structure, pick)
            begin = structure.flat(structure.like).detach()
            states = _fitting(found, begin, found.step(begin, inputs[1]), inputs[1:], verify)
            if not close(structure.flat(pick(call(own, form.swap(inputs[: STEPS + 1]).clone()))), states[-1]):
                raise ModuleError(_NOT_STEPS)
        except ImpureError:
            raise
        except ModuleError as error:
            reason = reason or str(error)
        else:
            return found, states, inputs[1:]
    raise ModuleError(reason)


def _explained(model: Any, state: Any, reasons: list[tuple[Form, str]]) -> str:
    """One sentence on why a model cannot be measured: what the likeliest form fails at, and what would be right."""
    form, reason = reasons[0]
    if not isinstance(model, nn.Module):
        hint = "; call .double() on what the function uses, or set dtype=torch.float32" if "dtype" in reason else ""
        return f"step(state, x) cannot be measured: {reason}{hint}"
    if state is None:
        said = f"the module needs `state=`, a tensor or a structure of tensors, because it cannot be measured without: {reason}"
    else:
        said = f"forward(x, state) cannot be measured with {form}: {reason}"
    inner = [(name, part) for name, part in _recurrent_parts(model) if name]
    return f"{said}; {_advice(*inner[0])}" if inner else said


def _advice(name: str, part: Any) -> str:
    """What to do with a module that holds one of torch's."""
    kind = getattr(part, "original_name", type(part).__name__)
    if part.bidirectional:
        return f"it holds {name}, a bidirectional {kind}, whose state depends on the future of the input"
    shape = f"({part.num_layers}, B, {part.hidden_size})"
    shapes = f"a pair of {shape}" if kind == "LSTM" else shape
    return (
        f"it holds {name}, {kind}, whose state is {shapes}: hand over that, or the part itself with the inputs that it receives"
    )
