"""Ends a study again and again and compares what it leaves: `python -m benchmarks.chaos [KILLS] [SEED]`.

A small study of two tasks runs in two clones: in one undisturbed, in the other with SIGKILL at random moments, to all of its
processes, to DVC alone, to the stage alone or to a worker, and then with a few SIGINT and SIGTERM. After each, it is started
again as `make run` does. Its results, and its runs in MLflow, have to be the same in the end, with nothing left over. Exit code
1 if they are not.
"""

import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from ruamel.yaml import YAML

from pipeline.core.config import merged
from pipeline.core.errors import ArtefactError
from pipeline.core.files import ArrayFile, check, load_json, load_table
from pipeline.core.tables import Table

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {
    "tasks": ["mnist_rows", "fulda_runoff"],
    "cells": ["elman", "gru"],
    "execution": {"workers": 2},
    "train": {"trials": 6, "epochs": 2, "hidden_size": [16, 32]},
    "predictor": {"bootstrap": 100},
}
LONGEST = 25.0  # seconds from the beginning of `dvc repro` to a kill, at most
PATIENCE = 5.0  # seconds until all processes have to be gone
KILLED = ("all", "DVC", "stage", "worker")
ASKED = [(part, number) for number in (signal.SIGINT, signal.SIGTERM) for part in ("all", "all", "stage", "stage")]
# What differs between two runs of one study: wall times, and what is hashed or drawn with them.
TIMES = ("seconds", "began", "origin")
RESULTS = ("trials", "spectra", "measurements", "fixed_points", "features", "predictor", "metrics")


