"""The small form of the replication of NeuroView-RNN."""

import pytest

from replications import neuroview
from replications._harness import prose
from replications.neuroview import BEGIN, LENGTH

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome():
    return neuroview.run(small=True)


def test_evidence_and_deletion_find_the_planted_window_and_only_the_readout_of_all_states_learns_it(outcome):
    found = neuroview.planted("elman", 0, 250)  # the one in the outcome
    assert found.accuracy["last"] < 0.5 < 0.9 < found.accuracy["neuroview"]
    assert set(range(BEGIN + 3, BEGIN + LENGTH)) <= set(found.top) <= set(range(BEGIN, BEGIN + LENGTH + 3))
    assert found.mass("evidence") > 0.9 > 0.8 > found.mass("size")
    assert found.deleted["evidence"] < 0.5 < 0.9 < found.deleted["random"]
    assert f"last {found.accuracy['last']:.3f} (1 seed)" in outcome.rows[0].found


def test_prose_compares_both_heads(outcome):
    assert any(row.what.startswith("planted_window, 5 networks under each head: R2") for row in outcome.rows)
    written = prose("neuroview", outcome)
    assert "R2 of the score from the early spectrum: planted_window " in written["summary"]
    assert "After the wave follow 30 steps of noise" in written["discussion"]


def test_both_heads_are_compared_on_the_same_networks():
    last, new = neuroview.sweeps("planted_window", ("elman",), 2, 50)
    assert (last["head"].unique(), new["head"].unique()) == (["last"], ["neuroview"])
    for column in ("log_learning_rate", "log_init_scale", "log_hidden_size", "clip_norm"):
        assert last[column].tolist() == new[column].tolist()
    # the initial cells are the same; `accuracy` allows this much for the mean over sequences, for each of the two
    assert (last["initial_exponent_1"] - new["initial_exponent_1"]).abs().max() < 2e-5
