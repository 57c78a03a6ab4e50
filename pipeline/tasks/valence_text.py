"""Sentiment of synthetic text (as in Aitken et al. 2020): words have valences, and the target is the sign of their sum."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from .base.classification import Classification, one_hot_vectors
from .base.task import Splits, deal

VALENCES = np.repeat(np.array([1, -1, 0]), (20, 20, 60))  # valences of the 100 words, numbered from 1; 0 is padding
FORMS = {  # fewest and most words; numbers of training, validation and test sequences
    "packaged": (30, 30, (3500, 500, 500)),
    "long": (75, 75, (3500, 500, 500)),
    "full": (10, 50, (20_000, 1000, 1000)),
}


class ValenceText(Classification):
    """Texts of 30 words, of 75 words in the long form, or of 10 to 50 words in the full one.

    A bag-of-words model solves the task by construction, since the sum of valences does not depend on the order. The task
    tests whether a network can count, which is known to rest on a line of slow points, and not whether it reads better
    than a linear model.
    """

    title: ClassVar = "Sentiment of synthetic text"
    description: ClassVar = (
        "The inputs are words that are positive, negative or neutral; the network must say at the end whether there were more "
        "positive or more negative words."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of word numbers (T, N), and targets of labels (N,), 1 for positive."""
        fewest, most, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), fewest, most, np.random.default_rng(seed)), counts)
        return Splits(arrays, len(VALENCES), 2, "generated from the seed", "none needed", {"valences": VALENCES.tolist()})

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of word numbers (T, B); zeros for padding."""
        return one_hot_vectors(inputs, input_size + 1)[..., 1:]


def sequences(count: int, fewest: int, most: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Words (most, count) and labels (count,), uint8; shorter texts are padded with zeros at the beginning.

    Words and lengths are uniformly distributed, except that a text whose valences sum to 0 is redrawn with its length.
    """
    words, labels = np.zeros((most, 0), np.uint8), np.zeros(0, np.uint8)
    while len(labels) < count:
        drawn = random.integers(1, len(VALENCES) + 1, (most, count), np.uint8)
        starts = most - random.integers(fewest, most + 1, count)
        drawn[np.arange(most)[:, None] < starts] = 0
        sums = np.concatenate([[0], VALENCES])[drawn].sum(0)
        words = np.concatenate([words, drawn[:, sums != 0]], axis=1)
        labels = np.concatenate([labels, (sums[sums != 0] > 0).astype(np.uint8)])
    return words[:, :count], labels[:count]
