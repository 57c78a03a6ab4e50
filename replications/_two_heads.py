"""The same networks under two heads: how well their spectra predict which trainings succeed."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from pipeline import tasks
from pipeline.core.cards import Estimate
from pipeline.core.config import Range, SpectrumSettings
from pipeline.core.records import TaskData
from pipeline.core.tables import with_interval
from pipeline.jobs import measurements
from pipeline.jobs.spectra import measure
from pipeline.predictor import feature_table
from pipeline.predictor.features import SPECTRUM as FEATURES
from pipeline.predictor.trials import trial_inputs
from pipeline.training import train

from ._bootstrap import MEASURES, Places, estimate
from ._trials import trials

HEADS = ("last", "neuroview")
BATCH, EPOCHS = 25, 4
SPECTRUM = SpectrumSettings(sequences=6, transient=40, steps=140)
SEED, RESAMPLES = 2026, 1000
HYPER_PARAMETERS = ("log_learning_rate", "log_init_scale", "log_hidden_size", "clip_norm")
# The columns of the spectrum that the published values rest on; those that count in lags or of the
# leading exponents alone came later.
SPECTRAL = tuple(name for name in FEATURES if not {"lag", "leading"} & {*name.split("_")})
INITIAL = tuple(f"initial_{name}" for name in SPECTRAL)
EARLY = tuple(f"{when}_{name}" for when in ("early", "change") for name in SPECTRAL)
SETS = {"spectrum at initialisation": INITIAL, "early spectrum": EARLY, "hyper-parameters": HYPER_PARAMETERS}
RANGES = {
    "init_scale": Range(low=0.01, high=3.0),
    "learning_rate": Range(low=1e-4, high=1e-1),
    "hidden_size": (16, 32),
    "clip_norm": (0.0, 1.0),
}
Values = NDArray[np.float64]
Statistic = Callable[[Places], Values]


@dataclass(frozen=True)
class Compared:
    """A statistic under each head in HEADS, and its change from the first to the second.

    Intervals are by bootstrap over networks, with both heads of a network together.
    """

    last: Estimate
    neuroview: Estimate
    change: Estimate

    def __str__(self) -> str:
        return f"last {with_interval(self.last)}, neuroview {with_interval(self.neuroview)}, change {with_interval(self.change)}"


def sweeps(task: str, cells: Sequence[str], count: int, sequences: int) -> list[pd.DataFrame]:
    """One row per network for each head in HEADS, with the columns that the predictor sees, in the same order.

    Both sweeps draw the same hyper-parameters, seeds and initial cells; only the heads differ. Scores are relative to the
    best network under either head. Training uses the first `sequences` sequences, EPOCHS times.
    """
    data = _prepared(task, sequences)
    chosen = {"trials": count, "epochs": EPOCHS, **RANGES}
    drawn = [trial for head in HEADS for trial in trials(data.info, cells, SEED, head=(head,), **chosen)]
    results = [train(trial, data) for trial in drawn]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        data.save(path)
        spectra = [measure(result, path, SPECTRUM, "cpu") for result in results]
        early = [measurements.measure(result, path, "cpu") for result in results]
    table = feature_table.table(results, spectra, early, 0.8)
    rows = trial_inputs(table)
    return [rows[rows["head"] == head].sort_values(["cell", "index"], ignore_index=True) for head in HEADS]


def _prepared(task: str, sequences: int) -> TaskData:
    """The packaged data of a task with fewer sequences to train on."""
    data = tasks.get(task).prepare(task, "packaged", SEED)
    inputs, targets = data.split("train")
    fewer = {"train_inputs": inputs[:, :sequences], "train_targets": targets[:sequences]}
    return TaskData(data.arrays | fewer, replace(data.info, batch_size=BATCH))


def explained(pair: Sequence[pd.DataFrame], columns: Sequence[str]) -> Compared:
    """R2 of the score from some columns, out of sample: extremely randomised trees, five folds over networks."""
    model = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
    folds = KFold(5, shuffle=True, random_state=0)
    return _compared("r2", pair, [cross_val_predict(model, rows[list(columns)], rows["score"], cv=folds) for rows in pair])


def ranked(pair: Sequence[pd.DataFrame], column: str) -> Compared:
    """Rank correlation of the score with the nearness of an exponent to 0; a state that is not finite is farthest."""
    return _compared("spearman", pair, [-rows[column].abs().fillna(np.inf).to_numpy() for rows in pair])


def mean_scores(pair: Sequence[pd.DataFrame], chosen: "pd.Series[bool]") -> Compared:
    """Mean score of the networks that a mask chooses."""
    scores = [rows["score"][chosen].to_numpy() for rows in pair]
    return _estimates([lambda places, s=s: s[places].mean(1) for s in scores], int(chosen.sum()))  # type: ignore[misc]


def _compared(measure: str, pair: Sequence[pd.DataFrame], answers: Sequence[Values]) -> Compared:
    """A measure of the library, of scores and answers."""
    data = [(rows["score"].to_numpy(), found) for rows, found in zip(pair, answers, strict=True)]
    return _estimates([lambda places, d=d: MEASURES[measure](d, places) for d in data], len(answers[0]))  # type: ignore[misc]


def _estimates(statistics: Sequence[Statistic], size: int) -> Compared:
    last, new = statistics
    changes: list[Statistic] = [last, new, lambda places: new(places) - last(places)]
    with np.errstate(invalid="ignore"):  # scores that are all alike give -inf - -inf
        return Compared(*(estimate(statistic, size, RESAMPLES, SEED) for statistic in changes))
