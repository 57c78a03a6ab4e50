"""The scuRNN against its equations in NumPy's complex numbers, and consequences of unitarity."""

import math

import numpy as np
import pytest
import torch
from draws import noise, seeded
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.base.orthogonal import complex_modrelu
from pipeline.cells.scurnn import ScuRNN
from pipeline.heads.last import Last
from pipeline.training.network import Network


def unitary(params, size):
    lower = np.zeros((size, size), dtype=complex)
    lower[np.tril_indices(size, -1)] = params["skew_real"]
    lower[np.tril_indices(size)] += 1j * params["skew_imaginary"]
    half, one = (lower - lower.conj().T) / 2, np.eye(size)
    return np.exp(1j * params["phase"])[:, None] * (np.linalg.inv(one - half) @ (one + half))


def reference(params, state, x):
    size = state.shape[1] // 2
    inputs = params["weight_ih"][:size] + 1j * params["weight_ih"][size:]
    z = x @ inputs.T + (state[:, :size] + 1j * state[:, size:]) @ unitary(params, size).T
    modulus = np.sqrt(np.abs(z) ** 2 + 1e-5)
    h = z / modulus * np.maximum(modulus + params["bias"], 0)
    return np.concatenate([h.real, h.imag], axis=1)


def drawn(size=6, bias=0.0):
    cell = ScuRNN(2, size)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    params |= {n: p + 0.3 * noise(len(p), seed=i) for i, (n, p) in enumerate(params.items()) if n.startswith("skew")}
    return cell, params | {"bias": torch.full_like(params["bias"], bias)}


def test_recurrent_weights_are_the_unitary_matrix_and_orthogonal():
    cell, params = drawn()
    matrix = cell.weights(params)["weight_hh"]
    assert_close(matrix @ matrix.T, torch.eye(12).double(), rtol=0, atol=1e-14)
    expected = unitary({n: p.numpy() for n, p in params.items()}, 6)
    assert_close(torch.complex(matrix[:6, :6], matrix[6:, :6]), torch.from_numpy(expected), rtol=0, atol=1e-14)


def test_it_stays_unitary_over_500_steps_of_adam_in_float32():
    module = Network(ScuRNN(3, 8), Last(16, 2)).init(seeded())
    inputs, targets = torch.randn(10, 8, 3, generator=seeded(2)), torch.randn(8, 2, generator=seeded(3))
    before = module.cell.step_of.weights(dict(module.cell.state_dict()))["weight_hh"]
    optimiser = torch.optim.Adam(module.groups(1e-2))
    for _ in range(500):
        optimiser.zero_grad()
        (module(inputs) - targets).square().mean().backward()
        optimiser.step()
    after = module.cell.step_of.weights(dict(module.cell.state_dict()))["weight_hh"]
    assert (after - before).norm() > 0.1  # training has an effect
    assert (after.T @ after - torch.eye(16)).abs().max() < 1e-6  # a single solve: a few eps = 6e-8 of entries below 1


def exponents(cell, params):
    weights = cell.weights(params)
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    return lyapunov_spectrum(step, noise(60, 2, 2), state=noise(2, 12), transient=10, every=1).exponents


def test_all_exponents_are_zero_where_b_is_zero():
    assert exponents(*drawn(bias=0.0)).abs().max() < 1e-13  # a QR of 12 directions errs by a few times 12 eps a step


def test_a_negative_b_contracts_and_a_positive_one_expands():
    assert exponents(*drawn(bias=-0.05)).max() < 0
    assert exponents(*drawn(bias=0.05)).sum() > 0


@pytest.mark.parametrize("bias", [-0.2, 0.3])
def test_modrelu_scales_the_modulus_and_keeps_the_phase(bias):
    for angle in (0.0, 0.7, 3.0):
        z = torch.tensor([[0.5 * math.cos(angle), 0.5 * math.sin(angle)]]).double()
        found = complex_modrelu(z, torch.tensor([bias]).double())
        assert_close(found, z / 0.5 * (0.5 + bias), rtol=0, atol=1e-5)  # |z| is off by up to 1e-5 / (2 * 0.5)


@pytest.mark.parametrize("bias", [-0.1, 0.0, 0.1])
def test_slope_of_modrelu_at_zero_is_finite_in_float32(bias):
    z, b = torch.zeros(1, 2, requires_grad=True), torch.tensor([bias], requires_grad=True)
    by_z, by_b = torch.autograd.grad(complex_modrelu(z, b).sum(), (z, b))
    assert_close(by_z, torch.full((1, 2), max(1 + bias * 1e5**0.5, 0.0)), rtol=1e-6, atol=0)
    assert by_b.item() == 0
