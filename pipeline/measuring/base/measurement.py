"""The interface of every measurement."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.columns import Column

if TYPE_CHECKING:  # torch takes a second to import
    from torch import Tensor

    from .probe import Probe

TINY = 1e-30  # smaller squares count as this
DECADES = 12.0  # decimal logarithms are clipped to +- this


class Measurement(ABC):
    """A few numbers about a network at a moment of its training, from a `Probe`."""

    columns: ClassVar[Mapping[str, Column]]  # names of the numbers

    @abstractmethod
    def measure(self, probe: "Probe") -> dict[str, float]:
        """The numbers by the names of `columns`; NaN for what is not defined."""


def log10(value: float) -> float:
    """Decimal logarithm, clipped to +-DECADES; NaN stays."""
    return float(np.log10(np.clip(value, 10.0**-DECADES, 10.0**DECADES)))


def effective_rank(singular_values: NDArray[np.floating]) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli 2007), between 1 and their number; 0 if all are 0."""
    total = singular_values.sum()
    if not total > 0:
        return 0.0
    shares = singular_values[singular_values > 0] / total
    return min(float(np.exp(-(shares * np.log(shares)).sum())), float(len(shares)))  # rounding


def squared_norms(gradients: "Sequence[Tensor]") -> NDArray[np.float64]:
    """|g|^2 of the gradient of each parameter."""
    return np.array([float(g.double().square().sum()) for g in gradients])
