"""Small handwritten digits pixel by pixel: 64 steps of one pixel, then the class, after Le, Jaitly and Hinton 2015."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from ._task import Splits, Task, accuracy, classification_loss, deal, log_frequencies

COUNTS = (1297, 250, 250)  # images to train, validate, test


class DigitsPixels(Task):
    """The 1,797 images of 8 by 8 pixels that scikit-learn ships, in both sizes.

    With batches of 20, an epoch is 65 updates. A linear model of the pixels names about .97 right, so a network that does not is
    short of memory, not of data.
    """

    title: ClassVar = "Small digits, pixel by pixel"
    description: ClassVar = "An image's 64 pixels go in one after the other; its digit is asked for at the end."
    head: ClassVar = "last"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 20

    def load(self, size: str, seed: int) -> Splits:
        """Pixels (64, N, 1) float32 in [0, 1], row after row, and digits (N,)."""
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(digits))
        pixels = (images[order].T[..., None] / 16).astype(np.float32)
        source = "sklearn.datasets.load_digits, 1,797 images of the UCI optical recognition of handwritten digits"
        licence = "UCI: CC BY 4.0; scikit-learn: BSD-3-Clause"
        return Splits(deal(pixels, digits[order].astype(np.uint8), COUNTS), 1, 10, source, licence, {})

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return classification_loss(outputs, targets)

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of digits named right."""
        return accuracy(outputs, targets)

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Log frequencies of the digits."""
        return log_frequencies(targets, output_size)
