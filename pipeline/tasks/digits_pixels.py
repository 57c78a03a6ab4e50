"""Small handwritten digits, pixel by pixel: 64 steps of one pixel, then the class (after Le, Jaitly and Hinton 2015)."""

from typing import ClassVar

import numpy as np

from .base.classification import Classification
from .base.task import Splits, deal

COUNTS = (1297, 250, 250)  # numbers of training, validation and test images


class DigitsPixels(Classification):
    """The 1,797 images of 8 by 8 pixels that are part of scikit-learn, for both sizes.

    With batches of 20, an epoch has 65 updates. A linear model of the pixels classifies about 0.97 of them correctly, so a
    network that does not reach this lacks memory, not data.
    """

    title: ClassVar = "Small digits, pixel by pixel"
    description: ClassVar = (
        "The inputs are the 64 pixels of an image, one after the other; the network must name the digit at the end."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 20

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of pixels (64, N, 1), float32 in [0, 1], row after row, and targets of digits (N,)."""
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(digits))
        pixels = (images[order].T[..., None] / 16).astype(np.float32)
        source = "sklearn.datasets.load_digits, 1,797 images of the UCI optical recognition of handwritten digits"
        licence = "UCI: CC BY 4.0; scikit-learn: BSD-3-Clause"
        return Splits(deal(pixels, digits[order].astype(np.uint8), COUNTS), 1, 10, source, licence, {})
