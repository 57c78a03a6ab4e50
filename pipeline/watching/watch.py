"""The entry to a training that is watched."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..predictor import StabilityPredictor
from .training import training_of
from .watched import Watch


def watch(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    budget: int,
    batch_size: int | None = None,
    updates_per_epoch: int | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    chance: float | None = None,
    recurrent: nn.Module | None = None,
    every_step: bool | None = None,
    batch_first: bool | None = None,
    clip_norm: float = 0.0,
    task: str | None = None,
    predictor: StabilityPredictor | None = None,
    **hyper_parameters: Any,
) -> "Watch":
    """Watch a training: verdicts on whether it will succeed, from `before()` and, as it goes on, `epoch(losses)`.

    Model, optimiser, modes, gradients and random numbers stay as they are. Learning rate, weight decay and kind of optimiser
    are read from the parameter group of the recurrent part, the sizes and the scale of the recurrent weights from the model,
    and dropout from its largest torch.nn.Dropout.

    Args:
        model: inputs -> answers, one per sequence or one per step; about to be trained.
        inputs: training sequences, all or about 500, (T, B, ...) or (B, T, ...); tokens may be integers.
        targets: their targets, one per sequence or one per step; integers are classes.
        loss: answers, targets -> loss, a mean over sequences.
        optimizer: of all parameters that are not frozen.
        budget: epochs of the whole training.
        batch_size: sequences per mini-batch, 50 by default.
        updates_per_epoch: mini-batches per epoch; by default as many as the sequences that are handed over make.
        validation: inputs and targets; the loss after the first epoch is the mean of at most 500 of them. Training sequences
            by default.
        chance: loss of the best answer that ignores the input; that of the best constant answer to `targets` by default.
        recurrent: the recurrent part; by default the only torch.nn.RNN, LSTM or GRU of the model.
        every_step: whether there is an answer at each step; by default as the shapes say.
        batch_first: whether the batch comes first in inputs; by default as the shapes and the recurrent part say.
        clip_norm: largest norm of a gradient, 0 for no clipping.
        task: a name for the task, so that own trials of it count.
        predictor: that is asked; by default the one that comes with the library.
        **hyper_parameters: by the names of `network_inputs`, such as `head` and `initialisation`, and any that should not be
            what was read.

    Raises:
        ModuleError: an argument is not as above, or what was left out cannot be found; one sentence says what would be right.
    """
    begin = time.perf_counter()
    training = training_of(
        model,
        inputs,
        targets,
        loss=loss,
        optimizer=optimizer,
        budget=budget,
        batch_size=batch_size,
        updates_per_epoch=updates_per_epoch,
        validation=validation,
        chance=chance,
        recurrent=recurrent,
        every_step=every_step,
        batch_first=batch_first,
        clip_norm=clip_norm,
        task=task,
        predictor=predictor,
        **hyper_parameters,
    )
    return Watch(training, seconds=time.perf_counter() - begin)
