"""What is checked before a user's network is measured: that each argument is what the numbers take it for."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...core.errors import ModuleError, first_line
from .probe import Probe

PRECISE = (torch.float32, torch.float64)
SHARE = 0.5  # of its effect on its own answer that the target of one sequence may have on all others
SAME = 1e-5  # largest difference between the answers of two passes, relative to the largest answer: rounding on a GPU


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever the user's own code, or torch, raises becomes one sentence that begins with `what`."""
    try:
        yield
    except ModuleError:
        raise
    except Exception as error:
        raise ModuleError(f"{what}: {first_line(error).rstrip('.')} ({type(error).__name__})") from error


@contextmanager
def apart(model: nn.Module) -> Iterator[None]:
    """Random numbers drawn inside are not drawn outside; no_grad and inference_mode outside do not count inside.

    Raises:
        ModuleError: torch.autocast is on, whose casts would outlive changes of the weights.
    """
    devices = {p.device for p in model.parameters()}
    if any(torch.is_autocast_enabled(kind) for kind in {"cpu", *(d.type for d in devices)}):
        raise ModuleError(
            "torch.autocast is on; call early_measurements outside of it; that of the training belongs into the model's forward"
        )
    with undrawn([d for d in devices if d.type == "cuda"]), torch.inference_mode(False):
        yield


@contextmanager
def undrawn(devices: Iterable[Any]) -> Iterator[None]:
    """Random numbers drawn inside, from the global generators of torch, NumPy and Python, are not drawn outside.

    Args:
        devices: CUDA devices whose generators count as well.
    """
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002 the generator that others draw from
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def check_data(inputs: Any, targets: Any, *, every_step: bool, batch_first: bool) -> None:
    """ModuleError unless inputs and targets are finite tensors of the same sequences."""
    for name, flag in (("every_step", every_step), ("batch_first", batch_first)):
        if not isinstance(flag, bool | np.bool_):
            raise ModuleError(f"{name} is {flag!r}; it should be True or False")
    check_tensors(inputs, targets)
    _check_layout(inputs, targets, every_step=every_step, batch_first=batch_first)


def check_tensors(inputs: Any, targets: Any) -> None:
    """ModuleError unless inputs and targets are finite tensors."""
    for name, values in (("inputs", inputs), ("targets", targets)):
        if not isinstance(values, Tensor) or values.layout != torch.strided:
            found = values.layout if isinstance(values, Tensor) else type(values).__name__
            raise ModuleError(f"{name} should be a dense tensor, found {found}")
        if values.is_complex() or (values.is_floating_point() and values.dtype not in PRECISE):
            raise ModuleError(f"{name} should be float32, float64 or integers, found {values.dtype}")
        if not values.numel() or not values.isfinite().all():
            found = "NaN or infinite values" if values.numel() else f"the shape {tuple(values.shape)}"
            raise ModuleError(f"{name} should be finite and not empty, found {found}")


def _check_layout(inputs: Tensor, targets: Tensor, *, every_step: bool, batch_first: bool) -> None:
    if inputs.dim() < 2:
        raise ModuleError(
            f"inputs have the shape {tuple(inputs.shape)}; they should be (T, B, ...), or (B, T, ...) with batch_first"
        )
    steps, sequences = inputs.shape[:2][:: -1 if batch_first else 1]
    expected = inputs.shape[:2] if every_step else (sequences,)
    if targets.shape[: len(expected)] != expected:
        raise ModuleError(
            f"the inputs are {sequences} sequences of {steps} steps, but the targets have the shape {tuple(targets.shape)}; see "
            "batch_first= and every_step="
        )


def check_network(model: Any, recurrent: Any, loss: Any, optimiser: Any) -> None:
    """ModuleError unless these are what they should be, and the optimiser trains what is not frozen and a copy can stand for."""
    if not isinstance(model, nn.Module):
        raise ModuleError(f"model should be a torch.nn.Module, found {_type(model)}")
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise ModuleError(f"optimiser should be a torch.optim.Optimizer, found {_type(optimiser)}")
    if recurrent is not None and not isinstance(recurrent, nn.Module):
        raise ModuleError(f"recurrent should be the module itself that is the model's recurrent part, found {_type(recurrent)}")
    if not callable(loss):
        raise ModuleError(f"loss should be a function of answers and targets, found {_type(loss)}")
    _check_modules(model)
    _check_optimiser(model, optimiser)