def main(kills: int = 30, seed: int = 0) -> None:
    """Print what was killed when, and whether the study ended as it should."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        calm, killed = _clone(Path(folder) / "calm"), _clone(Path(folder) / "killed")
        begin = time.perf_counter()
        _finish(calm)
        undisturbed = time.perf_counter() - begin
        endings = [(draw.choice(KILLED), signal.SIGKILL) for _ in range(kills)] + ASKED
        rows = [[n, *_disturb(killed, part, number, draw.uniform(0, LONGEST))] for n, (part, number) in enumerate(endings, 1)]
        _finish(killed)
        late = [f"number {row[0]}: processes were left" for row in rows if row[-1] != "went on" and float(row[-1]) > PATIENCE]
        problems = [*late, *_left_over(killed), *_differences(calm, killed)]
    trials = len(SMALL["tasks"]) * len(SMALL["cells"]) * SMALL["train"]["trials"]
    table = Table(["", "ended", "by", "after, s", "at work", "trials finished", "all gone after, s"], rows, text_columns=7)
    print("# Kills\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores; `make chaos`.\n")
    print(f"A study of {trials} trials takes {undisturbed:.0f} s undisturbed. Here it was ended {len(rows)} times by signals and")
    print("started again each time, from nothing if it had finished; then it ran to its end. The comparison with an undisturbed")
    print(
        "study covers all numbers of all result files, and all runs, parameters, metrics, tags and model versions in MLflow, but"
    )
    print(f"no wall times. After each signal, all processes have to be gone within {PATIENCE:g} s.\n")
    print("\n".join(f"- **{problem}**" for problem in problems) or "The results are the same, and nothing was left over.")
    print(f"\n{table.markdown()}")
    sys.exit(bool(problems))


def _clone(folder: Path) -> Path:
    """A clone of the project with the settings SMALL."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    yaml = YAML()
    settings = yaml.load((folder / "params.yaml").read_text("utf-8"))
    yaml.dump(merged(settings, SMALL), folder / "params.yaml")
    return folder


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the study as `make run` does."""
    scratch = folder.parent / "tmp"
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(scratch)}
    environment |= {"DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        environment.pop(name, None)
    with (folder / "runs.log").open("ab") as log:
        subprocess.run([sys.executable, "-m", "pipeline.core.mend"], cwd=folder, env=environment, stdout=log, check=True)
        return subprocess.Popen(["dvc", "repro"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def _finish(folder: Path) -> None:
    """Run a study to its end; one that does not end well shows its last lines."""
    if code := _start(folder).wait():
        tail = "\n".join((folder / "runs.log").read_text("utf-8", "replace").splitlines()[-15:])
        raise SystemExit(f"{tail}\nERROR: `dvc repro` ended with exit code {code} in {folder.name}")


def _disturb(folder: Path, victim: str, number: signal.Signals, seconds: float) -> list[Any]:
    """Start the study and end a part of it after some seconds: a row of the table."""
    dvc = _start(folder)
    with suppress(subprocess.TimeoutExpired):
        if dvc.wait(seconds) == 0:  # the study has ended
            _forget(folder)
            dvc = _start(folder)
            dvc.wait(seconds)
    running = _family(dvc.pid)
    stages = [name for name in running.values() if name.startswith("stages.")]
    chosen = [process for process, name in running.items() if _is(victim, process, name, dvc.pid)]
    _end(chosen or running, number)
    begin = time.perf_counter()
    while _alive(running) and time.perf_counter() - begin < 2 * PATIENCE:
        with suppress(subprocess.TimeoutExpired):
            dvc.wait(0.05)
    gone = time.perf_counter() - begin
    _end(running, signal.SIGKILL)
    dvc.wait()
    trials = len(list(folder.glob("trials/*/*.safetensors")))
    # a stage that does not need a worker any more goes on without it
    rest = "went on" if victim == "worker" and gone > PATIENCE else f"{gone:.1f}"
    return [victim if chosen else "all", number.name, f"{seconds:.1f}", ", ".join(stages) or "none", trials, rest]


def _forget(folder: Path) -> None:
    """Remove all results, so that a study begins again; its runs stay in MLflow."""
    for name in (*RESULTS, "data", "report", "runs", ".dvc/cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "dvc.lock").unlink()


def _is(victim: str, process: int, name: str, dvc: int) -> bool:
    """Whether a process is to be killed."""
    return {"all": True, "DVC": process == dvc, "stage": name.startswith("stages."), "worker": name == "worker"}[victim]


def _family(process: int) -> dict[int, str]:
    """A process and those that it started -> "worker", "stages.<name>" or "other"."""
    found = {}
    with suppress(psutil.Error):
        for member in [psutil.Process(process), *psutil.Process(process).children(recursive=True)]:
            command = member.cmdline()
            module = next((word for word in command if word.startswith("stages.")), "other")
            found[member.pid] = "worker" if "--multiprocessing-fork" in command else module
    return found


def _end(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _alive(processes: Iterable[int]) -> bool:
    """Whether one of these processes has not ended."""
    for process in processes:
        with suppress(psutil.Error):
            if psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _left_over(folder: Path) -> Iterator[str]:
    """Temporary files and folders, and files that cannot be read, in a study that has ended."""
    tracked = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True).stdout.split()
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = place.name.startswith(".") and place.parts[0] not in (".git", ".dvc") and str(place) not in tracked
        if (hidden and place.name not in (".gitignore", ".tracked") and not path.is_dir()) or place.name.startswith(".mlflow-"):
            yield f"{place} was left over"
        if path.suffix == ".safetensors":
            try:
                check(path)
            except ArtefactError as error:
                yield str(error)


def _differences(one: Path, two: Path) -> Iterator[str]:
    """What differs between two studies."""
    files = [{p.relative_to(s) for name in RESULTS for p in s.glob(f"{name}/**/*") if p.is_file()} for s in (one, two)]
    yield from (f"{path} is in one of the two studies only" for path in sorted(files[0] ^ files[1]))
    for path in sorted(files[0] & files[1]):
        yield from (f"{path} differs{where}" for where in _different(_content(one / path), _content(two / path)))
    runs = [_runs(s / "mlflow.db") for s in (one, two)]
    yield from (
        f"MLflow: {name} differs" for name in sorted(set(runs[0]) | set(runs[1])) if runs[0].get(name) != runs[1].get(name)
    )


def _different(one: Any, two: Any) -> list[str]:
    """Where two contents differ for the first time, or nothing."""
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        parts = [[f" {n}{rest}" for rest in _different(a, b)] for n, (a, b) in enumerate(zip(one, two, strict=True))]
        return next((part for part in parts if part), [])
    return [] if one == two else [f": {str(one)[:50]}, {str(two)[:50]}"]


def _content(path: Path) -> Any:
    """All that a file holds, but wall times, in a form that can be compared."""
    if path.suffix == ".safetensors":
        file = ArrayFile(path)
        return _plain([json.loads(file.header), file.read(*file.names)])
    if path.suffix == ".json":
        return _plain(load_json(path))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return _plain(dict(arrays))
    if path.suffix == ".parquet":
        return _plain(load_table(path).to_dict("list"))
    return ""  # the same table as text


def _plain(value: Any) -> Any:
    """A value as nested lists of text, without wall times."""
    if isinstance(value, dict):
        return [[str(key), _plain(item)] for key, item in sorted(value.items()) if not any(word in key for word in TIMES)]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tobytes() if isinstance(value, np.ndarray) and value.dtype != object else repr(value)


def _runs(database: Path) -> dict[str, Any]:
    """Name of a run or model version -> what MLflow holds of it, but times and what is drawn at random."""
    with closing(sqlite3.connect(database)) as connection:
        found: dict[str, Any] = {}
        rows = connection.execute("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()
        for number, name, status in rows:
            content = [status]
            for table, columns in (("params", "key, value"), ("metrics", "key, step, value"), ("tags", "key")):
                listed = connection.execute(f"SELECT {columns} FROM {table} WHERE run_uuid = ?", (number,)).fetchall()
                content.append(sorted(row for row in listed if not any(word in row[0] for word in TIMES)))
            found.setdefault(name, []).append(content)
        found["model versions"] = connection.execute("SELECT count(*) FROM model_versions").fetchone()
        return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
