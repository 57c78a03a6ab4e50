"""Marked parity: the answers from bits and marks, and their independence of each single bit."""

import numpy as np
import pytest

from pipeline import tasks
from pipeline.tasks import marked_parity


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_answer_is_whether_the_number_of_marked_ones_is_odd(split, prepared):
    inputs, answers = prepared("marked_parity").split(split)
    for sequence, answer in zip(inputs.swapaxes(0, 1).tolist(), answers.tolist(), strict=True):
        assert {mark for _, mark in sequence} == {0, 1}
        assert {bit for bit, _ in sequence} <= {-1, 1}
        assert answer == sum(bit == 1 and mark == 1 for bit, mark in sequence) % 2


def test_one_and_two_marks_are_equally_frequent_and_so_are_their_places(prepared):
    marks = prepared("marked_parity").arrays["train_inputs"][..., 1]
    counts = np.bincount(marks.sum(0).astype(int), minlength=3)
    assert counts[0] == 0
    assert counts[1] == pytest.approx(3500 / 2, abs=4 * (3500 / 4) ** 0.5)  # binomial
    assert len(counts) == 3
    assert np.abs(marks.mean(1) - 0.075).max() < 4.5 * (0.075 * 0.925 / 3500) ** 0.5  # 1.5 of 20 steps in the mean; 20 places


def test_bits_are_fair_and_tell_nothing_unless_one_alone_is_marked(prepared):
    inputs, answers = prepared("marked_parity").split("train")
    assert inputs[..., 0].mean() == pytest.approx(0, abs=4 / inputs[..., 0].size ** 0.5)
    several = inputs[..., 1].sum(0) > 1
    last = 19 - inputs[::-1, :, 1].argmax(0)
    bit = np.take_along_axis(inputs[..., 0], last[None], axis=0)[0] > 0
    assert (bit == answers)[several].mean() == pytest.approx(0.5, abs=4 * 0.5 / several.sum() ** 0.5)
    assert (bit == answers)[~several].all()


def test_chance_is_the_log_of_two(prepared):
    # an error of the frequencies is squared: 2 d^2 for d = 4 * 0.5 / 3500 ** 0.5 in training, and 4 d e with e of 500
    assert prepared("marked_parity").info.chance == pytest.approx(np.log(2), abs=2 * 0.034**2 + 4 * 0.034 * 0.089)


@pytest.mark.parametrize(("size", "steps", "most"), [("long", 50, 3), ("full", 100, 10)])
def test_other_forms_have_more_marks(size, steps, most, monkeypatch):
    monkeypatch.setitem(marked_parity.FORMS, size, (*marked_parity.FORMS[size][:2], (300, 20, 10)))
    marks = tasks.get("marked_parity").load(size, 1).arrays["train_inputs"][..., 1]
    assert len(marks) == steps
    assert (marks.sum(0).min(), marks.sum(0).max()) == (1, most)  # each is missed with probability 0.9 ** 300 at most
