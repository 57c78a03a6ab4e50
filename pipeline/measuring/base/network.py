"""All early measurements of a user's network in one call."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...core.errors import ModuleError
from ...core.numbers import count, number
from .checks import apart, check_data, check_network, check_run, refusing
from .lags import lags
from .probe import Probe, Task


def early_measurements(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    chance: float,
    batch_size: int,
    recurrent: nn.Module | None = None,
    every_step: bool = False,
    batch_first: bool = False,
    clip_norm: float = 0.0,
) -> dict[str, float]:
    """Measure a network that is about to be trained, or trained further; the numbers are described in docs/features.md.

    Neither model nor optimiser is changed, and no random number is drawn from torch's global generators. What runs is a copy
    of the model in evaluation mode; its forward hooks run, too.

    Args:
        model: inputs -> answers (B, ...), or (T, B, ...) with `every_step`, (B, T, ...) if also `batch_first`.
        inputs: training sequences, (T, B, ...) or (B, T, ...) with `batch_first`; about 500 are enough.
        targets: their targets, (B, ...) or, with `every_step`, one for each step; integers are classes, and values are floats.
            Of more than 128 classes, the 128 most frequent are told apart where targets are predicted from inputs or states.
        loss: answers, targets -> loss, a mean over sequences.
        optimiser: of all parameters that are not frozen, with the state that it has now.
        chance: loss of the best answer that ignores the input.
        batch_size: sequences per mini-batch.
        recurrent: the recurrent part of the model; by default its only torch.nn.RNN, LSTM or GRU. It takes and returns all
            steps at once, in its own order of axes if it has an attribute `batch_first`, or else in that of the inputs.
        every_step: whether there is an answer at each step.
        batch_first: whether the batch comes first.
        clip_norm: largest norm of a gradient, 0 for no clipping.

    Raises:
        ModuleError: an argument is not as above, or the model cannot be measured; one sentence says what would be right.
    """
    from .. import get, names

    batch_size, chance = count("batch_size", batch_size), number("chance", chance)
    clip_norm = number("clip_norm", clip_norm, least=0)
    if clip_norm != clip_norm:
        raise ModuleError("clip_norm is nan; it should be 0 for no clipping, or above")
    check_network(model, recurrent, loss, optimiser)
    recurrent = _only_recurrent(model) if recurrent is None else recurrent
    measured: dict[str, float] = {}
    with refusing("the network cannot be measured"), apart(model):
        check_data(inputs, targets, every_step=every_step, batch_first=batch_first)
        inputs, targets = _plain(inputs), _plain(targets)
        series, answers = inputs.cpu(), targets.cpu()
        if batch_first:
            series, answers = series.transpose(0, 1), answers.transpose(0, 1) if every_step else answers
        weights, _ = lags(series.numpy(), answers.numpy(), every_step=every_step)
        task = Task(inputs, targets, loss, chance, weights, every_step, batch_first)
        with refusing("the model and the optimiser cannot be copied"):
            probe = Probe(model, recurrent, optimiser, task, batch_size=batch_size, clip_norm=clip_norm)
        check_run(probe)
        for name in names():
            measured |= get(name).measure(probe)
    return measured


def _only_recurrent(model: nn.Module) -> nn.Module:
    found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    if len(found) != 1:
        raise ModuleError(f"the model has {len(found)} modules of type RNN, LSTM or GRU; name its recurrent part: recurrent=")
    return found[0]


def _plain(values: Tensor) -> Tensor:
    """Values without a graph, that may enter one."""
    return values.detach().clone() if values.is_inference() else values.detach()
