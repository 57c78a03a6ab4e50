"""Nested brackets: the answers by deleting pairs from the text, and the walk of the depth as a Markov chain."""

import numpy as np
import pytest

from pipeline import tasks
from pipeline.tasks import dyck_words

SPLITS = ("train", "validation", "test")


def innermost(text):
    """0 if all brackets are closed, 1 or 2 for an innermost open ( or [; ValueError if the brackets are not nested."""
    before = None
    while text != before:
        before, text = text, text.replace("()", "").replace("[]", "")
    if set(text) - set("(["):
        raise ValueError(text)
    return 0 if not text else 1 + "([".index(text[-1])


def depths(inputs):
    """Number of open brackets after each step, (T, N)."""
    return np.where(inputs < 2, 1, -1).cumsum(0)


@pytest.mark.parametrize("split", SPLITS)
def test_answer_is_the_last_bracket_that_is_left_when_pairs_are_deleted(split, prepared):
    data = prepared("dyck_words")
    inputs, targets = (a[:, :500] for a in data.split(split))
    assert data.info.notes["brackets"] == "([)]"
    for tokens, answers in zip(inputs.T, targets.T, strict=True):
        text = "".join(data.info.notes["brackets"][token] for token in tokens)
        assert answers.tolist() == [innermost(text[: t + 1]) for t in range(len(text))]


def test_oracle_refuses_what_is_not_nested():
    for text in ("(]", "([)]", ")"):
        with pytest.raises(ValueError, match=r"[)\]]"):
            innermost(text)


def test_depth_is_a_fair_walk_between_0_and_6(prepared):
    inputs = prepared("dyck_words").arrays["train_inputs"]
    depth = np.concatenate([np.zeros((1, 3500), int), depths(inputs)])
    assert (depth.min(), depth.max()) == (0, 6)
    opens = inputs < 2
    assert opens[depth[:-1] == 0].all()
    assert not opens[depth[:-1] == 6].any()
    for level in range(1, 6):
        chosen = opens[depth[:-1] == level]
        assert chosen.mean() == pytest.approx(0.5, abs=4.5 * 0.5 / len(chosen) ** 0.5)  # binomial
    types = inputs[opens]
    assert types.mean() == pytest.approx(0.5, abs=4 * 0.5 / len(types) ** 0.5)


def test_chance_is_the_entropy_of_the_answers_of_a_markov_chain(prepared):
    moves = np.zeros((7, 7))
    for level in range(7):
        up = {0: 1.0, 6: 0.0}.get(level, 0.5)
        if up:
            moves[level, level + 1] = up
        if up < 1:
            moves[level, level - 1] = 1 - up
    here, outside = np.eye(7)[0], []
    for _ in range(40):
        here = here @ moves
        outside.append(here[0])
    none = np.mean(outside)
    shares = np.array([none, (1 - none) / 2, (1 - none) / 2])
    entropy = -(shares * np.log(shares)).sum()
    # if all steps of a sequence were alike: deviation of the share of a class over 500 sequences, times its logarithm's range
    error = (none * (1 - none) / 500) ** 0.5 * np.log(shares.max() / shares.min())
    assert prepared("dyck_words").info.chance == pytest.approx(entropy, abs=4 * error + 0.002)
    assert 4 * error < 0.1


@pytest.mark.parametrize(("size", "steps"), [("long", 100), ("full", 200)])
def test_other_forms_reach_the_depth_of_ten(size, steps, monkeypatch):
    monkeypatch.setitem(dyck_words.FORMS, size, (*dyck_words.FORMS[size][:2], (500, 20, 10)))
    inputs = tasks.get("dyck_words").load(size, 1).arrays["train_inputs"]
    assert len(inputs) == steps
    assert depths(inputs).max() == 10
