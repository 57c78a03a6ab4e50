"""All early measurements of a user's network in one call."""

from collections.abc import Callable, Collection

import numpy as np
import torch
from numpy.typing import NDArray
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
    only: Collection[str] | None = None,
    dependence: NDArray[np.float64] | None = None,
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
        only: names of the measurements to take, files of `pipeline/measuring`; all by default.
        dependence: w(tau), (T,), how much the targets depend on the input tau steps before, if `measuring.base.lags.lags` has
            found it for these inputs and targets already; it is the same for all networks.

    Raises:
        ModuleError: an argument is not as above, or the model cannot be measured; one sentence says what would be right.
    """
    from .. import get, names

    wanted = _wanted(names(), only)
    batch_size, chance = count("batch_size", batch_size), number("chance", chance)
    clip_norm = number("clip_norm", clip_norm, least=0)
    if clip_norm != clip_norm:
        raise ModuleError("clip_norm is nan; it should be 0 for no clipping, or above")
    check_network(model, recurrent, loss, optimiser)
    recurrent = only_recurrent(model) if recurrent is None else recurrent
    measured: dict[str, float] = {}
    with refusing("the network cannot be measured"), apart(model):
        check_data(inputs, targets, every_step=every_step, batch_first=batch_first)
        inputs, targets = plain(inputs), plain(targets)
        if dependence is None:
            dependence = dependence_on_lags(inputs, targets, every_step=every_step, batch_first=batch_first)
        task = Task(inputs, targets, loss, chance, dependence, every_step, batch_first)
        with refusing("the model and the optimiser cannot be copied"):
            probe = Probe(model, recurrent, optimiser, task, batch_size=batch_size, clip_norm=clip_norm)
        check_run(probe)
        for name in wanted:
            measured |= get(name).measure(probe)
    return measured


def dependence_on_lags(inputs: Tensor, targets: Tensor, *, every_step: bool, batch_first: bool) -> NDArray[np.float64]:
    """w(tau), (T,), of `lags`, for tensors in the layouts of `early_measurements`."""
    series, answers = inputs.detach().cpu(), targets.detach().cpu()
    if batch_first:
        series, answers = series.transpose(0, 1), answers.transpose(0, 1) if every_step else answers
    return lags(series.numpy(), answers.numpy(), every_step=every_step)[0]


def only_recurrent(model: nn.Module) -> nn.Module:
    """The only torch.nn.RNN, LSTM or GRU of a model; ModuleError if there is none, or more than one."""
    found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    if len(found) != 1:
        raise ModuleError(f"the model has {len(found)} modules of type RNN, LSTM or GRU; name its recurrent part: recurrent=")
    return found[0]


def plain(values: Tensor) -> Tensor:
    """Values without a graph, that may enter one."""
    return values.detach().clone() if values.is_inference() else values.detach()


def _wanted(names: list[str], only: Collection[str] | None) -> list[str]:
    """The measurements to take, in their order."""
    if only is None:
        return names
    for name in only:
        if name not in names:
            raise ModuleError(f"there is no measurement {name!r}; there are {', '.join(names)}")
    return [name for name in names if name in only]
