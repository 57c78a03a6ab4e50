"""Measures of predictions, and their intervals by bootstrap over trials."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..core.records import Estimate, finite_or_none

Values = NDArray[np.float64]
Places = NDArray[np.int64]
Data = Sequence[Values]  # score, expected score, success, probability of success, each (N,)


def data_of(rows: pd.DataFrame) -> Data:
    """The columns of predictions that measures need."""
    return [rows[c].to_numpy(float) for c in ("score", "expected_score", "success", "probability_of_success")]


def samples(size: int, count: int, seed: int) -> Places:
    """Places (count, size) of samples that are drawn with replacement."""
    return np.random.default_rng(seed).integers(0, size, (count, size))


def estimate(statistic: Callable[[Places], Values], size: int, count: int, seed: int) -> Estimate:
    """A statistic of all cases with its 95 % percentile interval.

    Args:
        statistic: places (samples, cases) -> its value in each sample; values that are not finite count as undefined.
        size: number of cases.
        count: number of samples.
        seed: of the samples.
    """
    value = float(statistic(np.arange(size)[None])[0])
    spread = statistic(samples(size, count, seed))
    spread = spread[np.isfinite(spread)]
    low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (np.nan, np.nan)
    return Estimate(finite_or_none(value), finite_or_none(low), finite_or_none(high))


def value(measure: str, rows: pd.DataFrame) -> float | None:
    """A measure of predictions, None where it is undefined."""
    return finite_or_none(MEASURES[measure](data_of(rows), np.arange(len(rows))[None])[0]) if len(rows) else None


def r2(data: Data, places: Places) -> Values:
    """Share of the variance of the score that is explained, in each sample; -inf or NaN where the score does not vary."""
    true, expected = data[0][places], data[1][places]
    spread = ((true - true.mean(1, keepdims=True)) ** 2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - ((true - expected) ** 2).sum(1) / spread


def _spearman(data: Data, places: Places) -> Values:
    true, expected = (rankdata(d[places], axis=1) for d in data[:2])
    true, expected = (d - d.mean(1, keepdims=True) for d in (true, expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (true * expected).sum(1) / np.sqrt((true**2).sum(1) * (expected**2).sum(1))


def _auc(data: Data, places: Places) -> Values:
    """Area under the ROC curve by the rank sum (Mann and Whitney 1947)."""
    success, ranks = data[2][places], rankdata(data[3][places], axis=1)
    positive = success.sum(1)
    negative = places.shape[1] - positive
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((ranks * success).sum(1) - positive * (positive + 1) / 2) / (positive * negative)


def _mae(data: Data, places: Places) -> Values:
    return np.abs(data[0] - data[1])[places].mean(1)


def _brier(data: Data, places: Places) -> Values:
    return ((data[2] - data[3]) ** 2)[places].mean(1)


def _accuracy(data: Data, places: Places) -> Values:
    return ((data[3] >= 0.5) == (data[2] > 0.5))[places].mean(1)


MEASURES: dict[str, Callable[[Data, Places], Values]] = {
    "r2": r2,
    "spearman": _spearman,
    "mae": _mae,
    "auc": _auc,
    "brier": _brier,
    "accuracy": _accuracy,
}
