"""A wave hidden in noise: only ten steps carry information about the class (for heads with separate weights per step)."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.classification import Classification
from .base.task import Splits, deal

CLASSES, LENGTH = 4, 10  # LENGTH is the number of steps of the wave; classes 0 to 3 have 1 to 4 periods
NOISE = 0.5  # standard deviation, at all steps
FORMS = {  # steps, first step of the wave; numbers of training, validation and test sequences
    "packaged": (40, 20, (3500, 500, 500)),
    "long": (80, 50, (3500, 500, 500)),
    "full": (60, 20, (20_000, 1000, 1000)),
}


class PlantedWindow(Classification):
    """Sequences of 40 or 60 steps with the wave at steps 20 to 29, or of 80 steps with the wave at steps 50 to 59.

    The waves of the classes are orthogonal, so comparing the window with each of them is optimal: 0.997 are right.
    """

    title: ClassVar = "Wave planted in noise"
    description: ClassVar = (
        "The input is a noisy signal that contains a wave for ten steps in the middle; the network must name the frequency of "
        "the wave, one of four, at the end."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of signals (T, N, 1), float32, and targets of classes (N,)."""
        steps, begin, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, begin, np.random.default_rng(seed)), counts)
        return Splits(arrays, 1, CLASSES, "generated from the seed", "none needed", {"window": [begin, begin + LENGTH]})


def sequences(count: int, steps: int, begin: int, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Signals (steps, count, 1) and classes (count,); the wave occupies steps `begin` to `begin + 9`."""
    classes = random.integers(0, CLASSES, count, np.uint8)
    signals = NOISE * random.standard_normal((steps, count), np.float32)
    phases = 2 * np.pi * np.arange(LENGTH) / LENGTH
    signals[begin : begin + LENGTH] += np.sin(phases[:, None] * (classes + 1.0))
    return signals[..., None], classes
