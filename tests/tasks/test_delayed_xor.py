"""Delayed exclusive or: the answers from the marked bits, and their independence of each single bit."""

import numpy as np
import pytest

from pipeline import tasks
from pipeline.tasks import delayed_xor

SPLITS = ("train", "validation", "test")


def marked(inputs):
    """Steps (N, 2) and bits (N, 2) of the two marks of each sequence."""
    steps = [np.flatnonzero(marks) for marks in inputs[..., 1].T]
    assert all(len(s) == 2 for s in steps)
    steps = np.array(steps)
    return steps, np.take_along_axis(inputs[..., 0].T, steps, axis=1)


@pytest.mark.parametrize("split", SPLITS)
def test_answer_is_whether_the_marked_bits_differ(split, prepared):
    inputs, answers = prepared("delayed_xor").split(split)
    steps, bits = marked(inputs)
    assert set(bits.ravel().tolist()) == {-1, 1}
    assert answers.tolist() == [int(one != two) for one, two in bits.tolist()]
    assert set(inputs[..., 1].ravel().tolist()) == {0, 1}
    assert (steps[:, 1] == 19).all()


def test_each_delay_from_1_to_15_is_equally_frequent(prepared):
    delays = np.diff(marked(prepared("delayed_xor").arrays["train_inputs"])[0])
    counts = np.bincount(delays.ravel(), minlength=16)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 3500 / 15).max() < 5 * (3500 / 15 * 14 / 15) ** 0.5  # binomial, the largest of 15
    assert len(counts) == 16


def test_neither_bit_alone_tells_the_answer(prepared):
    inputs, answers = prepared("delayed_xor").split("train")
    for bits in marked(inputs)[1].T:
        assert ((bits > 0) == answers).mean() == pytest.approx(0.5, abs=4 * 0.5 / 3500**0.5)


def test_distractors_have_the_deviation_of_a_half(prepared):
    inputs = prepared("delayed_xor").arrays["train_inputs"]
    noise = inputs[..., 0][inputs[..., 1] == 0]
    assert noise.size == 18 * 3500
    assert noise.mean() == pytest.approx(0, abs=4 * 0.5 / noise.size**0.5)
    assert noise.std() == pytest.approx(0.5, abs=4 * 0.5 / (2 * noise.size) ** 0.5)


def test_chance_is_the_log_of_two(prepared):
    # an error of the frequencies is squared: 2 d^2 for d = 4 * 0.5 / 3500 ** 0.5 in training, and 4 d e with e of 500
    assert prepared("delayed_xor").info.chance == pytest.approx(np.log(2), abs=2 * 0.034**2 + 4 * 0.034 * 0.089)


@pytest.mark.parametrize(("size", "steps", "shortest", "longest"), [("long", 50, 3, 45), ("full", 100, 20, 90)])
def test_other_forms_have_longer_delays(size, steps, shortest, longest, monkeypatch):
    monkeypatch.setitem(delayed_xor.FORMS, size, (*delayed_xor.FORMS[size][:3], (3000, 20, 10)))
    inputs = tasks.get("delayed_xor").load(size, 1).arrays["train_inputs"]
    delays = np.diff(marked(inputs)[0])
    assert len(inputs) == steps
    assert (delays.min(), delays.max()) == (shortest, longest)  # each is missed with probability (1 - 1 / 71) ** 3000 at most
