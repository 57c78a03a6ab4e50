"""Stand-ins for packages of the study that a bare machine with CUDA lacks, so that the library's own code can be imported there.

They check nothing and read no files: settings are made in code, and task data stay in memory.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any


class _Anything:
    """A class that may be called, subclassed, raised and used as a decorator, without an effect."""

    def __init__(self, *values: Any, **named: Any) -> None:
        vars(self).update(named)

    def __call__(self, function: Any) -> Any:
        return function

    def __class_getitem__(cls, item: Any) -> type:
        return cls

    def model_dump(self) -> dict[str, Any]:
        """The values that were given, as pydantic's models return them."""
        return dict(vars(self))


class _Error(Exception):
    """Never raised."""


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "create_model":
            return lambda title, __base__, **fields: type(title, (__base__,), {})
        return _Error if name.endswith("Error") else _Anything


NAMES = ("pydantic", "ruamel", "ruamel.yaml", "tqdm", "safetensors", "safetensors.numpy")


def stand_in() -> list[str]:
    """Put stand-ins in the places of the packages that are not there; their names."""
    missing = [name for name in NAMES if "." not in name and importlib.util.find_spec(name) is None]
    for name in NAMES:
        if name.partition(".")[0] in missing:
            sys.modules[name] = _StandIn(name)
    return missing
