"""Models that are called: how a module or function takes its input and state, found out by calling it."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ModuleError, first_line
from .copies import copied
from .states import Structure, converted, flatten, is_phase, like, rebuild
from .tangent import Step
from .verify import STEPS, ImpureError, alone, close, pure

# Largest relative difference between states after many steps that rounding explains, while it grows by at most 12 nats.
GROWN_TOGETHER = 1e-4


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

    def check_sequence(self, state: Tensor, inputs: Tensor, new: Tensor | None) -> None:
        """ModuleError if a sequence of inputs (T, B, ...) at once leads to another state (B, S) than it did step by step."""
        if new is not None and not close(self.sequence(state, inputs), new, GROWN_TOGETHER):
            raise ModuleError(_NOT_STEPS)

    def after(self, x: Tensor, state: Tensor) -> Tensor:
        """The flat state after a call with x as the model takes it."""
        new = self.structure.flat(self.pick(call(self.model, x, self.structure.state(state))))
        if len(new) != len(state):
            raise ModuleError(f"the step should keep the state's shape: it gives {len(new)} sequences for {len(state)}")
        return new


def call(model: Any, x: Tensor, *state: Any) -> Any:
    """What a module gives for (x, state), or a function for (state, x); ModuleError if the call fails."""
    try:
        return model(x, *state) if isinstance(model, nn.Module) else model(*state, x)
    except Exception as error:
        if isinstance(error, ModuleError):
            raise
        reason = first_line(error).rstrip(".")
        raise ModuleError(f"{reason} ({type(error).__name__})") from error


def called(model: Any, inputs: Tensor, state: Any, dtype: torch.dtype, *, verify: bool) -> tuple[Called, list[Tensor], Tensor]:
    """The model in the form in which it can be called, the flat states (B, S) of its first steps, and its inputs (T, B, ...).

    The forms are tried in turn. The right one keeps the state's structure and shapes and, if it is to be verified, leaves
    sequences apart and gives after several steps at once what it gives step by step.

    Raises:
        ModuleError: no form fits, and the message says why the likeliest one does not; or the model is no function.
    """
    _check_order(model)
    if state is None and not isinstance(model, nn.Module):
        raise ModuleError("a step function needs `state=`, a tensor (B, S) or a structure of tensors")
    fresh = partial(copied, model, dtype, inputs.device)
    generator, forms = torch.get_rng_state(), list(_forms(model, inferred=state is None))
    # all forms on one copy first; since a call that fails may leave traces on it, then each on a copy of its own
    for copies in (repeat(fresh(), len(forms)), (fresh() for _ in forms)):
        failures: list[tuple[Form, _Unfit]] = []
        for form, scratch in zip(forms, copies, strict=True):
            if form.time is None and any(failure.stage == MIXED for _, failure in failures):
                break  # it takes sequences; called with a step, torch's cells inside it may end the process
            try:
                return _tried(scratch, fresh, form, inputs, state, dtype, verify)
            except _Unfit as failure:
                failures.append((form, failure))
            except ImpureError as error:
                torch.set_rng_state(generator)
                raise ModuleError(str(error)) from error
    torch.set_rng_state(generator)
    raise ModuleError(_explained(model, state, failures))


INPUT_NAMES = {"x", "xs", "input", "inputs", "inp", "input_", "token", "tokens"}
STATE_NAMES = {"h", "hx", "h0", "hidden", "state", "states", "carry", "s"}


def _check_order(model: Any) -> None:
    """ModuleError if the names of a model's first two parameters say that it takes them in the other order."""
    try:
        parameters = list(inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters)
    except (TypeError, ValueError, AttributeError):
        return
    first, second = (*parameters[:2], "", "")[:2]
    if isinstance(model, nn.Module) and first in STATE_NAMES and second in INPUT_NAMES:
        raise ModuleError(
            f"forward takes {first} before {second}; it should be forward(x, state): hand over lambda s, x: model(s, x)"
        )
    if not isinstance(model, nn.Module) and first in INPUT_NAMES and second in STATE_NAMES:
        raise ModuleError(f"the function takes {first} before {second}; a step function takes the state first: step(state, x)")


