"""Stand-ins for packages of the study that a bare machine with CUDA lacks, so that the library's own code can be imported there.

They check nothing and read no files: settings are made in code, and task data stay in memory.
"""

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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


class _Finder(MetaPathFinder, Loader):
    """Finds a stand-in for each module of some packages."""

    def __init__(self, packages: list[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self._packages else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


NAMES = ("pydantic", "ruamel", "tqdm", "safetensors")


def stand_in() -> list[str]:
    """Put stand-ins in the places of the packages that are not there; their names."""
    missing = [name for name in NAMES if importlib.util.find_spec(name) is None]
    sys.meta_path.append(_Finder(missing))
    return missing
