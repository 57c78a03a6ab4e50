"""Recurrent cells, one file per cell; the name of the file is the name of the cell."""

from ..core.registry import get as _get
from ..core.registry import names as _names
from .base.cell import Cell, Params
from .base.stack import Stack

__all__ = ["Cell", "Params", "Stack", "get", "names"]


def names() -> list[str]:
    """Names of all cells."""
    return _names("cells")


def get(name: str) -> type[Cell]:
    """The cell that `cells/<name>.py` defines; ConfigError, listing the existing cells, if there is none."""
    return _get("cells", name, Cell)
