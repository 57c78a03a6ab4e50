"""Covariant Lyapunov vectors against eigenvectors, manifolds and dense Jacobians; growth in nats per step."""

import math

import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from torch import nn
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from pipeline.core.errors import ModuleError
from pipeline.spectrum.adapt import adapt
from pipeline.spectrum.covariant import covariant, covariant_vectors, record
from pipeline.spectrum.reference import reference_spectrum
from pipeline.spectrum.reorthonormalise import reorthonormalise, triangularise

EPS = torch.finfo(torch.float64).eps
GOLDEN = (1 + 5**0.5) / 2


def linear(state, x):
    """The map state' = matrix state, where the input is the matrix."""
    size = state.shape[-1]
    return (x.reshape(-1, size, size) @ state[..., None])[..., 0]


def of_matrices(matrices, **options):
    """Covariant vectors (T', k, S) and growth (T', k) of a product of matrices (T, S, S)."""
    count = options.pop("count", matrices.shape[-1])
    state = matrices.new_zeros(1, matrices.shape[-1])
    vectors, local = covariant(linear, state, matrices.flatten(1)[:, None], count, **options)
    return vectors[:, 0], local[:, 0]


def eigenvectors(matrix):
    """Eigenvalues and unit eigenvectors as rows, by decreasing modulus; all must be real."""
    values, vectors = torch.linalg.eig(matrix)
    assert not values.imag.any()
    order = values.abs().argsort(descending=True)
    return values.real[order], vectors.real.T[order]


def sines(one, other):
    """Sines of the angles between unit vectors along the last axis; at an angle of 0 the error is eps, not its square root."""
    return (one - (one * other).sum(-1, keepdim=True) * other).norm(dim=-1)


def oblique(angle, *values):
    """A matrix with the given eigenvalues and its eigenvectors as rows, the second at the given angle to the first."""
    basis = torch.eye(len(values), dtype=torch.float64)
    basis[[0, 2], 2] = exact(0.6, 0.8)
    basis[:2, 1] = exact(math.cos(angle), math.sin(angle))
    turn = oracles.rotation(len(values), seeded(4))
    return turn @ basis @ exact(*values).diag() @ basis.inverse() @ turn.T, (turn @ basis).T


def eigenvector_rounding(matrix, rows, values):
    """A bound of the angle by which rounding can rotate an eigenvector.

    The error of a step is a few S eps ||J||, relative to the smallest growth. It is multiplied by the condition number of
    the eigenvectors, and the errors of the steps add up as a geometric series in the ratio of neighbouring growth factors.
    """
    ratio = (values[1:] / values[:-1]).abs().max()
    step = 10 * len(matrix) * EPS * torch.linalg.matrix_norm(matrix, 2) / values.abs().min()
    return (step * torch.linalg.cond(rows) / (1 - ratio)).item()


# Known vectors


@pytest.mark.parametrize("angle", [math.pi / 2, 1.0, 0.03, 3.1])
@pytest.mark.parametrize("values", [(1.5, 0.8, 0.25), (1.5, -0.8, 0.25)])
def test_vectors_of_a_constant_matrix_are_its_eigenvectors_at_any_angle(values, angle):
    matrix, rows = oblique(angle, *values)
    vectors, local = of_matrices(matrix.expand(180, 3, 3), transient=80)
    assert vectors.shape == (20, 3, 3)
    bound = eigenvector_rounding(matrix, rows, exact(*values))
    assert bound < 1e-9  # alignment (0.8 / 1.5)**80 = 1e-22 is below it
    assert sines(vectors, rows.expand_as(vectors)).max() < bound
    # rotating a vector by d changes its growth by at most ||J|| d / |value|
    ratio = torch.linalg.matrix_norm(matrix, 2).item() / 0.25
    assert_close(local, exact(*values).abs().log().expand_as(local), rtol=0, atol=bound * ratio)


@pytest.mark.parametrize("angle", [1.0, 0.03])
def test_the_orthonormal_bases_are_not_covariant(angle):
    matrix, rows = oblique(angle, 1.5, 0.8, 0.25)
    start = torch.eye(3, dtype=torch.float64)[None]
    bases, _ = record(linear, torch.zeros(1, 3, dtype=torch.float64), start, matrix.reshape(1, 1, 9).expand(80, 1, 9))
    found = sines(bases[-1, 0], rows)
    # the second basis vector is orthogonal to the first eigenvector, so it makes an angle of pi/2 - angle with the second
    assert found[1].item() == pytest.approx(math.cos(angle), abs=1e-12)
    assert found[1] > 0.5


