"""Planted window: the best possible accuracy is known in closed form, inside the window and outside."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from pipeline import tasks
from pipeline.tasks import planted_window

WAVES = np.array([[np.sin(2 * np.pi * periods * t / 10) for t in range(10)] for periods in (1, 2, 3, 4)])


def matched(signals, begin):
    """The class whose wave correlates best with ten steps, (N,)."""
    return (WAVES @ signals[begin : begin + 10, :, 0].astype(float)).argmax(0)


def test_comparing_the_window_with_the_waves_has_the_accuracy_of_orthogonal_signals(prepared):
    signals, classes = prepared("planted_window").split("train")
    distance = 5**0.5 / 0.5  # root of a wave's energy, ten steps of sin^2, over the noise's deviation
    best, _ = quad(lambda x: norm.pdf(x - distance) * norm.cdf(x) ** 3, -8, 16)
    assert best == pytest.approx(0.997, abs=1e-3)  # as the task says
    assert (matched(signals, 20) == classes).mean() == pytest.approx(best, abs=4 * (best * (1 - best) / 3500) ** 0.5)


@pytest.mark.parametrize("begin", [0, 10, 30])
def test_other_steps_carry_no_information(prepared, begin):
    signals, classes = prepared("planted_window").split("train")
    assert (matched(signals, begin) == classes).mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 3500) ** 0.5)


def test_signal_is_its_classs_wave_and_noise_of_deviation_a_half(prepared):
    signals, classes = prepared("planted_window").split("train")
    planted = np.zeros(signals.shape[:2])
    planted[20:30] = WAVES[classes].T
    noise = signals[..., 0] - planted
    for kind in range(4):  # 40 means of about 875: five standard errors
        assert np.abs(noise[:, classes == kind].mean(1)).max() < 5 * 0.5 / 800**0.5
    assert noise.std() == pytest.approx(0.5, abs=4 * 0.5 / (2 * noise.size) ** 0.5)


def test_chance_is_the_log_of_four(prepared):
    # frequencies from 3,500: deviations of their logarithms 0.03, so over 500 sequences 4 * 0.03 / 500 ** 0.5 = 0.005,
    # and their error costs 3 / (2 * 3500), 0.0004 in the mean
    assert prepared("planted_window").info.chance == pytest.approx(np.log(4), abs=0.007)


def test_full_form_has_sixty_steps_with_the_wave_at_20_to_29(monkeypatch):
    monkeypatch.setitem(planted_window.FORMS, "full", (*planted_window.FORMS["full"][:2], (300, 20, 10)))
    splits = tasks.get("planted_window").load("full", 1)
    signals, classes = splits.arrays["train_inputs"], splits.arrays["train_targets"]
    assert signals.shape == (60, 300, 1)
    assert splits.notes["window"] == [20, 30]
    assert (matched(signals, 20) == classes).mean() > 0.98  # 0.997 with deviation 0.003


def test_wave_of_the_long_form_is_at_steps_50_to_59_of_80():
    splits = tasks.get("planted_window").load("long", 1)
    signals, classes = splits.arrays["train_inputs"], splits.arrays["train_targets"]
    assert signals.shape == (80, 3500, 1)
    assert splits.notes["window"] == [50, 60]
    assert (matched(signals, 50) == classes).mean() > 0.98  # 0.997 with deviation 0.001
    assert (matched(signals, 20) == classes).mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 3500) ** 0.5)
