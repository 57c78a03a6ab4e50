"""Match to sample: when the symbols are shown, and the accuracy of comparing them in noise, in closed form."""

import numpy as np
import pytest
from scipy.stats import norm

from pipeline import tasks
from pipeline.tasks import match_to_sample


def test_comparing_symbols_at_known_places_has_the_accuracy_of_two_normal_numbers():
    inputs, answers = match_to_sample.sequences(20_000, 20, (5, 5), np.random.default_rng(0))
    contrast = (inputs[..., 0] - inputs[..., 1]).astype(float)
    found = (contrast[9:12].sum(0) > 0) == (contrast[17:].sum(0) > 0)
    right = norm.cdf(3 / (6**0.5 * 0.5))  # the sum over three steps of a difference of two channels: mean 3, variance 6 / 4
    best = right**2 + (1 - right) ** 2
    assert best == pytest.approx(0.986, abs=5e-4)  # as the task says
    assert (found == answers).mean() == pytest.approx(best, abs=4 * (best * (1 - best) / 20_000) ** 0.5)


def test_noise_has_the_deviation_of_a_half_where_nothing_is_shown():
    inputs, _ = match_to_sample.sequences(2000, 20, (5, 5), np.random.default_rng(0))
    noise = np.concatenate([inputs[:9], inputs[12:17]])
    assert noise.mean() == pytest.approx(0, abs=4 * 0.5 / noise.size**0.5)
    assert noise.std() == pytest.approx(0.5, abs=4 * 0.5 / (2 * noise.size) ** 0.5)


def test_sample_begins_at_each_of_14_steps_equally_often_and_the_probe_is_at_the_end(prepared):
    inputs = prepared("match_to_sample").arrays["train_inputs"]
    shown = np.convolve(np.full(14, 1 / 14), np.ones(3))  # probability at steps 0 to 15
    expected = np.concatenate([shown, [0], [1, 1, 1]])
    error = ((2 * 0.25 + expected * (1 - expected)) / 3500) ** 0.5  # two channels of noise, and a binomial number
    assert (np.abs(inputs.sum(2).mean(1) - expected) < 5 * error).all()


def test_half_of_the_probes_match_whatever_the_probe_is(prepared):
    inputs, answers = prepared("match_to_sample").split("train")
    assert answers.mean() == pytest.approx(0.5, abs=4 * 0.5 / 3500**0.5)
    probe = inputs[-3:, :, 0].sum(0) > inputs[-3:, :, 1].sum(0)
    for kind in (False, True):
        assert answers[probe == kind].mean() == pytest.approx(0.5, abs=4 * 0.5 / (probe == kind).sum() ** 0.5)


def test_chance_is_the_log_of_two(prepared):
    # an error of the frequencies is squared: 2 d^2 for d = 4 * 0.5 / 3500 ** 0.5 in training, and 4 d e with e of 500
    assert prepared("match_to_sample").info.chance == pytest.approx(np.log(2), abs=2 * 0.034**2 + 4 * 0.034 * 0.089)


@pytest.mark.parametrize(("size", "steps", "first", "last"), [("long", 50, 0, 41), ("full", 100, 0, 74)])
def test_other_forms_show_the_sample_earlier(size, steps, first, last, monkeypatch):
    monkeypatch.setitem(match_to_sample.FORMS, size, (*match_to_sample.FORMS[size][:3], (3000, 20, 10)))
    monkeypatch.setattr(match_to_sample, "NOISE", 0)
    inputs = tasks.get("match_to_sample").load(size, 1).arrays["train_inputs"]
    begins = inputs.sum(2).argmax(0)
    assert len(inputs) == steps
    assert (begins.min(), begins.max()) == (first, last)  # each is missed with probability (1 - 1 / 75) ** 3000 at most
    assert (inputs.sum((0, 2)) == 6).all()