def test_leading_vectors_do_not_depend_on_trailing_ones():
    values = 1.5, 0.8, 0.25, 0.1
    matrix, rows = oblique(0.4, *values)
    vectors, local = of_matrices(matrix.expand(161, 4, 4), count=2, transient=80)
    bound = eigenvector_rounding(matrix, rows, exact(*values))
    assert sines(vectors, rows[None, :2]).max() < bound
    assert_close(local, exact(1.5, 0.8).log()[None], rtol=0, atol=20 * bound)  # ||J|| / 0.8 < 20 at these angles
    assert torch.linalg.matrix_norm(matrix, 2) < 16


def test_vectors_of_the_noncommuting_cycle_are_eigenvectors_of_its_products():
    steps = 306
    vectors, local = of_matrices(torch.stack([oracles.CYCLE[t % 3] for t in range(steps)]), transient=150)
    a, b, c = oracles.CYCLE
    products = [c @ b @ a, a @ c @ b, b @ a @ c]  # the next matrix is on the right
    for t, (found, grown) in enumerate(zip(vectors, local, strict=True)):
        values, rows = eigenvectors(products[t % 3])
        bound = eigenvector_rounding(products[t % 3], rows, values)
        # alignment exp(-0.231 * 150) = 9e-16 times the condition number of the eigenvectors, below 20
        assert torch.linalg.cond(rows) < 20
        assert 2e-14 < bound < 1e-11
        assert sines(found, rows).max() < bound
        growth = (oracles.CYCLE[t % 3] @ rows.T).norm(dim=0).log()
        assert_close(grown, growth, rtol=0, atol=10 * bound)
    assert_close(local.mean(0), exact(math.log(2) / 3, 0), rtol=0, atol=1e-11)  # CBA has the eigenvalues 2 and 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_of_the_cat_map_are_orthogonal_and_golden(dtype):
    vectors, local = of_matrices(torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=dtype).expand(90, 2, 2), transient=40)
    assert vectors.dtype == local.dtype == dtype
    length = math.hypot(GOLDEN, 1)
    rows = torch.tensor([[GOLDEN, 1], [-1, GOLDEN]], dtype=dtype) / length
    # alignment exp(-1.92 * 40) = 3e-34; a rounding of ||J|| = 2.6 is 6.9 in units of the lesser growth
    bound = 10 * 2 * torch.finfo(dtype).eps * 6.9
    assert sines(vectors, rows[None]).max() < bound
    assert (vectors[:, 0] * vectors[:, 1]).sum(-1).abs().max() < 2 * bound
    assert_close(local, torch.tensor([2.0, -2.0], dtype=dtype).mul(math.log(GOLDEN)).expand_as(local), rtol=0, atol=7 * bound)


def henon_jacobians(states):
    """Jacobians (T, B, 2, 2) at states (T, B, 2)."""
    jacobians = states.new_zeros(*states.shape, 2)
    jacobians[..., 0, 0] = -2.8 * states[..., 0]
    jacobians[..., 0, 1] = 1
    jacobians[..., 1, 0] = 0.3
    return jacobians


@pytest.fixture(scope="module")
def henon():
    """States (T, B, 2) of Henon orbits, their vectors and growth in the window, and the transient on both sides."""
    transient, window, sequences = 50, 60, 200
    start = oracles.settled(oracles.henon_step, 0.1 * noise(sequences, 2), 200)
    states = [start]
    for _ in range(2 * transient + window - 1):
        states.append(oracles.henon_step(states[-1], None))
    inputs = torch.zeros(len(states), sequences, 1)
    vectors, local = covariant(oracles.henon_step, start, inputs, 2, transient=transient)
    return torch.stack(states), vectors, local, transient


