"""The small form of the replication of scoRNN."""

import pytest

from replications import scornn
from replications._harness import prose

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome():
    return scornn.run(small=True)


def one(outcome, words):
    (found,) = [row.found for row in outcome.rows if words in row.what]
    return found


def test_scornn_copies_over_twenty_steps_where_an_lstm_of_the_same_budget_stays_at_the_baseline(outcome):
    assert int(one(outcome, "scoRNN")) < 250
    assert "not in 250" in one(outcome, "LSTM")
    assert "scoRNN 1" in prose("scornn", outcome)["summary"]


def test_without_the_determinants_sign_in_d_a_target_cannot_be_reached(outcome):
    without, with_it = (float(one(outcome, words).split(";")[0]) for words in ("no entry", "one entry"))
    assert without >= 4  # of rotations from a reflection; exact, since Q'T has an eigenvalue -1 and (1 - -1)^2 = 4
    assert with_it < 2


def test_only_the_lstm_may_choose_its_learning_rate(monkeypatch):
    tried = []
    monkeypatch.setattr(scornn, "best_rate", lambda train, rates, seeds, steps: tried.append(rates))
    for name in ("lstm", "scornn"):
        scornn.best(name, scornn.WHOLE)
    assert tried == [(1e-3, 3e-3, 1e-2), (1e-3,)]
