"""One file a head, what reads the states out; the file's name is the head's name."""

from ..registry import get as _get
from ..registry import names as _names
from ._head import Head

__all__ = ["Head", "get", "names"]


def names() -> list[str]:
    """Names of all heads."""
    return _names("heads")


def get(name: str) -> type[Head]:
    """The head that `heads/<name>.py` defines; ConfigError, listing the heads there are, if there is none."""
    return _get("heads", name, Head)