def carried(matrices, vector):
    """Unit vectors (T + 1, B, 2), the images of one vector under matrices (T, B, 2, 2), and their error amplification (T + 1, B).

    A matrix M changes the angular error d of a unit vector v to d |det M| / |M v|^2. The amplification is the sum of the
    errors that result from an error of 1 at each step.
    """
    vectors, amplification = [vector], [torch.ones_like(vector[:, 0])]
    for matrix in matrices:
        moved = (matrix @ vectors[-1][..., None])[..., 0]
        length = moved.norm(dim=-1)
        vectors.append(moved / length[:, None])
        amplification.append(1 + amplification[-1] * matrix.det().abs() / length.square())
    return torch.stack(vectors), torch.stack(amplification)


def test_henon_vectors_are_tangent_to_the_unstable_and_stable_manifolds(henon):
    states, vectors, _, transient = henon
    jacobians = henon_jacobians(states)
    any_direction = exact(0.6, 0.8).expand(states.shape[1], 2)
    ahead, amplified = carried(jacobians, any_direction)  # forward steps rotate every direction towards the unstable one
    back, amplified_back = carried(jacobians.inverse().flip(0), any_direction)  # and inverse steps towards the stable one
    middle = slice(transient, transient + len(vectors))
    # both computations have an error per step of a few roundings of ||J|| ||J^-1|| <= 60, which is then carried on; the
    # arbitrary start is one more error of 1, which has shrunk to exp(-2.04 * 50) on average
    rounding = 10 * EPS * 60
    for k, (expected, factor) in enumerate([(ahead[:-1], amplified[:-1]), (back.flip(0)[:-1], amplified_back.flip(0)[:-1])]):
        bound = rounding * factor[middle]
        assert bound.median() < 1e-12
        assert (sines(vectors[:, :, k], expected[middle]) < bound).all()


def test_henon_vectors_are_covariant_and_share_the_loss_of_area(henon):
    states, vectors, local, transient = henon
    jacobians = henon_jacobians(states)[transient : transient + len(vectors)]
    moved = torch.einsum("tbij,tbkj->tbki", jacobians, vectors)
    residual = moved[:-1] - local[:-1, ..., None].exp() * vectors[1:]
    # QR, triangular solve and products err by a few S^2 eps ||J||, and ||J|| < 4
    assert residual.abs().max() < 10 * 4 * EPS * 4
    # the growths sum to log |det J| = log 0.3, corrected by the sines of the angle between the two before and after
    areas = torch.linalg.det(vectors).abs()
    shared = math.log(0.3) + (areas[:-1] / areas[1:]).log()
    # the residual rotates the lesser vector by up to its ratio to the growth, at least 0.07, and d log(sine) = d / sine
    assert ((local[:-1].sum(-1) - shared).abs() < 10 * 4 * EPS * 4 / (0.07 * areas[:-1].minimum(areas[1:]))).all()


def test_henon_vectors_grow_by_the_exponents_on_average(henon):
    _, _, local, _ = henon
    rates = local.mean(0)
    error = rates.std(0) / len(rates) ** 0.5
    assert error.max() < 0.01
    # independent orbits: 4 standard errors, and the 4 printed digits
    assert ((rates.mean(0) - exact(*oracles.HENON)).abs() < 4 * error + 1e-4).all(), rates.mean(0)


# Networks


def dense_jacobians(module, state, inputs):
    """Jacobians (T, S, S) by reverse mode along one sequence, from state (S,) under inputs (T, I)."""
    step = oracles.one_step(module)
    jacobians = []
    for x in inputs:
        jacobians.append(jacobian(lambda s, x=x: step(s, x), state))
        state = step(state, x).detach()
    return torch.stack(jacobians)


