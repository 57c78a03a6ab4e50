"""The coRNN: parity, the sum of its exponents, and uncoupled oscillators."""

import numpy as np
import torch
from draws import noise
from driven import drawn, exponents, states
from torch.testing import assert_close

from pipeline.cells.cornn import CoRNN


def force(params, state, x):
    return np.tanh(state @ params["weight_hh"].T + x @ params["weight_ih"].T + params["bias"])


def reference(params, state, x):
    y, z = np.split(state, 2, axis=1)
    z = z + 0.042 * (force(params, state, x) - 2.7 * y - 4.7 * z)
    return np.hstack([y + 0.042 * z, z])


def test_sum_of_the_exponents_is_the_mean_log_determinant_of_the_velocities_map():
    """The update y' = y + dt z' is a shear, so that det J = det((1 - dt epsilon) I + dt diag(tanh') V)."""
    cell = CoRNN(2, 4, 1.5)
    params, inputs, state = drawn(cell), noise(30, 3, 2), noise(3, 8)
    numbers, logs = {name: p.numpy() for name, p in params.items()}, []
    for x, before in zip(inputs.numpy(), states(reference, params, inputs, state), strict=True):
        slopes = 1 - force(numbers, before, x) ** 2
        logs.append(
            np.linalg.slogdet((1 - 0.042 * 4.7) * np.eye(4) + 0.042 * slopes[:, :, None] * numbers["weight_hh"][:, 4:])[1]
        )
    found = exponents(cell, params, inputs, state).sum(1)
    assert_close(found, torch.from_numpy(np.mean(logs, axis=0)), rtol=0, atol=1e-12)  # rounding of 8 * 30 logs


def test_without_weights_each_unit_is_a_damped_oscillator():
    """The default stiffness and damping are overdamped, so that both eigenvalues of the matrix are real."""
    cell = CoRNN(2, 3, step_size=0.1)
    params = {name: torch.zeros_like(p) for name, p in drawn(cell).items()}
    dt, stiffness, damping = cell.step_size, cell.stiffness, cell.damping
    velocity = np.array([-dt * stiffness, 1 - dt * damping])
    moduli = np.linalg.eigvals(np.array([[1, 0] + dt * velocity, velocity]))
    assert np.isrealobj(moduli)
    assert np.abs(moduli).min() / np.abs(moduli).max() < 0.7
    found = exponents(cell, params, torch.zeros(110, 1, 2), noise(1, 6), transient=90)
    expected = np.repeat(np.sort(np.log(np.abs(moduli)))[::-1], 3)
    # misaligned by 0.7^90 = 1e-14; rounding of 20 logs
    assert_close(found[0], torch.from_numpy(expected), rtol=0, atol=1e-12)
