"""Echo state network: parity, its reservoir, its trained parameters, and its spectrum at rest."""

import numpy as np
import oracles
import pytest
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline import heads
from pipeline.cells.esn import EchoState
from pipeline.training.network import Network


def reference(params, state, x):
    return np.tanh(x @ params["weight_ih"].T + params["bias"] + state @ params["weight_hh"].T)


@pytest.mark.parametrize("radius", [0.5, 1.1])
def test_reservoir_has_the_given_spectral_radius_whatever_the_scale(radius):
    for scale in (0.01, 3.0):
        params = EchoState(2, 30, scale, spectral_radius=radius).init(seeded())
        found = np.abs(np.linalg.eigvals(params["weight_hh"].numpy())).max()
        # float32 rounds each weight by up to 6e-8; an eigenvalue of this non-normal matrix changes by several times as much
        assert found == pytest.approx(radius, rel=1e-5)
        assert params["weight_ih"].abs().max() <= scale


def test_a_leaking_reservoir_by_hand():
    params = {"weight_ih": exact(0.5)[None], "weight_hh": exact(-0.3)[None], "bias": exact(0.1)}
    found = EchoState(1, 1, leak=0.25).step(params, exact(0.7)[None], exact(2.0)[None]).item()
    assert found == pytest.approx(0.75 * 0.7 + 0.25 * np.tanh(0.5 * 2 - 0.3 * 0.7 + 0.1), abs=1e-15)


def test_only_the_head_is_trained():
    cell = EchoState(2, 6)
    module = Network(cell, heads.get("last")(6, 3, 5)).init(seeded())
    before = module.weights()
    module(noise(5, 4, 2).float()).square().sum().backward()
    torch.optim.SGD(module.groups(0.1)).step()
    changed = {name for name, p in module.weights().items() if not np.array_equal(p, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_spectrum_at_rest_is_that_of_the_reservoir():
    eigenvalues = exact(0.9, -0.6, 0.4, 0.2)
    cell = EchoState(2, 4)
    params = {name: torch.zeros_like(p) for name, p in drawn(cell).items()}
    params["weight_hh"] = oracles.symmetric(eigenvalues.tolist(), seeded())
    found = exponents(cell, params, torch.zeros(150, 1, 2), torch.zeros(1, 4).double(), transient=100)
    assert_close(found[0], eigenvalues.abs().log(), rtol=0, atol=1e-13)  # misaligned by (0.6 / 0.9)^100 = 2e-18; 50 logs


def test_sum_at_rest_is_that_of_the_log_moduli_of_a_drawn_reservoirs_eigenvalues():
    cell = EchoState(2, 8)
    params = drawn(cell) | {"bias": torch.zeros(8).double()}
    found = exponents(cell, params, torch.zeros(20, 1, 2), torch.zeros(1, 8).double()).sum()
    expected = np.log(np.abs(np.linalg.eigvals(params["weight_hh"].numpy()))).sum()
    assert found.item() == pytest.approx(expected, abs=1e-11)  # rounding, times the spread of the growth in one step
