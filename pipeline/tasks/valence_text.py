"""Sentiment of synthetic text, made like Aitken et al. 2020's: words with a valence, the sign of their sum is asked for."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from ._task import Splits, Task, accuracy, classification_loss, deal, log_frequencies

VALENCES = np.repeat(np.array([1, -1, 0]), (20, 20, 60))  # of the 100 words, numbered from 1; 0 is no word
FORMS = {  # fewest and most words; sequences to train, validate, test
    "packaged": (30, 30, (3500, 500, 500)),
    "full": (10, 50, (20_000, 1000, 1000)),
}


class ValenceText(Task):
    """Texts of 30 words, or of 10 to 50.

    Bag of words solves it by construction, as the sum of valences knows no order: the task asks whether a network can count,
    and how it does so is known (a line of slow points), not whether it reads better than a linear model.
    """

    title: ClassVar = "Sentiment of synthetic text"
    description: ClassVar = (
        "Words go in, each good, bad or neutral; whether there were more good or more bad ones is asked for at the end."
    )
    head: ClassVar = "last"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 50

    def load(self, size: str, seed: int) -> Splits:
        """Numbers of words (T, N), and labels (N,), 1 for good."""
        fewest, most, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), fewest, most, np.random.default_rng(seed)), counts)
        return Splits(arrays, len(VALENCES), 2, "generated from the seed", "none needed", {"valences": VALENCES.tolist()})

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of words (T, B); zeros where there is none."""
        return one_hot(inputs.long(), input_size + 1)[..., 1:].to(torch.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of texts judged right."""
        return accuracy(outputs, targets)

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies of the labels."""
        return log_frequencies(targets, output_size)


def sequences(count: int, fewest: int, most: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Words (most, count) and labels (count,), uint8; shorter texts begin later, after zeros, and so end at the last step.

    Words and lengths are uniform, but a text whose valences sum to 0 is drawn again, length and all.
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
