"""SBO-RNN with Nesterov's momentum against its equations in NumPy and the determinant of its Jacobian."""

import math

import numpy as np
import torch
from draws import noise, seeded
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.sbo_nesterov import SBONesterov

ETA = 1e-3


def reference(params, state, x):
    h, old = np.split(state, 2, axis=1)
    w = np.eye(h.shape[1]) + params["left"] @ params["right"]
    z = x @ params["weight_ih"].T + params["bias"] + h @ w.T
    error = h - np.maximum(z, 0)
    y = h - ETA * (error - (error * (z > 0)) @ w)
    return np.concatenate([y + params["momentum"] * (y - old), y], axis=1)


def test_momentum_starts_at_a_half():
    assert SBONesterov(2, 6, 0.01).init(seeded())["momentum"].item() == 0.5


def test_exponents_sum_to_the_mean_log_of_the_determinant():
    """The determinant is det J = mu^n det(I - eta M M'), with M from the activity along the trajectory."""
    cell = SBONesterov(2, 5, 0.8, step_size=0.1)
    weights = cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})
    inputs, state, logs, one = noise(60, 1, 2), noise(1, 10), [], torch.eye(5).double()
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    found = lyapunov_spectrum(step, inputs, state=state, transient=10, every=1).exponents
    for x in inputs:
        active = x @ weights["weight_ih"].T + weights["bias"] + state[:, :5] @ weights["weight_hh"].T > 0
        m = one - weights["weight_hh"].T * active
        logs.append(5 * math.log(0.5) + (one - 0.1 * m @ m.T).slogdet().logabsdet)
        state = step(state, x)
    assert_close(found.sum(), torch.stack(logs[10:]).mean(), rtol=0, atol=1e-12)  # rounding of 10 logs per step
