"""Measures and their cluster bootstrap, compared with scikit-learn, SciPy, plain loops and closed forms."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from pipeline.core.cards import Estimate
from pipeline.predictor import measures
from pipeline.predictor.measures import MEASURES, Answers, estimate, weights

ROUNDING = {"rtol": 0, "atol": 1e-12}  # sums of 60 numbers of order 1 in float64 err by about 1e-14


def made(size=60, seed=0, tasks=4):
    """Answers with ties among the probabilities, and with normal errors of the scores."""
    random = np.random.default_rng(seed)
    probability = random.integers(1, 10, size) / 10
    score = random.uniform(0, 1, size)
    success = (random.uniform(0, 1, size) < probability).astype(float)
    return Answers(score, success, score + random.normal(0, 0.3, size), probability, np.arange(size) % tasks)


def counts(size=60, samples=6, seed=1):
    """Weights 0 to 3, with the first sample all ones."""
    found = np.random.default_rng(seed).integers(0, 4, (samples, size)).astype(float)
    found[0] = 1
    return found


def one(measure, answers):
    return MEASURES[measure](answers, np.ones((1, len(answers.score))))[0]


# Measures


@pytest.mark.parametrize(
    ("measure", "exact"),
    [
        ("auc", lambda a, w: sklearn.metrics.roc_auc_score(a.success, a.probability, sample_weight=w)),
        ("brier", lambda a, w: sklearn.metrics.brier_score_loss(a.success, a.probability, sample_weight=w)),
        ("log_loss", lambda a, w: sklearn.metrics.log_loss(a.success, a.probability, sample_weight=w)),
        ("r2", lambda a, w: sklearn.metrics.r2_score(a.score, a.expected, sample_weight=w)),
    ],
)
def test_weighted_measures_are_those_of_scikit_learn(measure, exact):
    answers, w = made(), counts()
    assert len(np.unique(answers.probability)) < 10  # ties in the probability
    np.testing.assert_allclose(MEASURES[measure](answers, w), [exact(answers, row) for row in w], **ROUNDING)


def test_a_tie_of_a_success_and_a_failure_counts_half():
    tied = Answers(*np.array([[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0.5, 0.5, 0.9, 0.1]], float), np.zeros(4, int))
    assert one("auc", tied) == (0.5 + 1 + 1 + 1) / 4


def test_the_log_loss_keeps_probabilities_away_from_zero_and_one():
    sure = Answers(*np.array([[0, 0], [1, 1], [0, 0], [0, 1]], float), np.zeros(2, int))
    assert one("log_loss", sure) == pytest.approx((-np.log(1e-4) - np.log(1 - 1e-4)) / 2)


def test_spearman_is_the_mean_of_scipys_over_tasks():
    answers = made()
    of_task = [spearmanr(answers.score[answers.task == t], answers.expected[answers.task == t]).statistic for t in range(4)]
    assert one("spearman", answers) == pytest.approx(np.mean(of_task), abs=1e-12)
    times = np.array([2.0, 0, 1, 1])[answers.task][None]  # as if one task had been drawn twice and one not at all
    assert MEASURES["spearman"](answers, times)[0] == pytest.approx(np.average(of_task, weights=[2, 0, 1, 1]), abs=1e-12)


def test_spearman_within_a_task_weighs_the_ranks_of_all_its_trials():
    answers, w = made(tasks=1), counts()
    x, y = pd.Series(answers.expected).rank(), pd.Series(answers.score).rank()
    exact = [np.corrcoef(np.repeat(x, row.astype(int)), np.repeat(y, row.astype(int)))[0, 1] for row in w]
    np.testing.assert_allclose(MEASURES["spearman"](answers, w), exact, rtol=0, atol=1e-10)  # ranks up to 60, squared


def test_tasks_in_which_nothing_varies_or_with_two_trials_have_no_rank_correlation():
    answers = made()
    flat = replace(answers, expected=np.where(answers.task == 1, 0.5, answers.expected))
    of_task = [spearmanr(answers.score[answers.task == t], answers.expected[answers.task == t]).statistic for t in (0, 2, 3)]
    assert one("spearman", flat) == pytest.approx(np.mean(of_task), abs=1e-12)
    pair = Answers(*np.array([[0, 1], [0, 1], [0, 1], [0, 1]], float), np.zeros(2, int))
    assert np.isnan(one("spearman", pair))


def test_the_calibration_error_by_hand():
    """Twenty trials are ten bins of two, in the order of their probability."""
    probability = np.linspace(0.03, 0.98, 20)
    success = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1.0])
    order = np.random.default_rng(0).permutation(20)
    answers = Answers(success[order], success[order], probability[order], probability[order], np.zeros(20, int))
    exact = np.mean([abs(success[i : i + 2].mean() - probability[i : i + 2].mean()) for i in range(0, 20, 2)])
    assert one("calibration_error", answers) == pytest.approx(exact, abs=1e-12)
    w = np.where(np.isin(order, (2, 3)), 5.0, 1.0)[None]  # the second bin five times
    gaps = [abs(success[i : i + 2].sum() - probability[i : i + 2].sum()) * (5 if i == 2 else 1) for i in range(0, 20, 2)]
    assert MEASURES["calibration_error"](answers, w)[0] == pytest.approx(sum(gaps) / 28, abs=1e-12)


def test_trials_with_one_probability_share_a_bin_whatever_their_order():
    success = np.array([1.0] * 15 + [0.0] * 35)
    for order in (np.arange(50), np.random.default_rng(0).permutation(50)):
        alike = Answers(success[order], success[order], np.full(50, 0.4), np.full(50, 0.4), np.zeros(50, int))
        assert one("calibration_error", alike) == pytest.approx(0.1, abs=1e-12)  # 30 % against .4


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_the_calibration_slope_is_that_of_an_unpenalised_logistic_regression(factor):
    """Of logits that are `factor` times those that successes follow."""
    random = np.random.default_rng(3)
    logit = random.normal(0, 1.5, 400)
    success = (random.uniform(0, 1, 400) < 1 / (1 + np.exp(-logit))).astype(float)
    probability = (1 / (1 + np.exp(-factor * logit))).clip(1e-4, 1 - 1e-4)
    answers, w = Answers(success, success, probability, probability, np.zeros(400, int)), counts(400, 4)
    asked = np.log(probability / (1 - probability))[:, None]
    exact = [LogisticRegression(C=np.inf, tol=1e-10).fit(asked, success, sample_weight=row).coef_[0, 0] for row in w]
    found = MEASURES["calibration_slope"](answers, w)
    np.testing.assert_allclose(found, exact, rtol=1e-4)  # what the optimiser of scikit-learn leaves
    assert found[0] * factor == pytest.approx(1, abs=4 * 0.11)  # standard error of the slope of 400 such trials


def test_answers_that_are_far_too_sure_have_a_slope_near_zero():
    """Probabilities of 0 and 1, of which 40 % are wrong: the slope is logit(.6) over the logit at which they are cut."""
    probability = np.repeat([1.0, 0.0], 20)
    success = np.tile([1.0, 1, 1, 0, 0], 8)
    success[20:] = 1 - success[20:]
    answers = Answers(success, success, probability, probability, np.zeros(40, int))
    assert one("calibration_slope", answers) == pytest.approx(np.log(0.6 / 0.4) / np.log((1 - 1e-4) / 1e-4), rel=1e-6)


def test_no_slope_fits_best_where_probabilities_are_alike_or_separate_the_outcomes():
    success = (np.arange(20) >= 10).astype(float)
    for probability in (np.full(20, 0.3), np.linspace(0.1, 0.9, 20)):
        assert np.isnan(one("calibration_slope", Answers(success, success, probability, probability, np.zeros(20, int))))


# The bootstrap

clusters = np.repeat(["a", "b", "c", "d", "e"], [1, 2, 4, 4, 9])


def test_a_sample_takes_whole_shares_of_clusters_and_as_many_of_these_as_there_are():
    drawn = weights(clusters, 300, seed=0)
    assert drawn.shape == (300, 20)
    times = np.column_stack([drawn[:, clusters == c].sum(1) / (clusters == c).sum() for c in "abcde"])
    np.testing.assert_array_equal(times, times.round())
    assert (times.sum(1) == 5).all()
    assert drawn[:, clusters == "e"].max() > 1  # trials within a cluster are drawn too


def test_weights_have_the_mean_and_the_covariance_of_two_stage_sampling():
    """A cluster of n is drawn Binomial(K, 1/K) = c times and each of its trials Binomial(c n, 1/n) times.

    So the mean is 1, the variance (1 - 1/n) + (1 - 1/K), and the covariance within a cluster -1/n + 1 - 1/K.
    """
    count = 20_000
    drawn = weights(clusters, count, seed=1)
    sizes = pd.Series(clusters).map(pd.Series(clusters).value_counts()).to_numpy()
    variance = (1 - 1 / sizes) + (1 - 1 / 5)
    assert (np.abs(drawn.mean(0) - 1) < 4.5 * np.sqrt(variance / count)).all()
    # the variance of a count of mean 1 has a standard error of about sqrt((excess kurtosis + 2) / count), at most 2 / sqrt(count)
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0, atol=4.5 * variance.max() * 2 / count**0.5)
    large = np.cov(drawn[:, clusters == "e"].T)[np.triu_indices(9, 1)]
    np.testing.assert_allclose(large, 1 - 1 / 5 - 1 / 9, rtol=0, atol=4.5 * 3 / count**0.5)  # sd of a product below 3


def test_the_spread_of_a_mean_is_that_of_a_plain_loop_over_clusters_and_trials():
    values, count = np.random.default_rng(2).normal(0, 1, 20) + 2 * (clusters == "e"), 4000
    random, plain = np.random.default_rng(3), []
    for _ in range(count):
        parts = [random.choice(values[clusters == c], (clusters == c).sum()) for c in random.choice(list("abcde"), 5)]
        plain.append(np.concatenate(parts).mean())
    drawn = weights(clusters, count, seed=4)
    found = (drawn @ values) / drawn.sum(1)
    assert found.mean() == pytest.approx(np.mean(plain), abs=4 * np.std(plain) * (2 / count) ** 0.5)
    assert found.std() == pytest.approx(np.std(plain), rel=4 * (1 / count) ** 0.5)  # each sd has an error of 1 / sqrt(2 count)


def test_samples_depend_on_the_seed_alone():
    np.testing.assert_array_equal(weights(clusters, 5, seed=7), weights(list(clusters), 5, seed=7))
    assert (weights(clusters, 5, seed=7) != weights(clusters, 5, seed=8)).any()


def test_the_interval_of_a_brier_score_over_single_trials_is_that_of_the_central_limit():
    answers = made(400, seed=5)
    found = estimate(partial(measures.brier, answers), weights(np.arange(400), 2000, seed=0))
    errors = (answers.success - answers.probability) ** 2
    assert found.value == pytest.approx(errors.mean())
    # a percentile of 2,000 samples has a standard error of 2.7 / sqrt(2000) = .06 in standard deviations, of 3.92 in all
    assert found.high - found.low == pytest.approx(2 * 1.96 * errors.std() / 20, rel=4 * 0.06 * 2**0.5 / 3.92)
    assert found.low < found.value < found.high


def test_clusters_that_answer_alike_widen_the_interval():
    """Eight tasks with one error each: 400 trials carry no more information than eight."""
    task = np.repeat(np.arange(8), 50)
    probability = np.linspace(0.1, 0.9, 8)[task]
    answers = Answers(*[np.zeros(400)] * 3, probability, task)
    by_task, by_trial = (estimate(partial(measures.brier, answers), weights(c, 2000, seed=0)) for c in (task, np.arange(400)))
    widths = [found.high - found.low for found in (by_trial, by_task)]
    assert widths[1] / widths[0] == pytest.approx(50**0.5, rel=0.15)  # percentiles of 2,000 samples, and of sums of only eight


def test_what_the_data_do_not_define_is_none_and_undefined_samples_do_not_count():
    alike = Answers(np.ones(6), np.ones(6), np.zeros(6), np.full(6, 0.5), np.zeros(6, int))
    samples = weights(np.arange(6), 100, seed=0)
    for measure in ("auc", "calibration_slope", "spearman", "r2"):
        assert estimate(partial(MEASURES[measure], alike), samples) == Estimate(None, None, None)
    some = estimate(lambda w: np.where(w[:, 0] > 1, np.nan, w[:, 0]), samples)
    assert (some.value, some.low, some.high) == (1, 0, 1)
    without = estimate(lambda w: np.where((w == 1).all(1), np.nan, w[:, 0]), samples)  # no interval where there is no value
    assert without == Estimate(None, None, None)


def test_answers_come_from_a_table_with_tasks_numbered():
    columns = {"score": [0.1, 0.9], "success": [False, True], "expected_score": [0.2, 0.8], "probability_of_success": [0.3, 0.7]}
    found = Answers.of(pd.DataFrame(columns | {"task": ["b", "a"]}))
    np.testing.assert_array_equal(np.column_stack([found.score, found.success]), [[0.1, 0], [0.9, 1]])
    np.testing.assert_array_equal(
        np.column_stack([found.expected, found.probability, found.task]), [[0.2, 0.3, 0], [0.8, 0.7, 1]]
    )
