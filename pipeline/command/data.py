"""Sequences and candidates from files of NumPy, CSV and JSON: bounded, without pickle, each number checked."""

import csv
import json
import math
import zipfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, first_line
from ..core.numbers import shown

LIMIT = 10**8  # numbers, 0.8 GB
SEQUENCE = "sequence"  # the column of a table that says which sequence a row belongs to
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Inputs from a file.

    Attributes:
        values: (T, B, I), float64.
        clear: whether the file itself says which axis is that of time.
    """

    values: Array
    clear: bool


def load_inputs(path: Path, *, name: str | None = None, batch_first: bool = False, limit: int = LIMIT) -> Sequences:
    """The sequences of a .npy, .npz or .csv file.

    Args:
        path: of the file. An array (T, I), like a table without the column `sequence`, is one sequence.
        name: of the array in a .npz file that holds several.
        batch_first: whether an array with three axes is (B, T, I), and not (T, B, I).
        limit: the largest number of numbers; checked before any memory is taken.

    Raises:
        DataError: the file cannot be read, or does not hold real, finite numbers in such a shape.
    """
    if path.suffix == ".csv":
        return Sequences(_table(path, limit).swapaxes(0, 1), clear=True)
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"{path} should be a .npy, .npz or .csv file")
    found = _named(path, name, limit)
    if found.ndim not in (2, 3) or not found.size:
        form = "(B, T, I)" if batch_first else "(T, B, I)"
        raise DataError(f"{path} holds an array of shape {found.shape}; it should be {form}, or (T, I) for one sequence")
    _check_finite(path, "inputs", found)
    found = found.astype(np.float64, copy=False)
    if found.ndim == 2:
        return Sequences(found[:, None], clear=True)
    return Sequences(found.swapaxes(0, 1) if batch_first else found, clear=False)


def load_pairs(path: Path, limit: int = LIMIT) -> tuple[Array, Array]:
    """The arrays `inputs` and `targets` of a .npz file; DataError if they are missing or hold NaN or infinite numbers."""
    if path.suffix != ".npz":
        raise DataError(f"{path} should be a .npz file with the arrays inputs and targets")
    inputs, targets = (_named(path, name, limit) for name in ("inputs", "targets"))
    _check_finite(path, "inputs", inputs)
    _check_finite(path, "targets", targets)
    return inputs, targets


def load_candidates(path: Path) -> list[dict[str, Any]]:
    """The candidates of a .json file, a list of objects, or of a .csv file, one per row under a header.

    Numbers in a table are read as numbers, and `true` and `false` as truth values; a field that is empty is left out.

    Raises:
        DataError: the file cannot be read, or holds no candidates.
    """
    if path.suffix not in (".json", ".csv"):
        raise DataError(f"{path} should be a .json or .csv file")
    if path.suffix == ".csv":
        candidates: Any = _records(path)
    else:
        with _readable(path):
            candidates = json.loads(path.read_text("utf-8"))
    if not isinstance(candidates, list) or not candidates or not all(isinstance(c, dict) for c in candidates):
        raise DataError(f'{path} should hold a list of at least one candidate, each an object such as {{"learning_rate": 0.01}}')
    return candidates


def _records(path: Path) -> list[dict[str, Any]]:
    header, *rows = [row for _, row in _rows(path)] or [[]]
    if len(set(header)) < len(header):
        raise DataError(f"{path} has a column twice; its header should name each setting once")
    return [{name: _value(field) for name, field in zip(header, row, strict=True) if field} for row in rows]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file into a DataError."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except Exception as error:  # numpy, zipfile and csv raise errors of many kinds for a damaged file
        raise DataError(f"{path} is no {path.suffix} file, or is damaged: {first_line(error).rstrip('.')}") from None


def _named(path: Path, name: str | None, limit: int) -> Array:
    """The one array of a .npy file, or an array of a .npz file."""
    with _readable(path):
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return _array(path, file, path.stat().st_size, limit)
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if name is None and len(members) != 1:
                raise DataError(f"{path} holds {len(members)} arrays: say which by --array {'|'.join(members) or 'NAME'}")
            chosen = members.get(next(iter(members)) if name is None else name)
            if chosen is None:
                raise DataError(f"{path} holds no array {name!r}; it holds {', '.join(members) or 'none'}")
            with archive.open(chosen) as file:
                return _array(path, file, chosen.file_size, limit)


def _array(path: Path, file: IO[bytes], size: int, limit: int) -> Array:
    """The array of an open .npy file of `size` bytes, after its header has been found harmless."""
    if file.read(6) != b"\x93NUMPY":
        raise DataError(f"{path} does not hold an array in NumPy's format; numpy.save makes such a file")
    file.seek(0)
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.kind not in "fiub":
        kind = "Python objects, which only pickle could read" if dtype.hasobject else f"the type {dtype}"
        raise DataError(f"{path} holds {kind}; it should hold real numbers")
    numbers = math.prod(shape)
    if min(shape, default=1) < 0 or numbers > limit:
        raise DataError(f"{path} holds {numbers:,} numbers, {shape}; the limit is {limit:,}, which --limit changes")
    if numbers * dtype.itemsize > size:
        raise DataError(f"{path} is cut off: it holds {size:,} bytes, too few for an array {shape} of {dtype}")
    file.seek(0)
    found: Array = np.lib.format.read_array(file, allow_pickle=False)
    return found.astype(dtype.newbyteorder("="), copy=False)


def _check_finite(path: Path, name: str, values: Array) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), values.shape))
        at = ", ".join(map(str, place))
        raise DataError(f"{name}[{at}] of {path} is {values[place]}; all should be finite, and {wrong.sum():,} are not")


def _table(path: Path, limit: int) -> Array:
    """(B, T, I) sequences of a table, one row per step, in the order in which they begin."""
    rows, size = _header_and_numbers(path), 0
    sequences: dict[str, array[float]] = {}
    _, header = next(rows, (0, []))
    place = next((n for n, column in enumerate(header) if column.lower() == SEQUENCE), None)
    columns = [n for n in range(len(header)) if n != place]
    for line, row in rows:
        numbers = sequences.setdefault("" if place is None else row[place], array("d"))
        numbers.extend(_number(path, line, header[n], row[n]) for n in columns)
        size += len(columns)
        if size > limit:
            raise DataError(f"{path} holds more than {limit:,} numbers, the limit, which --limit changes")
    if not size:
        raise DataError(f"{path} holds no numbers; it should have one row per time step and one column per input")
    lengths = {name: len(numbers) // len(columns) for name, numbers in sequences.items()}
    short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[short] != lengths[long]:
        steps = f"{lengths[short]} steps and {long!r} has {lengths[long]}"
        raise DataError(f"sequence {short!r} of {path} has {steps}; they should be equally long")
    return np.stack([np.frombuffer(numbers).reshape(-1, len(columns)) for numbers in sequences.values()])


def _header_and_numbers(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table of numbers, the first of which is its header, made up if it has none."""
    for number, (line, row) in enumerate(_rows(path)):
        if number == 0:
            _check_header(path, row)
            if all(_is_number(field) for field in row):
                yield 0, [f"column {n}" for n in range(1, len(row) + 1)]
        yield line, row


def _check_header(path: Path, row: list[str]) -> None:
    """DataError if the first row may be what pandas makes of a table without names, or has the column of pandas' index."""
    if row == [str(n) for n in range(len(row))]:
        raise DataError(f"the first line of {path}, {shown(','.join(row))}, may be names or numbers; give each column a name")
    if "" in row and not all(_is_number(field) for field in row if field):
        raise DataError(f"column {row.index('') + 1} of {path} has no name; give it one, or leave it out if it is no input")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not empty, with their line numbers."""
    with _readable(path), path.open(encoding="utf-8-sig", newline="") as file:
        width = 0
        for row in (reader := csv.reader(file)):
            if not any(field.strip() for field in row):
                continue
            width = width or len(row)
            if len(row) != width:
                raise DataError(f"line {reader.line_num} of {path} has {len(row)} fields; the first has {width}")
            yield reader.line_num, [field.strip() for field in row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(path: Path, line: int, column: str, text: str) -> float:
    value = float(text) if _is_number(text) else math.nan
    if not math.isfinite(value):
        found = shown(text) if text else "empty"
        raise DataError(f"{column!r} in line {line} of {path} is {found}; it should be a finite number")
    return value


def _value(text: str) -> Any:
    """What a field of a table of candidates says."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
