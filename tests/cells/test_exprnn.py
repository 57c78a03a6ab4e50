"""The expRNN against its equations in NumPy and SciPy, and consequences of orthogonality."""

import math

import numpy as np
import torch
from draws import noise, seeded
from scipy.linalg import expm
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.exprnn import ExpRNN


def reference(params, state, x):
    size = state.shape[1]
    lower = np.zeros((size, size))
    lower[np.tril_indices(size, -1)] = params["skew"]
    z = x @ params["weight_ih"].T + state @ expm(lower - lower.T).T
    return np.sign(z) * np.maximum(np.abs(z) + params["bias"], 0)


def drawn(size, bias):
    cell = ExpRNN(2, size)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    params |= {"skew": params["skew"] + 0.3 * noise(len(params["skew"])), "bias": params["bias"] + bias}
    return cell, params


def test_all_exponents_are_zero_where_no_unit_can_die():
    cell, params = drawn(8, 0.3)
    weights = cell.weights(params)
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    exponents = lyapunov_spectrum(step, noise(60, 2, 2), state=noise(2, 8), transient=10, every=1).exponents
    assert exponents.abs().max() < 1e-13  # a QR of 8 directions errs by a few times 8 eps a step


def test_determinant_is_one():
    cell, params = drawn(7, 0.0)
    assert_close(cell.weights(params)["weight_hh"].det().item(), 1.0, rtol=0, atol=1e-13)


def test_initial_rotations_have_all_angles():
    cell = ExpRNN(2, 400)
    matrix = cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})["weight_hh"]
    turns = torch.linalg.eigvals(matrix).angle().abs()
    assert abs(turns.mean().item() - math.pi / 2) < 5 * math.pi / 12**0.5 / 200**0.5  # 5 standard errors of 200 angles


def test_biases_are_drawn_within_a_hundredth():
    bias = ExpRNN(2, 1000).init(seeded())["bias"]
    assert bias.abs().max() <= 0.01
    assert abs(bias.mean().item()) < 5 * 0.01 / 3000**0.5  # 5 standard errors of uniform(-0.01, 0.01)
