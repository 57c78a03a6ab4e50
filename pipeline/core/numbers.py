"""One check of the numbers that a user hands in, and means and logarithms of what was measured."""

import math
import reprlib
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModuleError


def shown(value: Any) -> str:
    """A value in one short line, for a sentence."""
    return " ".join(reprlib.repr(value).split())


def number(name: str, value: Any, *, least: float = -math.inf) -> float:
    """A number as a float, also of NumPy or a tensor of no dimension; NaN and infinity pass.

    Raises:
        ModuleError: it is something else, such as text or a truth value, or below `least`.
    """
    try:
        plain = value.item() if getattr(value, "ndim", None) == 0 and not np.ma.is_masked(value) else value
        if isinstance(plain, bool) or not isinstance(plain, Real):
            raise TypeError
        found = float(plain)
    except (TypeError, RuntimeError, OverflowError):  # a tensor without data, or an integer beyond the floats
        raise ModuleError(f"{name} is {shown(value)}; it should be a number") from None
    if found < least:
        raise ModuleError(f"{name} is {found:g}; it should be at least {least:g}")
    return found


def count(name: str, value: Any) -> int:
    """A whole number above 0; ModuleError if it is something else."""
    plain = number(name, value)
    if not plain >= 1 or not plain.is_integer():
        raise ModuleError(f"{name} is {plain:g}; it should be a whole number above 0")
    return int(plain)


def finite_mean(per_sequence: NDArray[np.float64], *, floor: float = -np.inf) -> NDArray[np.float64]:
    """Mean (S,) of exponents (B, S) over the sequences without NaN; NaN if there are none.

    Exponents below the floor count as the floor.
    """
    rows = np.maximum(per_sequence, floor)
    rows = rows[~np.isnan(rows).any(axis=1)]
    return rows.mean(axis=0) if len(rows) else np.full(per_sequence.shape[1], np.nan)


def finite_or_none(value: float) -> float | None:
    """The number, or None where JSON could not hold it."""
    return float(value) if np.isfinite(value) else None
