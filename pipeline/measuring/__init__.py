"""Early measurements of a network that is about to be trained, or trained further: one file each; the folder is the registry.

The files hold formulas in NumPy; `base/probe.py` runs the network for them. They need no torch when they are imported, so
that stages after the measurements start without it.
"""

from functools import cache

from ..core.columns import Column
from ..core.registry import get as _get
from ..core.registry import names as _names
from .base.measurement import Measurement

__all__ = ["Measurement", "columns", "get", "names"]


def names() -> list[str]:
    """Names of all measurements."""
    return _names("measuring")


def get(name: str) -> Measurement:
    """The measurement that `measuring/<name>.py` defines."""
    return _get("measuring", name, Measurement)()


@cache
def columns() -> dict[str, Column]:
    """All columns that the measurements give, by their names, in the order of the files."""
    return {column: meaning for name in names() for column, meaning in get(name).columns.items()}
