"""Files between stages: checked when they are read, replaced in one step when they are written.

Arrays lie in safetensors files, whose header holds the rest as JSON and a checksum of every part; tables hold a checksum
of all their values. No pickle anywhere.
"""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import ArtefactError, UnreadableError

if TYPE_CHECKING:  # a quarter of a second to import, and most stages have no table
    import pandas as pd

Arrays = dict[str, NDArray[Any]]
MOST_BYTES = 1 << 28  # of a JSON file
_CHECKSUM = b"rnn_stability.checksum"  # of a table, among the metadata of its file


class ArrayFile:
    """An array file of which parts are read, and checked, when they are asked for.

    Attributes:
        path: of the file.
        header: the JSON text that was saved with the arrays.
        names: of the arrays.
    """

    def __init__(self, path: Path) -> None:
        """Read the header; ArtefactError if the file is missing or damaged."""
        self.path = path
        self._sums: dict[str, str]
        with self._open() as file:
            try:
                text, checksum = file.metadata()["content"].rsplit(" ", 1)
                self.header, self._sums, name = json.loads(text)
                self.names: list[str] = list(file.keys())
            except (AttributeError, KeyError, TypeError, ValueError):
                raise ArtefactError(_damaged(path, "its header")) from None
        if not isinstance(self.header, str) or not isinstance(self._sums, dict):
            raise ArtefactError(_damaged(path, "its header"))
        if checksum != _checksum(text.encode()) or set(self._sums) != set(self.names):
            raise ArtefactError(_damaged(path, "its header"))
        if name != path.name:
            raise ArtefactError(_damaged(path, f"it was written as {str(name)[:255]}"))

    def read(self, *names: str) -> Arrays:
        """The arrays of these names; ArtefactError if one of them is damaged."""
        with self._open() as file:
            arrays: Arrays = {name: file.get_tensor(name) for name in names}
        for name, array in arrays.items():
            if array_checksum(array) != self._sums[name]:
                raise ArtefactError(_damaged(self.path, name))
        return arrays

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            regular_size(self.path)
            with safe_open(self.path, framework="numpy") as file:
                yield file
        except OSError as error:
            raise UnreadableError(_missing(self.path, error)) from None
        except (SafetensorError, UnicodeDecodeError, TypeError):  # the last is of a kind of numbers that NumPy lacks
            raise ArtefactError(_damaged(self.path, "its content")) from None


def save_arrays(path: Path, arrays: Arrays, header: str) -> None:
    """Write arrays with a JSON text, atomically, a checksum of each, and the name of the file, which says what is in it."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps([header, {name: array_checksum(array) for name, array in whole.items()}, path.name])
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata={"content": f"{text} {_checksum(text.encode())}"})  # one entry: they have no order


def array_checksum(array: NDArray[Any]) -> str:
    """Checksum (16 hex digits) of an array's type, shape and values."""
    array = np.ascontiguousarray(array)
    return _checksum(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())


def check(path: Path) -> None:
    """Read all of an array file; ArtefactError if it is missing or damaged."""
    file = ArrayFile(path)
    file.read(*file.names)


def array_files(folder: Path) -> list[Path]:
    """The array files of a folder, sorted by name; ArtefactError if there are none."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ArtefactError(f"{folder} holds no results; run `dvc repro` to make them")
    return paths


def keep_only(folder: Path, wanted: Iterable[Path]) -> None:
    """Remove the files of a folder that are not wanted: results of other settings, and half-written ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.iterdir()) - set(wanted):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def save_json(path: Path, content: Any) -> None:
    """Write JSON, atomically; NaN and infinities are refused, since JSON has none."""
    save_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON; ArtefactError if the file is missing or damaged."""
    try:
        if regular_size(path) > MOST_BYTES:
            raise ArtefactError(_damaged(path, f"it has more than {MOST_BYTES >> 20} MiB"))
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UnreadableError(_missing(path, error)) from None
    except (ValueError, RecursionError):
        raise ArtefactError(_damaged(path, "its content")) from None


def save_text(path: Path, text: str) -> None:
    """Write text, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def save_bytes(path: Path, content: bytes) -> None:
    """Write bytes, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def save_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table in the format of the file's suffix, .parquet or .csv."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            _save_parquet(temporary, table)
        else:
            table.to_csv(temporary, index=False)


def _save_parquet(path: Path, table: "pd.DataFrame") -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    content = pa.Table.from_pandas(table, preserve_index=False)
    about = {**(content.schema.metadata or {}), _CHECKSUM: table_checksum(content.to_pandas())}
    parquet.write_table(content.replace_schema_metadata(about), path)


def load_table(path: Path, *, needs_checksum: bool = True) -> "pd.DataFrame":
    """Read a Parquet table; ArtefactError if it is missing or damaged.

    Args:
        path: of the file.
        needs_checksum: whether to refuse a table that `save_table` did not write, or that is older than its checksums.
    """
    from pyarrow import parquet

    try:
        regular_size(path)
        with parquet.ParquetFile(path) as file:
            content = file.read()
        table: pd.DataFrame = content.to_pandas()
        expected = (content.schema.metadata or {}).get(_CHECKSUM, b"").decode()
        right = table_checksum(table) == expected if expected or needs_checksum else True
    except OSError as error:
        if error.errno:
            raise UnreadableError(_missing(path, error)) from None
        right = False
    except Exception:  # pyarrow raises errors of many kinds for a damaged file
        right = False
    if not right:
        raise ArtefactError(_damaged(path, "its content"))
    return table


def table_checksum(table: "pd.DataFrame") -> str:
    """Checksum (16 hex digits) of a table's columns: their names, types and values."""
    sums = [str(table.index)]
    for name, column in table.items():
        values = column.to_numpy()
        plain = json.dumps(column.tolist(), default=np.ndarray.tolist) if values.dtype == object else ""
        sums += [str(name), str(column.dtype), _checksum(plain.encode()) if plain else array_checksum(values)]
    return _checksum(json.dumps(sums).encode())


def regular_size(path: Path) -> int:
    """The size of a file in bytes; OSError if there is none, or if it is a folder, a pipe or a device."""
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code) if code == errno.EISDIR else "Not a regular file", str(path))


def digest(*paths: Path) -> str:
    """Hash (12 hex digits) of the contents of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        try:
            regular_size(path)
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UnreadableError(_missing(path, error)) from None
    return total.hexdigest()[:12]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        _synchronise(temporary)  # or a loss of power could leave the new name on an empty file
        temporary.replace(path)
        _synchronise(path.parent)
    except (OSError, SafetensorError) as error:
        mend = "; remove the folder that is in its place" if path.is_dir() else ""
        raise ArtefactError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}{mend}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _missing(path: Path, error: OSError) -> str:
    made = "run `dvc repro` to make it again"
    mend = made if isinstance(error, FileNotFoundError) else f"mend that, or delete it and {made}"
    return f"cannot read {path}: {error.strerror or error}; {mend}"


def _damaged(path: Path, part: str) -> str:
    return f"{path} is damaged ({part}); delete it and run `dvc repro` to make it again"
