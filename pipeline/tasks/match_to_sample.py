"""Delayed match to sample: whether the last symbol equals the first one (Blough 1959; for networks, Yang et al. 2019)."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.classification import Classification
from .base.task import Splits, deal

SYMBOLS = 2  # each is one channel
SHOWN = 3  # steps for which each symbol is shown
NOISE = 0.5  # standard deviation, at all steps and channels
FORMS = {  # steps, shortest and longest delay; numbers of training, validation and test sequences
    "packaged": (20, 1, 14, (3500, 500, 500)),
    "long": (50, 3, 44, (3500, 500, 500)),
    "full": (100, 20, 94, (20_000, 1000, 1000)),
}


class MatchToSample(Classification):
    """A sample for three steps, a delay of 1 to 14 steps, and a probe for the last three steps, all in noise.

    Half of the probes match. An observer that knows when the sample was shown, and compares the channels over its three steps,
    is right in 0.986 of all sequences.
    """

    title: ClassVar = "Delayed match to sample"
    description: ClassVar = (
        "The input channels are noise, except that one of them is raised for three steps and one of them for the last three "
        "steps; the network must say whether it was the same one."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 25
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs (T, N, 2), float32, and targets (N,), 1 for a match."""
        steps, shortest, longest, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, (shortest, longest), np.random.default_rng(seed)), counts)
        notes = {"shortest_delay": shortest, "longest_delay": longest}
        return Splits(arrays, SYMBOLS, 2, "generated from the seed", "none needed", notes)


def sequences(
    count: int, steps: int, delays: tuple[int, int], random: Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Inputs (steps, count, 2) and answers (count,).

    The number of steps between the sample and the probe is uniform between the two `delays`.
    """
    sample = random.integers(0, SYMBOLS, count)
    matches = random.integers(0, 2, count, np.uint8)
    probe = np.where(matches, sample, 1 - sample)
    inputs = NOISE * random.standard_normal((steps, count, SYMBOLS), np.float32)
    first = steps - 2 * SHOWN - random.integers(delays[0], delays[1] + 1, count)
    for t in range(SHOWN):
        inputs[first + t, np.arange(count), sample] += 1
        inputs[t - SHOWN, np.arange(count), probe] += 1
    return inputs, matches
