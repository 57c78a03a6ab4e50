"""Adding: which numbers are marked, their sums, and the loss of the best constant answer."""

import numpy as np
import pytest
import torch

from pipeline import tasks
from pipeline.tasks import adding

SPLITS = ("train", "validation", "test")


def test_target_is_the_sum_of_the_two_marked_numbers_one_in_each_half(prepared):
    arrays = prepared("adding").arrays
    for split in SPLITS:
        for sequence, total in zip(arrays[f"{split}_inputs"].swapaxes(0, 1).tolist(), arrays[f"{split}_targets"], strict=True):
            marks = [mark for _, mark in sequence]
            assert sorted(marks) == [0] * 38 + [1] * 2
            first, second = marks.index(1), 39 - marks[::-1].index(1)
            assert first < 20 <= second
            assert total == pytest.approx(sequence[first][0] + sequence[second][0], rel=1e-6)  # float32


def test_every_step_is_marked_equally_often(prepared):
    marks = prepared("adding").arrays["train_inputs"][..., 1].sum(1)
    deviation = (3500 * 0.05 * 0.95) ** 0.5  # binomial, one in twenty
    assert np.abs(marks - 3500 / 20).max() < 5 * deviation


def test_chance_is_the_loss_of_always_answering_one(prepared):
    standard_error = ((1 / 15 - 1 / 36) / 500) ** 0.5  # var (sum - 1)^2 of a sum of two uniforms, 500 sequences
    assert prepared("adding").info.chance == pytest.approx(1 / 6, abs=4 * standard_error)
    always_one = tasks.get("adding").loss(torch.ones(500, 1), torch.from_numpy(prepared("adding").arrays["test_targets"]))
    assert always_one.item() == pytest.approx(1 / 6, abs=4 * standard_error)


def test_squared_error_and_share_of_near_answers_by_hand():
    outputs, targets = torch.tensor([[1.0], [0.25], [2.0]]), torch.tensor([1.05, 0.75, 1.0])
    assert tasks.get("adding").loss(outputs, targets).item() == pytest.approx((0.0025 + 0.25 + 1) / 3, rel=1e-6)  # float32
    assert tasks.get("adding").metric(outputs, targets).item() == pytest.approx(1 / 3, rel=1e-12)


def test_full_form_has_a_hundred_steps(monkeypatch):
    monkeypatch.setitem(adding.FORMS, "full", (adding.FORMS["full"][0], (30, 20, 10)))
    arrays = tasks.get("adding").load("full", 1).arrays
    assert arrays["train_inputs"].shape == (100, 30, 2)
    assert (arrays["test_inputs"][:50, :, 1].sum(0) == 1).all()
    assert (arrays["test_inputs"][50:, :, 1].sum(0) == 1).all()
