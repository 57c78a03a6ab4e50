"""The LRU: parity with complex numbers, its initialisation on a ring, and its exponents."""

import math

import numpy as np
import pytest
import torch
from draws import exact, noise, seeded
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.lru import LRU


def eigenvalues(params):
    return np.exp(-np.exp(params["nu"]) + 1j * np.exp(params["theta"]))


def reference(params, state, x):
    real, imaginary = np.split(state, 2, axis=1)
    weight = np.exp(params["log_gamma"])[:, None] * (params["weight_real"] + 1j * params["weight_imaginary"])
    h = eigenvalues(params) * (real + 1j * imaginary) + x @ weight.T
    return np.hstack([h.real, h.imag])


def numbers(params):
    return {name: p.numpy() for name, p in params.items()}


def test_exponents_are_the_log_moduli_each_twice():
    cell = LRU(2, 3)
    moduli = exact(0.99, 0.7, 0.4)
    params = drawn(cell) | {"nu": (-moduli.log()).log()}
    found = exponents(cell, params, noise(150, 2, 2), noise(2, 6), transient=100)
    # misaligned by (0.7 / 0.99)^100 = 9e-16; rounding of 50 logs
    assert_close(found, moduli.log().repeat_interleave(2).expand(2, 6), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("inner", "outer", "phase"), [(0.0, 1.0, 2 * math.pi), (0.9, 0.999, 0.3)])
def test_eigenvalues_start_uniform_on_a_ring(inner, outer, phase):
    size = 2000
    params = LRU(2, size, inner_radius=inner, outer_radius=outer, largest_phase=phase).init(seeded())
    found = eigenvalues(numbers({name: p.double() for name, p in params.items()}))
    shares = (np.abs(found) ** 2 - inner**2) / (outer**2 - inner**2), np.angle(found) % (2 * np.pi) / phase
    for share in shares:  # area and angle
        ordered = np.sort(share)
        # float32 rounds nu and theta; their logs are about 1
        assert -1e-5 < ordered[0] <= ordered[-1] < 1 + 1e-5
        # Dvoretzky, Kiefer, Wolfowitz and Massart: a larger distance has a probability of at most 1e-6
        distance = np.abs(ordered - (np.arange(size) + 0.5) / size).max() + 0.5 / size
        assert distance < (np.log(2 / 1e-6) / (2 * size)) ** 0.5


def test_initial_gamma_gives_white_noise_the_same_variance_for_every_modulus():
    """The variance of h, gamma^2 |B|^2 / (1 - |lambda|^2), is then |B|^2."""
    params = drawn(LRU(2, 50))
    found = np.exp(2 * params["log_gamma"].numpy()) / (1 - np.abs(eigenvalues(numbers(params))) ** 2)
    # float32 rounds nu and log gamma, numbers below 10, by up to 5e-7, and exp makes that relative
    np.testing.assert_allclose(found, 1, rtol=0, atol=1e-5)


def test_scale_acts_on_the_input_weights_alone():
    small, large = (LRU(2, 5, scale).init(seeded()) for scale in (0.1, 2.0))
    for name in ("nu", "theta", "log_gamma"):
        assert torch.equal(small[name], large[name])
    for name in ("weight_real", "weight_imaginary"):
        assert_close(20 * small[name], large[name])  # the same draws
