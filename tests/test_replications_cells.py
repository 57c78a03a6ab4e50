"""The small form of the replication of the cells."""

import pytest

from replications import cells
from replications._harness import prose

pytestmark = pytest.mark.slow


def test_a_cell_of_learned_time_scales_solves_a_short_adding_problem():
    outcome = cells.run(small=True)
    assert "adding solved at" in outcome.rows[0].found
    assert prose("cells", outcome)["summary"].startswith("1 of 1 cells solve adding with T = 20 within 800 mini-batches")
