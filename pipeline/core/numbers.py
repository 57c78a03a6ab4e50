"""One check of the numbers that a user hands in."""

import math
import reprlib
from numbers import Real
from typing import Any

import numpy as np

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
