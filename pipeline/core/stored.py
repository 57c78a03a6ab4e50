"""How records with arrays, which are dataclasses, are written to files, read and checked."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self, cast, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from .errors import ArtefactError
from .files import ArrayFile, Arrays, save_arrays
from .written import other_version

_adapter = cast(Callable[[Any], TypeAdapter[Any]], cache(TypeAdapter))
_types = cast(Callable[[Any], dict[str, Any]], cache(get_type_hints))


class ArrayRecord:
    """A dataclass that is stored in a safetensors file: arrays as tensors, the other fields in the header.

    A field may be an array, a dict of arrays, or a mapping of dicts of arrays; the dicts of such a mapping are read, and
    checked, each time that they are asked for.
    """

    def save(self, path: Path) -> None:
        """Write to `path`."""
        arrays: Arrays = {}
        header = {}
        for name in _types(type(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray | Mapping) and (parts := _flat(name, value)):
                arrays |= parts
            else:
                header[name] = _adapter(_types(type(self))[name]).dump_python(value, mode="json")
        save_arrays(path, arrays, json.dumps(header, allow_nan=False))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing, damaged or of another kind or version."""
        file = ArrayFile(path)
        values = ArrayRecord.header(cls, file)
        for name in {n.partition("/")[0] for n in file.names}:
            values[name] = _nested(file, name)
        try:
            return cls(**values)
        except (AttributeError, TypeError, ArtefactError) as error:  # the first two if a field is missing, or no array
            reason = f"it {error}" if isinstance(error, ArtefactError) else ""
            raise ArtefactError(other_version(path, cls, reason)) from None

    @staticmethod
    def header(kind: type, file: ArrayFile) -> dict[str, Any]:
        """The fields of a record of some kind that are no arrays."""
        types = _types(kind)
        try:
            return {name: _restored(types[name], value) for name, value in json.loads(file.header).items()}
        except (AttributeError, KeyError, ValueError):  # of pydantic too
            raise ArtefactError(other_version(file.path, kind)) from None


def _restored(kind: Any, value: Any) -> Any:
    """A value of a type from what JSON kept of it; ValueError if it is not exactly that."""
    found = _adapter(kind).validate_python(value)
    again = _adapter(kind).dump_python(found, mode="json")
    json.dumps(again, allow_nan=False)
    if again != value:  # pydantic takes "3" for 3, and leaves unknown keys out
        raise ValueError
    return found


def check_axes(known: Mapping[str, int], **arrays: tuple[NDArray[Any], str]) -> None:
    """Refuse arrays of a wrong shape: ArtefactError.

    Args:
        known: axis, one letter -> its length, where that is known.
        **arrays: name -> an array and its axes; those of one letter should be of one length.
    """
    lengths = dict(known)
    for name, (array, axes) in arrays.items():
        if array.ndim != len(axes) or any(lengths.setdefault(a, n) != n for a, n in zip(axes, array.shape, strict=True)):
            raise ArtefactError(f"has {name} of a wrong shape, {array.shape}")


def _flat(name: str, value: Any) -> Arrays:
    """The arrays of a field by their full names; nothing if it holds other things."""
    if isinstance(value, np.ndarray):
        return {name: value}
    parts = [_flat(f"{name}/{key}", part) for key, part in value.items() if isinstance(part, np.ndarray | Mapping)]
    return {full: array for part in parts for full, array in part.items()}


def _nested(file: ArrayFile, name: str) -> Any:
    """The field of a file's arrays that has this name."""
    if name in file.names:
        return file.read(name)[name]
    names = [n for n in file.names if n.startswith(f"{name}/")]
    if all(n.count("/") == 1 for n in names):
        return {n.partition("/")[2]: array for n, array in file.read(*names).items()}
    return _Lazy(file, name, list(dict.fromkeys(n.split("/")[1] for n in names)))


@dataclass(frozen=True)
class _Lazy(Mapping[str, Arrays]):
    """Dicts of arrays that are read when they are asked for."""

    file: ArrayFile
    name: str
    keys_: list[str]

    def __getitem__(self, key: str) -> Arrays:
        if key not in self.keys_:
            raise KeyError(key)
        prefix = f"{self.name}/{key}/"
        arrays = self.file.read(*(n for n in self.file.names if n.startswith(prefix)))
        return {n.removeprefix(prefix): array for n, array in arrays.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_)

    def __len__(self) -> int:
        return len(self.keys_)