def _check_modules(model: nn.Module) -> None:
    if any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        raise ModuleError("the model has weights whose shapes are not known yet; call it once first")
    for name, module in model.named_modules():
        seen = getattr(module, "num_batches_tracked", None)
        if isinstance(seen, Tensor) and not seen:
            raise ModuleError(
                f"the running statistics of {name or 'the model'} have seen no data, so that in evaluation it is another network "
                "than in training; run the model on some batches in training mode first"
            )


def _check_optimiser(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    missing = [name for name, p in trained.items() if id(p) not in held]
    if not trained:
        raise ModuleError("all parameters of the model are frozen; there is no training to measure")
    if len(missing) == len(trained):
        raise ModuleError("the optimiser holds no trained parameter of this model; make it of this model's parameters")
    if missing:
        raise ModuleError(
            f"the optimiser does not hold {missing[0]}, one of {len(missing)} such parameters; freeze them, "
            "requires_grad_(False), or hand them to the optimiser"
        )
    for name, p in trained.items():
        if p.dtype not in PRECISE:
            raise ModuleError(f"{name} is {p.dtype}; trained parameters should be float32 or float64")
        if p._backward_hooks or p._post_accumulate_grad_hooks:  # type: ignore[attr-defined]
            raise ModuleError(f"{name} has a gradient hook, which a copy of it loses; remove it, or see clip_norm=")


def check_run(probe: Probe) -> None:
    """ModuleError unless the answers, the states and the loss of a few sequences are what the measurements take them for."""
    task = probe.task
    steps = task.inputs.shape[1 - task.batch_axis]
    count = probe.whole_batch - (probe.whole_batch == steps)  # unlike steps, so that no axis passes for another
    with refusing("the model does not run on inputs"):
        targets, entered, states, answers = probe.passed(count)
        again = probe.passed(count)[-1]
    for what, values in (("get inputs", entered), ("return states", states)):
        _check_recurrent(what, values, count, steps, batch_first=probe.begins_with_batch)
    _check_answers(probe, answers, count, steps)
    if not torch.allclose(answers, again, rtol=0, atol=SAME * _largest(answers), equal_nan=True):
        raise ModuleError(
            "the model answers the same inputs differently from call to call: it draws random numbers, or keeps a state, even "
            "in evaluation mode"
        )
    _check_dependence(probe, answers, entered, steps)
    with refusing("loss does not run on the answers and targets"):
        _check_loss(probe, answers, targets)


def _check_recurrent(what: str, values: Tensor, count: int, steps: int, *, batch_first: bool) -> None:
    expected = (count, steps) if batch_first else (steps, count)
    if values.dim() != 3 or values.shape[:2] != expected:
        form = "(B, T, ...)" if batch_first else "(T, B, ...)"
        raise ModuleError(
            f"the recurrent part should {what} {form}, and with {count} sequences of {steps} steps not {tuple(values.shape)}; "
            "see batch_first= and recurrent="
        )


def _check_answers(probe: Probe, answers: Any, count: int, steps: int) -> None:
    task = probe.task
    if not isinstance(answers, Tensor) or not answers.is_floating_point() or not answers.requires_grad:
        found = f"a tensor of {answers.dtype}, without a gradient" if isinstance(answers, Tensor) else _type(answers)
        raise ModuleError(f"the model should return its answers alone, a tensor of real numbers with a gradient, found {found}")
    each = (count, steps) if task.batch_first else (steps, count)
    expected = each if task.every_step else (count,)
    if answers.shape[: len(expected)] != expected:
        form = ("(B, T, ...)" if task.batch_first else "(T, B, ...)") if task.every_step else "(B, ...)"
        raise ModuleError(
            f"the answers to {count} sequences of {steps} steps have the shape {tuple(answers.shape)}; they should be {form}, "
            "and loss should take that; see every_step= and batch_first="
        )
    _check_counted(task.targets, probe, steps)
    _check_classes(task.targets, (answers[0, 0] if task.every_step else answers[0]).numel())


def _check_counted(targets: Tensor, probe: Probe, steps: int) -> None:
    """At every step, some of the sequences that are run have a target that counts at the last one: no negative integer."""
    if targets.is_floating_point() or not probe.task.every_step:
        return
    last = probe.targets.select(1 - probe.task.batch_axis, steps - 1)
    if (last < 0).all():
        raise ModuleError(
            "the targets of the last step are negative, so that they do not count; hand over sequences that are not padded, or "
            "cut them to the length of shorter ones"
        )


def _check_classes(targets: Tensor, outputs: int) -> None:
    largest = 0 if targets.is_floating_point() else int(targets.max())
    if not 0 <= largest <= outputs:  # two classes may have one output
        raise ModuleError(
            f"targets are integers, which count as classes, up to {largest}, but an answer has {outputs} numbers; hand over "
            "targets that are values as floating point numbers, and those that do not count as negative ones"
        )


def _check_dependence(probe: Probe, answers: Tensor, entered: Tensor, steps: int) -> None:
    """Each answer should depend on its own sequence, and without `every_step` on all steps of it."""
    task, own = probe.task, 0 if probe.begins_with_batch else 1
    one = entered.shape[own] // 2  # not the first, which passes for the first step and depends on that alone
    reached = _reaches(answers.select(task.batch_axis if task.every_step else 0, one), entered).transpose(0, own)
    if reached[:one].any() or reached[one + 1 :].any():
        raise ModuleError(
            "the answer to a sequence depends on the other sequences of its batch; see batch_first=, or give batch "
            "normalisation running statistics"
        )
    if not task.every_step and answers.dim() > 1 and answers.shape[1] == steps > 1:
        reached = _reaches(answers[:, 0], entered)
        if reached.any() and not reached.select(1 - own, -1).any():
            raise ModuleError(
                f"the model answers at each step, {tuple(answers.shape)}: set every_step=True, or return the last answer alone"
            )


def _reaches(answers: Tensor, entered: Tensor) -> Tensor:
    """Whether each number that entered changes any of the answers."""
    (gradient,) = torch.autograd.grad(answers.sum(), entered, allow_unused=True, retain_graph=True)
    return torch.zeros_like(entered, dtype=torch.bool) if gradient is None else gradient.nan_to_num(0, 0, 0) != 0


def _check_loss(probe: Probe, answers: Tensor, targets: Tensor) -> None:
    """The loss is a number, a function of answers and targets alone, and a mean: twice the same sequences give the same."""
    axis = probe.task.batch_axis if probe.task.every_step else 0

    def ask(given: Tensor, times: int = 1) -> Any:
        return probe.task.loss(torch.cat([given] * times, axis), torch.cat([targets] * times, axis))

    once = ask(answers)
    if not isinstance(once, Tensor) or once.dim() or not once.is_floating_point() or not once.requires_grad:
        found = f"a tensor {tuple(once.shape)} of {once.dtype}" if isinstance(once, Tensor) else _type(once)
        raise ModuleError(f"loss should be a mean over sequences, a tensor without axes and with a gradient, found {found}")
    once, again, twice = once.detach(), ask(answers.detach()), ask(answers.detach(), 2)
    if again.requires_grad:
        raise ModuleError(
            "loss has a gradient of its own, such as that of a penalty on weights; it should use nothing but answers"
        )
    if not torch.allclose(once, again, rtol=SAME, atol=0, equal_nan=True):
        raise ModuleError(f"loss gives {float(again):g} after {float(once):g} for the same answers; it should not be random")
    if once.isfinite() and not abs(twice - once) < 0.1 * abs(once) + 1e-6:
        raise ModuleError(
            f"loss should be a mean over sequences: it is {float(once):g}, but {float(twice):g} of the same sequences twice"
        )
    _check_pairs(probe, answers, targets)


def _check_pairs(probe: Probe, answers: Tensor, targets: Tensor) -> None:
    """Each answer is compared with its own target, and not with all, as where shapes (B, 1) and (B,) are broadcast.

    Another target of one sequence changes the gradient of its answer, but not those of other answers by as much.
    """
    axis = probe.task.batch_axis if probe.task.every_step else 0
    rows = targets.movedim(axis, 0).reshape(targets.shape[axis], -1)
    unlike = (rows != rows[0]).any(1).nonzero()
    if not len(unlike):
        return
    changed = targets.clone()
    changed.select(axis, 0).copy_(targets.select(axis, int(unlike[0])))
    free = answers.detach().requires_grad_()
    before, after = (torch.autograd.grad(probe.task.loss(free, values), free)[0] for values in (targets, changed))
    moved = (after - before).abs().movedim(axis, 0).reshape(len(rows), -1).amax(1)
    if moved[0] > 0 and moved[1:].min() >= SHARE * moved[0]:
        raise ModuleError(
            f"loss compares each answer with the targets of all sequences: {tuple(answers.shape)} and {tuple(targets.shape)} are "
            "broadcast; give answers and targets the same shape"
        )


def _largest(values: Tensor) -> float:
    return float(values.detach().nan_to_num(0, 0, 0).abs().max())


def _type(value: object) -> str:
    return type(value).__name__
