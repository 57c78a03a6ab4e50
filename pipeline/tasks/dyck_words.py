"""Nested brackets of two types and bounded depth: which bracket may be closed next (Suzgun et al. 2019; Hewitt et al. 2020)."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from .base.classification import Classification, one_hot_vectors
from .base.task import Splits, deal

TYPES = 2
BRACKETS = "([)]"  # tokens 0 to 3
FORMS = {  # steps, largest depth; numbers of training, validation and test sequences
    "packaged": (40, 6, (3500, 500, 500)),
    "long": (100, 10, (3500, 500, 500)),
    "full": (200, 10, (20_000, 1000, 1000)),
}


class DyckWords(Classification):
    """Prefixes of words of the language Dyck-(2, m) of Hewitt et al. (2020), with m = 6.

    Suzgun et al. (2019) predict the set of all brackets that may come next. In their language, opening brackets are always in
    that set, so that the answer here is only the rest of it: the type of the bracket that may be closed, or none if no
    bracket is open. After an opening bracket, the answer follows from the input; after a closing one, it is the top of a
    stack.
    """

    title: ClassVar = "Nested brackets"
    description: ClassVar = (
        "The inputs are brackets of two types that are opened and closed in nested order; at each step, the network must say "
        "which type may be closed next, or that none is open."
    )
    head: ClassVar = "every"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of bracket numbers (T, N), and targets (T, N): 0 for no open bracket, otherwise 1 + the innermost type."""
        steps, depth, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, depth, np.random.default_rng(seed)), counts)
        notes = {"brackets": BRACKETS, "largest_depth": depth}
        return Splits(arrays, len(BRACKETS), TYPES + 1, "generated from the seed", "none needed", notes)

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of bracket numbers (T, B)."""
        return one_hot_vectors(inputs, input_size)


def sequences(count: int, steps: int, depth: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Brackets and innermost open types (steps, count), uint8.

    At each step, a bracket of a random type is opened with probability 1/2, and otherwise the innermost one is closed. If no
    bracket is open, one is always opened; at the largest depth, none is.
    """
    each = np.arange(count)
    stack, height = np.zeros((depth + 1, count), np.uint8), np.zeros(count, int)  # stack[0] stays 0, the answer outside
    inputs, targets = np.zeros((steps, count), np.uint8), np.zeros((steps, count), np.uint8)
    for t in range(steps):
        types = random.integers(0, TYPES, count, np.uint8)
        opens = ((random.random(count) < 0.5) | (height == 0)) & (height < depth)
        inputs[t] = np.where(opens, types, TYPES + stack[height, each] - 1)
        height += np.where(opens, 1, -1)
        stack[height, each] = np.where(opens, 1 + types, stack[height, each])
        targets[t] = stack[height, each]
    return inputs, targets
