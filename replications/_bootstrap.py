"""Measures of predictions, and their intervals by bootstrap over networks."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.core.cards import Estimate
from pipeline.core.numbers import finite_or_none

Values = NDArray[np.float64]
Places = NDArray[np.int64]
Data = tuple[Values, Values]  # score and expected score, each (N,)


def estimate(statistic: Callable[[Places], Values], size: int, count: int, seed: int) -> Estimate:
    """A statistic of all cases with its 95 % percentile interval.

    Args:
        statistic: places (samples, cases) -> its value in each sample; values that are not finite count as undefined.
        size: number of cases.
        count: number of samples, drawn with replacement.
        seed: of the samples.
    """
    value = float(statistic(np.arange(size)[None])[0])
    spread = statistic(np.random.default_rng(seed).integers(0, size, (count, size)))
    spread = spread[np.isfinite(spread)]
    low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (np.nan, np.nan)
    return Estimate(finite_or_none(value), finite_or_none(low), finite_or_none(high))


def r2(data: Data, places: Places) -> Values:
    """Share of the variance of the score that is explained, in each sample; -inf or NaN where the score does not vary."""
    true, expected = data[0][places], data[1][places]
    spread = ((true - true.mean(1, keepdims=True)) ** 2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - ((true - expected) ** 2).sum(1) / spread


def spearman(data: Data, places: Places) -> Values:
    """Rank correlation in each sample; NaN where either does not vary."""
    true, expected = (rankdata(d[places], axis=1) for d in data)
    true, expected = (d - d.mean(1, keepdims=True) for d in (true, expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (true * expected).sum(1) / np.sqrt((true**2).sum(1) * (expected**2).sum(1))


MEASURES: Mapping[str, Callable[[Data, Places], Values]] = {"r2": r2, "spearman": spearman}
