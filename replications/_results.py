"""Running replications and keeping what they found."""

import hashlib
import os
import platform
import re
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from pipeline.artefacts import load_json, save_json

from ._outcome import Outcome

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROOMS = ("cells", "heads", "tasks", "training", "spectrum")  # of the library, on which every result depends
UNUSED = ("cost", "locate")  # files of these rooms that no replication uses
IF_NAMED = {"points": ("fixed_points", "slow_points"), "predictor": ("pipeline.predictor",)}


def names() -> list[str]:
    """All replications, in the order of the files."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def run(name: str) -> Path:
    """Run a replication at its full size, write its result and return the file."""
    torch.set_num_threads(1)
    begin, facts = time.perf_counter(), {"name": name, "code": code(name), "machine": machine()}
    outcome: Outcome = import_module(f"replications.{name}").run(small=False)
    facts |= {"date": datetime.now(UTC).date().isoformat()}
    path = RESULTS / f"{name}.json"
    save_json(path, facts | {"seconds": time.perf_counter() - begin, "outcome": outcome.describe()})
    print(f"{name}: {outcome.summary} ({time.perf_counter() - begin:.0f} s)", flush=True)
    return path


def machine() -> str:
    """Where it runs, for people."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, {device}"


def code(name: str) -> str:
    """Hash of what a result depends on: the replication's file, what it imports of this folder, and the library."""
    files = [HERE / f"{name}.py"]
    for file in files:  # which grows while it is walked
        private = re.findall(r"^from \.(?: import )?(_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        files += [f for p in private if (f := HERE / f"{p}.py") not in files]
    text = "".join(f.read_text(encoding="utf-8") for f in files)
    rooms = [*ROOMS, *(room for room, words in IF_NAMED.items() if any(word in text for word in words))]
    library = [f for room in rooms for f in (HERE.parent / "pipeline").glob(f"{room}/**/*.py") if f.stem not in UNUSED]
    return hashlib.sha256(b"".join(f.read_bytes() for f in [*sorted(files), *sorted(library)])).hexdigest()[:12]


def results() -> list[dict[str, Any]]:
    """The results on disk, in the order of the files, and whether code has changed since, as "outdated"."""
    found = [load_json(path) for name in names() if (path := RESULTS / f"{name}.json").exists()]
    return [result | {"outdated": result["code"] != code(result["name"])} for result in found]
