"""Lorenz: against SciPy's integrator, an exact relation of averages, and the symmetry that defeats a linear answer."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pipeline import tasks
from pipeline.tasks import lorenz


def exact(state, times):
    """States (T, 3) at times, by another method."""

    def slope(_, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    return solve_ivp(slope, (0, times[-1]), state, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12).y.T


def test_trajectories_are_scipys():
    states = lorenz.sequences(5, 41, np.random.default_rng(0))
    for trajectory in states.swapaxes(0, 1):
        # steps of 0.01 err by about 1e-7 each, and neighbours part by at most e^(2 * 4) in two units of time
        np.testing.assert_allclose(trajectory, exact(trajectory[0], 0.05 * np.arange(41)), rtol=0, atol=5e-3)


def test_integration_error_falls_sixteenfold_with_half_the_step():
    begin = np.array([[1.0, 2.0, 20.0]])
    errors = []
    for count in (80, 160, 320):
        states = begin
        for _ in range(count):
            states = lorenz.advance(states, 0.4 / count)
        errors.append(np.abs(states[0] - exact(begin[0], np.array([0, 0.4]))[-1]).max())
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.25)  # fourth order, with a remainder of the fifth
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.15)


def test_the_mean_of_x_squared_is_beta_times_the_mean_of_z(prepared):
    """Averages on the attractor do not change: d(x^2)/dt = 20 (xy - x^2) and dz/dt = xy - 8/3 z average to 0."""
    data = prepared("lorenz")
    x, z = (
        data.arrays[f"train_{kind}"][..., 0].astype(float) * by["std"][0] + by["mean"][0]
        for kind, by in data.info.notes["standardised_by"].items()
    )
    gap = (x**2).mean(0) - 8 / 3 * z.mean(0)  # of each sequence; independent
    assert gap.mean() == pytest.approx(0, abs=4 * gap.std() / 3500**0.5)
    assert x.mean() == pytest.approx(0, abs=4 * x.mean(0).std() / 3500**0.5)
    assert 20 < z.mean() < 27  # z = 27 at the two unstable points in the middle of the wings, and 0 between them


def test_inputs_are_x_and_targets_z_five_steps_later():
    splits = tasks.get("lorenz").load("packaged", 3)
    states = lorenz.sequences(4500, 45, np.random.default_rng(3))[:, :3500]
    for kind, values in (("inputs", states[:40, :, 0]), ("targets", states[5:, :, 2])):
        expected = (values - values.mean()) / values.std()
        np.testing.assert_allclose(splits.arrays[f"train_{kind}"][..., 0], expected, rtol=0, atol=1e-5)  # float32


def test_a_linear_answer_is_at_chance(prepared):
    (x, z), (others, asked) = (prepared("lorenz").split(s) for s in ("train", "test"))
    fit = np.linalg.lstsq(x[..., 0].T, z[-1, :, 0], rcond=None)[0]
    error = (others[..., 0].T @ fit - asked[-1, :, 0]) ** 2
    plain = asked[-1, :, 0] ** 2
    # nothing to gain by symmetry; a difference of squared errors of 500 independent sequences
    assert (error - plain).mean() > -4 * (error - plain).std() / 500**0.5
    assert error.mean() == pytest.approx(1, abs=0.2)  # 500 squares of kurtosis below 3: 4 * (2 / 500) ** 0.5 is 0.25


def test_chance_is_the_variance_of_a_standardised_variable(prepared):
    data = prepared("lorenz")
    squares = (data.arrays["validation_targets"][..., 0].astype(float) ** 2).mean(0)  # of each sequence; independent
    assert data.info.chance == pytest.approx(1, abs=4 * squares.std() / 500**0.5)


@pytest.mark.parametrize(("size", "steps"), [("long", 100), ("full", 200)])
def test_other_forms_look_ten_steps_ahead(size, steps, monkeypatch):
    monkeypatch.setitem(lorenz.FORMS, size, (*lorenz.FORMS[size][:2], (30, 20, 10)))
    splits = tasks.get("lorenz").load(size, 1)
    assert splits.arrays["train_inputs"].shape == (steps, 30, 1)
    states = lorenz.sequences(60, steps + 10, np.random.default_rng(1))
    by = splits.notes["standardised_by"]["targets"]
    found = splits.arrays["train_targets"].astype(float) * by["std"] + by["mean"]
    np.testing.assert_allclose(found[..., 0], states[10:, :30, 2], rtol=0, atol=1e-4)  # float32 of numbers up to 50
