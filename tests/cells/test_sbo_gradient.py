"""SBO-RNN's plain gradient steps against their equations in NumPy and against autodiff of the objective."""

import numpy as np
import pytest
import torch
from draws import noise, seeded
from torch.func import jacrev
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.base.sbo import gradient
from pipeline.cells.sbo_gradient import SBOGradient
from pipeline.heads.last import Last
from pipeline.training.network import Network

ETA = 1e-3


def reference(params, state, x):
    w = np.eye(state.shape[1]) + params["left"] @ params["right"]
    z = x @ params["weight_ih"].T + params["bias"] + state @ w.T
    error = state - np.maximum(z, 0)
    return state - ETA * (error - (error * (z > 0)) @ w)


def drawn(size=6, **options):
    cell = SBOGradient(2, size, init_scale=0.8, **options)
    return cell, cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})


def test_gradient_is_that_of_the_objective():
    _, weights = drawn()
    h, x = noise(4, 6).requires_grad_(), noise(4, 2, seed=3)
    z = x @ weights["weight_ih"].T + weights["bias"] + h @ weights["weight_hh"].T
    expected = torch.autograd.grad((h - z.relu()).square().sum() / 2, h)[0]
    assert_close(gradient(weights, h, x), expected, rtol=0, atol=1e-13)


def test_jacobian_is_symmetric_and_as_the_paper_implies():
    cell, weights = drawn()
    h, x = noise(1, 6), noise(1, 2, seed=3)
    jacobian = jacrev(lambda s: cell.step(weights, s, x)[0])(h)[:, 0]
    active = (x @ weights["weight_ih"].T + weights["bias"] + h @ weights["weight_hh"].T > 0)[0].double()
    assert 0 < active.sum() < 6
    m = torch.eye(6).double() - weights["weight_hh"].T * active
    assert_close(jacobian, jacobian.T, rtol=0, atol=1e-15)
    assert_close(jacobian, torch.eye(6).double() - ETA * m @ m.T, rtol=0, atol=1e-15)


def test_exponents_are_just_below_zero():
    cell, weights = drawn()
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    found = lyapunov_spectrum(step, noise(200, 2, 2), state=noise(2, 6), transient=20, every=1).exponents
    largest = (1 + torch.linalg.matrix_norm(weights["weight_hh"], 2)) ** 2  # bound of |M|^2
    assert found.max() <= 1e-14  # rounding of 180 logs near 0
    assert found.min() >= torch.log1p(-ETA * largest)


@pytest.mark.parametrize(("size", "rank", "expected"), [(64, 50, 50), (20, 50, 20), (20, 3, 3)])
def test_rank_is_at_most_the_size(size, rank, expected):
    cell, weights = drawn(size, rank=rank)
    assert cell.shapes()["left"] == (size, expected)
    # the rank of random factors is visible in float64, up to the rounding of the identity
    assert torch.linalg.matrix_rank(weights["weight_hh"] - torch.eye(size).double(), tol=1e-9) == expected


def test_factors_are_trained():
    module = Network(SBOGradient(2, 6), Last(6, 1)).init(seeded())
    module(torch.randn(5, 4, 2, generator=seeded(2))).square().sum().backward()
    for name in ("left", "right"):
        assert dict(module.named_parameters())[f"cell.{name}"].grad.abs().max() > 0
