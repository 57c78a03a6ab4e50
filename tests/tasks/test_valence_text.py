"""Valence text: labels from words, padding, and the solution by bag of words."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pipeline import tasks
from pipeline.tasks import valence_text

SPLITS = ("train", "validation", "test")


def valence(word):
    """The valence of a word: 1 to 20 are positive, 21 to 40 negative, 41 to 100 neutral, and 0 is padding."""
    return 1 if 1 <= word <= 20 else -1 if 21 <= word <= 40 else 0


def bags(words):
    """The number of times that each of 100 words occurs in each text, (N, 100)."""
    return np.stack([np.bincount(text, minlength=101)[1:] for text in words.T])


def test_label_is_the_sign_of_the_sum_of_valences_which_is_never_zero(prepared):
    arrays = prepared("valence_text").arrays
    for split in SPLITS:
        for text, label in zip(arrays[f"{split}_inputs"].T.tolist(), arrays[f"{split}_targets"].tolist(), strict=True):
            total = sum(map(valence, text))
            assert total != 0
            assert label == (total > 0)


def test_notes_hold_the_valence_of_each_encoded_word(prepared):
    info = prepared("valence_text").info
    assert info.notes["valences"] == [valence(word) for word in range(1, 101)]
    words = torch.tensor([[1, 40], [100, 0]], dtype=torch.uint8)
    encoded = tasks.get("valence_text").encode(words, info.input_size)
    summed = encoded.sum(0) @ torch.tensor(info.notes["valences"]).float()
    assert summed.tolist() == [1, -1]
    assert encoded.sum(2).tolist() == [[1, 1], [1, 0]]  # no word, no input


def test_bag_of_words_solves_it(prepared):
    arrays = prepared("valence_text").arrays
    model = LogisticRegression(max_iter=1000).fit(bags(arrays["train_inputs"]), arrays["train_targets"])
    share = model.score(bags(arrays["test_inputs"]), arrays["test_targets"])
    assert share > 0.98  # 1.0 for each of ten seeds; one error in 500 is 0.002


def test_chance_is_the_entropy_of_a_coin(prepared):
    # ln 2 + 2 d^2 - 4 d e for shares of good texts 0.5 + d in training and 0.5 + e in validation; at four standard errors
    # d = 4 * 0.5 / 3500 ** 0.5 = 0.034 and e = 0.09
    assert prepared("valence_text").info.chance == pytest.approx(math.log(2), abs=0.015)


def test_shorter_texts_begin_later_and_all_lengths_occur():
    words, _ = valence_text.sequences(4000, 10, 50, np.random.default_rng(1))
    lengths = (words > 0).sum(0)
    assert all((text[50 - length :] > 0).all() for text, length in zip(words.T, lengths, strict=True))
    # 41 lengths, and ties remove at most a share of 0.3 (at ten words): each has at least 0.7 / 41 of 4,000, 68 with deviation 8
    assert np.bincount(lengths, minlength=51)[10:].min() > 68 - 4 * 8
    assert (lengths.min(), lengths.max()) == (10, 50)


def test_full_form_has_texts_of_ten_to_fifty_words(monkeypatch):
    monkeypatch.setitem(valence_text.FORMS, "full", (*valence_text.FORMS["full"][:2], (300, 20, 10)))
    words = tasks.get("valence_text").load("full", 1).arrays["train_inputs"]
    assert words.shape == (50, 300)
    assert 10 <= (words > 0).sum(0).min() < (words > 0).sum(0).max() <= 50
