"""Compares what trains trials: one process, two, and a Ray cluster of two nodes: `python -m benchmarks.parallel`.

All trials of one task and cell of the study are trained from scratch, by each of them in turn. The times include the start of
the workers, but not of the cluster; medians are reported. The memory of a worker is the largest of samples.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import contextlib
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pipeline import tasks, training
from pipeline.core import config, execution, layout
from pipeline.core.files import digest
from pipeline.core.records import Trial, trials_in
from pipeline.core.tables import Table
from pipeline.jobs import cost

REPEATS, CLUSTER = 3, "Ray, two nodes"
Engine = Callable[[], AbstractContextManager[Executor]]


def main(task: str = "mnist_rows", cell: str = "lstm") -> None:
    """Print trials per hour, ratios and memory."""
    settings = config.load().model_copy(update={"cells": (cell,)})
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _engines() as engines:
        data = tasks.get(task).prepare(task, "packaged", settings.seed)
        data.save(layout.data(task))
        trials = training.draw(settings, data.info, "cpu")
        for repeat in range(REPEATS):
            for name, engine in engines.items():
                found.setdefault(name, []).append(_run(trials, layout.data(task), Path(f"{repeat} {name}") / task, engine))
        results = {name: _weights(Path(f"0 {name}") / task) for name in engines}
    estimates = [replace(c, steps=0) for c in cost.costs(settings.model_copy(update={"tasks": (task,)}))]
    estimated = {name: 3600 * cost.hours_on(estimates, n) for name, n in (("one process", 1), ("two processes", 2), (CLUSTER, 2))}
    first = statistics.median(seconds for seconds, _ in next(iter(found.values())))
    rows = []
    for name, runs in found.items():
        seconds, memory = statistics.median(s for s, _ in runs), max(m for _, m in runs)
        every = ", ".join(f"{s:.1f}" for s, _ in runs)
        speed = [f"{3600 * len(trials) / seconds:.0f}", f"{first / seconds:.2f}"]
        rows.append([name, every, *speed, f"{memory:.0f}", f"{estimated[name]:.1f}"])
    same = len(set(results.values())) == 1
    print("# Trials per hour\n")
    print(
        "`python -m benchmarks.parallel` makes this page; `make models` installs Ray. The last column is what `make cost`\n"
        "says of the trainings, without the start of the workers, which takes seconds and is paid once per stage.\n"
        "[gpu.md](gpu.md) compares trainings one by one and together on a GPU.\n"
    )
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {len(trials)} trials of {task} {cell}.")
    print(f"All results are the same to the last bit: {'yes' if same else '**no**'}.\n")
    print(Table(["trained by", "s", "trials per hour", "ratio", "MB per worker", "s estimated"], rows, text_columns=2).markdown())


@contextmanager
def _engines() -> Iterator[dict[str, Engine]]:
    """What is compared, by name; the cluster only where Ray is installed."""
    engines: dict[str, Engine] = {
        "one process": lambda: execution.executor(1),
        "two processes": lambda: execution.executor(2),
    }
    try:
        from ray.cluster_utils import Cluster as Nodes
    except ModuleNotFoundError:
        print("Ray is not installed, so the row of the cluster is missing.\n")
        yield engines
        return
    from pipeline.core.cluster import Cluster

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    try:
        yield engines | {CLUSTER: lambda: Cluster(address=nodes.address)}
    finally:
        nodes.shutdown()


def _run(trials: list[Trial], data: Path, folder: Path, engine: Engine) -> tuple[float, float]:
    """Seconds to train all trials, and MB of the largest worker."""
    jobs = [training.Training(trial, data, folder) for trial in trials]
    with _memory() as peak, redirect_stdout(sys.stderr):
        begin = time.perf_counter()
        with engine() as on:
            execution.complete(jobs, on, label=folder.parent.name)
            seconds = time.perf_counter() - begin
    return seconds, peak[0] / 1e6


@contextmanager
def _memory() -> Iterator[list[float]]:
    """The largest resident memory in bytes, so far, of a process that computes: this one, or one that it or Ray started."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    title = " ".join(process.cmdline())
                    if "ray::_task" in title or "--multiprocessing-fork" in title:
                        peak[0] = max(peak[0], process.memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    yield peak
    ended.set()
    if not peak[0]:
        peak[0] = psutil.Process().memory_info().rss


def _weights(folder: Path) -> str:
    """A digest of the weights and curves of all trials, which hold no times."""
    kept = Path("digest")
    kept.write_text("".join(f"{r.trial.id} {r.weights_checksum()} {r.curves}" for r in trials_in(folder)))
    return digest(kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
