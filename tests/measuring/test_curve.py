"""The shape of a training curve, of curves whose shape is known."""

import math

import numpy as np
import pytest

from pipeline.measuring.base.curve import COLUMNS, POWERS, curve, forecast

CHANCE = 2.5


def of(losses, norms=None, *, chance=CHANCE, updates=1000):
    losses = np.asarray(losses, float)
    return curve(losses, np.ones(len(losses)) if norms is None else np.asarray(norms, float), chance, updates)


@pytest.mark.parametrize("power", [0.1, 0.5, 1.3])
def test_a_power_law_has_its_slope_and_its_parts(power):
    s = np.arange(1, 65.0)
    found = of(3 * s**-power)
    assert found["slope"] == pytest.approx(-power, abs=1e-12)
    eighths = [sum(3 * k**-power for k in places) / 8 for places in (range(1, 9), range(57, 65))]
    assert found["first"] == pytest.approx(math.log10(eighths[0] / CHANCE), abs=1e-12)
    assert found["last"] == pytest.approx(math.log10(eighths[1] / CHANCE), abs=1e-12)
    assert found["mean"] == pytest.approx(math.log10(sum(3 * k**-power for k in s) / 64 / CHANCE), abs=1e-12)
    assert found["least"] == pytest.approx(math.log10(3 * 64**-power / CHANCE), abs=1e-12)


def test_the_slope_is_that_of_the_least_squares_line():
    """The normal equation of one line, by hand."""
    losses = 1 + np.random.default_rng(0).uniform(size=30)
    x, y = [math.log(k) for k in range(1, 31)], [math.log(v) for v in losses]
    mean_x, mean_y = sum(x) / 30, sum(y) / 30
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    assert of(losses)["slope"] == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 0.2])
def test_noise_is_the_spread_from_batch_to_batch(sigma):
    """Of a level with white noise; the first half, which is wilder, does not count."""
    random = np.random.default_rng(0)
    losses = 2 + np.concatenate([random.normal(size=1999).clip(-1.9), sigma * random.normal(size=2001)])
    # d^2 / 2 of N neighbours, which share a loss: their mean has the variance 3 sigma^4 / N, its root half of that, relatively
    assert of(losses)["noise"] == pytest.approx(math.log10(sigma / CHANCE), abs=4 * math.sqrt(3 / 2000) / 2 / math.log(10))


def test_noise_counts_every_step_of_the_second_half():
    losses = [9.0, 5.0, 1.0, 2.0, 2.0, 5.0]  # steps -4, 1, 0, 3 lead to, or lie in, the last three of six
    assert of(losses)["noise"] == pytest.approx(math.log10(math.sqrt((1 + 0 + 9) / 3 / 2) / CHANCE), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_curve_is_in_units_of_chance(scale):
    losses = 1 + np.random.default_rng(0).uniform(size=40)
    one, other = of(losses), of(scale * losses, chance=scale * CHANCE)
    assert other == pytest.approx(one, abs=1e-9)


@pytest.mark.parametrize("b", [POWERS[0], POWERS[9], POWERS[25], POWERS[-1]])
@pytest.mark.parametrize(("a", "c"), [(1.0, 0.5), (3.0, 0.0), (0.02, 1.0)])
def test_the_forecast_continues_a_power_law(a, b, c):
    s = np.arange(1, 201.0)
    # the error of another power of the grid is 1e-6 of a^2 and more, rounding 1e-30
    assert forecast(a * s**-b + c, 5000) == pytest.approx(a * 5000**-b + c, rel=1e-9)


def test_the_forecast_minimises_the_squared_error_over_its_grid():
    """All constants of a fine grid and both signs of the constraint, for each power: none has a smaller error."""
    random, s = np.random.default_rng(3), np.arange(1, 21.0)
    for losses in (
        s**-0.5 + 0.05 * random.normal(size=20),
        2 * s**-1.5 - 0.02 + 0.01 * random.normal(size=20),
        s / 20 + 1,
        3 * 0.2**s,
    ):
        best, values = math.inf, {}
        c = np.linspace(0, 2, 2001)[:, None]
        for b in POWERS:
            a = ((losses - c) @ s**-b / (s ** (-2 * b)).sum()).clip(min=0)
            errors = ((losses - c - a[:, None] * s**-b) ** 2).sum(1)
            if errors.min() < best:
                best, place = errors.min(), errors.argmin()
                values = {updates: a[place] * updates**-b + c[place, 0] for updates in (1, 30, 300)}
        for updates, value in values.items():
            assert forecast(losses, updates) == pytest.approx(value, abs=3e-3)  # of the step of the grid, 1e-3, in c and a


def test_a_loss_that_rises_or_stays_is_forecast_by_its_mean():
    assert forecast(np.arange(1, 11.0), 1000) == pytest.approx(5.5, rel=1e-12)
    assert forecast(np.full(10, 0.7), 1000) == pytest.approx(0.7, rel=1e-12)
    assert of(np.full(10, 0.7))["forecast"] == pytest.approx(math.log10(0.7 / CHANCE), abs=1e-12)


def test_gradient_norms_have_a_mean_a_peak_and_a_trend():
    found = of(np.ones(8), [1, 3, 2, 2, 2, 2, 8, 12])
    assert found["gradient_mean"] == pytest.approx(math.log10(4), abs=1e-12)
    assert found["gradient_peak"] == pytest.approx(math.log10(3), abs=1e-12)
    assert found["gradient_trend"] == pytest.approx(math.log10(10 / 2), abs=1e-12)  # two of eight are a quarter
    assert of(np.ones(8), np.full(8, 0.3))["gradient_peak"] == 0


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_a_short_curve_has_all_numbers(count):
    losses = np.linspace(2, 1, count)
    found = of(losses)
    assert set(found) == set(COLUMNS)
    assert all(map(math.isfinite, found.values()))
    assert found["first"] == pytest.approx(math.log10(2 / CHANCE), abs=1e-12)
    assert found["last"] == pytest.approx(math.log10(1 / CHANCE), abs=1e-12)


@pytest.mark.parametrize(
    ("losses", "norms", "chance"),
    [
        ([1.0], [1.0], 1.0),
        ([], [], 1.0),
        ([1.0, math.nan], [1.0, 1.0], 1.0),
        ([1.0, 1.0], [1.0, math.inf], 1.0),
        ([1.0, 2.0], [1.0, 1.0], 0.0),
        ([1.0, 2.0], [1.0, 1.0], math.nan),
    ],
)
def test_a_curve_that_cannot_be_told_is_no_number(losses, norms, chance):
    found = of(losses, norms, chance=chance)
    assert set(found) == set(COLUMNS)
    assert all(map(math.isnan, found.values()))


def test_losses_and_norms_of_any_size_are_numbers_without_warnings():
    for losses, norms in (([0.0] * 9, [0.0] * 9), ([1e30, 1e-30] * 5, [1e30, 1e-30] * 5), ([3e38] * 9, [3e38] * 9)):
        found = of(losses, norms)
        assert all(map(math.isfinite, found.values()))
        assert all(COLUMNS[name].least <= value <= COLUMNS[name].most for name, value in found.items())
