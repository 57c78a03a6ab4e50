"""w(tau) and tau* of artificial data with known dependence."""

import math

import numpy as np
import pytest
import torch
from draws import noise
from probed import network, probe

from pipeline import measuring
from pipeline.measuring.base.lags import CLASSES, RIDGE, SAMPLES, TOKENS, _explained, lags, needed, numbers

# a share R2 of the variance is measured on half of SAMPLES pairs: its standard error is below 2 sqrt(R2 (1 - R2)^2 / n), at
# most 2 sqrt(4 / 27 / n), and as much again for what was learned from the other half
ERROR = 4 * 2 * math.sqrt(2 * 4 / 27 / (SAMPLES / 2))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def delta(steps, *places):
    weights = np.zeros(steps)
    weights[list(places)] = 1 / len(places)
    return weights


@pytest.mark.parametrize("lag", [0, 1, 7, 11])
def test_a_delayed_copy_depends_on_its_delay_alone(lag):
    x = drawn(12, 500, 2)
    weights, found = lags(x, x[-1 - lag, :, 1], every_step=False)
    assert found
    assert weights == pytest.approx(delta(12, lag), abs=0.02)  # by chance others exceed the 95 % quantile, by 1 / 250 or so
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert needed(weights) == lag


@pytest.mark.parametrize("lag", [0, 3, 8])
def test_a_copy_at_each_step_depends_on_its_delay_alone(lag):
    x = drawn(12, 200, 1)
    weights, found = lags(x, np.roll(x, lag, axis=0), every_step=True)
    assert found
    assert weights == pytest.approx(delta(12, lag), abs=0.02)
    assert needed(weights) == lag


def test_what_decides_which_targets_a_loss_ignores_is_no_lag():
    """The target is the sign of the input two steps before; another input, five steps before, decides whether it counts."""
    x = np.random.default_rng(3).normal(size=(12, 400, 2))
    y = (np.roll(x[..., 0], 2, 0) > 0).astype(int)
    y[:5] = -100
    for targets in (y, np.where(np.roll(x[..., 1], 5, 0) > 0, -100, y)):
        for every_step in (True, False):
            weights, found = lags(x, targets if every_step else targets[-1], every_step=every_step)
            assert found
            assert weights[2] == pytest.approx(1, abs=0.05)


def test_a_delayed_copy_of_tokens_depends_on_its_delay_alone():
    tokens = np.random.default_rng(0).integers(0, 12, (10, 900))
    weights, found = lags(np.eye(12)[tokens], tokens[5], every_step=False)
    assert found
    assert weights == pytest.approx(delta(10, 4), abs=0.02)
    assert needed(weights) == 4


@pytest.mark.parametrize("count", [3, 12, TOKENS])
@pytest.mark.parametrize("every_step", [False, True])
def test_tokens_are_the_one_hot_vectors_of_those_that_occur(count, every_step):
    tokens = 5 * np.random.default_rng(0).integers(0, count, (6, 500))
    vectors = (tokens[..., None] == np.unique(tokens)).astype(np.float32)
    targets = np.roll(tokens, 2, axis=0) % 7 if every_step else tokens[2] % 7
    one, other = (lags(x, targets, every_step=every_step) for x in (tokens, vectors))
    assert one[0].tolist() == other[0].tolist()
    assert one[1]


def test_weights_are_the_shares_of_the_variance():
    """y = 3 x_(T - 2) + x_(T - 6): shares 9/10 and 1/10."""
    x = drawn(9, SAMPLES, 1)
    weights, _ = lags(x, 3 * x[-3, :, 0] + x[-7, :, 0] + 5, every_step=False)
    expected = np.zeros(9)
    expected[[2, 6]] = 0.9, 0.1
    assert weights == pytest.approx(expected, abs=ERROR)
    assert needed(weights) == 6


def test_the_share_is_of_rows_that_were_not_learned_from():
    """Ridge regression as least squares with further rows sqrt(RIDGE) I, on 30 rows with 8 inputs, judged on 50 others."""
    x, y, learn = drawn(80, 8), drawn(80, 2, seed=1), np.arange(80) < 30
    y = y + x[:, :2]
    mean = y[learn].mean(0)
    rows, values = np.vstack([x[learn], RIDGE**0.5 * np.eye(8)]), np.vstack([y[learn] - mean, np.zeros((8, 2))])
    weights = np.linalg.lstsq(rows, values, rcond=None)[0]
    left = np.square(y[~learn] - mean - x[~learn] @ weights).sum() / np.square(y[~learn] - mean).sum()
    share, shuffled = _explained(x, y, learn, np.random.default_rng(0))
    assert share == pytest.approx(1 - left, abs=1e-12)
    assert shuffled.max() < share / 2  # without a dependence to learn


def test_squares_and_products_of_the_inputs_of_a_step_count():
    x = drawn(6, SAMPLES, 2)
    assert needed(lags(x, x[-3, :, 0] ** 2, every_step=False)[0]) == 2
    weights, found = lags(x, x[-4, :, 0] * x[-4, :, 1], every_step=False)
    assert found
    assert weights == pytest.approx(delta(6, 3), abs=0.02)
    many = drawn(4, SAMPLES, 9)  # too many for products: squares alone
    assert lags(many, many[-2, :, 0] ** 2, every_step=False)[0] == pytest.approx(delta(4, 1), abs=0.02)


