"""Frequencies: the accuracy of a periodogram in closed form, and amplitudes and noise by projection."""

from math import comb

import numpy as np
import pytest
from scipy.integrate import quad

from pipeline import tasks
from pipeline.tasks import frequencies


def powers(signals):
    """Periodogram at 3, 4, 5 and 6 periods, (4, N)."""
    return np.abs(np.fft.rfft(signals[..., 0].astype(float), axis=0)[3:7]) ** 2


def accuracy_of_periodograms(steps, noise):
    """Share of right answers among four orthogonal sines of unknown phase (Proakis 2001), over the amplitudes."""

    def right(amplitude):
        ratio = amplitude**2 * steps / (4 * noise**2)
        return sum((-1) ** n * comb(3, n) / (n + 1) * np.exp(-ratio * n / (n + 1)) for n in range(4))

    return quad(right, 0.5, 1.5)[0]


@pytest.mark.parametrize("noise", [0.5, 1.5, 3.0])
def test_periodogram_is_right_as_often_as_theory_says(noise, monkeypatch):
    monkeypatch.setattr(frequencies, "NOISE", noise)
    signals, classes = frequencies.sequences(20_000, 32, 3, np.random.default_rng(0))
    best = accuracy_of_periodograms(32, noise)
    error = (best * (1 - best) / 20_000) ** 0.5
    assert (powers(signals).argmax(0) == classes).mean() == pytest.approx(best, abs=4 * error)


def test_periodogram_is_right_in_nearly_all_of_the_packaged_sequences(prepared):
    signals, classes = prepared("frequencies").split("train")
    best = accuracy_of_periodograms(32, 0.5)
    assert best > 0.995
    assert (powers(signals).argmax(0) == classes).mean() == pytest.approx(best, abs=4 * (best * (1 - best) / 3500) ** 0.5)


def test_what_a_sine_of_the_classs_frequency_leaves_is_noise_of_deviation_a_half(prepared):
    signals, classes = prepared("frequencies").split("train")
    angles = 2 * np.pi * np.arange(32)[:, None] * (classes + 3) / 32
    waves = np.stack([np.sin(angles), np.cos(angles)]) / 4  # orthonormal: sums of squares of 16
    parts = (waves * signals[..., 0]).sum(1)
    rest = signals[..., 0] - (waves * parts[:, None]).sum(0)
    degrees = 30 * 3500
    assert (rest**2).sum() / degrees == pytest.approx(0.25, rel=4 * (2 / degrees) ** 0.5)  # chi-squared
    squares = (parts**2).sum(0) / 16 - 2 * 0.25 / 16  # amplitudes squared, without the noise's part
    assert squares.mean() == pytest.approx(13 / 12, abs=4 * squares.std() / 3500**0.5)  # of uniform(0.5, 1.5)
    phases = parts / np.hypot(*parts)
    assert np.abs(phases.mean(1)).max() < 4 * 0.5**0.5 / 3500**0.5  # all phases alike


def test_chance_is_the_log_of_four(prepared):
    # as for planted_window: 3,500 and 500 draws of four classes
    assert prepared("frequencies").info.chance == pytest.approx(np.log(4), abs=0.007)


@pytest.mark.parametrize(("size", "steps"), [("long", 80), ("full", 160)])
def test_other_forms_have_the_same_periods_in_more_steps(size, steps, monkeypatch):
    monkeypatch.setitem(frequencies.FORMS, size, (*frequencies.FORMS[size][:2], (300, 20, 10)))
    splits = tasks.get("frequencies").load(size, 1)
    signals, classes = splits.arrays["train_inputs"], splits.arrays["train_targets"]
    assert signals.shape == (steps, 300, 1)
    assert splits.notes["periods"] == [3, 4, 5, 6]
    assert (powers(signals).argmax(0) == classes).all()  # one error in 10^4 at most
