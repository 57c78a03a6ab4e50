"""The small form of the replication of stateful training."""

import pytest

from replications import stateful
from replications._harness import prose

pytestmark = pytest.mark.slow


def test_a_carried_state_or_a_target_as_input_helps_the_slow_store():
    outcome = stateful.run(small=True)
    facts = outcome.facts
    # over seeds 0 to 4: 0.36 to 0.46 more by carrying, 0.51 to 0.72 by teacher forcing
    assert facts["carried"] - facts["zero"] > 0.2
    assert facts["observed"] - facts["zero"] > 0.3
    written = prose("stateful", outcome)
    assert f"Efficiency for soil water: {facts['zero']:.2f} stateless" in written["summary"]
    assert "- snow: stateless, carried" in written["discussion"]


def test_the_prose_of_the_full_form_describes_the_memory_of_the_stores():
    policies = ("stateless", "stateful", "ordered", "conditional")
    ways = {"conditional": ("teacher forcing", "free-running")}
    found = [
        stateful.Finding(policy, 61, {way: [0.5, 0.4] for way in ways.get(policy, ("from zero", "carried"))}, -0.05, 1.0)
        for policy in policies
    ]
    written = prose("stateful", stateful.outcome(found, [], found))
    assert "in the training years of the 6 seeds: soil 0.70 to 0.78" in written["discussion"]
    assert "segments of 15, 30, 122 days in mini-batches of 32, 16, 4" in written["run"]
