"""Parity of the marked ones among random bits."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.classification import Classification
from .base.task import Splits, deal

FORMS = {  # steps, largest number of marks; numbers of training, validation and test sequences
    "packaged": (20, 2, (3500, 500, 500)),
    "long": (50, 3, (3500, 500, 500)),
    "full": (100, 10, (20_000, 1000, 1000)),
}


class MarkedParity(Classification):
    """One or two marked bits among 20, or one to three among 50 in the long form.

    The parity is independent of the other bits if one of the marked ones is unknown. A network that misses one is therefore
    at chance, ln 2; a perfect answer has a loss of 0.
    """

    title: ClassVar = "Parity of marked bits"
    description: ClassVar = (
        "The inputs are random bits, 1 or -1, of which a few are marked; the network must say at the end whether the "
        "number of marked ones is odd."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 25
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of bits and marks (T, N, 2), float32, and targets of parities (N,), 1 for odd."""
        steps, most, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, most, np.random.default_rng(seed)), counts)
        return Splits(arrays, 2, 2, "generated from the seed", "none needed", {"most_marks": most})


def sequences(count: int, steps: int, most: int, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Bits of -1 or 1 with marks 0 or 1, (steps, count, 2), and the parities (count,)."""
    bits = random.integers(0, 2, (steps, count), np.uint8)
    ranks = random.random((steps, count)).argsort(0).argsort(0)  # marks at random, different steps
    marks = ranks < random.integers(1, most + 1, count)
    inputs = np.stack([2 * bits.astype(np.float32) - 1, marks.astype(np.float32)], axis=2)
    return inputs, ((bits * marks).sum(0) % 2).astype(np.uint8)
