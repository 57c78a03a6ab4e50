"""Training on fresh sequences at every step, as the papers on long memory do it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline import heads
from pipeline.cells import Cell
from pipeline.training.network import Module, Network

WINDOW = 20  # steps over which the loss is averaged before it is called low


@dataclass(frozen=True)
class Learning:
    """How a training went.

    Attributes:
        module: the trained network.
        losses: (steps,) of the mini-batches.
        solved_at: the step from which the mean loss of WINDOW steps was below the mark, None if never.
        seconds: wall time.
    """

    module: Module
    losses: np.ndarray
    solved_at: int | None
    seconds: float


def learn(
    cell: Cell,
    head: str,
    output_size: int,
    sample: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    solved: float = -np.inf,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    clip_norm: float = float("inf"),
) -> Learning:
    """Train for `steps` mini-batches, or until the loss stays below `solved`.

    Args:
        cell: the recurrent cell.
        head: name of the head.
        output_size: O.
        sample: generator -> inputs (T, B, I) and targets of a fresh mini-batch.
        loss: of the head's answer and the targets.
        steps: mini-batches at the most.
        learning_rate: a cell's own `rates` multiply it.
        seed: of parameters and data.
        solved: loss below which the task counts as solved.
        optimiser: takes groups of parameters.
        clip_norm: largest norm of a gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = sample(generator)
    module = Network(cell, heads.get(head)(cell.output_size, output_size, len(inputs))).init(generator)
    descent = optimiser(module.groups(learning_rate))
    losses: list[float] = []
    solved_at, begin = None, time.perf_counter()
    while len(losses) < steps and solved_at is None:
        descent.zero_grad()
        value = loss(module(inputs), targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
        losses.append(value.item())
        if not np.isfinite(losses[-1]):
            break
        descent.step()
        if len(losses) >= WINDOW and np.mean(losses[-WINDOW:]) < solved:
            solved_at = len(losses)
        inputs, targets = sample(generator)
    return Learning(module, np.array(losses), solved_at, time.perf_counter() - begin)