def as_handed_over(model: Any, found: Called, dtype: torch.dtype) -> Step:
    """The step of a model in its own precision, on flat states and inputs of the computation's dtype, which it returns."""
    precise = found.structure.like
    own_state = converted(precise, dtype, _device(precise))
    leaves = [leaf and replace(leaf, dtype=like(leaf.dtype, dtype)) for leaf in found.structure.leaves]
    own = replace(found, model=copied(model, None, None), structure=Structure(own_state, tuple(leaves)))
    return lambda state, x: own.step(state.to(dtype), x.to(like(x.dtype, dtype))).to(state.dtype)


def _device(state: Any) -> torch.device:
    return next(p.device for p in flatten(state, state) if is_phase(p))


class _Mixed(ModuleError):
    """A model takes sequences, but mixes them."""


MIXED = 4  # the stage of a trial that ends so


class _Unfit(Exception):
    """A form does not fit a model; `stage` says how far the trial came."""

    def __init__(self, reason: str, stage: int) -> None:
        super().__init__(reason)
        self.stage = stage


def _forms(model: Any, *, inferred: bool) -> Iterator[Form]:
    """The forms that a model may have, in the order in which they are tried.

    Sequences come first: a sequence may pass for a step, whereas a step does not pass for a sequence.
    """
    if isinstance(model, nn.Module):
        inner = _recurrent_parts(model)
        first = int(any(getattr(part, "batch_first", False) for _, part in inner))
        for time in (first, 1 - first):
            yield from (Form(time, 1), Form(time, 0)) if inner else (Form(time, 0), Form(time, 1))
            if inner and not inferred:
                yield Form(time, 1, lifted=True)
    if not inferred:
        yield from (Form(None, 0), Form(None, 1))


def is_fused(model: Any) -> bool:
    """Whether a model holds modules of torch, which compute a sequence much faster than its steps."""
    return isinstance(model, nn.Module) and bool(_recurrent_parts(model))


def _recurrent_parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """torch's recurrent modules inside a module, by name; those take sequences."""
    return [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, nn.RNNBase) or getattr(part, "original_name", "") in ("RNN", "LSTM", "GRU")
    ]


def _tried(
    scratch: Any, fresh: Callable[[], Any], form: Form, given: Tensor, state: Any, dtype: torch.dtype, verify: bool
) -> tuple[Called, list[Tensor], Tensor]:
    """The model in one form, which is first tried on a scratch copy.

    Raises:
        _Unfit: the form does not fit.
        ImpureError: the model is no function in any form.
    """
    stage = 0
    try:
        inputs = form.swap(given)
        if state is None:
            return _inferred(scratch, fresh, form, inputs, verify)
        own_state = converted(_lifted(state) if form.lifted else state, dtype, inputs.device)
        structure = Structure.of(own_state, inputs.shape[1], form.axis)
        begin, stage = structure.flat(own_state), 1
        answer, stage = call(scratch, form.one(inputs[0].clone()), structure.state(begin)), 2
        pick, stage = _pick(answer, structure, function=not isinstance(scratch, nn.Module)), 3
        found = Called(fresh(), form, structure, pick)
        return found, _fitting(found, begin, inputs, verify, structure.flat(pick(answer))), inputs
    except ImpureError:
        raise
    except ModuleError as error:
        raise _Unfit(str(error), MIXED if isinstance(error, _Mixed) else stage) from error


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
    if isinstance(answer, list | tuple) and len(answer) > 1 and not function:
        picks: list[Callable[[Any], Any]] = [lambda a: a[1]]
        if len(answer) > 2:
            picks += [lambda a: tuple(a[1:]), lambda a: tuple(a[:-1]), lambda a: a[-1]]
        fitting = [pick for pick in picks if structure.fits(pick(answer))]
        if len(fitting) > 1:
            raise ModuleError(
                f"more than one part of the {len(answer)} that it returns could be the new state; return (output, state)"
            )
        if fitting:
            return fitting[0]
    only = flatten(answer, answer)
    if len(only) == 1 and len(structure.leaves) == 1:
        one = replace(structure, like=answer)
        if one.fits(answer):
            return lambda a: rebuild(structure.like, iter(flatten(a, answer)))
    pair = isinstance(answer, list | tuple) and len(answer) == 2 and not function
    structure.flat(answer[1] if pair else answer)  # says what does not fit
    raise ModuleError("the answer holds no new state")


