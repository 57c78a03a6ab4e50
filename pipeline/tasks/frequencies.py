"""Classifying a noisy sine of random phase and amplitude by its frequency, one of four."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.classification import Classification
from .base.task import Splits, deal

CLASSES = 4
AMPLITUDES = (0.5, 1.5)  # uniform between them
NOISE = 0.5  # standard deviation
FORMS = {  # steps, periods per sequence of class 0; numbers of training, validation and test sequences
    "packaged": (32, 3, (3500, 500, 500)),
    "long": (80, 3, (3500, 500, 500)),
    "full": (160, 3, (20_000, 1000, 1000)),
}


class Frequencies(Classification):
    """Sines with three, four, five or six periods per sequence.

    Sines of different classes are orthogonal whatever their phases. Comparing the powers at the four frequencies is therefore
    optimal.
    """

    title: ClassVar = "Frequency of a sine in noise"
    description: ClassVar = (
        "The input is a sine of random phase and amplitude in noise; the network must say at the end which of four "
        "frequencies it has."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of signals (T, N, 1), float32, and targets of classes (N,); class k has k more periods than class 0."""
        steps, fewest, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, fewest, np.random.default_rng(seed)), counts)
        notes = {"periods": [fewest + k for k in range(CLASSES)]}
        return Splits(arrays, 1, CLASSES, "generated from the seed", "none needed", notes)


def sequences(count: int, steps: int, fewest: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Signals (steps, count, 1), float32, and classes (count,), uint8."""
    classes = random.integers(0, CLASSES, count, np.uint8)
    phases, amplitudes = random.uniform(0, 2 * np.pi, count), random.uniform(*AMPLITUDES, count)
    angles = 2 * np.pi / steps * np.arange(steps)[:, None] * (classes + fewest)
    signals = amplitudes * np.sin(angles + phases) + NOISE * random.standard_normal((steps, count))
    return signals[..., None].astype(np.float32), classes
