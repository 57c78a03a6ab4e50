"""MLflow: the results of a study as runs that can be read, compared and loaded; the only room that imports mlflow.

Records -> what is shown of them (`shown`, pure) -> MLflow (`update`), keyed by the hash of what is shown: what a newer
version of this room shows reaches the runs that are there, and no run or point is doubled. mlflow takes a second to
import, so nothing of it is loaded before a name of this room is used.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {"sync": "update", "fetch_model": "registry"}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
