"""How records without arrays, which are dataclasses, are written to JSON files, read and checked."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Self, Union, cast, get_args, get_origin, get_type_hints

from .errors import ArtefactError
from .files import load_json, save_json

CHECKSUM = "checksum"  # key of the file that is no field of the record; files that were written by hand may lack it


class JsonRecord:
    """A dataclass that is stored in a JSON file, with a checksum of the rest."""

    def save(self, path: Path) -> None:
        """Write to `path`."""
        content = asdict(cast(Any, self))
        save_json(path, content | {CHECKSUM: _checksum(content)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing, damaged or of another version."""
        content = whole(path)
        try:
            return cast(Self, restored(cls, content))
        except TypeError:
            raise ArtefactError(other_version(path, cls)) from None


def whole(path: Path) -> Any:
    """The content of a record's file, without its checksum; ArtefactError if it is missing or damaged."""
    content = load_json(path)
    if isinstance(content, dict) and CHECKSUM in content and content.pop(CHECKSUM) != _checksum(content):
        raise ArtefactError(f"{path} is damaged (its content); delete it and run `dvc repro` to make it again")
    return content


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def restored(kind: Any, value: Any) -> Any:
    """A value of a type from what JSON kept of it; TypeError if it is not one.

    Types are dataclasses, `list`, `tuple`, `dict` with keys that are text, unions, numbers, text, truth values, None and Any.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _first(inner, value)
    if is_dataclass(kind):
        return _record(cast(type, kind), value)
    if origin in (list, tuple):
        return _sequence(origin, inner, value)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): restored(inner[1], item) for key, item in value.items()}
    if kind is Any or (kind is type(None) and value is None):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    if origin is None and isinstance(kind, type) and type(value) is kind:
        return value
    raise TypeError


def _finite(value: float) -> float:
    """A number, which no record holds infinite; TypeError otherwise."""
    try:
        found = float(value)
    except OverflowError:
        raise TypeError from None
    if not math.isfinite(found):
        raise TypeError
    return found


def _first(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return restored(kind, value)
        except TypeError:
            continue
    raise TypeError


def _record(kind: type, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError
    types, needed = _types(kind), {f.name for f in fields(kind) if f.default is MISSING}
    if not needed <= value.keys() <= types.keys():
        raise TypeError
    return kind(**{name: restored(types[name], item) for name, item in value.items()})


def _sequence(origin: type, inner: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError
    kinds = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1] * len(value)
    if len(kinds) != len(value):
        raise TypeError
    return origin(restored(kind, item) for kind, item in zip(kinds, value, strict=True))


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def other_version(path: Path, kind: type, reason: str = "") -> str:
    """That a file holds no record of a kind."""
    why = f" ({reason})" if reason else ""
    return f"{path} is not a {kind.__name__} of this version{why}; delete it and run `dvc repro` to make it again"
