"""A class's wave planted in noise: ten steps tell the class, the others nothing (for heads that weigh steps)."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ._task import Splits, Task, accuracy, classification_loss, deal, log_frequencies

CLASSES, LENGTH = 4, 10  # steps of the wave; classes 0 to 3 have 1 to 4 periods in them
NOISE = 0.5  # standard deviation, at all steps
FORMS = {  # steps, where the wave begins; sequences to train, validate, test
    "packaged": (40, 20, (3500, 500, 500)),
    "full": (60, 20, (20_000, 1000, 1000)),
}


class PlantedWindow(Task):
    """40 or 60 steps with the wave at 20 to 29.

    The waves of the classes are orthogonal, so who compares the window with each of them does best: .997 right.
    """

    title: ClassVar = "Wave planted in noise"
    description: ClassVar = (
        "A noisy signal goes in; for ten steps in its middle a wave lies under the noise, and which of four frequencies it had "
        "is asked for at the end."
    )
    head: ClassVar = "last"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 50

    def load(self, size: str, seed: int) -> Splits:
        """Signals (T, N, 1) float32 and classes (N,)."""
        steps, begin, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, begin, np.random.default_rng(seed)), counts)
        return Splits(arrays, 1, CLASSES, "generated from the seed", "none needed", {"window": [begin, begin + LENGTH]})

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of waves named right."""
        return accuracy(outputs, targets)

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies of the classes."""
        return log_frequencies(targets, output_size)


def sequences(count: int, steps: int, begin: int, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Signals (steps, count, 1) and classes (count,); the wave lies at steps `begin` to `begin + 9`."""
    classes = random.integers(0, CLASSES, count, np.uint8)
    signals = NOISE * random.standard_normal((steps, count), np.float32)
    phases = 2 * np.pi * np.arange(LENGTH) / LENGTH
    signals[begin : begin + LENGTH] += np.sin(phases[:, None] * (classes + 1.0))
    return signals[..., None], classes