def _fitting(found: Called, begin: Tensor, inputs: Tensor, verify: bool, first: Tensor | None = None) -> list[Tensor]:
    """States (B, S) of the first steps; ModuleError if a form is not the model's: sequences mix, or a sequence is no steps.

    `first` is the state after the first step by an earlier call, if there was one.
    """
    steps = inputs[:STEPS]
    states = [begin]
    for x in steps:
        states.append(found.step(states[-1], x))
    if verify:
        pure(found.step, begin, steps[0], states[1] if first is None else first)
    sequence = found.form.time is not None
    if sequence and not close(found.sequence(begin, steps), states[-1]):
        raise ModuleError(_NOT_STEPS)
    if verify:
        try:
            alone(found.step, states[-2], steps[-1], states[-1])
        except ModuleError as error:
            if sequence and len(steps) > 1:
                raise _Mixed(str(error)) from error
            raise
    return states


_NOT_STEPS = (
    "its forward over several steps at once gives another state than over one step at a time, so that the state is not all "
    "that it keeps from one step to the next"
)


def _inferred(
    scratch: Any, fresh: Callable[[], Any], form: Form, inputs: Tensor, verify: bool
) -> tuple[Called, list[Tensor], Tensor]:
    """A model that takes sequences and can be called without a state: it starts from the state after the first input."""
    if len(inputs) < 2:
        raise ModuleError("there are not at least two steps, the first of which makes the state")
    answer = call(scratch, form.one(inputs[0].clone()))
    if not isinstance(answer, list | tuple) or len(answer) < 2:
        raise ModuleError("it returns no (output, state)")
    reason = ""
    for pick in (lambda a: a[1], lambda a: tuple(a[1:]), lambda a: a[-1]):
        try:
            structure = Structure.of(pick(answer), inputs.shape[1], form.axis)
            found = Called(fresh(), form, structure, pick)
            states = _fitting(found, structure.flat(structure.like).detach(), inputs[1:], verify)
            if not close(structure.flat(pick(call(found.model, form.swap(inputs[: STEPS + 1]).clone()))), states[-1]):
                raise ModuleError(_NOT_STEPS)
        except ImpureError:
            raise
        except ModuleError as error:
            reason = reason or str(error)
        else:
            return found, states, inputs[1:]
    raise ModuleError(reason)


def _explained(model: Any, state: Any, failures: list[tuple[Form, _Unfit]]) -> str:
    """One sentence on why a model cannot be measured: what the form that came farthest failed at, and what would be right.

    Of forms that came equally far it is one of a step, unless the module holds one of torch's, which take sequences.
    """
    steps_first = not (isinstance(model, nn.Module) and _recurrent_parts(model))
    form, failure = max(failures, key=lambda pair: (pair[1].stage, steps_first and pair[0].time is None))
    reason = str(failure)
    if not isinstance(model, nn.Module):
        hint = "; call .double() on what the function uses, or set dtype=torch.float32" if "dtype" in reason else ""
        return f"step(state, x) cannot be measured: {reason}{hint}"
    if "dtype" in reason or "scalar type" in reason:
        reason += " - what the module holds outside of its parameters and buffers should be float64, or set dtype=torch.float32"
    if state is None:
        said = (
            "the module needs `state=`, a tensor or a structure of tensors; only a module that takes sequences can be measured "
            f"without, and this one cannot be called as such: {reason}"
        )
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
