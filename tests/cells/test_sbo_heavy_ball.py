"""SBO-RNN's heavy ball against its equations in NumPy and the determinant of its Jacobian."""

import math

import numpy as np
import torch
from draws import noise, seeded
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.sbo_heavy_ball import SBOHeavyBall

ETA = 1e-3


def reference(params, state, x):
    h, v = np.split(state, 2, axis=1)
    w = np.eye(h.shape[1]) + params["left"] @ params["right"]
    z = x @ params["weight_ih"].T + params["bias"] + h @ w.T
    error = h - np.maximum(z, 0)
    v = params["momentum"] * v - ETA * (error - (error * (z > 0)) @ w)
    return np.concatenate([h + v, v], axis=1)


def test_momentum_starts_at_a_half():
    assert SBOHeavyBall(2, 6, 0.01).init(seeded())["momentum"].item() == 0.5


def test_exponents_sum_to_the_log_of_the_momentum_for_each_unit():
    cell = SBOHeavyBall(2, 12, 0.8, step_size=0.1)
    weights = cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    found = lyapunov_spectrum(step, noise(60, 2, 2), state=noise(2, 24), transient=10, every=1).exponents
    assert abs(found.sum().item() - 12 * math.log(0.5)) < 1e-12  # rounding of 24 logs, times the spread of one step's growth


def test_without_momentum_it_steps_down_the_gradient_alone():
    cell = SBOHeavyBall(2, 4)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    weights = cell.weights(params | {"momentum": torch.zeros(1).double()})
    h, x = noise(3, 4), noise(3, 2, seed=3)
    first, second = (cell.step(weights, torch.cat([h, v], dim=1), x) for v in (noise(3, 4, seed=4), torch.zeros(3, 4).double()))
    assert_close(first, second, rtol=0, atol=0)
    assert_close(cell.output(first), h + first[:, 4:], rtol=0, atol=1e-16)
