"""Early measurements of a network before or during its training: one file each; the folder is the registry.

The files contain formulas in NumPy; `base/probe.py` runs the network for them. Importing them does not import torch, so that
later stages start faster.
"""

from functools import cache

from ..core.columns import Column
from ..core.registry import get as _get
from ..core.registry import names as _names
from .base.measurement import Measurement

__all__ = ["Measurement", "columns", "get", "names"]


@cache
def _all() -> tuple[str, ...]:
    return tuple(_names("measuring"))


def names() -> list[str]:
    """Names of all measurements."""
    return list(_all())


@cache
def get(name: str) -> Measurement:
    """The measurement that `measuring/<name>.py` defines."""
    return _get("measuring", name, Measurement)()


@cache
def columns() -> dict[str, Column]:
    """The columns of all measurements by name, in the order of the files."""
    return {column: meaning for name in names() for column, meaning in get(name).columns.items()}
