"""The files of a predictor: the trials that it learns from, and its card; those of the packaged predictor come with the library.

The trials are columns in a NumPy archive, the card is JSON: neither can hold code, and none of it depends on a version of
another library.
"""

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.cards import Card
from ..core.errors import ArtefactError
from ..core.files import regular_size, replacing
from ..core.hyper_parameters import CATEGORIES
from .inputs import DIVERGED, IDENTITY, INPUTS, OUTCOME
from .rows import Rows, Table, missing, objects

FOLDER = Path(__file__).parent.parent / "data"
TRIALS, CARD = "trials.npz", "card.json"
COLUMNS = (*INPUTS, *IDENTITY, *OUTCOME, DIVERGED, "study")  # of the trials in a predictor's file
GRID = np.linspace(0, 1, 41)  # quantiles that the card keeps
_AGAIN = "save the predictor again, or fit it again (`dvc repro`)"
MOST = 1 << 28  # bytes of the trials of a predictor; more than a thousand times the packaged ones


@cache
def trials() -> Rows:
    """The trials from which the packaged predictor learns."""
    return load(FOLDER / TRIALS)


@cache
def card() -> Card:
    """Its card."""
    return Card.load(FOLDER / CARD)


def save(path: Path, rows: Rows) -> None:
    """Write COLUMNS of trials, numbers with 32 bits; ArtefactError if the file cannot be written."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: _plain(rows[name]) for name in COLUMNS if name in rows})


def load(path: Path) -> Rows:
    """Read trials; ArtefactError if the file is missing, damaged, or no such file.

    Nothing in it is executed, and no more than MOST bytes are read.
    """
    try:
        regular_size(path)
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: _read(arrays[name]) for name in arrays.files} if size <= MOST else {}
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}; {_AGAIN}") from None
    except Exception:  # numpy, zipfile and zlib raise errors of many kinds for a damaged file
        raise ArtefactError(f"{path} is damaged; {_AGAIN}") from None
    if size > MOST:
        raise ArtefactError(f"{path} holds more than {MOST >> 20} MiB; it is not a file of a predictor")
    if len({values.shape for values in found.values()}) != 1 or any(values.ndim != 1 for values in found.values()):
        raise ArtefactError(f"{path} is damaged (its columns are not of one length); {_AGAIN}")
    return found


def rounded(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers as they will be read from a file: rounded to 32 bits; other values as they are."""
    return values.astype(np.float32).astype(float) if values.dtype.kind in "iuf" else values


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers with 32 bits, truth values, or text, "" where it is missing."""
    if values.dtype.kind in "iuf":
        return values.astype(np.float32)
    if values.dtype == bool:
        return values
    text = np.array(values, object)
    text[missing(text)] = ""
    return text.astype(str)


def _read(values: Any) -> NDArray[Any]:
    if not isinstance(values, np.ndarray):  # what is no array in the archive is given as bytes
        raise ValueError("no array")
    if values.dtype.kind == "U":
        return objects([text or None for text in values.tolist()])
    return values.astype(float) if values.dtype.kind == "f" else values


def quantiles(rows: Table) -> dict[str, list[float]]:
    """Quantiles of every numeric input, as 32-bit numbers."""
    found = {}
    for column in (c for c in INPUTS if c not in CATEGORIES):
        values = np.asarray(rows[column], float)
        finite = values[np.isfinite(values)]
        found[column] = [float(np.float32(q)) for q in np.quantile(finite, GRID)] if len(finite) else [0.0]
    return found
