"""Removes files that cannot be read, so that they are made again: `python -m pipeline.core.mend`, which `make run` does first.

DVC writes `.dvc/tmp/rwlock` and `dvc.lock` in place, many times in a run; a kill leaves them half-written, and DVC then refuses
to go on. Without them it looks at all results again, and finished trials are kept. Results that are damaged without a change of
their size and time pass DVC, which knows files by these: here each is read and compared with its checksums.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from . import layout
from .errors import ArtefactError, UnreadableError
from .files import check, load_table
from .written import whole

# The files of results -> how they are read and checked.
_RESULTS: dict[str, Callable[[Path], Any]] = {
    "data/*.safetensors": check,
    **{f"{folder}/*/*.safetensors": check for folder in ("trials", "measurements", "spectra", "fixed_points")},
    str(layout.FEATURES): load_table,
    str(layout.PREDICTIONS): load_table,
    "predictor/*.json": whole,
    "runs/*.json": whole,
}
WAIT = 1.0  # seconds: a DVC that is at work may just be writing the file


def mend() -> Iterator[str]:
    """Remove the files that cannot be read, and say so, one sentence per file."""
    yield from _of_dvc()
    for pattern, read in _RESULTS.items():
        for path in sorted(Path().glob(pattern)):
            try:
                read(path)
            except UnreadableError as error:
                yield f"{str(error).partition(';')[0]}; it is left as it is"
            except ArtefactError as error:
                path.unlink()
                yield f"{str(error).partition(';')[0]}; removed"


def _of_dvc() -> Iterator[str]:
    for path, readable in ((Path(".dvc/tmp/rwlock"), _rwlock), (Path("dvc.lock"), _lock)):
        if _broken(path, readable):
            time.sleep(WAIT)
            if _broken(path, readable):
                path.unlink(missing_ok=True)
                yield f"removed {path}, which a process that was killed left half-written"


def _broken(path: Path, readable: Callable[[str], bool]) -> bool:
    try:
        return not readable(path.read_text("utf-8"))
    except FileNotFoundError:
        return False
    except (ValueError, YAMLError):  # JSON, UTF-8
        return True


def _rwlock(text: str) -> bool:
    return isinstance(json.loads(text), dict)


def _lock(text: str) -> bool:
    """Whether every stage of a dvc.lock has a command, and every file a path and a hash."""
    content = YAML(typ="safe", pure=True).load(text)
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        return False
    return all(map(_whole, content["stages"].values()))


def _whole(stage: Any) -> bool:
    if not isinstance(stage, dict) or not stage.get("cmd"):
        return False
    files = [file for kind in ("deps", "outs") for file in stage.get(kind) or []]
    return all(isinstance(file, dict) and {"path", "hash"} <= set(file) and file.get(file["hash"]) for file in files)


if __name__ == "__main__":
    for sentence in mend():
        sys.stdout.write(f"{sentence}\n")
