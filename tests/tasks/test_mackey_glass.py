"""Mackey-Glass: compared with SciPy's integrator by the method of steps; the delay is recovered from the data."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from pipeline import tasks
from pipeline.tasks import mackey_glass


def by_steps(past, duration):
    """The series at times 0, 1, ... from a constant past, as an ordinary equation on each interval of 17 units in turn."""
    pieces = [lambda t: past + 0 * t]
    x, values = past, []
    for begin in range(0, duration, 17):
        before = pieces[-1]

        def slope(t, x, before=before):
            delayed = before(t - 17)
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

        solution = solve_ivp(slope, (begin, begin + 17), [x], method="DOP853", rtol=1e-10, atol=1e-12, dense_output=True)
        pieces.append(lambda t, of=solution.sol: of(t)[0])
        values += solution.sol(np.arange(begin, begin + 17))[0].tolist()
        x = solution.y[0, -1]
    return np.array(values[:duration])


def undone(data, split, kind):
    """Inputs or targets (T, N) in their own units."""
    by = data.info.notes["standardised_by"][kind]
    return data.arrays[f"{split}_{kind}"][..., 0].astype(float) * by["std"][0] + by["mean"][0]


def test_series_is_scipys_and_its_error_falls_fourfold_with_half_the_step():
    exact = by_steps(0.9, 170)
    errors = [np.abs(mackey_glass.simulate(np.array([0.9]), 170, n)[:, 0] - exact).max() for n in (4, 8, 16)]
    assert errors[0] < 0.01  # of a deviation of 0.23
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)  # second order, with a remainder of the third
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_series_do_not_mix():
    both = mackey_glass.simulate(np.array([0.7, 1.2]), 60)
    assert np.array_equal(both[:, 1], mackey_glass.simulate(np.array([1.2]), 60)[:, 0])
    assert not np.array_equal(both[:, 0], both[:, 1])


def test_targets_are_the_inputs_25_steps_later_without_their_noise(prepared):
    data = prepared("mackey_glass")
    assert data.info.notes["horizon"] == 25
    noise = undone(data, "train", "inputs")[25:] - undone(data, "train", "targets")[:-25]
    assert noise.size == 15 * 3500
    assert noise.mean() == pytest.approx(0, abs=4 * 0.05 / noise.size**0.5)
    assert noise.std() == pytest.approx(0.05, abs=4 * 0.05 / (2 * noise.size) ** 0.5)


def test_data_obey_the_delay_equation_with_a_delay_of_17(prepared):
    series = undone(prepared("mackey_glass"), "test", "targets")
    spline, times = CubicSpline(2 * np.arange(len(series)), series), np.arange(25, 75)

    def residual(delay):
        delayed = spline(times - delay)
        return (spline(times, 1) - 0.2 * delayed / (1 + delayed**10) + 0.1 * spline(times)).std()

    assert residual(17) < 0.1 * spline(times, 1).std()  # a spline through every second unit of time
    assert min(residual(16), residual(18)) > 2 * residual(17)


def test_chance_is_the_variance_of_a_standardised_series(prepared):
    data = prepared("mackey_glass")
    squares = (data.arrays["validation_targets"][..., 0].astype(float) ** 2).mean(0)  # of each sequence; independent
    assert data.info.chance == pytest.approx(1, abs=4 * squares.std() / 500**0.5)


@pytest.mark.parametrize(("size", "steps", "horizon"), [("long", 100, 42), ("full", 200, 42)])
def test_other_forms_look_further_ahead(size, steps, horizon, monkeypatch):
    monkeypatch.setitem(mackey_glass.FORMS, size, (*mackey_glass.FORMS[size][:2], (30, 20, 10)))
    monkeypatch.setattr(mackey_glass, "NOISE", 0)
    splits = tasks.get("mackey_glass").load(size, 1)
    inputs, targets = (splits.arrays[f"train_{kind}"].astype(float) for kind in ("inputs", "targets"))
    by = splits.notes["standardised_by"]
    assert inputs.shape == (steps, 30, 1)
    later = (inputs * by["inputs"]["std"] + by["inputs"]["mean"])[horizon:]
    np.testing.assert_allclose(later, (targets * by["targets"]["std"] + by["targets"]["mean"])[:-horizon], rtol=0, atol=1e-6)
