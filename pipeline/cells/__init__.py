"""One file a recurrent cell; the file's name is the cell's name."""

from ..registry import get as _get
from ..registry import names as _names
from ._cell import Cell, Params
from ._stack import Stack

__all__ = ["Cell", "Params", "Stack", "get", "names"]


def names() -> list[str]:
    """Names of all cells."""
    return _names("cells")


def get(name: str) -> type[Cell]:
    """The cell that `cells/<name>.py` defines; ConfigError, listing the cells there are, if there is none."""
    return _get("cells", name, Cell)
