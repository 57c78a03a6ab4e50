"""How a model's inputs, targets and answers are laid out, and what enters its recurrent part."""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import AlignmentWarning, ModuleError, RoundingWarning, first_line
from ..measuring.base.checks import refusing
from ..predictor.features import LEADING
from ..spectrum import Spectrum, leading_spectrum

STEPS, TRANSIENT = 30, 10  # of the two sequences of a spectrum; docs/short_spectra.md shows that this is enough


@dataclass(frozen=True)
class Layout:
    """The order of the axes.

    Attributes:
        every_step: whether there is an answer at each step.
        batch_first: whether the batch comes first in inputs, and in targets and answers at every step.
        answers: of a few sequences.
    """

    every_step: bool
    batch_first: bool
    answers: Tensor

    @property
    def axes(self) -> int:
        """Number of axes before those of one answer."""
        return 2 if self.every_step else 1


@dataclass(frozen=True)
class Entered:
    """What enters a recurrent part: its inputs, and the state if the model passes one."""

    inputs: Tensor
    state: Any


def copied(model: nn.Module, recurrent: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A copy of a model in evaluation mode, and the recurrent part of the copy."""
    with refusing("the model cannot be copied"):
        own, part = copy.deepcopy((model, recurrent))
    return own.eval(), part


def layout_of(
    model: nn.Module,
    recurrent: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    every_step: bool | None,
    batch_first: bool | None,
) -> Layout:
    """The layout that fits the shapes of targets and answers, and the axis along which the recurrent part has sequences.

    Args:
        model: a copy of the model, in evaluation mode.
        recurrent: its recurrent part.
        inputs: sequences, (T, B, ...) or (B, T, ...).
        targets: theirs.
        every_step: if it is known.
        batch_first: if it is known.

    Raises:
        ModuleError: the layout is ambiguous, or none fits.
    """
    _check(inputs, targets, every_step=every_step, batch_first=batch_first)
    found: list[Layout] = []
    failures: list[Exception] = []
    orders = (False, True) if batch_first is None else (bool(batch_first),)
    for first in orders:
        try:
            found += _fitting(model, recurrent, inputs, targets, first)
        except Exception as error:  # the model does not run on this layout
            failures.append(error)
    found = [one for one in found if every_step is None or one.every_step == bool(every_step)]
    if not found:
        raise _misfit(inputs, targets, failures, ran=len(failures) < len(orders))
    for name in ("batch_first", "every_step"):
        if len({getattr(one, name) for one in found}) > 1:
            raise ModuleError(f"the shapes of inputs, targets and answers leave open what {name} is; give {name}=True or False")
    return found[0]


def _misfit(inputs: Tensor, targets: Tensor, failures: list[Exception], *, ran: bool) -> ModuleError:
    """Why no layout fits: a refusal of this library, what the model raised, or the shapes."""
    refusal = next((failure for failure in failures if isinstance(failure, ModuleError)), None)
    if refusal is not None:
        return refusal
    raised = f"the model raised: {first_line(failures[0]).rstrip('.')}; " if failures else ""
    if not ran:
        return ModuleError(f"the model does not run on inputs of the shape {tuple(inputs.shape)}; {raised}see batch_first=")
    return ModuleError(
        f"inputs of the shape {tuple(inputs.shape)}, targets of {tuple(targets.shape)} and the model's answers do not fit "
        f"together as one target per sequence or per step; {raised}see batch_first= and every_step="
    )


def _check(inputs: Tensor, targets: Tensor, **flags: Any) -> None:
    """ModuleError if a flag is no truth value, or the tensors have too few axes."""
    for name, flag in flags.items():
        if not isinstance(flag, bool | None):
            raise ModuleError(f"{name} is {flag!r}; it should be True or False")
    if inputs.dim() < 2 or not targets.dim():
        raise ModuleError("inputs should be (T, B, ...) or (B, T, ...), and targets one per sequence or per step")


def _fitting(model: nn.Module, recurrent: nn.Module, inputs: Tensor, targets: Tensor, first: bool) -> Iterator[Layout]:
    """The layouts with this place of the batch that fit."""
    steps, sequences = inputs.shape[:2][:: -1 if first else 1]
    count = 3 if steps != 3 else 4  # unlike steps, so that no axis passes for another
    if sequences < count:
        return
    few = inputs[:count] if first else inputs[:, :count]
    answers, entered = run(model, recurrent, few)
    begins = getattr(recurrent, "batch_first", None)
    if begins is not None and entered.inputs.shape[0 if begins else 1] != count:
        return
    each = ((count, steps), (sequences, steps)) if first else ((steps, count), (steps, sequences))
    at_steps = answers.shape[:2] == each[0] and targets.shape[:2] == each[1]
    if at_steps:
        yield Layout(True, first, answers)
    elif targets.shape[:2] == each[1] and steps in answers.shape[2:]:  # a target per step, and the steps of the answers last
        return
    clear = at_steps and (answers.dim() > 2 or not targets.is_floating_point())
    if answers.shape[0] == count and targets.shape[0] == sequences and not clear:
        yield Layout(False, first, answers)


def run(model: nn.Module, recurrent: nn.Module, inputs: Tensor) -> tuple[Tensor, Entered]:
    """A model's answers, and what entered its recurrent part. Both should be a copy: hooks are set on it.

    Raises:
        ModuleError: the model answers with something else than a tensor, or runs the part not once, or with other arguments.
    """
    calls: list[Entered] = []

    def enter(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        given = [*args, *options.values()]
        if not given or not isinstance(given[0], Tensor) or len(given) > 2:
            found = type(given[0]).__name__ if given and len(given) <= 2 else f"{len(given)} arguments"
            raise ModuleError(
                f"the recurrent part should be called with a tensor of inputs and, if at all, a state, found {found}"
            )
        calls.append(Entered(given[0], given[1] if len(given) == 2 else None))

    handle = recurrent.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        with torch.no_grad():
            answers = model(inputs)
    finally:
        handle.remove()
    if len(calls) != 1:
        found = "runs its recurrent part more than once" if calls else "does not run its recurrent part"
        raise ModuleError(f"the model {found}; give a part that it runs once, for all steps")
    if not isinstance(answers, Tensor) or not answers.dim():
        raise ModuleError(f"the model should return its answers alone, a tensor, found {type(answers).__name__}")
    return answers, calls[0]


def short_spectrum(model: nn.Module, recurrent: nn.Module, inputs: Tensor, *, batch_first: bool) -> Spectrum:
    """The leading exponents of a model's recurrent part, driven by what enters it for two of the inputs.

    Args:
        model: a copy of the model, in evaluation mode.
        recurrent: its recurrent part.
        inputs: two sequences, as the model takes them.
        batch_first: the order of the recurrent part's axes, if it has no attribute of this name.
    """
    _, entered = run(model, recurrent, inputs)
    first = bool(getattr(recurrent, "batch_first", batch_first))
    steps = entered.inputs.shape[1 if first else 0]
    driving = entered.inputs.narrow(1 if first else 0, 0, min(steps, STEPS))
    with warnings.catch_warnings():
        for kind in (AlignmentWarning, RoundingWarning):  # short on purpose, and far more exact than the predictor needs
            warnings.simplefilter("ignore", kind)
        found = leading_spectrum(
            recurrent, driving, LEADING, state=entered.state, transient=TRANSIENT if steps >= STEPS else None
        )
    if len(found.per_sequence) != len(inputs if batch_first else inputs[0]):
        raise ModuleError("the axes of the recurrent part's inputs cannot be told apart; give it an attribute batch_first")
    return found
