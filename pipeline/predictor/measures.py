"""Measures of predictions, and their intervals by a cluster bootstrap: clusters first, then the trials of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..core.cards import Estimate
from ..core.numbers import finite_or_none

Values = NDArray[np.float64]
BINS = 10  # of the calibration error, with equally many trials each
_CLIP = 1e-4  # probabilities are kept this far from 0 and 1 where their logarithm is taken
_NEWTON = 15  # steps of the fit of the calibration slope; they double the digits, and do not settle where there is no slope


@dataclass(frozen=True)
class Answers:
    """Answers for trials that were held out, each (N,).

    Attributes:
        score, success: what came out.
        expected, probability: what was predicted.
        task: number of each trial's task.
    """

    score: Values
    success: Values
    expected: Values
    probability: Values
    task: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Answers":
        """From the columns score, success, expected_score, probability_of_success and task."""
        score, success, expected, probability = (
            rows[c].to_numpy(float) for c in ("score", "success", "expected_score", "probability_of_success")
        )
        return cls(score, success, expected, probability, pd.factorize(rows["task"])[0])


def weights(clusters: "Sequence[object] | pd.Series[Any]", count: int, seed: int) -> Values:
    """How often each trial is in each of `count` bootstrap samples, (count, N).

    A sample draws as many clusters as there are, with replacement, and for each time that a cluster is drawn as many of its
    trials as it has.
    """
    random, codes = np.random.default_rng(seed), pd.factorize(np.asarray(clusters))[0]
    number = codes.max() + 1
    drawn = random.multinomial(number, np.full(number, 1 / number), size=count)  # (count, clusters)
    found = np.zeros((count, len(codes)))
    for cluster in range(number):
        own = np.flatnonzero(codes == cluster)
        found[:, own] = random.multinomial(drawn[:, cluster] * len(own), np.full(len(own), 1 / len(own)))
    return found


def estimate(statistic: Callable[[Values], Values], samples: Values) -> Estimate:
    """A statistic of all trials with its 95 % percentile interval over bootstrap samples.

    Args:
        statistic: weights (samples, N) -> its value in each sample; values that are not finite count as undefined.
        samples: weights from `weights`.
    """
    value = float(statistic(np.ones((1, samples.shape[1])))[0])
    spread = statistic(samples)
    spread = spread[np.isfinite(spread)]
    low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) and np.isfinite(value) else (np.nan, np.nan)
    return Estimate(finite_or_none(value), finite_or_none(low), finite_or_none(high))


def _mean(values: Values, w: Values) -> Values:
    with np.errstate(invalid="ignore"):
        return (w @ values) / w.sum(1)


def auc(a: Answers, w: Values) -> Values:
    """Area under the ROC curve: the share of pairs of a success and a failure in the right order, ties counting half."""
    order = np.argsort(a.probability, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(a.probability[order]) > 0])
    won, lost = (np.add.reduceat(w[:, order] * part[order], starts, axis=1) for part in (a.success, 1 - a.success))
    below = np.cumsum(lost, axis=1) - lost
    with np.errstate(invalid="ignore", divide="ignore"):
        return (won * (below + lost / 2)).sum(1) / (won.sum(1) * lost.sum(1))


def brier(a: Answers, w: Values) -> Values:
    """Mean squared error of the probability."""
    return _mean((a.success - a.probability) ** 2, w)


def log_loss(a: Answers, w: Values) -> Values:
    """Mean negative log likelihood, nats, of probabilities kept 1e-4 away from 0 and 1."""
    p = a.probability.clip(_CLIP, 1 - _CLIP)
    return _mean(-np.where(a.success > 0.5, np.log(p), np.log(1 - p)), w)


def calibration_error(a: Answers, w: Values) -> Values:
    """Mean over bins of |share of successes - mean probability|, weighted by the trials in them.

    Bins have equally many trials, but trials with the same probability share a bin.
    """
    place = (rankdata(a.probability) - 1) * min(BINS, len(a.probability)) // len(a.probability)
    bins = np.eye(int(place.max()) + 1)[place.astype(int)]
    with np.errstate(invalid="ignore"):
        return np.abs(w @ (bins * (a.success - a.probability)[:, None])).sum(1) / w.sum(1)


def calibration_slope(a: Answers, w: Values) -> Values:
    """Slope of a logistic regression of success on the logit of the probability; 1 is right, below 1 is too sure.

    NaN where no slope fits best: where the probability is the same everywhere, or separates successes from failures.
    """
    p = a.probability.clip(_CLIP, 1 - _CLIP)
    x = np.log(p / (1 - p))
    if x.std() < 1e-9:
        return np.full(len(w), np.nan)
    level, slope, change = np.zeros(len(w)), np.zeros(len(w)), np.zeros(len(w))
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON):
            q = 1 / (1 + np.exp(-(level[:, None] + slope[:, None] * x).clip(-30, 30)))
            error, spread = w * (a.success - q), w * q * (1 - q)
            one, two, three = spread.sum(1), spread @ x, spread @ x**2
            determinant = one * three - two**2
            first, second = error.sum(1), error @ x
            change = (one * second - two * first) / determinant
            level, slope = level + (three * first - two * second) / determinant, slope + change
    return np.where(np.abs(change) < 1e-6, slope, np.nan)


def spearman(a: Answers, w: Values) -> Values:
    """Rank correlation of the score with the expected score within each task, mean over tasks where both vary."""
    total, count = np.zeros(len(w)), np.zeros(len(w))
    for task in range(a.task.max() + 1):
        own = np.flatnonzero(a.task == task)
        x, y = rankdata(a.expected[own]), rankdata(a.score[own])
        if len(own) < 3 or x.std() == 0 or y.std() == 0:
            continue
        correlation = _correlation(x, y, w[:, own])
        times = np.where(np.isfinite(correlation), w[:, own].sum(1) / len(own), 0)
        total += times * np.nan_to_num(correlation)
        count += times
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count


def _correlation(x: Values, y: Values, w: Values) -> Values:
    """Correlation of x and y (N,) under weights (samples, N)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = _mean(x, w), _mean(y, w)
        cross = _mean(x * y, w) - mean_x * mean_y
        spread = (_mean(x * x, w) - mean_x**2) * (_mean(y * y, w) - mean_y**2)
        return np.where(spread > 1e-12, cross / np.sqrt(spread.clip(1e-12)), np.nan)


def r2(a: Answers, w: Values) -> Values:
    """Share of the variance of the score that is explained."""
    mean = _mean(a.score, w)
    left, total = _mean((a.score - a.expected) ** 2, w), _mean(a.score**2, w) - mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 1e-12, 1 - left / total.clip(1e-12), np.nan)


MEASURES: Mapping[str, Callable[[Answers, Values], Values]] = {
    "auc": auc,
    "brier": brier,
    "log_loss": log_loss,
    "calibration_error": calibration_error,
    "calibration_slope": calibration_slope,
    "spearman": spearman,
    "r2": r2,
}
