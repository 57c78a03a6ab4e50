"""Fresh mini-batches of the problems of long memory (Hochreiter and Schmidhuber 1997)."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

COPIED, SYMBOLS = 10, 8  # how many are shown, of how many kinds; blank and marker are two kinds more


def copying(delay: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Inputs (delay + 20, batch, 10), one-hot, and classes (delay + 20, batch) to be named at each step.

    Ten symbols of eight (1 to 8), `delay` blanks (0) and a last blank turned into a marker (9), then ten blanks, while which
    the ten symbols are to be named; blanks before.
    """
    shown = torch.randint(1, SYMBOLS + 1, (COPIED, batch), generator=generator)
    inputs, targets = torch.zeros(2, delay + 2 * COPIED, batch, dtype=torch.long)
    inputs[:COPIED], inputs[COPIED + delay - 1], targets[-COPIED:] = shown, SYMBOLS + 1, shown
    return one_hot(inputs, SYMBOLS + 2).float(), targets


def copying_baseline(delay: int) -> float:
    """Cross-entropy, nats a step, of naming blanks and then guessing."""
    return float(COPIED * torch.tensor(SYMBOLS).log() / (delay + 2 * COPIED))


def adding(steps: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Inputs (steps, batch, 2), numbers of uniform(0, 1) and marks, and targets (batch, 1), the sum of the two marked.

    One mark is in each half. Answering 1 has the mean squared error 1/6.
    """
    numbers, marks = torch.rand(steps, batch, generator=generator), torch.zeros(steps, batch)
    half, every = steps // 2, torch.arange(batch)
    marks[torch.randint(half, (batch,), generator=generator), every] = 1
    marks[torch.randint(half, steps, (batch,), generator=generator), every] = 1
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)[:, None]
