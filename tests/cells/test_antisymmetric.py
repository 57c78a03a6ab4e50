"""Antisymmetric network: parity, and its spectrum at the origin."""

import numpy as np
import torch
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.antisymmetric import AntisymmetricRNN


def reference(params, state, x):
    turning = params["weight_hh"] - params["weight_hh"].T - 0.01 * np.eye(len(params["weight_hh"]))
    return state + 0.1 * np.tanh(state @ turning.T + x @ params["weight_ih"].T + params["bias"])


def test_symmetric_part_of_the_recurrent_weights_is_the_diffusion_alone():
    cell = AntisymmetricRNN(2, 5, diffusion=0.3)
    made = cell.weights(drawn(cell))["weight_hh"]
    assert_close((made + made.T) / 2, -0.3 * torch.eye(5).double(), rtol=0, atol=1e-16)


def test_spectrum_at_the_origin_is_that_of_an_euler_step_of_the_linear_flow():
    cell = AntisymmetricRNN(2, 5, 1.5, step_size=0.8, diffusion=0.2)
    params = drawn(cell) | {"bias": torch.zeros(5).double()}
    free = params["weight_hh"].numpy()
    moduli = np.sort(np.abs(1 + 0.8 * np.linalg.eigvals(free - free.T - 0.2 * np.eye(5))))[::-1]
    assert (moduli[:4:2] / moduli[2::2]).min() > 1.7  # rotations in two planes, and one single direction
    found = exponents(cell, params, torch.zeros(90, 1, 2), torch.zeros(1, 5).double(), transient=70)
    # misaligned by 1.7^-70 = 7e-17; the matrix is normal, so all directions of a plane grow alike; rounding of 20 logs
    assert_close(found[0], torch.from_numpy(np.log(moduli)), rtol=0, atol=1e-13)


def test_small_steps_hardly_shrink_or_grow_deviations_at_the_start():
    """The logs of |1 + eps (i w - gamma)| are between log(1 - eps gamma) and eps^2 w^2 / 2 for |w| <= norm of U - U'."""
    cell = AntisymmetricRNN(2, 6)
    params = drawn(cell) | {"bias": torch.zeros(6).double()}
    free = params["weight_hh"].numpy()
    largest = np.linalg.norm(free - free.T, 2)
    found = exponents(cell, params, torch.zeros(20, 1, 2), torch.zeros(1, 6).double())
    assert found.min() >= np.log(1 - 0.1 * 0.01) - 1e-14
    assert found.max() <= (0.1 * largest) ** 2 / 2
