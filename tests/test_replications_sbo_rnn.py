"""The small form of the replication of SBO-RNN."""

import re

import pytest
import torch
from draws import seeded

from replications import sbo_rnn
from replications._harness import prose

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome():
    return sbo_rnn.run(small=True)


def test_sbo_rnn_learns_to_add_where_a_tanh_network_stays_at_the_baseline(outcome):
    nesterov, tanh = (float(re.search(r"error (\S+)\)", row.found)[1]) for row in outcome.rows)
    assert nesterov < 0.12
    assert tanh > 0.14


def test_prose_counts_the_seeds_that_solved_the_problem(outcome):
    discussion = " ".join(prose("sbo_rnn", outcome)["discussion"].split())
    assert "out of 1, that solved it: Nesterov 0, tanh 0." in discussion


def test_frozen_factors_are_buffers():
    cell = sbo_rnn.Frozen(2, 4)
    assert cell.fixed == {"left", "right"}
    assert torch.equal(cell.init(seeded())["left"], sbo_rnn.SBOGradient(2, 4).init(seeded())["left"])
