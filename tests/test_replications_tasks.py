"""The small form of the replication of the tasks."""

import pytest

from replications import tasks
from replications._harness import prose

pytestmark = pytest.mark.slow


def test_chance_of_adding_is_the_variance_of_the_sum_and_a_gru_learns_it():
    outcome = tasks.run(small=True)
    chance, loss = (float(outcome.rows[0].found.split(word)[1].split(";")[0].split(",")[0]) for word in ("chance ", "loss "))
    # 500 sums of two uniforms: the variance of (sum - 1)^2 is 1/15 - 1/36
    assert abs(chance - 1 / 6) < 4 * ((1 / 15 - 1 / 36) / 500) ** 0.5
    assert loss < chance / 2
    assert "for 1 tasks" in prose("tasks", outcome)["summary"]