@pytest.mark.parametrize(("kind", "layers"), [(nn.RNN, 1), (nn.RNN, 2), (nn.GRU, 1), (nn.LSTM, 1)])
def test_vectors_of_a_network_follow_its_dense_jacobians(kind, layers):
    transient, steps = 10, 32
    module = module_of(kind, 2, 3, layers, scale=0.9)
    adapted = adapt([module], noise(steps, 2, 2), None, torch.float64, None)
    size = adapted.state.shape[-1]
    vectors, local = covariant(adapted.tangent.one(0), adapted.state[0], adapted.inputs, size, transient=transient)
    assert vectors.shape == (12, 2, size, size)
    assert_close(vectors.norm(dim=-1), torch.ones(12, 2, size, dtype=torch.float64), rtol=0, atol=10 * EPS)
    for b in range(2):
        jacobians = dense_jacobians(module, adapted.state[0, b], adapted.inputs[:, b])[transient : transient + 12]
        moved = vectors[:, b] @ jacobians.mT
        residual = (moved[:-1] - local[:-1, b, :, None].exp() * vectors[1:, b]).norm(dim=-1)
        norms = torch.linalg.matrix_norm(jacobians, 2)
        # QR, triangular solve and products err by a few S^2 eps ||J||
        assert (residual < 10 * size**2 * EPS * norms[:-1, None]).all()
        # the last growth leads to the first step after the window
        assert_close(local[-1, b].exp(), moved[-1].norm(dim=-1), rtol=0, atol=10 * size**2 * EPS * norms[-1].item())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_vectors_of_a_network_grow_by_its_exponents_up_to_the_ends_of_the_window(kind):
    module = module_of(kind, 2, 3, scale=0.9)
    inputs = noise(40, 1, 2)
    adapted = adapt([module], inputs, None, torch.float64, None)
    size = adapted.state.shape[-1]
    start = oracles.rotation(size, seeded(5))
    bases, triangles = record(adapted.tangent.one(0), adapted.state[0], start[None], adapted.inputs)
    vectors, local = covariant_vectors(bases, triangles, backward_transient=10)
    steps = len(vectors) - 1
    dense = reference_spectrum(oracles.one_step(module), adapted.state[0, 0], inputs[:steps, 0], start.T, transient=0)
    # R_n ... R_1 C_0 = C_n D: on the diagonal, the growth of a vector is that of its basis vector times the ratio of its
    # component c along it, before and after; this is the only effect of the ends, at any length
    parts = (vectors * bases[: steps + 1]).sum(-1)[:, 0]
    assert (parts > 0).all()  # acute angles determine the sign
    ends = (parts[0] / parts[-1]).log()
    # c is a sine: the smaller it is, the more an absolute error matters. The error of the trailing directions of the dense
    # product is eps times the ratio of the first growth to theirs, in each step
    least = parts[[0, -1]].min().item()
    spread = math.exp((dense[0] - dense[-1]).item())
    assert_close(local[:steps, 0].sum(0) - ends, dense * steps, rtol=0, atol=100 * size * EPS * steps * (spread + 1 / least))
    assert ends.abs().max() > 0.01  # the effect is large enough to test


def test_vectors_of_a_periodically_driven_network_are_eigenvectors_of_its_products():
    module = module_of(nn.RNN, 2, 3, scale=0.9)
    with torch.no_grad():
        module.weight_hh_l0.copy_(oracles.symmetric([0.9, 0.4, 0.15], seeded(6)))
    period = noise(3, 1, 2)
    adapted = adapt([module], period.repeat(110, 1, 1), None, torch.float64, None)
    vectors, local = covariant(adapted.tangent.one(0), adapted.state[0], adapted.inputs, 3, transient=162)
    with torch.no_grad():
        settled = module(period.repeat(54, 1, 1))[1][0, 0]  # the state of the first vectors
        again = module(period, settled[None, None])[1][0, 0]
    assert (again - settled).abs().max() < 1e-15
    jacobians = dense_jacobians(module, settled, torch.cat([period, period])[:, 0])
    for t in range(3):
        product = jacobians[t + 2] @ jacobians[t + 1] @ jacobians[t]
        values, rows = eigenvectors(product)
        bound = eigenvector_rounding(product, rows, values)
        assert (values[1:] / values[:-1]).abs().max() ** 54 < 1e-16  # alignment over the transient's 54 periods
        assert bound < 1e-10
        for found, grown in zip(vectors[t::3, 0], local[t::3, 0], strict=True):
            assert sines(found, rows).max() < bound
            assert_close(grown, (jacobians[t] @ rows.T).norm(dim=0).log(), rtol=0, atol=10 * bound)


# Lost directions, divergence and wrong arguments