def test_adding_depends_on_all_lags_alike():
    """One marked step in each half: each step explains the variance 1/12 of its value in 2 of T cases, 1/T of the target's."""
    random, T, N = np.random.default_rng(0), 10, SAMPLES
    x = np.zeros((T, N, 2))
    x[..., 0] = random.uniform(size=(T, N))
    marked = np.stack([random.integers(0, 5, N), random.integers(5, 10, N)])
    x[marked, np.arange(N), 1] = 1
    weights, found = lags(x, x[marked, np.arange(N), 0].sum(0), every_step=False)
    assert found
    # R2 = 1/T: a standard error of 2 sqrt(R2 (1 - R2)^2 / n), twice as said above, in units of the sum of R2, 1
    assert weights == pytest.approx(np.full(T, 1 / T), abs=4 * 2 * math.sqrt(2 * 0.1 * 0.81 / (N / 2)))
    assert needed(weights) == 9


def test_a_flip_flop_forgets_by_the_rate_of_its_pulses():
    """y is the last pulse +-1, which come with p = 0.3: E[x_(t - tau) y_t] = p (1 - p)^tau, so R2 = p (1 - p)^(2 tau)."""
    random, T, N, p = np.random.default_rng(0), 14, 3000, 0.3
    x = random.choice([-1, 0, 1], size=(T, N, 1), p=[p / 2, 1 - p, p / 2])
    y, last = np.empty((T, N, 1)), random.choice([-1, 1], size=(N, 1))  # what was before the first step is unknown
    for t in range(T):
        last = np.where(x[t] != 0, x[t], last)
        y[t] = last
    weights, found = lags(x.astype(np.float32), y, every_step=True)
    shares = p * (1 - p) ** (2 * np.arange(T))
    assert found
    assert weights == pytest.approx(shares / shares.sum(), abs=ERROR)
    assert needed(weights) == pytest.approx(np.searchsorted(np.cumsum(shares / shares.sum()), 0.95), abs=2)  # of w's error


@pytest.mark.parametrize("every_step", [False, True])
def test_an_exclusive_or_is_not_found_and_counts_as_even(every_step):
    x = np.random.default_rng(0).integers(0, 2, (8, 1000, 1)).astype(float)
    y = np.roll(x, 2, axis=0) != np.roll(x, 5, axis=0)
    weights, found = lags(x, y if every_step else y[-1], every_step=every_step)
    assert not found
    assert weights == pytest.approx(np.full(8, 1 / 8), abs=0)
    assert needed(weights) == 7


@pytest.mark.parametrize("every_step", [False, True])
def test_noise_is_found_in_about_one_of_twenty_data_sets(every_step):
    """Where it exceeds the 95 % quantile of the largest of 20 shuffles, which lies between the two largest: 1/21 to 2/21.

    Binomial(60, 2/21) exceeds 13 with a probability of 0.2 %.
    """
    hits = 0
    for seed in range(60):
        x, y = drawn(6, 60, 1, seed=seed), drawn(6, 60, 1, seed=1000 + seed)
        hits += lags(x, y if every_step else y[-1], every_step=every_step)[1]
    assert hits <= 13


def test_too_few_sequences_are_not_judged():
    x = drawn(5, 7, 1)
    weights, found = lags(x, x[-1, :, 0], every_step=False)
    assert not found
    assert weights == pytest.approx(np.full(5, 0.2), abs=0)


def test_inputs_and_targets_that_never_vary_are_not_found():
    for x, y in ((np.ones((4, 50, 2)), drawn(50, 1)), (drawn(4, 50, 2), np.ones(50)), (drawn(4, 50, 1), np.zeros(50, int))):
        weights, found = lags(x, y, every_step=False)
        assert not found
        assert weights == pytest.approx(np.full(4, 0.25), abs=0)


@pytest.mark.parametrize(
    ("weights", "lag"),
    [
        ([1.0], 0),
        ([0.95, 0.05], 0),
        ([0.94, 0.06], 1),
        ([0, 0, 1], 2),
        ([0.1] * 10, 9),
        ([0.05] * 20, 18),
        ([0.5, 0.46, 0.04], 1),
    ],
)
def test_tau_star_is_the_lag_within_which_95_percent_lie(weights, lag):
    assert needed(np.array(weights, float)) == lag


def test_the_measurement_is_tau_star_of_the_task():
    given = probe(network(), noise(5, 8, 3), torch.zeros(8, 2, dtype=torch.float64), lags=[0.5, 0.3, 0.2, 0, 0])
    assert measuring.get("lags").measure(given) == {"lag_needed": 2.0}


def test_classes_become_one_hot_and_negative_ones_nothing():
    found = numbers(np.array([[2, 0], [-100, 1]]), 2)
    assert found.tolist() == [[[0, 0, 1], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]]
    assert numbers(np.array([True, False]), 1).tolist() == [[0, 1], [1, 0]]
    assert numbers(np.array([[1.5, 2.5]]), 1).tolist() == [[1.5, 2.5]]
    assert numbers(np.array([1.5, 2.5]), 1).tolist() == [[1.5], [2.5]]
    assert numbers(np.zeros((2, 3, 2, 2)), 1).shape == (2, 12)


def test_of_many_classes_the_most_frequent_are_told_apart():
    assert numbers(np.arange(CLASSES), 1).tolist() == np.eye(CLASSES).tolist()
    targets = np.concatenate([np.arange(100_000), [99_999, 50_000, -7, -7, -7]])
    found = numbers(targets, 1)
    assert found.shape == (100_005, CLASSES)
    assert found.sum(0).tolist() == [1] * (CLASSES - 2) + [2, 2]
    assert found[-5:].argmax(1).tolist()[:2] == [CLASSES - 1, CLASSES - 2]
    assert not found[-3:].any()
