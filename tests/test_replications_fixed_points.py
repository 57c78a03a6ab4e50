"""The small form of the replication of fixed points: a cube, and a network that begins to add up."""

from dataclasses import replace

import numpy as np
import pytest

from replications._harness import prose
from replications.fixed_points import VALENCES, run, text, text_rows, texts

pytestmark = pytest.mark.slow


def test_a_trained_network_keeps_three_bits_at_the_corners_of_a_cube():
    outcome = run(small=True)
    cube, error, gap, *rest = outcome.rows
    assert cube.found == "8 / 12 / 6 / 1 (index 1, 0 outliers)"
    assert float(error.found) < 0.05  # the constant answer 0 has an error of 1
    assert float(gap.found.split()[0]) < 2e-3  # rotation of a complex pair over 2,000 steps: some units / 2,000
    assert rest
    written = prose("fixed_points", outcome)
    assert written["summary"].startswith("1 of 1 networks that remember three bits have the 27 fixed points")
    assert "1 of the 1 networks have index 1." in written["discussion"]


def test_no_two_networks_share_a_label():
    read = text("gru", 0, steps=2, seeds=4, iterations=3)
    labels = [row.what for t in (read, replace(read, seed=1)) for row in text_rows(t)]
    assert len(set(labels)) == len(labels)


def test_texts_are_judged_by_the_sum_of_their_valences():
    inputs, labels = texts(np.random.default_rng(1), length=12)
    assert inputs.shape == (12, 64, 100)
    assert (inputs.sum(-1) == 1).all()
    totals = [sum(float(VALENCES[word.argmax()]) for word in words) for words in inputs.unbind(1)]
    assert labels.tolist() == [float(total > 0) for total in totals]
