"""The IndRNN: parity, its initialisation, and the exponent of each unit."""

import math

import numpy as np
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents, states
from torch.testing import assert_close

from pipeline.cells.indrnn import IndRNN


def reference(params, state, x):
    return np.tanh(state * params["weight_hh"] + x @ params["weight_ih"].T + params["bias"])


def test_recurrent_weights_start_uniform_between_zero_and_one_and_biases_at_zero():
    params = IndRNN(3, 1000, 0.4).init(seeded())
    recurrent = params["weight_hh"]
    assert 0 <= recurrent.min() < recurrent.max() < 1
    assert abs(recurrent.mean() - 0.5) < 4 * (1 / 12 / 1000) ** 0.5  # 4 standard errors
    assert abs(recurrent.square().mean() - 1 / 3) < 4 * ((1 / 5 - 1 / 9) / 1000) ** 0.5
    assert not params["bias"].any()
    assert params["weight_ih"].abs().max() <= 0.4


def test_exponents_are_the_means_of_log_slope_times_weight():
    cell = IndRNN(2, 4, 0.2)
    params = drawn(cell) | {"weight_hh": exact(-0.95, 0.6, 0.35, 0.15)}
    inputs, state = noise(250, 3, 2), noise(3, 4)
    after = np.array(states(reference, params, torch.cat([inputs, inputs[:1]]), state)[1:])
    logs = np.log((1 - after**2) * np.abs(params["weight_hh"].numpy()))[200:].mean(0)
    assert np.diff(np.sort(logs)).min() > 0.2  # so that 200 steps align the directions to exp(-40)
    found = exponents(cell, params, inputs, state, transient=200)
    assert_close(found, torch.from_numpy(-np.sort(-logs)), rtol=0, atol=1e-13)  # rounding of 50 logs


def test_with_relu_an_active_unit_has_the_log_of_its_weight_and_a_silent_one_minus_infinity():
    cell = IndRNN(2, 3, 0.5, nonlinearity="relu")
    params = drawn(cell) | {"weight_hh": exact(1.02, 0.5, 0.9), "bias": exact(0, 0, -100)}
    params["weight_ih"] = params["weight_ih"].abs()
    found = exponents(cell, params, noise(150, 2, 2).abs(), torch.zeros(2, 3).double(), transient=100)
    expected = exact(math.log(1.02), math.log(0.5), -math.inf)
    assert_close(found, expected.expand(2, 3), rtol=0, atol=1e-13)  # misaligned by (0.5 / 1.02)^100 = 1e-31; 50 logs
