"""Adding two marked numbers (Hochreiter and Schmidhuber 1997, in the form of Le, Jaitly and Hinton 2015)."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from .base.task import Splits, Task, deal

FORMS = {  # steps; numbers of training, validation and test sequences
    "packaged": (40, (3500, 500, 500)),
    "long": (100, (3500, 500, 500)),
    "full": (100, (100_000, 5000, 10_000)),
}


class Adding(Task):
    """Two marked numbers among 40, or among 100 as in the papers; always answering 1 loses 1/6, the variance of the sum."""

    title: ClassVar = "Adding two marked numbers"
    description: ClassVar = (
        "The inputs are random numbers between 0 and 1, of which one in each half is marked; the network must give the sum "
        "of the two marked numbers at the end."
    )
    head: ClassVar = "last"
    metric_name: ClassVar = "share within 0.1"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of numbers and marks (T, N, 2), and targets of sums (N,), float32."""
        steps, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, np.random.default_rng(seed)), counts)
        return Splits(arrays, 2, 1, "generated from the seed", "none needed", {})

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of outputs (B, 1) for sums (B,)."""
        return (outputs[:, 0] - targets).square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of sums with an error below 0.1."""
        return ((outputs[:, 0] - targets).abs() < 0.1).double().mean()

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Mean sum."""
        return targets.mean().reshape(1)


def sequences(count: int, steps: int, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs (steps, count, 2), numbers from uniform(0, 1) with marks 0 or 1; and the sums (count,) of the marked numbers."""
    numbers = random.random((steps, count), np.float32)
    marks = np.zeros_like(numbers)
    each = np.arange(count)
    marks[random.integers(0, steps // 2, count), each] = 1
    marks[random.integers(steps // 2, steps, count), each] = 1
    return np.stack([numbers, marks], axis=2), (numbers * marks).sum(0)
