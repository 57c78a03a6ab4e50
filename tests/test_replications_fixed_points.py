"""The small form of the replication: a cube that training made, and a network that begins to add up."""

from dataclasses import replace

import torch

from replications.fixed_points import VALENCES, pulses, run, text, text_rows, texts


def test_a_trained_network_keeps_three_bits_at_the_corners_of_a_cube():
    outcome = run(small=True)
    cube, error, gap, *rest = outcome.rows
    assert cube.found == "8 / 12 / 6 / 1 (index 1, 0 outliers)"
    assert float(error.found) < 0.05  # the constant answer 0 errs by 1
    assert float(gap.found.split()[0]) < 2e-3  # a complex pair's rotation over 2,000 steps: some units / 2,000
    assert rest
    assert outcome.pictures == {}
    assert outcome.summary.startswith("1 of 1 networks that remember three bits have the 27 fixed points")
    assert "Index 1: 1 of the 1 networks." in outcome.why


def test_no_two_networks_share_a_label():
    read = text("gru", 0, steps=2, seeds=4, iterations=3)
    labels = [row.what for t in (read, replace(read, seed=1)) for row in text_rows(t)]
    assert len(set(labels)) == len(labels)


def test_targets_are_the_last_pulse_of_each_channel():
    inputs, targets = pulses(torch.Generator().manual_seed(1), steps=40, count=3)
    memory = torch.zeros(3, 3)
    for x, target in zip(inputs, targets, strict=True):
        memory = torch.where(x == 0, memory, x)
        assert torch.equal(memory, target)


def test_texts_are_judged_by_the_sum_of_their_valences():
    inputs, answers = texts(torch.Generator().manual_seed(1), steps=12)
    assert inputs.shape == (12, 64, 100)
    assert (inputs.sum(-1) == 1).all()
    totals = [sum(float(VALENCES[word.argmax()]) for word in text) for text in inputs.unbind(1)]
    assert answers[:, 0].tolist() == [float(total > 0) for total in totals]
