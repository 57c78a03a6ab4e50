"""The IRNN: parity, its initialisation, and exponents of 0 as long as units stay active."""

import math

import numpy as np
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.irnn import IRNN


def reference(params, state, x):
    return np.maximum(state @ params["weight_hh"].T + x @ params["weight_ih"].T + params["bias"], 0)


def test_it_starts_with_the_identity_and_no_biases():
    params = IRNN(3, 5, 0.4).init(seeded())
    assert torch.equal(params["weight_hh"], torch.eye(5))
    assert not params["bias"].any()
    assert 0.3 < params["weight_ih"].abs().max() <= 0.4  # 15 draws: below 0.3 with probability 0.75^15 = 0.013


def positive(hidden=4):
    cell = IRNN(2, hidden, 0.5)
    params = drawn(cell)
    return cell, params | {"weight_ih": params["weight_ih"].abs()}, noise(30, 3, 2).abs(), torch.zeros(3, hidden).double()


def test_active_units_add_up_their_inputs_at_the_start():
    cell, params, inputs, state = positive()
    for x in inputs:
        state = cell.step(params, state, x)
    assert_close(state, inputs.sum(0) @ params["weight_ih"].T, rtol=1e-14, atol=0)  # 60 roundings in both directions


def test_all_exponents_are_zero_at_the_start_while_units_are_active():
    assert_close(
        exponents(*positive()), torch.zeros(3, 4).double(), rtol=0, atol=1e-14
    )  # an orthonormal basis is accurate to some eps


def test_a_silent_unit_has_the_exponent_minus_infinity():
    cell, params, inputs, state = positive()
    found = exponents(cell, params | {"bias": exact(0, 0, 0, -100)}, inputs, state, transient=2)
    assert_close(found, exact(0, 0, 0, -math.inf).expand(3, 4), rtol=0, atol=1e-14)
