"""The smallest form of the replication of the cells."""

from replications import cells


def test_a_cell_of_learned_time_scales_solves_a_short_adding_problem():
    outcome = cells.run(small=True)
    assert "adding solved at" in outcome.rows[0].found
