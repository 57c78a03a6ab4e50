"""How many more trials an hour two processes train than one: `python -m benchmarks.parallel`.

The default sweep of one task and cell is trained from nothing in one process and in two, in turn; medians. What is
timed is the training of all trials with the start of the workers.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pipeline import config, execution, tasks, training
from pipeline.artefacts import TaskData

REPEATS = 3


def main(task: str = "mnist_rows", cell: str = "lstm") -> None:
    """Print seconds, trials an hour and the ratio."""
    settings = config.load()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        tasks.get(task).prepare(task, "packaged", settings.seed).save(path)
        trials = training.draw(settings.train, settings.seed, cell, TaskData.load(path).about, "cpu")
        for repeat in range(REPEATS):
            for processes in seconds:
                results = Path(folder) / f"{repeat}-{processes}"
                begin = time.perf_counter()
                for _ in execution.run(training.train, [(t, path, results) for t in trials], processes=processes):
                    pass
                seconds[processes].append(time.perf_counter() - begin)
    medians = {n: statistics.median(s) for n, s in seconds.items()}
    print("## Training in two processes\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {len(trials)} trials of {task} {cell}.\n")
    for processes, median in medians.items():
        every = ", ".join(f"{s:.1f}" for s in seconds[processes])
        print(f"- {processes} process(es): {every} s; median {median:.1f} s, {len(trials) / median * 3600:.0f} trials an hour")
    print(f"- ratio {medians[1] / medians[2]:.2f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
