"""The replications' measures and their intervals: against scikit-learn, scipy and the central limit."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from pipeline.core.cards import Estimate
from replications import _two_heads as heads
from replications._bootstrap import MEASURES, estimate


def made(size, seed):
    """Scores in steps, so that some tie, and expectations that miss them by normal noise."""
    random = np.random.default_rng(seed)
    score = random.integers(0, 20, size) / 20
    return score, score + random.normal(0, 0.2, size)


def test_measures_of_each_sample_are_those_of_scikit_learn_and_scipy():
    data = made(50, 0)
    places = np.random.default_rng(1).integers(0, 50, (5, 50))
    for name, exact in (("r2", r2_score), ("spearman", lambda a, b: spearmanr(a, b).statistic)):
        expected = [exact(data[0][row], data[1][row]) for row in places]
        np.testing.assert_allclose(MEASURES[name](data, places), expected, rtol=0, atol=1e-12)  # rounding, values of order 1


def test_the_interval_of_a_mean_is_that_of_the_central_limit():
    score, expected = made(400, 2)
    errors = np.abs(score - expected)
    found = estimate(lambda places: errors[places].mean(1), 400, 2000, seed=0)
    assert found.value == pytest.approx(errors.mean())
    # a percentile of 2,000 samples has a standard error of 2.7 / sqrt(2000) = 0.06 in standard deviations, of 3.92 in all
    assert found.high - found.low == pytest.approx(2 * 1.96 * errors.std() / 20, rel=4 * 0.06 * 2**0.5 / 3.92)


def test_what_the_data_do_not_define_is_none():
    alike = np.ones(6), np.zeros(6)
    for measure in MEASURES.values():
        assert estimate(partial(measure, alike), 6, 100, 0) == Estimate(None, None, None)


def test_columns_of_the_spectrum_are_those_of_the_published_values():
    """21 at initialisation, and as many after the early epochs and of their change; none counts in lags of the task."""
    initial, early = heads.SETS["spectrum at initialisation"], heads.SETS["early spectrum"]
    assert (len(initial), len(early)) == (21, 42)
    assert {c.removeprefix("initial_") for c in initial} == {c.partition("_")[2] for c in early}
    assert {"initial_exponent_1", "initial_growth_over_sequence", "initial_lost_share"} <= set(initial)
    assert not [c for c in (*initial, *early) if "lag" in c.split("_")]
