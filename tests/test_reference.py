"""The reference algorithm against closed forms: it is what the engine's tests trust."""

import math

import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from torch import nn
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from pipeline.spectrum.reference import reference_spectrum

UNIT = torch.eye(3, dtype=torch.float64)


def multiplied(state, x):
    """The map state' = x state, where the input is the matrix."""
    return x @ state


def of_matrix(matrix, basis, *, steps=120, transient=40):
    """Exponents of state' = matrix state."""
    return reference_spectrum(multiplied, exact(0, 0, 0), matrix.expand(steps, 3, 3), basis, transient=transient)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_constant_matrix_has_the_log_moduli_of_its_eigenvalues(count):
    values = exact(1.5, -0.8, 0.25)
    basis = UNIT + 0.3 * noise(3, 3)
    found = of_matrix(basis @ values.diag() @ basis.inverse(), oracles.rotation(3, seeded())[:, :count])
    # misaligned by (0.8 / 1.5)^40 = 1e-11 and (0.25 / 0.8)^40; rounding of 80 logs
    assert_close(found, values[:count].abs().log(), rtol=0, atol=1e-9)


def test_the_noncommuting_cycle_has_the_exponents_of_its_product_in_the_right_order():
    a, b, c = oracles.CYCLE
    matrices = torch.stack([oracles.CYCLE[t % 3] for t in range(300)])
    found = reference_spectrum(multiplied, exact(0, 0), matrices, oracles.rotation(2, seeded()), transient=150)
    moduli = torch.linalg.eigvals(c @ b @ a).abs().log().sort(descending=True).values / 3
    assert_close(found, moduli, rtol=0, atol=1e-12)  # misaligned by exp(-0.231 * 150) = 1e-15


def test_steps_of_the_transient_are_run_and_not_counted():
    growth = exact(5.0, 5.0, 0.5, 2.0, 0.5)
    found = reference_spectrum(lambda s, x: x * s, exact(1.0), growth[:, None], exact(1.0)[None], transient=2)
    assert found.item() == pytest.approx(-math.log(2) / 3, abs=1e-15)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_exponents_of_a_network_sum_to_the_mean_log_determinant_of_its_jacobians(kind):
    module, inputs = module_of(kind, 2, 3, scale=0.8), noise(12, 2)
    step, state, logs = oracles.one_step(module), torch.zeros(6 if kind is nn.LSTM else 3, dtype=torch.float64), []
    found = reference_spectrum(step, state, inputs, torch.eye(len(state), dtype=torch.float64), transient=2)
    for x in inputs:
        logs.append(jacobian(lambda s, x=x: step(s, x), state).slogdet().logabsdet)
        state = step(state, x).detach()
    assert_close(found.sum(), torch.stack(logs[2:]).mean(), rtol=0, atol=1e-10)  # rounding, times one step's spread of growth


def test_a_direction_that_is_annihilated_has_minus_infinity_and_the_others_are_right():
    found = of_matrix(exact(2, 0.5, 0).diag(), UNIT, transient=0)
    assert_close(found, exact(math.log(2), -math.log(2), -math.inf), rtol=0, atol=1e-14)


def test_a_state_that_is_not_finite_gives_nan():
    found = reference_spectrum(lambda s, x: s**3, exact(10.0, 0.1), torch.zeros(20, 1), torch.eye(2, dtype=torch.float64))
    assert found.isnan().any()


def test_the_callers_tensors_and_parameters_are_left_alone():
    module, state = module_of(nn.GRU, 2, 3), exact(0.1, 0.2, 0.3)
    found = reference_spectrum(oracles.one_step(module), state, noise(5, 2), UNIT)
    assert not found.requires_grad
    assert state.tolist() == [0.1, 0.2, 0.3]
    assert all(p.grad is None for p in module.parameters())
