"""Compares the trials per hour of two processes with those of one process: `python -m benchmarks.parallel`.

All trials of one task and cell of the study are trained from scratch, alternately in one process and in two processes.
The times include the training of all trials and the start of the workers; medians are reported.
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

from pipeline import tasks, training
from pipeline.core import config, execution

REPEATS = 3


def main(task: str = "mnist_rows", cell: str = "lstm") -> None:
    """Print the seconds, the trials per hour and the ratio of the times."""
    settings = config.load().model_copy(update={"cells": (cell,)})
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        data = tasks.get(task).prepare(task, "packaged", settings.seed)
        data.save(path)
        trials = training.draw(settings, data.info, "cpu")
        for repeat in range(REPEATS):
            for processes in seconds:
                jobs = [training.Training(trial, path, Path(folder) / f"{repeat}-{processes}") for trial in trials]
                begin = time.perf_counter()
                with execution.executor(processes) as executor:
                    execution.complete(jobs, executor, label=f"{processes} process(es)")
                seconds[processes].append(time.perf_counter() - begin)
    medians = {n: statistics.median(s) for n, s in seconds.items()}
    print("## Training in two processes\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {len(trials)} trials of {task} {cell}.\n")
    for processes, median in medians.items():
        every = ", ".join(f"{s:.1f}" for s in seconds[processes])
        print(f"- {processes} process(es): {every} s; median {median:.1f} s, {len(trials) / median * 3600:.0f} trials per hour")
    print(f"- ratio {medians[1] / medians[2]:.2f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
