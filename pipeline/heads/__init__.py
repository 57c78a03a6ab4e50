"""Heads, which read the states out, one file per head; the name of the file is the name of the head."""

from ..core.registry import get as _get
from ..core.registry import names as _names
from .base.head import Head

__all__ = ["Head", "get", "names"]


def names() -> list[str]:
    """Names of all heads."""
    return _names("heads")


def get(name: str) -> type[Head]:
    """The head that `heads/<name>.py` defines; ConfigError, listing the existing heads, if there is none."""
    return _get("heads", name, Head)
