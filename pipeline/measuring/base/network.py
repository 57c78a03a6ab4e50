"""All early measurements of a user's network in one call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import ModuleError
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

    Neither model nor optimiser is changed, and no random number is drawn from torch's global generators.

    Args:
        model: inputs -> answers.
        inputs: training sequences, (T, B, ...) or (B, T, ...) with `batch_first`; about 500 are enough.
        targets: their targets, (B, ...) or, with `every_step`, one for each step; integers are classes.
        loss: answers, targets -> mean loss.
        optimiser: of the model's parameters, with the state that it has now.
        chance: loss of the best answer that ignores the input.
        batch_size: sequences per mini-batch.
        recurrent: the recurrent part of the model; by default its only torch.nn.RNN, LSTM or GRU.
        every_step: whether there is an answer at each step.
        batch_first: whether the batch comes first.
        clip_norm: largest norm of a gradient, 0 for no clipping.

    Raises:
        ModuleError: the model has no recurrent part, or several, or cannot be measured, or inputs and targets are not of the
            same sequences.
    """
    from .. import get, names

    if recurrent is None:
        found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
        if len(found) != 1:
            raise ModuleError(f"the model has {len(found)} modules of type RNN, LSTM or GRU; name its recurrent part: recurrent=")
        recurrent = found[0]
    _check_layout(inputs, targets, every_step=every_step, batch_first=batch_first)
    plain = inputs.detach().cpu()
    series = (plain.transpose(0, 1) if batch_first else plain).numpy()
    answers = targets.detach().cpu()
    answers = answers.transpose(0, 1) if batch_first and every_step else answers
    if series.ndim == 2:
        series = _one_hot(series)
    weights, _ = lags(series, answers.numpy(), every_step=every_step)
    task = Task(inputs, targets, loss, chance, weights, every_step, batch_first)
    probe = Probe(model, recurrent, optimiser, task, batch_size=batch_size, clip_norm=clip_norm)
    measured: dict[str, float] = {}
    for name in names():
        measured |= get(name).measure(probe)
    return measured


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


def _one_hot(tokens: Any) -> Any:
    """Vectors of token numbers (T, B), of at most 256 different ones."""
    if tokens.dtype.kind not in "iu":
        return tokens[..., None]
    return (tokens[..., None] == sorted(set(tokens.ravel().tolist()))[:256]).astype("float32")
