"""The step ratio on parabolas, whose critical step is known."""

import math

import pytest
import torch
from draws import exact, noise
from probed import Quadratic, probe

from pipeline import measuring
from pipeline.measuring.base.probe import STEPS
from pipeline.measuring.step_ratio import critical

CURVATURES = exact(0.2, 1.0, 5.0, 9.0)
POINT = exact(1.5, -0.7, 0.3, 2.0)
# the search ends between steps of the ratio 4 ** (1 / 8), and their geometric mean is at most half of that from either
RESOLUTION = math.log10(4) / 16


def parabola(answers, targets):
    return (answers.square() @ CURVATURES).mean() / 2


def of(optimiser, rate, *, chance=1.0, loss=parabola, point=POINT, **options):
    model = Quadratic(point)
    given = optimiser(model.parameters(), lr=rate, **options)
    return measuring.get("step_ratio").measure(probe(model, noise(2, 8, 1), loss=loss, optimiser=given, chance=chance))


def critical_step(u):
    """L(p + a u) = L(p) at a = -2 g u / (u D u), for g = D p; and half of that lowers L by (g u)^2 / (2 u D u)."""
    slope, bend = (CURVATURES * POINT) @ u, u @ (CURVATURES * u)
    return float(-2 * slope / bend), float(slope**2 / bend / 2)


@pytest.mark.parametrize("rate", [1e-3, 0.02, 0.3, 0.4, 0.9, 50])
def test_gradient_descent_is_measured_in_units_of_its_critical_step(rate):
    step, fall = critical_step(-CURVATURES * POINT)
    found = of(torch.optim.SGD, rate, chance=3.0)
    assert found["step_ratio"] == pytest.approx(math.log10(rate / step), abs=RESOLUTION)
    # half of a step between 4^(-1/8) and 1 critical ones is x in [0.4204, 0.5], and 4 x (1 - x) is at least 0.974
    assert 0.974 * fall / 3 <= found["step_descent"] <= fall / 3 * (1 + 1e-12)


@pytest.mark.parametrize("optimiser", [torch.optim.AdamW, torch.optim.Adam])
@pytest.mark.parametrize("rate", [1e-3, 0.3, 40])
def test_the_first_step_of_adam_is_the_sign_of_the_gradient(optimiser, rate):
    step, fall = critical_step(-(CURVATURES * POINT).sign())  # g / (|g| + 1e-8) up to 5e-8, as the least |g| is 0.3
    found = of(optimiser, rate, weight_decay=0.0)
    assert found["step_ratio"] == pytest.approx(math.log10(rate / step), abs=RESOLUTION + 1e-7)
    assert 0.974 * fall <= found["step_descent"] <= fall * (1 + 1e-6)


@pytest.mark.parametrize("rate", [1e-3, 0.02, 0.9, 50])
def test_the_search_ends_between_steps_of_an_eighth_power_of_four(rate):
    model = Quadratic(POINT)
    given = probe(model, noise(2, 8, 1), loss=parabola, optimiser=torch.optim.SGD(model.parameters(), lr=rate))
    step, _ = critical_step(-CURVATURES * POINT)
    lower = max(tried for tried in given.line_search if tried <= step)
    upper = min(tried for tried in given.line_search if tried > step)
    assert upper / lower == pytest.approx(4 ** (1 / 8), rel=1e-12)
    assert lower / 2 in given.line_search


def test_the_ratio_grows_by_the_decades_of_the_learning_rate():
    few, many = (of(torch.optim.SGD, rate)["step_ratio"] for rate in (0.01, 0.01 * 4**3))
    assert many - few == pytest.approx(3 * math.log10(4), abs=1e-9)  # the same steps are tried, in another order


def test_a_loss_that_only_falls_gives_the_longest_step_tried():
    found = of(torch.optim.SGD, 0.5, loss=lambda answers, targets: answers.sum(-1).mean(), chance=8.0)
    assert found["step_ratio"] == pytest.approx(-STEPS * math.log10(4), abs=1e-9)
    assert found["step_descent"] == pytest.approx(0.5 * 4**STEPS * 4 / 8, rel=1e-12)  # |g|^2 = 4 numbers of slope 1


def test_a_loss_that_every_step_raises_gives_the_shortest_step_tried():
    found = of(torch.optim.SGD, 1.0, loss=lambda answers, targets: answers.abs().sum(-1).mean(), point=exact(1e-9, 1e-9))
    assert found["step_ratio"] == pytest.approx(STEPS * math.log10(4), abs=1e-9)
    assert found["step_descent"] == 0.0


@pytest.mark.parametrize("rate", [0.02, 50.0])
def test_a_bump_within_the_step_does_not_move_the_critical_one(rate):
    model = Quadratic(POINT)
    given = probe(model, noise(2, 8, 1), loss=parabola, optimiser=torch.optim.SGD(model.parameters(), lr=rate))
    lower = max(step for step, loss in given.line_search.items() if loss <= given.loss)
    gradient = CURVATURES * POINT

    def walled(answers, targets):
        """The parabola, with a wall 1 % thick at half of the largest step that does not raise it."""
        step = ((POINT - answers[0]) / gradient).mean()
        return parabola(answers, targets) + 1e3 * float(0.995 < step / (lower / 2) < 1.005)

    plain, other = of(torch.optim.SGD, rate), of(torch.optim.SGD, rate, loss=walled)
    assert other["step_ratio"] == plain["step_ratio"]
    assert other["step_descent"] < plain["step_descent"]  # the wall was met


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({1.0: 0.9, 4.0: 1.1}, 2.0),
        ({1.0: 1.0, 4.0: 1.1}, 2.0),  # an equal loss is no higher one
        ({1.0: 0.9, 4.0: math.nan}, 2.0),
        ({1.0: 0.9, 4.0: 0.8}, 4.0),
        ({1.0: 1.1, 0.25: 2.0}, 0.25),
        ({1.0: math.inf, 0.25: math.nan}, 0.25),
    ],
)
def test_the_critical_step_lies_between_the_last_lower_and_the_next_loss(losses, expected):
    assert critical(losses, 1.0) == expected


def test_a_loss_that_is_not_finite_has_no_step():
    found = of(torch.optim.SGD, 0.1, point=exact(math.nan, 1.0, 1.0, 1.0))
    assert all(math.isnan(value) for value in found.values())
