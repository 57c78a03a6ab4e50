"""Times the early measurements: `python -m benchmarks.measuring` prints each as a share of a training.

The training is that of an LSTM and a GRU with 128 units on sequences of 100 steps for 10 epochs, 3,500 sequences in mini-batches
of 50; its time is that of a few mini-batches times their number.
"""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import measuring, tasks
from pipeline.core import config
from pipeline.core.config import SpectrumSettings
from pipeline.core.records import TaskData, Trial, TrialResult
from pipeline.core.tables import Table
from pipeline.jobs import measurements
from pipeline.jobs.spectra import measure
from pipeline.tasks import adding
from pipeline.tasks.base.task import Splits, deal
from pipeline.training import draw
from pipeline.training.loop import train

STEPS, COUNTS, EPOCHS, UNITS, BATCH = 100, (3500, 500, 500), 10, 128, 50
BATCHES, REPEATS = 20, 3
SPECTRA = {
    "spectrum, 6 sequences of 140 steps after 40": SpectrumSettings(sequences=6, transient=40, steps=140),
    "spectrum, 2 sequences of 60 steps after 20": SpectrumSettings(sequences=2, transient=20, steps=60),
}


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print("# Cost of the early measurements\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, one thread, torch {torch.__version__}.\n")
    rows = {}
    for cell in ("lstm", "gru"):
        for name, share in shares(cell).items():
            rows.setdefault(name, []).append(f"{100 * share[0]:.2f} % ({share[1]:.2f} s)")
    columns = ["measured before training", f"LSTM {UNITS}", f"GRU {UNITS}"]
    print(f"Share of a training of {EPOCHS} epochs (seconds), {STEPS} steps, {COUNTS[0]} sequences in mini-batches of {BATCH}.\n")
    print(Table(columns, [[name, *values] for name, values in rows.items()]).markdown())


def shares(cell: str) -> dict[str, tuple[float, float]]:
    """Measurement -> its share of a training at one moment, and seconds; medians of REPEATS."""
    arrays = deal(*adding.sequences(sum(COUNTS), STEPS, np.random.default_rng(0)), COUNTS)
    data = _data(arrays)
    trial = _trial(data, cell)
    short = {n: a[: BATCH * BATCHES] if a.ndim == 1 else a[:, : BATCH * BATCHES] for n, a in arrays.items()}
    part = TaskData(
        {n: a if n.startswith("train") else a[..., :BATCH] if a.ndim == 1 else a[:, :BATCH] for n, a in short.items()}, data.info
    )
    results = [train(trial, part) for _ in range(REPEATS)]
    training = statistics.median(r.outcome.seconds for r in results) / BATCHES * EPOCHS * COUNTS[0] / BATCH
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        data.save(path)
        measurements.measure(results[0], path, "cpu")  # the lags of the task, once
        taken = [measurements.measure(results[0], path, "cpu").seconds for _ in range(REPEATS)]
        found = {name: statistics.median(seconds[name] for seconds in taken) for name in measuring.names()}
        found = {"all but spectra": sum(found.values())} | found
        for name, settings in SPECTRA.items():
            found[name] = (
                statistics.median(_seconds(lambda s=settings: measure(results[0], path, s, "cpu")) for _ in range(REPEATS)) / 3
            )
    return {"a training": (1.0, training)} | {name: (seconds / training, seconds) for name, seconds in found.items()}


def _data(arrays: Any) -> TaskData:
    task = tasks.get("adding")
    splits = Splits(arrays, 2, 1, "generated", "none", {})
    info = task.prepare("adding", "packaged", 0).info
    return TaskData(arrays, replace(info, steps=STEPS, chance=task.chance(splits)))


def _trial(data: TaskData, cell: str) -> Trial:
    settings = config.load("seed", "cells", "train")
    first = next(t for t in draw(settings.model_copy(update={"cells": (cell,)}), data.info, "cpu") if t.index == 0)
    hyper = replace(first.hyper_parameters, hidden_size=UNITS, init_scale=UNITS**-0.5, learning_rate=1e-3)
    return replace(first, hyper_parameters=hyper, epochs=1, early_epoch=1)


def _seconds(act: Callable[[], TrialResult]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
