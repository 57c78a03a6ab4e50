"""Leaky rate network: parity, Elman's network as a limit, and its spectrum at rest."""

import numpy as np
import oracles
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents
from torch import nn
from torch.testing import assert_close

from pipeline.cells.leaky import Leaky


def reference(params, state, x):
    total = x @ params["weight_ih"].T + params["bias_ih"] + state @ params["weight_hh"].T + params["bias_hh"]
    return 0.5 * state + 0.5 * np.tanh(total)


def test_with_leak_one_it_is_elmans_network():
    cell, module = Leaky(2, 4, leak=1.0), nn.RNN(2, 4).double()
    params = drawn(cell)
    module.load_state_dict({f"{name}_l0": p for name, p in params.items()})
    inputs, state = noise(20, 3, 2), torch.zeros(3, 4).double()
    expected = module(inputs)[1][0]
    for x in inputs:
        state = cell.step(params, state, x)
    assert_close(state, expected, rtol=0, atol=1e-14)  # a few roundings per step of numbers below 1, in a contracting network


def test_spectrum_at_rest_mixes_the_identity_with_the_recurrent_weights():
    eigenvalues = exact(1.2, 0.4, -0.2, -0.9)
    cell = Leaky(2, 4, leak=0.5)
    params = {name: torch.zeros_like(p) for name, p in drawn(cell).items()}
    params["weight_hh"] = oracles.symmetric(eigenvalues.tolist(), seeded())
    found = exponents(cell, params, torch.zeros(110, 1, 2), torch.zeros(1, 4).double(), transient=90)
    # misaligned by (0.7 / 1.1)^90 = 2e-18; rounding of 20 logs
    assert_close(found[0], (0.5 + 0.5 * eigenvalues).log(), rtol=0, atol=1e-13)
