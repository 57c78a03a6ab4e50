"""Counting modulo three: the answers by Python's integers, and their independence of the last digit."""

import numpy as np
import pytest

from pipeline import tasks
from pipeline.tasks import modular_counting


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_answer_is_the_remainder_of_the_sum_so_far(split, prepared):
    digits, answers = prepared("modular_counting").split(split)
    assert set(digits.ravel().tolist()) == {0, 1, 2}
    for given, asked in zip(digits.T.tolist()[:500], answers.T.tolist()[:500], strict=True):
        assert asked == [sum(given[: t + 1]) % 3 for t in range(20)]


def test_the_digit_of_a_step_tells_nothing_of_the_answer_after_the_first(prepared):
    digits, answers = prepared("modular_counting").split("train")
    assert np.array_equal(digits[0], answers[0])
    for step in (1, 10, 19):
        pairs = np.bincount(3 * digits[step].astype(int) + answers[step], minlength=9) / 3500
        assert np.abs(pairs - 1 / 9).max() < 4.5 * (1 / 9 * 8 / 9 / 3500) ** 0.5  # binomial, the largest of 9


def test_chance_is_the_log_of_three(prepared):
    # frequencies of 70,000 independent answers in training and 10,000 in validation differ from 1/3 by d and e of at most
    # 4 * 0.0018 and 4 * 0.0047; the loss then differs by 3 d^2 + 3 d e for each of three classes
    assert prepared("modular_counting").info.chance == pytest.approx(np.log(3), abs=9 * (0.0072**2 + 0.0072 * 0.019))


@pytest.mark.parametrize(("size", "steps"), [("long", 50), ("full", 100)])
def test_other_forms_count_longer(size, steps, monkeypatch):
    monkeypatch.setitem(modular_counting.FORMS, size, (modular_counting.FORMS[size][0], (30, 20, 10)))
    arrays = tasks.get("modular_counting").load(size, 1).arrays
    assert arrays["train_inputs"].shape == (steps, 30)
    assert (arrays["test_targets"][-1] == arrays["test_inputs"].sum(0, dtype=int) % 3).all()
