"""Measures the cost of tracking: `python -m benchmarks.tracking`.

The script brings MLflow up to date with the records of synthetic trials, as many as the default study has. It measures four
cases: an empty store, no change, spectra added to existing runs, and code that shows one more metric per trial.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from pipeline import tracking
from pipeline.core import layout
from pipeline.core.config import SpectrumSettings
from pipeline.core.hyper_parameters import DECLARED, HyperParameters
from pipeline.core.records import CHECKPOINTS, CURVES, UPDATES, Outcome, Trial, TrialResult, TrialSpectra

TASKS, CELLS, TRIALS, EPOCHS, STATE = ("one", "two", "three"), ("elman", "lstm", "gru"), 24, 6, 48
HYPER_PARAMETERS = {name: 1 if declared.default is None else declared.default for name, declared in DECLARED.items()}


def main() -> None:
    """Print the seconds of each case; the import of MLflow is not included."""
    random = np.random.default_rng(0)
    trials = [_trial(task, cell, index) for task in TASKS for cell in CELLS for index in range(TRIALS)]
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["DVC_ROOT"] = folder
        for trial in trials:
            curves = {name: random.random(EPOCHS + 1) for name in CURVES}
            weights = {checkpoint: {"cell.bias": np.zeros(1, np.float32)} for checkpoint in CHECKPOINTS}
            updates = {name: np.zeros(EPOCHS, np.float32) for name in UPDATES}
            state = {"cell.bias": {"step": np.zeros(1, np.float32)}}
            result = TrialResult(trial, Outcome(False, 1.0, 0.5, 0.5, 1000), curves, updates, weights, state)
            result.save(trial.path(layout.trials(trial.task)))
        tracking.sync  # noqa: B018 - the attribute access imports MLflow
        seconds = {f"{len(trials)} trials into a new store": _seconds(tracking.sync), "no change": _seconds(tracking.sync)}
        for trial in trials:
            exponents, errors = random.normal(-1, 1, (3, 6, STATE)), np.full((3, STATE), 0.01)
            settings = SpectrumSettings(sequences=6, transient=40, steps=140)
            spectra = TrialSpectra(trial, settings, 1.0, exponents, errors, errors, np.zeros((3, 140)))
            spectra.save(trial.path(layout.spectra(trial.task)))
        seconds["spectra of all trials"] = _seconds(tracking.sync)
        from pipeline.tracking import shown

        shown.SUMMARIES = (*shown.SUMMARIES, "share_positive")
        seconds["one more metric per trial"] = _seconds(tracking.sync)
        os.chdir("/")
    print("## Cost of tracking\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, SQLite.\n")
    for name, value in seconds.items():
        print(f"- {name}: {value:.1f} s")


def _trial(task: str, cell: str, index: int) -> Trial:
    return Trial(
        task=task,
        cell=cell,
        index=index,
        draw=index,
        seed=index,
        hyper_parameters=HyperParameters(**HYPER_PARAMETERS),
        options={},
        state="stateless",
        epochs=EPOCHS,
        early_epoch=1,
        input_size=28,
        output_size=10,
        steps=28,
        chance=2.3,
        device="cpu",
        torch="",
        data_hash="",
        code_hash="",
    )


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
