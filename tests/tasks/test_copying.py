"""Copying: inputs, targets, and the loss of an answer without memory."""

import itertools
import math

import numpy as np
import pytest
import torch

from pipeline import tasks
from pipeline.tasks import copying

SPLITS = ("train", "validation", "test")


def test_symbols_come_out_in_their_order_after_blanks_and_the_marker(prepared):
    arrays = prepared("copying").arrays
    for split in SPLITS:
        for given, asked in zip(arrays[f"{split}_inputs"].T.tolist(), arrays[f"{split}_targets"].T.tolist(), strict=True):
            symbols = given[:5]
            assert set(symbols) <= set(range(1, 9))
            assert given == [*symbols, *[0] * 9, 9, *[0] * 5]
            assert asked == [*[0] * 15, *symbols]


def test_if_all_sequences_are_drawn_each_occurs_once():
    inputs, targets = copying.sequences(64, 2, 3, np.random.default_rng(0))
    every = sorted(itertools.product(range(1, 9), repeat=2))
    assert sorted(map(tuple, inputs[:2].T.tolist())) == every
    assert sorted(map(tuple, targets[-2:].T.tolist())) == every


def test_chance_is_the_papers_baseline(prepared):
    info = prepared("copying").info
    assert info.notes["baseline"] == pytest.approx(5 * math.log(8) / 20, rel=1e-12)
    # Its excess, relative: 15 blanks at ln(1 + 4 / 3500) each, 0.0016; frequencies known from 3,500 sequences, 7 / 7000 / ln 8,
    # 0.0005; their logarithms' deviations, 0.05, over 2,500 symbols: within 4 * 0.001 / ln 8 = 0.002
    assert 0 < info.chance / info.notes["baseline"] - 1 < 0.0042


def test_equal_logits_lose_the_log_of_nine(prepared):
    targets = torch.from_numpy(prepared("copying").arrays["test_targets"])
    outputs = torch.full((*targets.shape, 9), 0.3)
    assert tasks.get("copying").loss(outputs, targets).item() == pytest.approx(math.log(9), rel=1e-6)  # float32


def test_metric_counts_symbols_and_no_blanks():
    targets = torch.tensor([[0, 0], [0, 0], [1, 8], [2, 3]], dtype=torch.uint8)
    answers = torch.tensor([[4, 4], [4, 4], [1, 8], [2, 5]])
    outputs = torch.nn.functional.one_hot(answers, 9).float()
    assert tasks.get("copying").metric(outputs, targets).item() == 0.75


def test_full_form_is_the_papers(monkeypatch):
    monkeypatch.setitem(copying.FORMS, "full", (*copying.FORMS["full"][:2], (30, 20, 10)))
    splits = tasks.get("copying").load("full", 1)
    assert splits.arrays["train_inputs"].shape == (120, 30)
    assert splits.notes["baseline"] == pytest.approx(0.1733, abs=5e-5)  # 10 ln 8 / (100 + 20), Arjovsky et al. 2016
    assert np.array_equal(splits.arrays["test_inputs"][:10], splits.arrays["test_targets"][-10:])


def test_symbols_of_the_long_form_wait_for_thirty_steps():
    splits = tasks.get("copying").load("long", 1)
    inputs, targets = (splits.arrays[f"train_{kind}"] for kind in ("inputs", "targets"))
    assert inputs.shape == (40, 3500)
    assert np.array_equal(targets[35:], inputs[:5])
    assert (inputs[34] == 9).all()
    assert not inputs[5:34].any()
    assert not targets[:35].any()
