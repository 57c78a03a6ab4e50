"""UnICORNN: parity, its initialisation, conservation of volume, and reversibility."""

import numpy as np
import pytest
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.unicornn import UnICORNN


def pull(params, y, x):
    return np.tanh(params["weight_hh"] * y + x @ params["weight_ih"].T + params["bias"]) + 30.65 * y


def reference(params, state, x):
    y, z = np.split(state, 2, axis=1)
    share = 0.19 / (1 + np.exp(-params["control"]))
    z = z - share * pull(params, y, x)
    return np.hstack([y + share * z, z])


def test_it_starts_with_the_papers_frequencies_and_no_biases():
    params = UnICORNN(3, 1000, 0.4).init(seeded())
    for name, low, high in (("weight_hh", 0, 1), ("control", -0.1, 0.1), ("weight_ih", -0.4, 0.4)):
        values = params[name]
        assert low <= values.min() < values.max() <= high
        middle, deviation = (low + high) / 2, (high - low) / 12**0.5
        assert abs(values.mean() - middle) < 4 * deviation / values.numel() ** 0.5  # 4 standard errors
    assert not params["bias"].any()


def test_exponents_sum_to_zero_whatever_the_weights():
    for scale in (0.1, 3.0):
        cell = UnICORNN(2, 4, scale)
        found = exponents(cell, drawn(cell), noise(60, 3, 2), noise(3, 8)).sum(1)
        # rounding of 8 * 60 logs, times the spread of the growth in one step
        assert_close(found, torch.zeros(3).double(), rtol=0, atol=1e-12)


def test_exponents_of_one_unit_are_a_pair_of_opposite_sign():
    cell = UnICORNN(2, 1)
    found = exponents(cell, drawn(cell), noise(60, 5, 2), noise(5, 2))
    assert_close(found[:, 0], -found[:, 1], rtol=0, atol=1e-12)  # one unit, determinant 1; rounding as above


def test_steps_can_be_reversed():
    cell = UnICORNN(2, 4)
    params, inputs, state = drawn(cell), noise(30, 3, 2), noise(3, 8)
    weights, numbers, start = cell.weights(params), {name: p.numpy() for name, p in params.items()}, state.numpy()
    for x in inputs:
        state = cell.step(weights, state, x)
    y, z = np.split(state.numpy(), 2, axis=1)
    share = 0.19 / (1 + np.exp(-numbers["control"]))
    for x in inputs.numpy()[::-1]:
        y = y - share * z
        z = z + share * pull(numbers, y, x)
    # 60 steps, each with a few roundings of numbers up to 30; deviations of an undamped oscillator grow by some 5
    np.testing.assert_allclose(np.hstack([y, z]), start, rtol=0, atol=1e-11)


def test_one_unit_by_hand():
    params = {"weight_ih": exact(0.5)[None], "weight_hh": exact(0.3), "control": exact(0.4), "bias": exact(0.1)}
    cell = UnICORNN(1, 1, step_size=0.2, stiffness=2.0)
    share = 0.2 / (1 + np.exp(-0.4))
    z = -0.9 - share * (np.tanh(0.3 * 0.7 + 0.5 * 2 + 0.1) + 2 * 0.7)
    found = cell.step(cell.weights(params), exact(0.7, -0.9)[None], exact(2.0)[None])
    assert found[0].tolist() == pytest.approx([0.7 + share * z, z], abs=1e-15)
    assert cell.output(found).tolist() == [[found[0, 0].item()]]
