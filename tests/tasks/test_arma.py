"""Moving-average series: its covariances in closed form, and the best possible answer by Cholesky's decomposition."""

import numpy as np
import pytest
from scipy.linalg import cholesky, solve_triangular, toeplitz

from pipeline import tasks
from pipeline.tasks import arma


def covariances(count, lag):
    """Covariances at lags 0 to count - 1 of x(t) = 0.5 x(t - 1) + e(t) + 0.9 e(t - lag), from the response to one shock."""
    response = 0.5 ** np.arange(400.0)
    response[lag:] += 0.9 * 0.5 ** np.arange(400.0 - lag)
    return np.array([response[: 400 - k] @ response[k:] for k in range(count)])


@pytest.fixture
def series(prepared):
    """The sequences of a split, (41, N): the inputs and the last target."""

    def of(split):
        inputs, targets = prepared("arma").split(split)
        assert np.array_equal(inputs[1:], targets[:-1])
        return np.concatenate([inputs, targets[-1:]])[..., 0].astype(float)

    return of


def test_series_have_the_covariances_of_the_equation(series):
    values, expected = series("train"), covariances(6, 4)
    for lag, exact in enumerate(expected):
        products = (values[: 41 - lag] * values[lag:]).mean(0)  # of each sequence; independent
        assert products.mean() == pytest.approx(exact, abs=4 * products.std() / 3500**0.5)
    for step in (0, 1, 40):  # stationary from the first step on; the deviation of the variance of normal numbers
        assert values[step].var() == pytest.approx(expected[0], rel=4 * (2 / 3500) ** 0.5)


def test_shocks_come_back_after_four_steps(series):
    """The equation solved for what drives it, e(t) + 0.9 e(t - 4), which correlates at lags 0 and 4 alone."""
    values = series("train")
    driven = values[1:] - 0.5 * values[:-1]
    for lag, exact in {0: 1.81, 1: 0, 2: 0, 3: 0, 4: 0.9, 5: 0, 8: 0}.items():
        products = (driven[: 40 - lag] * driven[lag:]).mean(0)
        assert products.mean() == pytest.approx(exact, abs=4 * products.std() / 3500**0.5)


def test_the_best_possible_loss_falls_to_the_variance_of_the_shocks(series):
    """Given t values, the best answer errs by the square of the t-th diagonal element of Cholesky's factor of the covariances."""
    factor = cholesky(toeplitz(covariances(400, 4)), lower=True)
    least = factor.diagonal() ** 2
    assert (np.diff(least) < 1e-9).all()
    assert (least > 1 - 1e-9).all()  # no answer loses less than the shocks' variance
    assert least[-1] == pytest.approx(1, abs=1e-6)  # 0.9 ** (2 * 100) is left
    errors = solve_triangular(factor[:41, :41], series("test"), lower=True) * factor.diagonal()[:41, None]
    found, best = (errors[1:] ** 2).mean(), least[1:41].mean()
    assert found == pytest.approx(best, abs=4 * (2 * (least[1:41] ** 2).mean() / errors[1:].size) ** 0.5)  # independent squares
    assert best == pytest.approx(1.168, abs=5e-4)  # as the task says
    assert tasks.get("arma").washout == 0


def test_the_last_value_alone_closes_less_than_half_of_the_gap(series):
    values, (variance, shifted) = series("test"), covariances(2, 4)
    slope = shifted / variance
    errors = ((values[1:] - slope * values[:-1]) ** 2).mean(0)
    expected = variance - shifted * slope
    assert errors.mean() == pytest.approx(expected, abs=4 * errors.std() / 500**0.5)
    assert (variance - expected) / (variance - 1) < 0.5


def test_chance_is_the_variance_of_the_series(prepared):
    data = prepared("arma")
    squares = (data.arrays["validation_targets"][..., 0].astype(float) ** 2).mean(0)
    assert data.info.chance == pytest.approx(covariances(1, 4)[0], abs=4 * squares.std() / 500**0.5)


@pytest.mark.parametrize(("size", "steps"), [("long", 100), ("full", 200)])
def test_shocks_of_other_forms_come_back_after_ten_steps(size, steps, monkeypatch):
    monkeypatch.setitem(arma.FORMS, size, (*arma.FORMS[size][:2], (300, 20, 10)))
    splits = tasks.get("arma").load(size, 1)
    values = splits.arrays["train_inputs"][..., 0].astype(float)
    assert values.shape == (steps, 300)
    driven = values[1:] - 0.5 * values[:-1]
    for lag, exact in {4: 0, 10: 0.9}.items():
        products = (driven[:-lag] * driven[lag:]).mean(0)
        assert products.mean() == pytest.approx(exact, abs=4 * products.std() / 300**0.5)
