"""The same networks under two heads: how well their spectra tell which trainings go well."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from pipeline import tasks, training
from pipeline.artefacts import TaskData, spectra_in, trials_in
from pipeline.config import Range, SpectrumSettings, Train
from pipeline.predictor import features
from pipeline.predictor.inputs import EARLY, INITIAL, trial_inputs
from pipeline.training.measure import measure, measurements

HEADS = ("last", "neuroview")
BATCH, EPOCHS = 25, 4
SPECTRUM = SpectrumSettings(sequences=6, transient=40, steps=140)
SEED = 2026
HYPER_PARAMETERS = ("log_learning_rate", "log_init_scale", "log_hidden_size", "clip_norm")
SETS = {"spectrum at initialisation": INITIAL, "early spectrum": EARLY, "hyper-parameters": HYPER_PARAMETERS}
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistic of each head in HEADS and its change from the first to the second, with 95 % intervals.

    Attributes:
        values: (3,) last, neuroview, neuroview - last.
        low, high: (3,) by bootstrap over networks, both heads of a network together.
    """

    values: Values
    low: Values
    high: Values

    def __str__(self) -> str:
        shown = [f"{v:.2f} ({a:.2f} to {b:.2f})" for v, a, b in zip(self.values, self.low, self.high, strict=True)]
        return f"last {shown[0]}, neuroview {shown[1]}, change {shown[2]}"

    @property
    def verdict(self) -> str:
        """What the change from last to neuroview amounts to."""
        return "higher" if self.low[2] > 0 else "lower" if self.high[2] < 0 else "not measurably different"


def sweeps(task: str, cells: Sequence[str], trials: int, sequences: int) -> list[pd.DataFrame]:
    """A row a network for each head in HEADS, as the predictor sees them, in the same order.

    Both sweeps draw the same hyper-parameters, seeds and initial cells; only the heads differ. Scores are relative to the
    best network under either head. `sequences` are trained on, EPOCHS times.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        about = _prepare(task, sequences, folder / "data.safetensors")
        for cell in cells:
            for head in HEADS:
                _sweep(head, cell, about, trials, folder)
        results, spectra = trials_in(folder / "trials"), spectra_in(folder / "spectra")
    table = features.table(results, spectra, 0.8)
    rows = trial_inputs(table).merge(table.loc[table["checkpoint"] == "initial", ["trial", "index"]], on="trial")
    return [rows[rows["head"] == head].sort_values(["cell", "index"], ignore_index=True) for head in HEADS]


def _prepare(task: str, sequences: int, path: Path) -> dict[str, object]:
    """Write the task's data with fewer sequences to train on, and return its description."""
    data = tasks.get(task).prepare(task, "packaged", SEED)
    arrays = dict(data.arrays)
    arrays["train_inputs"], arrays["train_targets"] = arrays["train_inputs"][:, :sequences], arrays["train_targets"][:sequences]
    about = data.about | {"batch_size": BATCH}
    TaskData(arrays, about).save(path)
    return about


def _sweep(head: str, cell: str, about: dict[str, object], trials: int, folder: Path) -> None:
    settings = Train(
        trials=trials,
        epochs=EPOCHS,
        early_epoch=1,
        init_scale=Range(low=0.01, high=3.0),
        learning_rate=Range(low=1e-4, high=1e-1),
        hidden_size=(16, 32),
        clip_norm=(0.0, 1.0),
        dropout=(0.0,),
        head=(head,),
        state="stateless",
    )
    data, results = folder / "data.safetensors", folder / "trials"
    results.mkdir(exist_ok=True)
    for trial in training.draw(settings, SEED, cell, about, "cpu"):
        training.train((trial, data, results))
    for path, work in measurements(results, data, SPECTRUM, folder / "spectra", "cpu").items():
        if not path.exists():
            measure(work)


def explained(pair: Sequence[pd.DataFrame], columns: Sequence[str]) -> Estimate:
    """R2 of the score from some columns, out of sample: extremely randomised trees, five folds over networks."""
    model = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
    folds = KFold(5, shuffle=True, random_state=0)
    found = [cross_val_predict(model, rows[list(columns)], rows["score"], cv=folds) for rows in pair]
    return _estimate(_r2, [(rows["score"].to_numpy(), f) for rows, f in zip(pair, found, strict=True)])


def ranked(pair: Sequence[pd.DataFrame], column: str) -> Estimate:
    """Spearman's correlation of the score with minus the distance of an exponent from 0; a state not finite is farthest."""
    return _estimate(_spearman, [(rows["score"].to_numpy(), -rows[column].abs().fillna(np.inf).to_numpy()) for rows in pair])


def mean_scores(pair: Sequence[pd.DataFrame], chosen: pd.Series) -> Estimate:
    """Mean score of some of the networks, a mask."""
    return _estimate(lambda one, two: one.mean(), [(rows["score"][chosen].to_numpy(),) * 2 for rows in pair])


def _r2(true: Values, found: Values) -> float:
    return float(1 - ((true - found) ** 2).sum() / ((true - true.mean()) ** 2).sum()) if np.ptp(true) else np.nan


def _spearman(one: Values, two: Values) -> float:
    ranks = rankdata(one), rankdata(two)
    return float(np.corrcoef(*ranks)[0, 1]) if np.ptp(ranks[0]) and np.ptp(ranks[1]) else np.nan


def _estimate(statistic: Callable[[Values, Values], float], data: Sequence[tuple[Values, Values]], draws: int = 1000) -> Estimate:
    count, random = len(data[0][0]), np.random.default_rng(SEED)

    def of(places: NDArray[np.int64]) -> list[float]:
        last, new = (float(statistic(one[places], two[places])) for one, two in data)
        return [last, new, new - last]

    spread = np.array([of(random.integers(0, count, count)) for _ in range(draws)])
    low, high = np.nanpercentile(spread, [2.5, 97.5], axis=0)
    return Estimate(np.array(of(np.arange(count))), low, high)
