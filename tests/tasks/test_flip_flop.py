"""Flip-flop: the sign of the last pulse, and the loss of answers without memory."""

import pytest
import torch

from pipeline import tasks
from pipeline.tasks import flip_flop

SPLITS = ("train", "validation", "test")


def test_target_is_the_sign_of_the_last_pulse_on_its_channel(prepared):
    arrays = prepared("flip_flop").arrays
    for split in ("validation", "test"):
        for pulses, signs in zip(
            arrays[f"{split}_inputs"].swapaxes(0, 1), arrays[f"{split}_targets"].swapaxes(0, 1), strict=True
        ):
            for channel in range(3):
                last = None
                for pulse, sign in zip(pulses[:, channel].tolist(), signs[:, channel].tolist(), strict=True):
                    assert pulse in (-1, 0, 1)
                    last = pulse or last
                    assert sign == last


def test_a_pulse_comes_at_the_first_step_and_at_one_in_five_after_it(prepared):
    pulses = prepared("flip_flop").arrays["train_inputs"]
    assert (pulses[0] != 0).all()
    count = pulses[1:].size
    assert (pulses[1:] != 0).mean() == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / count) ** 0.5)  # binomial
    assert pulses.sum() / (pulses != 0).sum() == pytest.approx(0, abs=4 / (pulses != 0).sum() ** 0.5)  # signs alike often


def test_answering_the_pulse_loses_the_share_of_steps_without_one(prepared):
    arrays = prepared("flip_flop").arrays
    pulses, signs = (torch.from_numpy(arrays[f"test_{k}"]) for k in ("inputs", "targets"))
    found = tasks.get("flip_flop").loss(pulses, signs).item()
    assert found == pytest.approx((pulses == 0).double().mean().item(), rel=1e-5)  # float32 mean of 45,000 numbers
    # four in five of all steps but the first; 500 * 29 * 3 draws
    assert found == pytest.approx(0.8 * 29 / 30, abs=4 * (0.16 / 43_500) ** 0.5)
    assert tasks.get("flip_flop").metric(pulses, signs).item() == pytest.approx(1 - found, rel=1e-5)  # 0 is no sign


def test_chance_is_the_variance_of_a_sign(prepared):
    # 1 - 2 m v + m^2 for mean signs m in training and v in validation; if all signs of a sequence were equal, their
    # standard errors would be 3500 ** -0.5 = 0.017 and 500 ** -0.5 = 0.045, so that four of each change it by 0.03
    assert prepared("flip_flop").info.chance == pytest.approx(1, abs=0.03)


def test_full_form_has_a_pulse_at_every_other_of_64_steps(monkeypatch):
    monkeypatch.setitem(flip_flop.FORMS, "full", (*flip_flop.FORMS["full"][:2], (300, 20, 10)))
    pulses = tasks.get("flip_flop").load("full", 1).arrays["train_inputs"]
    assert pulses.shape == (64, 300, 3)
    assert (pulses[1:] != 0).mean() == pytest.approx(0.5, abs=4 * (0.25 / pulses[1:].size) ** 0.5)


def test_pulses_of_the_long_form_are_rarer_in_proportion_to_its_length():
    packaged, long = (tasks.get("flip_flop").load(size, 1).arrays["train_inputs"] for size in ("packaged", "long"))
    assert long.shape == (75, 3500, 3)
    assert (long[1:] != 0).mean() == pytest.approx(0.2 * len(packaged) / len(long), abs=4 * (0.08 * 0.92 / long[1:].size) ** 0.5)
