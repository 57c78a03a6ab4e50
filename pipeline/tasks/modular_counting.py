"""Counting modulo three: the remainder of the running sum of digits (a cyclic group, as in Deletang et al. 2023)."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .base.classification import Classification, one_hot_vectors
from .base.task import Splits, deal

MODULUS = 3
FORMS = {  # steps; numbers of training, validation and test sequences
    "packaged": (20, (3500, 500, 500)),
    "long": (50, (3500, 500, 500)),
    "full": (100, (20_000, 1000, 1000)),
}


class ModularCounting(Classification):
    """Running sums of random digits 0, 1 and 2.

    If one of the digits so far is unknown, the answer is independent of the others. A network that has missed a digit is
    therefore at chance, ln 3, from then on; a perfect answer has a loss of 0.
    """

    title: ClassVar = "Counting modulo three"
    description: ClassVar = (
        "The inputs are random digits 0, 1 and 2; at each step, the network must give the remainder of their sum so far when "
        "divided by three."
    )
    head: ClassVar = "every"
    batch_size: ClassVar = 25
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of digits and targets of remainders (T, N), uint8."""
        steps, counts = FORMS[size]
        digits = np.random.default_rng(seed).integers(0, MODULUS, (steps, sum(counts)), np.uint8)
        arrays = deal(digits, remainders(digits), counts)
        return Splits(arrays, MODULUS, MODULUS, "generated from the seed", "none needed", {"modulus": MODULUS})

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of digits (T, B)."""
        return one_hot_vectors(inputs, input_size)


def remainders(digits: NDArray[Any]) -> NDArray[Any]:
    """Running sums of digits (T, N) modulo 3, uint8."""
    return (digits.cumsum(0, dtype=int) % MODULUS).astype(np.uint8)
