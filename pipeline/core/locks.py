"""Removes files of DVC that a killed process left half-written: `python -m pipeline.core.locks`, which `make run` does first.

DVC writes `.dvc/tmp/rwlock` and `dvc.lock` in place, many times in a run, and refuses to go on if it cannot read one of them.
Without them it looks at all results again, and finished trials are kept.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

WAIT = 1.0  # seconds: a DVC that is at work may just be writing the file


def mend() -> Iterator[str]:
    """Remove the files that cannot be read, and say so, one sentence per file."""
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
