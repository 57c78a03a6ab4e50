"""Times the early measurements: `python -m benchmarks.measuring > docs/measuring.md` gives each as a share of a training.

An LSTM and a GRU with 128 units are trained for 10 epochs on 3,500 sequences of 100 steps, in mini-batches of 50. The time of a
training is extrapolated from that of a few mini-batches.
"""

import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import AlignmentWarning, measuring, tasks
from pipeline.core import config
from pipeline.core.config import SpectrumSettings
from pipeline.core.records import TaskData, Trial
from pipeline.core.tables import Table
from pipeline.jobs import measurements
from pipeline.jobs.spectra import measure
from pipeline.predictor.features import LEADING
from pipeline.spectrum import leading_spectrum
from pipeline.tasks import adding
from pipeline.tasks.base.task import Splits, deal
from pipeline.training import draw
from pipeline.training.loop import train

STEPS, COUNTS, EPOCHS, UNITS, BATCH = 100, (3500, 500, 500), 10, 128, 50
BATCHES, REPEATS = 20, 3
WHOLE = SpectrumSettings(sequences=6, transient=40, steps=140)
WHOLE_NAME = "all exponents of 6 sequences, 140 steps after 40"
LEADING_NAME = f"{LEADING} largest exponents of 2 sequences, 20 steps after 10"
MODULES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


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
    print(
        "`python -m benchmarks.measuring` makes this page. Zero-cost proxies are for comparison; the predictor does not use them."
    )
    print("What several measurements need is computed once, and its time counts for the first of them.\n")
    print(f"Share of a training of {EPOCHS} epochs (seconds), {STEPS} steps, {COUNTS[0]} sequences in mini-batches of {BATCH}.\n")
    print(Table(columns, [[name, *values] for name, values in rows.items()]).markdown())


def shares(cell: str) -> dict[str, tuple[float, float]]:
    """Measurement -> its time at one moment as a share of a training, and in seconds; medians of REPEATS."""
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
        together = {"all but spectra": sum(found.values())}
        found = together | {"all but spectra and proxies": together["all but spectra"] - found["proxies"]} | found
        found[WHOLE_NAME] = _median(lambda: measure(results[0], path, WHOLE, "cpu")) / 3  # checkpoints
    network, inputs = MODULES[cell](2, UNITS), torch.randn(30, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignmentWarning)  # the predictor learned from spectra that are as short
        found[LEADING_NAME] = _median(lambda: leading_spectrum(network, inputs, LEADING, transient=10))
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


def _median(act: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        act()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    main()