def test_zero_weight_lstm_keeps_the_vectors_of_its_cells_and_has_none_for_its_outputs():
    module = module_of(nn.LSTM, 2, 3, scale=0.0, bias=False)
    adapted = adapt([module], noise(12, 2, 2), None, torch.float64, None)
    vectors, local = covariant(adapted.tangent.one(0), adapted.state[0], adapted.inputs, 6, transient=4)
    # c' = c / 2 and h' = tanh(c') / 2 at c = 0: J (h, c) = (c / 4, c / 2), with eigenvectors (c / 2, c) to the value 1/2
    assert_close(vectors[:, :, :3, :3], vectors[:, :, :3, 3:] / 2, rtol=0, atol=10 * EPS)
    assert_close(local[:, :, :3], torch.full((4, 2, 3), math.log(0.5), dtype=torch.float64), rtol=0, atol=36 * 10 * EPS)
    assert vectors[:, :, 3:].isnan().all()
    assert (local[:, :, 3:] == -math.inf).all()


@pytest.mark.parametrize("where", ["always", "once", "in the backward transient"])
def test_lost_direction_leaves_the_leading_vectors_as_they_are(where):
    singular, rows = oblique(0.4, 1.5, 0.8, 0.0)
    whole, _ = oblique(0.4, 1.5, 0.8, 0.25)  # the same eigenvectors
    matrices = (singular if where == "always" else whole).repeat(200, 1, 1)
    matrices[{"always": 0, "once": 90, "in the backward transient": 150}[where]] = singular
    vectors, local = of_matrices(matrices, transient=80)
    bound = eigenvector_rounding(whole, rows, exact(1.5, 0.8, 0.25))
    assert sines(vectors[:, :2], rows[None, :2]).max() < bound
    assert_close(local[:, :2], exact(1.5, 0.8).log().expand(40, 2), rtol=0, atol=20 * bound)
    assert vectors[:, 2].isnan().all()
    assert (local[:, 2] == -math.inf).all()


def test_directions_after_a_lost_one_are_undefined_too():
    triangles = exact(2.0, 0.0, 0.5).diag().repeat(6, 1, 1, 1)  # their component along the lost direction cannot be carried back
    vectors, local = covariant_vectors(torch.eye(3).double().expand(7, 1, 3, 3), triangles, backward_transient=2)
    assert_close(vectors[:, 0, 0], exact(1, 0, 0).expand(4, 3), rtol=0, atol=0)
    assert_close(local[:, 0], exact(math.log(2), -math.inf, -math.inf).expand(4, 3), rtol=EPS, atol=0)
    assert vectors[:, 0, 1:].isnan().all()


def test_direction_lost_before_the_window_is_found_again():
    singular, rows = oblique(0.4, 1.5, 0.8, 0.0)
    whole, _ = oblique(0.4, 1.5, 0.8, 0.25)
    matrices = whole.repeat(200, 1, 1)
    matrices[10] = singular
    vectors, _ = of_matrices(matrices, transient=80)
    # 69 steps align what replaced it: (0.25 / 0.8)**69 = 1e-35
    assert sines(vectors, rows[None]).max() < eigenvector_rounding(whole, rows, exact(1.5, 0.8, 0.25))


def test_very_strong_contraction_does_not_overflow():
    vectors, local = of_matrices(exact(1.0, 1e-200).diag().repeat(9, 1, 1), transient=3)
    assert_close(vectors.abs(), torch.eye(2, dtype=torch.float64).expand(3, 2, 2), rtol=0, atol=EPS)
    # a logarithm is rounded relative to its size, 460
    assert_close(local, exact(0.0, -200 * math.log(10)).expand(3, 2), rtol=10 * EPS, atol=10 * EPS)


def forgetful(state, x):
    """A driven map that recovers from NaN immediately."""
    return (0.5 * state + x).nan_to_num().tanh() + 0 * x.nan_to_num() + (x - x)


@pytest.mark.parametrize("when", [3, 14, 25])  # in the transient, in the window, in the backward transient
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_diverged_sequence_is_nan_and_does_not_affect_others(when, wrong):
    inputs = noise(30, 3, 2)
    broken = inputs.clone()
    broken[when, 1] = wrong
    state = noise(3, 2, seed=7)
    vectors, local = covariant(forgetful, state, inputs, 2, transient=10)
    found, grown = covariant(forgetful, state, broken, 2, transient=10)
    assert found[:, 1].isnan().all()
    assert grown[:, 1].isnan().all()
    assert vectors.isfinite().all()
    for b in (0, 2):
        assert torch.equal(found[:, b], vectors[:, b])
        assert torch.equal(grown[:, b], local[:, b])


