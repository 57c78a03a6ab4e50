"""How little of a spectrum the predictor needs: `python -m benchmarks.short_spectra FOLDER ... > docs/short_spectra.md`.

Each FOLDER holds the trials and data of a study of packaged trials, as `make run PROFILE=evidence` leaves them. The spectra of
their networks before training are measured with fewer and fewer exponents, sequences and steps; each time the predictor's
inputs from the spectrum are made of them, and judged on cells and tasks left out and on trials of other settings.
"""

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.core import execution
from pipeline.core.config import SpectrumSettings
from pipeline.core.records import TrialResult
from pipeline.core.tables import Table
from pipeline.jobs.spectra import driving_inputs
from pipeline.predictor import evidence, trials
from pipeline.predictor.features import spectrum_features
from pipeline.predictor.folds import parts, scale_part
from pipeline.predictor.inputs import BEFORE, SPECTRAL
from pipeline.predictor.splits import CELLS, SCALE, TASKS
from pipeline.spectrum.engine import growth
from pipeline.training.network import Network

# Sequences, transient and steps, and how many exponents; None is all of them.
VARIANTS: Sequence[tuple[int, int, int, int | None]] = (
    (6, 40, 140, None), (2, 20, 60, None), (2, 10, 20, None), (2, 0, 20, None), (2, 10, 20, 8), (2, 10, 20, 4),
)  # fmt: skip
SETS = ["hyper-parameters, measurements", "step ratio", "step ratio, spectrum", "measurements, spectrum", "all"]
WITHOUT = SETS[:2]
# Column of the largest exponents -> that of all exponents that were measured.
SAME = {
    "leading_mean": "exponents_mean", "leading_positive_sum": "positive_sum", "leading_remembering": "share_remembering",
    "leading_remembering_lag": "share_remembering_lag",
}  # fmt: skip
SEED = 2026


@dataclass(frozen=True)
class Untrained:
    """A network before training, of which all variants are to be measured.

    Attributes:
        result: file of the trial.
        data: file of the task's data.
    """

    result: Path
    data: Path


def measure(job: Untrained) -> tuple[str, list[NDArray[np.float64]], list[float]]:
    """The trial's id, its exponents (B, k) by variant, and the seconds that they took; nothing for a repeated draw."""
    torch.set_num_threads(1)
    result = TrialResult.load(job.result)
    trial = result.trial
    if trial.index != trial.draw:
        return trial.id, [], []
    cell = Network.of(trial).cell
    weights = cell.weights({n: torch.from_numpy(w).double() for n, w in result.cell_weights("initial").items()})
    params = {name: weight[None] for name, weight in weights.items()}
    exponents, seconds = [], []
    for sequences, transient, steps, count in VARIANTS:
        inputs = driving_inputs(trial, job.data, SpectrumSettings(sequences=sequences, transient=transient, steps=steps))
        state = inputs.new_zeros(1, sequences, cell.state_size)
        begin = time.perf_counter()
        found = growth(cell, params, state, inputs, min(count or cell.state_size, cell.state_size), transient=transient)
        seconds.append(time.perf_counter() - begin)
        exponents.append(found.per_step[:, 0].mean(0).numpy())
    return trial.id, exponents, seconds


def columns(rows: pd.DataFrame, exponents: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """The predictor's inputs from the spectrum before training, of what was measured."""
    found = [
        spectrum_features(exponents[trial], 0.0, round(10**steps), lag)
        for trial, steps, lag in zip(rows["trial"], rows["log_steps"], rows["initial_lag_needed"], strict=True)
    ]
    names = {c: c.removeprefix("initial_") for c in SPECTRAL}
    return pd.DataFrame({c: np.float32([f[SAME.get(name, name)] for f in found]) for c, name in names.items()}, rows.index)


def judged(rows: pd.DataFrame, sets: Sequence[str], on: execution.Executor) -> dict[tuple[str, str], list[str]]:
    """Split and set -> AUC, Brier score and rank correlation."""
    own, shifts = trials.learned_from(rows), trials.shifted(rows)
    held = [part for part in parts(own, own.iloc[:0], SEED) if part.split in (CELLS, TASKS)]
    held += [scale_part(own, shifts)] if len(shifts) else []
    table, _ = evidence.answers([fold for part in held for fold in part.folds({BEFORE: list(sets)}, SEED)], on)
    values = {}
    for key, answers in table.groupby(["split", "inputs"]):
        values[key] = [f"{evidence.value(measure, answers):.3f}" for measure in ("auc", "brier", "spearman")]
    return values


def main(folders: Sequence[str]) -> None:
    """Print the page."""
    jobs = [
        Untrained(path, Path(folder, "data", f"{task.name}.safetensors"))
        for folder in folders
        for task in sorted(Path(folder, "trials").iterdir())
        for path in sorted(task.glob("*.safetensors"))
    ]
    with execution.executor(execution.process_count("auto")) as on:
        taken: Any = [one for one in execution.run(measure, jobs, on) if one[1]]
        rows = trials.kept()
        rows = rows[rows["trial"].isin({one[0] for one in taken})].reset_index(drop=True)
        lines = [["none", "", name, split, *found] for (split, name), found in judged(rows, WITHOUT, on).items()]
        for place, (sequences, transient, steps, count) in enumerate(VARIANTS):
            made = columns(rows, {one[0]: one[1][place] for one in taken})
            what = f"{count or 'all'} of {sequences} sequences, {steps} steps after {transient}"
            cost = f"{1000 * np.mean([one[2][place] for one in taken]):.0f}"
            changed = rows.assign(**{name: made[name] for name in made})
            lines += [[what, cost, name, split, *found] for (split, name), found in judged(changed, SETS[2:], on).items()]
    print("# How little of a spectrum the predictor needs\n")
    studies = ", ".join(rows["study"].unique())
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {len(rows)} networks of the studies {studies}.")
    print("`python -m benchmarks.short_spectra FOLDER ...` makes this page from the folders of these studies.\n")
    print("All numbers are on trials that were held out, before training. Cost is the mean time to measure one network, in ms.\n")
    for split in (CELLS, TASKS, SCALE):
        own = [[*line[:3], *line[4:]] for line in lines if line[3] == split]
        if own:
            print(f"## {split[0].upper()}{split[1:]}\n")
            print(Table(["exponents", "cost", "inputs", "AUC", "Brier", "rank correlation"], own).markdown() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
