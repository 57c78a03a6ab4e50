"""The scoRNN against its equations in NumPy, and consequences of orthogonality and modReLU."""

import math

import numpy as np
import pytest
import torch
from draws import noise, seeded
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.base.orthogonal import modrelu
from pipeline.cells.scornn import ScoRNN
from pipeline.heads.last import Last
from pipeline.training.network import Network


def reference(params, state, x):
    lower = np.zeros((state.shape[1],) * 2)
    lower[np.tril_indices(state.shape[1], -1)] = params["skew"]
    half, one = (lower - lower.T) / 2, np.eye(state.shape[1])
    q = np.diag(params["signs"]) @ np.linalg.inv(one - half) @ (one + half)
    z = x @ params["weight_ih"].T + state @ q.T
    return np.sign(z) * np.maximum(np.abs(z) + params["bias"], 0)


def drawn(size=8, bias=None, **options):
    """A cell and its weights in float64, with a full skew-symmetric matrix."""
    cell = ScoRNN(2, size, init_scale=1.0, **options)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    params["skew"] = params["skew"] + 0.3 * noise(len(params["skew"]))
    if bias is not None:
        params["bias"] = torch.as_tensor(bias, dtype=torch.float64).expand(size)
    return cell, cell.weights(params)


def spectrum(cell, weights, steps=60):
    step = lambda s, x: cell.step(weights, s, x)  # noqa: E731
    return lyapunov_spectrum(step, noise(steps, 2, 2), state=noise(2, cell.state_size), transient=10, every=1).exponents


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_all_exponents_are_zero_where_no_unit_can_die(bias):
    exponents = spectrum(*drawn(bias=bias))
    assert exponents.abs().max() < 1e-13  # a QR of 8 directions errs by a few times 8 eps a step


def test_dead_units_have_exponents_of_minus_infinity():
    cell, weights = drawn(bias=torch.tensor([0.0, 0, 0, 0, 0, -100, -100, -100]))
    exponents = spectrum(cell, weights)
    assert (exponents == -math.inf).sum() == 3
    assert exponents[:5].max() <= 1e-13  # a product of projections and rotations never expands
    assert exponents[0] < 0


@pytest.mark.parametrize(("share", "size"), [(0.0, 6), (0.5, 6), (0.5, 7), (0.1, 20), (1.0, 7)])
def test_determinant_has_the_sign_of_its_negative_entries(share, size):
    _, weights = drawn(size, negative_share=share)
    assert_close(weights["weight_hh"].det().item(), (-1.0) ** round(share * size), rtol=0, atol=1e-12)  # products of 20 numbers


@pytest.mark.parametrize("size", [6, 7])
def test_first_rotations_are_by_angles_below_a_quarter_turn(size):
    cell = ScoRNN(2, size, negative_share=0.0)
    values = torch.linalg.eigvals(cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})["weight_hh"])
    turns = values.angle().abs().sort().values[size % 2 :]  # a single remaining unit does not rotate
    assert (turns > 0).all()
    assert turns.max() < math.pi / 2
    assert_close(turns[::2], turns[1::2], rtol=0, atol=1e-12)  # pairs
    if size % 2:
        assert_close(values.angle().abs().min().item(), 0.0, rtol=0, atol=1e-12)


def test_recurrent_weights_stay_orthogonal_and_keep_the_determinants_sign_over_500_steps_of_adam_in_float32():
    module = Network(ScoRNN(3, 16, negative_share=0.3), Last(16, 2)).init(seeded())
    inputs, targets = torch.randn(10, 8, 3, generator=seeded(2)), torch.randn(8, 2, generator=seeded(3))
    before = module.cell.step_of.weights(dict(module.cell.state_dict()))["weight_hh"]
    optimiser = torch.optim.Adam(module.groups(1e-2))
    for _ in range(500):
        optimiser.zero_grad()
        (module(inputs) - targets).square().mean().backward()
        optimiser.step()
    after = module.cell.step_of.weights(dict(module.cell.state_dict()))["weight_hh"]
    assert (after - before).norm() > 0.1  # training has an effect
    # a single solve, whatever the number of steps: a few eps = 6e-8 for entries below 1
    assert (after.T @ after - torch.eye(16)).abs().max() < 1e-6
    assert after.det().item() == pytest.approx(before.det().item(), abs=1e-5)
    assert before.det().item() == pytest.approx(-1.0, abs=1e-5)  # 5 entries of -1
    assert torch.equal(module.cell.signs, ScoRNN(3, 16, negative_share=0.3).init(seeded())["signs"])


def test_orthogonal_part_learns_at_a_tenth_of_the_rate():
    module = Network(ScoRNN(3, 4), Last(4, 2)).init(seeded())
    rates = {id(p): group["lr"] for group in module.groups(1e-2) for p in group["params"]}
    found = {n: rates[id(p)] for n, p in module.named_parameters()}
    assert found.pop("cell.skew") == pytest.approx(1e-3, rel=1e-12)
    assert set(found.values()) == {1e-2}


def test_modrelu_by_hand():
    z, bias = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0]), torch.tensor(-1.0)
    assert modrelu(z, bias).tolist() == [-1, 0, 0, 0, 1]
    assert modrelu(z, -bias).tolist() == [-3, -1.5, 0, 1.5, 3]
    assert torch.equal(modrelu(z, 0 * bias), z)


@pytest.mark.parametrize(("bias", "slope"), [(-0.1, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_slope_of_modrelu_at_zero_is_finite_in_float32(bias, slope):
    z, b = torch.zeros(1, requires_grad=True), torch.tensor([bias], requires_grad=True)
    found = torch.autograd.grad(modrelu(z, b).sum(), (z, b))
    assert [g.item() for g in found] == [slope, 0.0]


def test_gradient_by_the_skew_symmetric_matrix_is_the_papers():
    """The paper has dL/dA = S' - S, S = (I + A)^-T (dL/dW) (D + W'), for W = (I + A)^-1 (I - A) D, which is Q' here."""
    cell, size = ScoRNN(2, 5, negative_share=0.4), 5
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    params["skew"] = (params["skew"] + 0.3 * noise(10)).requires_grad_()
    target = noise(size, size, seed=3)
    (cell.weights(params)["weight_hh"] * target).sum().backward()  # dL/dQ = target
    lower = np.zeros((size, size))
    lower[np.tril_indices(size, -1)] = params["skew"].detach().numpy()
    a, d = (lower - lower.T) / 2, np.diag(params["signs"].numpy())
    w = np.linalg.inv(np.eye(size) + a) @ (np.eye(size) - a) @ d
    s = np.linalg.inv(np.eye(size) + a).T @ target.numpy().T @ (d + w.T)
    expected = (s.T - s)[np.tril_indices(size, -1)] / 2  # an entry x of the triangle makes A[i, j] = x / 2 and A[j, i] = -x / 2
    np.testing.assert_allclose(params["skew"].grad.numpy(), expected, rtol=0, atol=1e-13)
