"""Separation and generalisation of networks whose last states are known."""

import math

import numpy as np
import pytest
import torch
from draws import noise
from probed import Linear, Reader, drawn, head_of, orthogonal, probe
from torch import nn

from pipeline import measuring
from pipeline.measuring.base.measurement import effective_rank
from pipeline.measuring.base.probe import NOISY
from pipeline.measuring.separation import NOISE

SIZE, STEPS = 8, 10


def network(weight, into=None):
    return Reader(Linear(weight, orthogonal(SIZE, 6) if into is None else into), head_of(noise(1, SIZE)))


def separation(model, inputs):
    return measuring.get("separation").measure(probe(model, inputs))


def pulses(sizes, copies=8):
    """Each unit vector, of a given size, as the first input of as many sequences; then nothing."""
    inputs = torch.zeros(STEPS, SIZE * copies, SIZE, dtype=torch.float64)
    inputs[0] = torch.tensor(sizes, dtype=torch.float64).diag().repeat(copies, 1)
    return inputs


@pytest.mark.parametrize("sizes", [[1.0] * SIZE, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 1.0, 1.0, 1.0] + [0.0] * 4])
def test_an_orthogonal_network_keeps_different_pulses_apart(sizes):
    """Last states are rotated pulses, with the singular values size x sqrt(copies)."""
    found = separation(network(orthogonal(SIZE)), pulses(sizes))
    shares = np.array([s for s in sizes if s]) / sum(sizes)
    # 0 log 0: singular values of rounding, 1e-15 of the largest, add 1e-15 x 35 each
    assert found["separation"] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()) / SIZE, abs=1e-12)


def test_it_is_the_last_states_that_are_separated():
    """A network without memory, with pulses in the last step, or in the first."""
    model = network(torch.zeros(SIZE, SIZE, dtype=torch.float64))
    last = pulses([1.0] * SIZE).flip(0)
    assert separation(model, last)["separation"] == pytest.approx(1, abs=1e-12)
    assert separation(model, pulses([1.0] * SIZE))["separation"] == 0


def test_noisy_copies_differ_by_the_noise_that_the_network_keeps():
    """Copies of a sequence of zeros are sums of T noises of 0.1 of the inputs' spread: a Gaussian matrix of full rank."""
    inputs = pulses([3.0] * SIZE)
    inputs[:, :] *= torch.arange(SIZE * 8)[:, None] != 0  # the sequence that the probe copies, its first, is empty
    given = probe(network(orthogonal(SIZE)), inputs)
    states = given.noisy_states(NOISE)
    assert states.shape == (NOISY, SIZE)
    batch = given._batch[0]
    spread = float(np.sqrt(np.mean((batch.numpy() - batch.numpy().mean()) ** 2)))
    found = np.mean(states**2)
    # 512 squares of independent normal numbers: a standard error of sqrt(2 / 512) of their mean
    assert found == pytest.approx(STEPS * (NOISE * spread) ** 2, rel=4 * math.sqrt(2 / states.size))
    ratio = np.linalg.svd(states, compute_uv=False)
    shares = ratio / ratio.sum()
    expected = math.exp(-(shares * np.log(shares)).sum()) / SIZE
    assert measuring.get("separation").measure(given)["generalisation"] == pytest.approx(expected, abs=1e-12)
    assert expected > 0.9  # singular values of a Gaussian matrix lie within sqrt(64) +- sqrt(8)


def test_without_noise_the_copies_are_the_clean_sequence():
    inputs = noise(STEPS, 20, SIZE)
    given = probe(network(0.5 * orthogonal(SIZE)), inputs)
    with torch.no_grad():
        clean = given._model.recurrent(inputs)[1]
    assert given.noisy_states(0.0) == pytest.approx(clean[:1].numpy().repeat(NOISY, 0), abs=1e-12)  # `_chosen` begins with it


class Chaotic(nn.Module):
    """h' = sin(20 Q h + x): at each step small differences grow by the mean of log |20 cos|, log 10."""

    def forward(self, inputs):
        state, states = torch.zeros(inputs.shape[1], SIZE, dtype=torch.float64), []
        for x in inputs:
            state = (20 * state @ orthogonal(SIZE).T + x).sin()
            states.append(state)
        return torch.stack(states), state


def test_a_frozen_network_separates_nothing_and_a_chaotic_one_does_not_generalise():
    inputs = noise(40, 64, SIZE)
    frozen, chaotic = (
        drawn(Reader(nn.RNN(SIZE, SIZE).double(), head_of(noise(1, SIZE)))),
        Reader(Chaotic(), head_of(noise(1, SIZE))),
    )
    with torch.no_grad():
        frozen.recurrent.weight_ih_l0.zero_()  # the state is the same whatever comes in
    still, wild, calm = (separation(m, inputs) for m in (frozen, chaotic, network(0.3 * orthogonal(SIZE))))
    assert still == pytest.approx({"separation": 1 / SIZE, "generalisation": 1 / SIZE}, abs=1e-12)
    # random matrices 64 x 8, whose singular values lie within sqrt(64) +- sqrt(8): sequences, and copies under chaos
    assert min(wild["separation"], wild["generalisation"], calm["separation"]) > 0.9
    # copies under calm: one singular value of sqrt(8 x 64), and seven of 0.1 sqrt(64), 1/28 of it each: 5/4 of a share, rank 2.3
    assert calm["generalisation"] < 0.45


def test_few_sequences_can_have_no_larger_rank():
    """Eight orthogonal states in a space of sixteen have the largest possible rank."""
    inputs = torch.eye(16, dtype=torch.float64)[None, :8]
    found = separation(Reader(Linear(orthogonal(16), orthogonal(16, 6)), head_of(noise(1, 16))), inputs)
    assert found["separation"] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ([5.0], 1),
        ([2.0] * 7, 7),
        ([1.0, 1.0, 0.0], 2),
        ([0.0, 0.0], 0),
        ([0.5, 0.25, 0.25], 2**1.5),  # 1.5 bits of entropy
        ([3.0, 1.0], 4 / 3**0.75),
    ],
)
def test_effective_rank_of_known_singular_values(values, rank):
    assert effective_rank(np.array(values)) == pytest.approx(rank, rel=1e-14)
    assert effective_rank(1e3 * np.array(values)) == pytest.approx(rank, rel=1e-14)
