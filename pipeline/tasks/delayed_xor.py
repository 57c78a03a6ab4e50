"""Exclusive or of two bits that are presented one after the other (Elman 1990), with a random delay between them."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.classification import Classification
from .base.task import Splits, deal

NOISE = 0.5  # standard deviation of the distractors
FORMS = {  # steps, shortest and longest delay; numbers of training, validation and test sequences
    "packaged": (20, 1, 15, (3500, 500, 500)),
    "long": (50, 3, 45, (3500, 500, 500)),
    "full": (100, 20, 90, (20_000, 1000, 1000)),
}


class DelayedXor(Classification):
    """Two marked bits, 1 to 15 steps apart; the second one comes at the last step.

    The answer is independent of each single bit. A network that forgets the first bit is therefore at chance, ln 2; a perfect
    answer has a loss of 0.
    """

    title: ClassVar = "Delayed exclusive or"
    description: ClassVar = (
        "The inputs are random numbers and a mark; two marked steps present bits, 1 or -1, and the network must say at the end "
        "whether the bits differ."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 25
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of numbers and marks (T, N, 2), float32, and targets (N,), 1 if the marked bits differ."""
        steps, shortest, longest, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, (shortest, longest), np.random.default_rng(seed)), counts)
        notes = {"shortest_delay": shortest, "longest_delay": longest}
        return Splits(arrays, 2, 2, "generated from the seed", "none needed", notes)


def sequences(
    count: int, steps: int, delays: tuple[int, int], random: Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Inputs (steps, count, 2) and answers (count,).

    The second bit comes at the last step, and the delay between the bits is uniform between the two `delays`. The numbers at
    all steps without a mark are normally distributed.
    """
    each = np.arange(count)
    bits = random.integers(0, 2, (2, count), np.uint8)
    cues = steps - 1 - random.integers(delays[0], delays[1] + 1, count), np.full(count, steps - 1)
    numbers = NOISE * random.standard_normal((steps, count), np.float32)
    marks = np.zeros_like(numbers)
    for cue, bit in zip(cues, bits, strict=True):
        numbers[cue, each] = 2.0 * bit - 1
        marks[cue, each] = 1
    return np.stack([numbers, marks], axis=2), bits[0] ^ bits[1]