def test_nan_in_bases_or_triangles_stays_in_its_sequence():
    matrices = noise(12, 3, 16)
    bases, triangles = record(linear, torch.zeros(3, 4).double(), torch.eye(4).double().expand(3, 4, 4), matrices)
    vectors, local = covariant_vectors(bases, triangles, backward_transient=4)
    bases[2, 0, 1, 1] = math.nan
    triangles[11, 2, 0, 3] = math.inf
    before = bases.clone(), triangles.clone()
    found, grown = covariant_vectors(bases, triangles, backward_transient=4)
    assert torch.equal(found[:, 1], vectors[:, 1])
    assert torch.equal(grown[:, 1], local[:, 1])
    assert found[:, [0, 2]].isnan().all()
    assert grown[:, [0, 2]].isnan().all()
    for given, old in zip((bases, triangles), before, strict=True):  # and the arguments are unchanged
        assert_close(given, old, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("transient", "backward"), [(5, None), (4, 6), (-1, 2), (2, -1), (10, 0)])
def test_transients_that_leave_no_step_are_refused(transient, backward):
    with pytest.raises(ModuleError, match="leave nothing of 10"):
        covariant(linear, torch.zeros(1, 2), torch.zeros(10, 1, 4), 2, transient=transient, backward_transient=backward)


def test_backward_transient_and_bases_must_fit_the_triangles():
    bases, triangles = torch.eye(2).expand(5, 1, 2, 2), torch.eye(2).expand(4, 1, 2, 2)
    for wrong in (-1, 4):
        with pytest.raises(ModuleError, match=f"backward_transient is {wrong}; it should be from 0 to 3"):
            covariant_vectors(bases, triangles, backward_transient=wrong)
    with pytest.raises(ModuleError, match="there are 2 bases"):
        covariant_vectors(bases[:2], triangles, backward_transient=1)


# The forward pass


def test_triangle_leads_from_the_basis_back_to_the_deviations():
    rows = noise(2, 3, 5)
    basis, triangle = triangularise(rows)
    assert torch.equal(triangle, triangle.triu())
    # a few S roundings of lengths near 2
    assert_close(triangle.mT @ basis, rows, rtol=0, atol=10 * 5 * EPS)
    assert_close(basis @ basis.mT, torch.eye(3).double().expand(2, 3, 3), rtol=0, atol=10 * 5 * EPS)
    _, log = reorthonormalise(rows)
    assert_close(triangle.diagonal(dim1=-2, dim2=-1).log(), log, rtol=0, atol=10 * EPS)


def test_triangle_has_a_zero_for_a_lost_direction_and_nan_for_a_sequence_that_is_not_finite():
    rows = noise(3, 3, 4)
    rows[0, 1] = -2 * rows[0, 0]
    rows[1, 2, 3] = math.inf
    basis, triangle = triangularise(rows)
    assert (triangle[0].diagonal() == 0).tolist() == [False, True, False]
    assert triangle[1].isnan().all()
    assert triangle[2].isfinite().all()
    assert_close(triangle[0].T @ basis[0], rows[0], rtol=0, atol=10 * 4 * EPS)


def test_recorded_bases_and_triangles_follow_the_jacobians():
    matrices = noise(7, 2, 9)
    start = oracles.rotation(3, seeded(5))[:2].expand(2, 2, 3)
    bases, triangles = record(linear, torch.zeros(2, 3).double(), start, matrices)
    assert bases.shape == (8, 2, 2, 3)
    assert torch.equal(bases[0], start)
    pushed = matrices.unflatten(-1, (3, 3)) @ bases[:-1].mT
    # a few S roundings of ||J||, below 6 here
    assert_close(pushed, bases[1:].mT @ triangles, rtol=0, atol=10 * 3 * EPS * 6)
    assert (triangles.diagonal(dim1=-2, dim2=-1) > 0).all()
    later, rest = record(linear, torch.zeros(2, 3).double(), start, matrices, transient=2, kept=3)
    assert torch.equal(later, bases[2:5])
    assert torch.equal(rest, triangles[2:])
