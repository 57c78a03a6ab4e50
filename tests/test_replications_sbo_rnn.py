"""The small form of the replication of SBO-RNN, and the sequences it learns."""

import re

import numpy as np
import pytest
import torch
from draws import seeded

from replications import sbo_rnn
from replications._samples import adding


def test_sbo_rnn_learns_to_add_where_a_tanh_network_stays_at_the_baseline():
    found = [row.found for row in sbo_rnn.run(small=True).rows]
    nesterov, tanh = (float(re.search(r"error (\S+)\)", text)[1]) for text in found)
    assert nesterov < 0.12
    assert tanh > 0.14


def test_every_network_gets_the_better_rate(monkeypatch):
    for better in sbo_rnn.RATES:
        found = {rate: sbo_rnn.Learning(None, np.array([float(rate != better)]), None, 0.0) for rate in sbo_rnn.RATES}
        monkeypatch.setattr(sbo_rnn, "added", lambda *a, found=found, **_: found[a[4]])
        assert [sbo_rnn.best(name, 9, 8, 2, most=5)[0] for name in sbo_rnn.LABELS] == [better] * len(sbo_rnn.LABELS)


def test_two_numbers_are_marked_one_in_each_half():
    inputs, targets = adding(9, 50, seeded())
    numbers, marks = inputs.unbind(-1)
    assert inputs.shape == (9, 50, 2)
    assert (marks[:4].sum(0) == 1).all()
    assert (marks[4:].sum(0) == 1).all()
    for b in range(50):
        assert targets[b].item() == pytest.approx(sum(numbers[marks[:, b] == 1, b].tolist()), abs=1e-6)  # float32
    assert 0 <= numbers.min() <= numbers.max() < 1


def test_frozen_factors_are_buffers():
    cell = sbo_rnn.Frozen(2, 4)
    assert cell.fixed == {"left", "right"}
    assert torch.equal(cell.init(seeded())["left"], sbo_rnn.SBOGradient(2, 4).init(seeded())["left"])
