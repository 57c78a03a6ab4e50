"""Fixed points, slow points and line attractors of maps for which they are known."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from scipy.optimize import brentq
from torch import nn
from torch.testing import assert_close

from pipeline import cells, fixed_points, line_attractor, lyapunov_spectrum, slow_points
from pipeline.core.errors import ModuleError, SurrogateWarning
from pipeline.points import linear
from pipeline.points.points import distinct
from pipeline.points.search import jacobian

TOLERANCE = 1e-20  # of q, the default
# Upper bound of |F(h) - h| at a point; the point itself is off by at most this / the least |1 - eigenvalue|.
MOVE = (2 * TOLERANCE) ** 0.5
CORNER = brentq(lambda h: math.tanh(2 * h) - h, 0.5, 1)  # tanh(2 h) = h


def held_still(count, width=1, steps=1):
    """Zero inputs."""
    return torch.zeros(steps, count, width, dtype=torch.float64)


def cube():
    """Three units h' = tanh(2 h) on rotated axes, and the axes; each unit has the fixed points 0 and +-CORNER."""
    axes = oracles.rotation(3, seeded())
    return (lambda s, x: (2 * s @ axes).tanh() @ axes.T + x), axes


def of_cube(**options):
    step, axes = cube()
    found = fixed_points(step, held_still(200, 3), state=noise(200, 3), seeds=200, **options)
    return found, axes


def test_three_bistable_units_have_the_corners_edges_faces_and_centre_of_a_cube():
    found, axes = of_cube()
    assert found.signature == (8, 12, 6, 1)
    turned = found.states @ axes
    known = exact(*itertools.chain(*itertools.product((-CORNER, 0.0, CORNER), repeat=3))).reshape(27, 3)
    nearest = torch.cdist(known, turned, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert nearest.max() < MOVE / 0.8  # the least |1 - eigenvalue| is 1 - 2 (1 - CORNER^2) = 0.83
    assert found.index == 1  # 8 - 12 + 6 - 1


def test_eigenvalues_at_the_cubes_points_are_the_slopes_of_its_units():
    found, axes = of_cube()
    slopes = 2 * (1 - (found.states @ axes).square())
    assert_close(found.eigenvalues.imag, torch.zeros(27, 3, dtype=torch.float64), rtol=0, atol=1e-7)  # doubles split by sqrt(eps)
    assert_close(found.eigenvalues.real, slopes.sort(descending=True).values, rtol=0, atol=1e-7)
    known = 2 - 2 * CORNER**2
    assert_close(found.time_constants[found.unstable == 0], exact(1 / -math.log(known)).expand(8, 3), rtol=1e-6, atol=0)


def test_points_that_no_seed_leads_to_are_found_between_others():
    step, axes = cube()
    corners = CORNER * exact(*itertools.chain(*itertools.product((-1.0, 1.0), repeat=3))).reshape(8, 3) @ axes.T
    found = fixed_points(step, held_still(8, 3), state=corners, seeds=8, noise=1e-3, generator=seeded())
    assert found.found == 8  # each seed went to its own corner
    assert len(found) > 8
    assert (found.unstable > 0).any()
    more = fixed_points(step, held_still(8, 3), state=corners, seeds=400, noise=1e-3, generator=seeded())
    assert more.signature == (8, 12, 6, 1)


def test_a_driven_linear_map_has_one_point_with_the_maps_own_matrices():
    basis = exact(1.0, 1.0, 0.0, 1.0).reshape(2, 2)
    matrix = basis @ exact(1.5, 0.25).diag() @ basis.inverse()
    drive, at = noise(2, 3), noise(3, seed=5)
    found = fixed_points(lambda s, x: s @ matrix.T + x @ drive.T, held_still(20, 3), state=noise(20, 2), at=at, reach=100.0)
    # |1 - matrix|^-1 magnifies the last move by at most 5
    assert_close(found.states, torch.linalg.solve(torch.eye(2) - matrix, drive @ at)[None], rtol=0, atol=5 * MOVE)
    assert_close(found.recurrent[0], matrix, rtol=0, atol=1e-14)
    assert_close(found.driven[0], drive, rtol=0, atol=1e-14)
    assert_close(found.eigenvalues[0], torch.complex(exact(1.5, 0.25), exact(0, 0)), rtol=0, atol=1e-14)
    assert_close(found.time_constants[0], 1 / exact(1.5, 0.25).log().abs(), rtol=1e-13, atol=0)
    assert (found.signature, found.index) == ((0, 1), -1)


def test_left_and_right_vectors_diagonalise_the_jacobian():
    module = module_of(nn.RNN, 2, 5, scale=0.9)
    found = fixed_points(module, noise(20, 4, 2), seeds=64)
    unit = torch.eye(5, dtype=torch.complex128).expand(len(found), -1, -1)
    assert_close(found.left @ found.right, unit, rtol=0, atol=1e-11)
    rebuilt = found.right @ torch.diag_embed(found.eigenvalues) @ found.left
    assert_close(rebuilt, found.recurrent.to(rebuilt), rtol=0, atol=1e-11)  # 5 x 5, a few thousand eps
    moduli = found.eigenvalues.abs()
    assert (moduli.diff(dim=-1) <= 0).all()


def test_the_henon_maps_two_saddles_are_where_its_quadratic_says():
    found = fixed_points(oracles.henon_step, held_still(50, steps=30), state=0.1 * noise(50, 2))
    a, b = 1.4, 0.3
    roots = [(b - 1 + sign * math.sqrt((1 - b) ** 2 + 4 * a)) / (2 * a) for sign in (1, -1)]
    assert sorted(found.states[:, 0].tolist()) == pytest.approx(sorted(roots), abs=10 * MOVE)
    assert found.signature == (0, 2)
    assert found.index == 0  # no ball is led into itself


def test_a_map_without_fixed_points_has_none():
    found = fixed_points(lambda s, x: s + 1, held_still(20), state=noise(20, 2))
    assert (len(found), found.found, found.signature, found.index) == (0, 0, (), 0)
    assert found.states.shape == (0, 2)
    assert found.recurrent.shape == (0, 2, 2)
    assert found.natural_q == 1.0  # a move of (1, 1)


def test_a_line_of_fixed_points_gives_one_point_per_seed():
    found = fixed_points(lambda s, x: s * exact(1.0, 0.5), held_still(30), state=noise(30, 2), seeds=30, distance=1e-9)
    assert found.found == 30
    assert len(found) >= 30
    assert found.states[:, 1].abs().max() < 2 * MOVE
    assert (found.time_constants[:, 0] == math.inf).all()
    assert (found.unstable == 0).all()


def test_points_far_from_all_visited_states_are_omitted_and_counted():
    step = lambda s, x: 10 + 0.999 * (s - 10)  # noqa: E731
    start = 0.1 * noise(40, 1)
    near = fixed_points(step, held_still(40), state=start, seeds=40)
    assert (len(near), near.outliers, near.found) == (0, 1, 40)
    far = fixed_points(step, held_still(40), state=start, seeds=40, reach=1000.0)
    assert_close(far.states, exact(10)[None], rtol=0, atol=1000 * MOVE)


def test_outliers_count_once_for_all_rounds_of_the_search():
    def step(s, x):  # its fixed points are -1, 1 and 100; the middle has the same slope and value as the line through 100
        return torch.where((s.abs() < 0.5) | (s > 50), 100 + (s - 100) / 2, s.sign() + 0 * s)

    ends = exact(-1, 1)[:, None]
    options = {"noise": 1e-3, "seeds": 12}
    found = fixed_points(step, held_still(2), state=ends, **options)
    assert (len(found), found.found, found.outliers) == (2, 12, 1)  # only the midpoint of the two ends leads to 100
    third = fixed_points(step, held_still(2), state=ends, reach=1000.0, **options)
    assert sorted(third.states[:, 0].tolist()) == pytest.approx([-1, 1, 100], abs=2 * MOVE)
    noisy = fixed_points(step, held_still(2), state=ends, noise=1.0, seeds=64)
    assert (len(noisy), noisy.outliers) == (2, 1)  # seeds near 0 lead to 100 as well


def test_trajectories_that_overflow_give_no_point_and_no_error():
    found = fixed_points(lambda s, x: 3 + s**3, held_still(5, steps=20), state=10 + noise(5, 2))
    assert len(found) == 0


# Trajectories that explode


def cubic(s, x):
    """Fixed points -1, 0 and 1; explodes beyond the square root of 5."""
    return 1.5 * s - 0.5 * s**3 + x


CALM = torch.linspace(-1.5, 1.4, 7, dtype=torch.float64)[:, None]


def is_cubics(found):
    return len(found) == 3 and sorted(found.states[:, 0].tolist()) == pytest.approx([-1, 0, 1], abs=2 * MOVE)


@pytest.mark.parametrize("steps", [2, 5, 30])
@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize("far", [2.5, -40.0, 1e200])  # 2.5 is finite for 5 steps, but not for 30
def test_sequences_that_explode_do_not_count_beside_others(far, number, steps):
    state = torch.cat([CALM, exact(far).expand(number, 1)])
    found = fixed_points(cubic, held_still(len(state), steps=steps), state=state, seeds=64)
    assert is_cubics(found)
    assert (found.found, found.outliers) == (64, 0)
    alone = fixed_points(cubic, held_still(7, steps=steps), state=CALM, seeds=64)
    assert (found.natural_q, found.visited_q) == (alone.natural_q, alone.visited_q)
    slow = slow_points(cubic, held_still(len(state), steps=steps), state=state, seeds=16, iterations=200, tolerances=(1e-6,))
    assert slow[0].found == 16


@pytest.mark.parametrize("steps", [1, 30])
def test_if_all_sequences_explode_the_states_before_the_growth_count(steps):
    found = fixed_points(cubic, held_still(4, steps=steps), state=3 + 0.1 * noise(4, 1), reach=10.0)
    assert is_cubics(found)


@pytest.mark.parametrize("steps", [10, 100, 420, 700])  # 3^420 is finite, its square is not; 3^700 is infinite
def test_the_origin_is_the_point_of_a_network_that_triples_its_state(steps):
    network = nn.RNN(3, 6, nonlinearity="relu", bias=False).double()
    with torch.no_grad():
        network.weight_hh_l0.copy_(3 * torch.eye(6))
        network.weight_ih_l0.abs_()
    found = fixed_points(network, noise(steps, 2, 3).abs(), seeds=32)
    assert (len(found), found.found, found.outliers) == (1, 32, 0)
    assert found.states.norm() < MOVE  # F(h) - h is 2 h or, for negative numbers, -h


@pytest.mark.parametrize("steps", [100, 700])
def test_a_unit_that_explodes_does_not_merge_the_points_of_another(steps):
    step = lambda s, x: torch.stack([(2 * s[:, 0]).tanh(), 3 * s[:, 1]], dim=1)  # noqa: E731
    found = fixed_points(step, held_still(6, steps=steps), state=noise(6, 2))
    assert sorted(found.states[:, 0].tolist()) == pytest.approx([-CORNER, 0, CORNER], abs=2 * MOVE)
    assert found.states[:, 1].abs().max() < MOVE


def test_growth_that_ends_counts_however_far_it_goes():
    grown = fixed_points(lambda s, x: (2 * s).tanh(), held_still(8, steps=100), state=1e-9 * noise(8, 1))
    assert sorted(grown.states[:, 0].tolist()) == pytest.approx([-CORNER, 0, CORNER], abs=2 * MOVE)
    far = fixed_points(lambda s, x: 1e6 * s.tanh(), held_still(8, steps=20), state=noise(8, 1))
    assert sorted(far.states[:, 0].tolist()) == pytest.approx([-1e6, 0, 1e6], abs=2 * MOVE)


def test_states_after_which_nothing_is_finite_are_searched_from():
    # s' = 1 + s^.5 has the fixed point ((1 + 5^.5) / 2)^2; NaN from negative states
    found = fixed_points(lambda s, x: s.sqrt() + 1, held_still(4, steps=20), state=exact(1, -1, 4, -3)[:, None])
    assert found.states.tolist() == [[pytest.approx((1 + 5**0.5) ** 2 / 4, abs=2 * MOVE)]]
    halved = fixed_points(lambda s, x: s / 2 + 0 * (1 + x).log(), -3 - held_still(4), state=noise(4, 2))  # log(-2) is NaN
    assert_close(halved.states, torch.zeros(1, 2).double(), rtol=0, atol=2 * MOVE)
    lost = fixed_points(lambda s, x: s * math.nan, held_still(4, steps=20), state=noise(4, 2))
    assert (len(lost), lost.found) == (0, 0)
    assert math.isnan(lost.natural_q)


def test_states_whose_squares_overflow_are_refused_in_one_sentence():
    with pytest.raises(ModuleError, match=r"states are as large as 1e\+200, so that their squares overflow; .* scaled"):
        fixed_points(lambda s, x: s / 2, held_still(2, steps=20), state=exact(1e200, -1e200)[:, None])


# Large states on several threads


def random_matrices(size, dtype=torch.float64):
    """Six matrices, of which numbers 1, 3 and 5 have a negative determinant; singular values between about 1 and 3."""
    matrices = 2 * torch.eye(size, dtype=dtype) + 0.5 * noise(6, size, size).to(dtype) / size**0.5
    matrices[1::2, 0] *= -1
    return matrices


@pytest.mark.parametrize("size", [linear.STACKED_ROWS, linear.STACKED_ROWS + 1, 160, 256])  # MKL is wrong from 151 on
@pytest.mark.usefixtures("two_threads")
def test_linear_algebra_of_many_matrices_is_numpys_on_two_threads(size):
    matrices, right = random_matrices(size), noise(6, size, seed=4)
    # rounding: size eps, times condition 3 and growth of the factors up to 10
    allowed = {"rtol": 0, "atol": 30 * size * 2**-52 * right.abs().max().item()}
    expected = torch.from_numpy(np.linalg.solve(matrices.numpy(), right[..., None].numpy()))[..., 0]
    assert_close(linear.solve(matrices, right), expected, **allowed)
    assert linear.sign_of_determinant(matrices).tolist() == np.linalg.slogdet(matrices.numpy()).sign.tolist() == [1, -1] * 3
    turned = random_matrices(size, torch.complex128) * 1j
    turned[2] = 0
    found, regular = linear.inverse(turned), [0, 1, 3, 4, 5]
    assert_close(found[regular], torch.from_numpy(np.linalg.inv(turned[regular].numpy())), **allowed)
    assert found[2].isnan().all()


@pytest.mark.parametrize("size", [10, 100])
def test_linear_algebra_of_no_matrices_is_empty(size):
    none = torch.zeros(0, size, size, dtype=torch.float64)
    assert linear.solve(none, none[..., 0]).shape == (0, size)
    assert linear.inverse(none).shape == (0, size, size)
    assert linear.sign_of_determinant(none).shape == (0,)


@pytest.mark.parametrize("size", [160, 256])
@pytest.mark.usefixtures("two_threads")
def test_points_of_large_networks_are_fixed_on_two_threads(size):
    module, at = module_of(nn.RNN, 3, size), noise(3, seed=5)
    found = fixed_points(module, noise(20, 2, 3), at=at, seeds=6, iterations=20)
    assert found.found == 6
    assert found.index == 1
    weights = {name.removesuffix("_l0"): p.detach().numpy() for name, p in module.named_parameters()}
    for state in found.states.numpy():
        total = weights["weight_hh"] @ state + weights["bias_hh"] + weights["weight_ih"] @ at.numpy() + weights["bias_ih"]
        assert np.linalg.norm(np.tanh(total) - state) < MOVE + size * 2**-52 * 10  # rounding of two sums of `size` numbers
    assert_close(found.left @ found.right, torch.eye(size).expand_as(found.left).to(found.left), rtol=0, atol=1e-8)


# Models


FORMS = [
    (nn.RNN, {}),
    (nn.GRU, {}),
    (nn.LSTM, {}),
    (nn.LSTM, {"num_layers": 2}),
    (nn.GRU, {"num_layers": 2, "batch_first": True}),
]


@pytest.mark.parametrize(("kind", "options"), FORMS, ids=["rnn", "gru", "lstm", "lstm2", "gru2"])
def test_points_of_torchs_modules_are_fixed_under_the_module(kind, options):
    module = module_of(kind, 2, 3, scale=1.0, **options)
    inputs = noise(4, 20, 2) if "batch_first" in options else noise(20, 4, 2)
    found = fixed_points(module, inputs, at=exact(0.3, -0.2), seeds=32)
    assert len(found)
    step = oracles.one_step(module)
    for state, slope in zip(found.states, found.recurrent, strict=True):
        assert (step(state, found.at) - state).norm() < 2 * MOVE
        own = torch.autograd.functional.jacobian(lambda s: step(s, found.at), state)
        assert_close(slope, own, rtol=0, atol=1e-13)
    assert found.states.shape[1] == (6 if kind is nn.LSTM else 3) * module.num_layers
    assert found.index == 1


def test_a_custom_module_is_searched_and_not_changed():
    module = nn.RNNCell(1, 2).double()
    module.requires_grad_(True)
    before = [p.clone() for p in module.parameters()]

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x, state):
            return self.inner(x, state)

    own = fixed_points(Own(), noise(5, 3, 1), state=noise(3, 2), seeds=16)
    plain = fixed_points(module, noise(5, 3, 1), state=noise(3, 2), seeds=16)
    assert_close(own.states, plain.states, rtol=0, atol=1e-12)
    slow_points(Own(), noise(5, 3, 1), state=noise(3, 2), seeds=4, iterations=5)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True))


UNBOUNDED = ("irnn", "lipschitz", "sbo_gradient", "sbo_heavy_ball", "sbo_nesterov", "scornn")  # may have no fixed point


@pytest.mark.parametrize("name", cells.names())
def test_points_of_every_cell_are_fixed_under_the_cell(name):
    cell = cells.get(name)(2, 6, init_scale=0.5)
    weights = cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})
    state, at = torch.zeros(3, cell.state_size, dtype=torch.float64), exact(0.3, -0.2)
    found = fixed_points(lambda s, x: cell.step(weights, s, x), noise(20, 3, 2), state=state, at=at, seeds=16, reach=1e4)
    assert len(found) or name in UNBOUNDED
    for point, slope in zip(found.states, found.recurrent, strict=True):
        step = lambda s: cell.step(weights, s[None], at[None])[0]  # noqa: E731
        assert (step(point) - point).norm() < MOVE
        assert_close(slope, torch.autograd.functional.jacobian(step, point), rtol=0, atol=1e-12)
    slow = slow_points(lambda s, x: cell.step(weights, s, x), noise(20, 3, 2), state=state, at=at, seeds=8, iterations=20)
    assert all((points.q < tolerance).all() for points, tolerance in zip(slow, (1e-3, 1e-4, 1e-5, 1e-6, 1e-7), strict=True))


def test_jacobian_of_no_rows_has_no_rows():
    values, slopes = jacobian(lambda s: s[:, :1] * 2, torch.zeros(0, 3))
    assert (values.shape, slopes.shape) == ((0, 1), (0, 1, 3))


def test_of_near_points_the_one_with_the_smallest_q_stays():
    states = exact(0.0, 0.05, 0.2, 0.12, 5.0)[:, None]
    assert distinct(states, exact(3, 1, 2, 4, 5), 0.1).tolist() == [1, 2, 4]


def test_exponents_on_a_stable_point_are_the_logs_of_its_eigenvalues():
    weights = oracles.symmetric([1.3, 0.8, -0.6, 0.3], seeded())  # D W is similar to a symmetric matrix: real eigenvalues
    step = lambda s, x: (s @ weights + x).tanh()  # noqa: E731
    drive = noise(4, seed=7)
    found = fixed_points(step, noise(20, 10, 4), state=noise(10, 4), at=drive, tolerance=1e-28)
    (stable,) = (found.unstable == 0).nonzero().T
    state = found.states[stable]
    inputs = drive.expand(400, len(state), 4)
    spectrum = lyapunov_spectrum(step, inputs, state=state, transient=350, every=1)
    moduli = found.eigenvalues[stable].abs()
    # misaligned by (ratio of neighbouring eigenvalues)^350; the state is off by less than 1e-13
    assert (moduli[:, 1:] / moduli[:, :-1]).max() ** 350 < 1e-12
    assert_close(spectrum.per_sequence, moduli.log(), rtol=0, atol=1e-10)


# Slow points


BOTTLENECK = 1e-3  # h' = h + BOTTLENECK + h^2 has no fixed point; q is least, BOTTLENECK^2 / 2, at 0


def test_a_bottleneck_is_a_slow_point_and_no_fixed_point():
    step = lambda s, x: s + BOTTLENECK + s.square()  # noqa: E731
    start = torch.linspace(-0.3, 0.1, 20, dtype=torch.float64)[:, None]
    assert len(fixed_points(step, held_still(20), state=start)) == 0
    found = slow_points(step, held_still(20), state=start, seeds=20, iterations=400, tolerances=(1e-4, 1e-5, 4e-7))
    assert [len(points) > 0 for points in found] == [True, True, False]  # the least q is 5e-7
    for points, tolerance in zip(found, (1e-4, 1e-5), strict=False):
        assert points.q.max() < tolerance
        assert points.states.abs().max() < ((2 * tolerance) ** 0.5 - BOTTLENECK) ** 0.5  # solves q = tolerance


def test_a_smaller_tolerance_takes_longer_and_never_finds_more():
    module = module_of(nn.GRU, 2, 6)
    found = slow_points(module, noise(20, 8, 2), seeds=50, iterations=300)
    counts = [points.found for points in found]
    assert counts == sorted(counts, reverse=True)
    assert counts[0]


def test_a_seeds_slow_point_does_not_depend_on_the_other_seeds():
    step = lambda s, x: (s * exact(1.2, 0.3)).tanh()  # noqa: E731
    state = noise(6, 2)
    options = {"iterations": 60, "tolerances": (1e-3,), "distance": 1e-12, "reach": 100.0}
    (together,) = slow_points(step, held_still(6), state=state, seeds=12, **options)
    alone = [slow_points(step, held_still(1), state=s[None], seeds=2, **options)[0].states for s in state]
    assert len(together) == 12  # each state and its successor
    for states in alone:
        for one in states:
            assert (together.states - one).norm(dim=1).min() < 1e-12


# Line attractors


def integrator():
    """Matrices and eigenvectors of a map that integrates its inputs along one direction and forgets the rest."""
    right = exact(0.6, -0.4, 0.8, 1.0).reshape(2, 2)  # columns, the first of length 1
    left = right.inverse()
    matrix = right @ exact(1.0, 0.5).diag() @ left
    return matrix, noise(2, 4), right, left


def test_an_integrator_is_a_line_attractor_with_its_own_eigenvectors():
    matrix, drive, right, left = integrator()
    step = lambda s, x: s @ matrix.T + x @ drive.T  # noqa: E731
    points = fixed_points(step, held_still(30, 4), state=noise(30, 2), seeds=30, tolerance=1e-26)
    words, readout = noise(7, 4, seed=9), -right[:, 0] + exact(0.1, 0.0)  # reads the line in the opposite direction
    pushes = -(left[0] @ drive @ words.T)
    line = line_attractor(points, readout, words, pushes)
    assert line.share == pytest.approx(1, abs=1e-12)
    assert_close(line.moduli, exact(1.0, 0.5).expand(len(points), 2), rtol=0, atol=1e-13)
    assert_close(line.pushes, pushes.expand(len(points), 7), rtol=0, atol=1e-12)
    assert_close(line.correlation, torch.ones(len(points)).double(), rtol=0, atol=1e-12)
    cosine = float(right[:, 0] @ readout / readout.norm())
    assert_close(line.alignment, exact(abs(cosine)).expand(len(points)), rtol=0, atol=1e-12)


def test_statistics_that_do_not_exist_are_nan():
    points = fixed_points(lambda s, x: s / 2 + x, held_still(5), state=noise(5, 2))
    line = line_attractor(points, torch.ones(2), torch.ones(3, 1), torch.ones(3))
    assert math.isnan(line.share)
    assert line.correlation.isnan().all()


# Wrong input


SPOILT = [
    ({"seeds": 0}, "seeds is 0; it should be a whole number above 0"),
    ({"iterations": 1.5}, "iterations is 1.5; it should be a whole number above 0"),
    ({"noise": -0.1}, "noise is -0.1; it should be a number above 0, or 0"),
    ({"tolerance": 0}, "tolerance is 0; it should be a number above 0"),
    ({"distance": math.nan}, "distance is nan; it should be a number above 0"),
    ({"reach": "far"}, "reach is 'far'; it should be a number above 0"),
    ({"at": torch.zeros(3)}, r"at should be finite, of the shape \(2,\) of one input, found \(3,\)"),
    ({"at": 0.0}, r"at should be a tensor \(I,\), found float"),
    ({"at": torch.zeros(2) + 1j}, r"at should be real, found torch.complex64"),
]


@pytest.mark.parametrize(("options", "sentence"), SPOILT, ids=[next(iter(options)) for options, _ in SPOILT])
def test_unusable_arguments_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ModuleError, match=sentence):
        fixed_points(nn.GRU(2, 3), torch.zeros(4, 1, 2), **options)


def test_slow_points_need_a_tolerance():
    with pytest.raises(ModuleError, match=r"tolerances should be at least one number above 0, found 0\.1"):
        slow_points(torch.nn.GRU(2, 3), held_still(2, steps=5), tolerances=0.1)
    with pytest.raises(ModuleError, match="tolerances should be at least one number above 0, found none"):
        slow_points(nn.GRU(2, 3), torch.zeros(4, 1, 2), tolerances=())
    with pytest.raises(ModuleError, match="tolerance is -1; it should be a number above 0"):
        slow_points(nn.GRU(2, 3), torch.zeros(4, 1, 2), tolerances=(1e-3, -1))


def test_models_that_the_spectrum_refuses_are_refused_in_the_same_words():
    with pytest.raises(ModuleError, match="a bidirectional network is not a dynamical system"):
        fixed_points(nn.GRU(2, 3, bidirectional=True), torch.zeros(4, 1, 2))
    with pytest.raises(ModuleError, match="a step function needs `state=`"):
        fixed_points(lambda s, x: s, torch.zeros(4, 1, 2))


@pytest.mark.parametrize(
    ("inputs", "advice"), [(torch.zeros(4, 1), "embed the tokens first"), (torch.zeros(4, 1, 2) + 1j, "real and imaginary parts")]
)
@pytest.mark.parametrize("search", [fixed_points, slow_points])
def test_inputs_that_are_no_real_numbers_are_refused_in_one_sentence(search, inputs, advice):
    inputs = inputs if inputs.is_complex() else inputs.long()
    with pytest.raises(ModuleError, match=f"fixed points need real inputs, found {inputs.dtype}; .*{advice}"):
        search(lambda s, x: s, inputs, state=torch.zeros(1, 2))


@pytest.mark.parametrize("search", [fixed_points, slow_points])
def test_steps_that_work_with_one_number_of_rows_are_refused_in_one_sentence(search):
    held = noise(4, 2)
    with pytest.raises(ModuleError, match=r"rows.* not only .*4"):
        search(lambda s, x: (s + held).tanh(), held_still(4, 2), state=noise(4, 2))
    with pytest.raises(ModuleError, match=r"rows.* not only .*4; a step with state \(1, 2\) .*\(2,\)"):
        search(lambda s, x: s.squeeze() / 2, held_still(4, 2), state=noise(4, 2))


def test_steps_that_fail_in_the_search_are_one_sentence():
    def small(s, x):
        if s.abs().max() > 1e3:
            raise OverflowError("too far\nout")
        if len(s) > 100:
            raise MemoryError
        return 3 * s

    with pytest.raises(
        ModuleError, match=r"a step with state \(4, 2\) and input \(4, 1\) failed .* points: too far \(OverflowError\)$"
    ):
        fixed_points(small, held_still(4, steps=20), state=noise(4, 2))
    with pytest.raises(ModuleError, match=r"a step with state \(128, 2\) and input \(128, 1\) failed .* points: MemoryError.*"):
        fixed_points(small, held_still(4), state=noise(4, 2), seeds=128)


class Doubled(torch.autograd.Function):
    """tanh(2 x) with a backward and no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(y := (2 * x).tanh())
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return 2 * gradient * (1 - y.square())


def test_steps_that_only_backward_mode_can_differentiate_have_the_same_points():
    drive, state = noise(2, 3), noise(9, 2)
    arguments = {"state": state, "at": exact(0.1, -0.2, 0.05), "seeds": 64}
    plain = fixed_points(lambda s, x: (2 * s).tanh() + x @ drive.T, held_still(9, 3, steps=20), **arguments)
    own = fixed_points(lambda s, x: Doubled.apply(s) + x @ drive.T, held_still(9, 3, steps=20), **arguments)
    assert len(own) == len(plain) > 1
    assert_close(own.driven, drive.expand_as(own.driven), rtol=0, atol=1e-15)
    order = [torch.cdist(s[None], own.states).argmin().item() for s in plain.states]
    assert_close(own.states[order], plain.states, rtol=0, atol=1e-9)
    assert_close(own.recurrent[order], plain.recurrent, rtol=0, atol=1e-8)  # at states that differ by up to 1e-9


def test_points_are_printed_in_one_line_and_compared_by_identity():
    found, _ = of_cube()
    assert repr(found) == (
        "FixedPoints(27 points of 3 numbers, signature (8, 12, 6, 1), index 1, found by 200 of 200 seeds, 0 outliers)"
    )
    again, _ = of_cube()
    assert found == found
    assert found != again
    assert len({found, again}) == 2


def test_a_line_needs_a_readout_of_the_states_size():
    points = fixed_points(nn.GRU(2, 3), torch.zeros(4, 1, 2))
    with pytest.raises(
        ModuleError, match=r"should have the shapes \(\(3,\), \(5, 2\), \(5,\)\), found \(\(4,\), \(5, 2\), \(5,\)\)"
    ):
        line_attractor(points, torch.zeros(4), torch.zeros(5, 2), torch.zeros(5))


def test_the_page_on_fixed_points_runs_from_top_to_bottom(capsys):
    page = (Path(__file__).parent.parent / "docs/fixed_points.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)).replace("rnn_stability", "pipeline")
    torch.manual_seed(1)
    exec(compile(code, "docs/fixed_points.md", "exec"), {})
    assert "index 1" in capsys.readouterr().out


def test_step_that_changes_during_the_search_is_refused():
    calls = []

    def step(state, x):
        calls.append(0)
        return (0.5 + 1e-3 * (len(calls) > 40)) * state + x

    with pytest.raises(ModuleError, match="memory of its own"):
        fixed_points(step, held_still(2, steps=20), state=noise(2, 2), seeds=8)
    calls.clear()
    fixed_points(step, held_still(2, steps=20), state=noise(2, 2), seeds=8, verify=False)


def test_surrogate_derivatives_are_said():
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return (10 * value).round() / 10

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    with pytest.warns(SurrogateWarning, match="the Jacobians are those of the surrogate"):
        fixed_points(lambda s, x: Rounded.apply(0.5 * s) + x, held_still(2, steps=20), state=noise(2, 2), seeds=8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("points", torch.ones(3), torch.eye(2), torch.ones(2)), "points should be FixedPoints.*found str"),
        ((None, [1.0], torch.eye(2), torch.ones(2)), "readout should be a tensor of finite numbers, found list"),
        (
            (None, torch.full((3,), torch.nan), torch.eye(2), torch.ones(2)),
            "readout should be a tensor of finite numbers, found NaN",
        ),
        ((None, torch.ones(3), torch.eye(2) / 0, torch.ones(2)), "inputs should be a tensor of finite numbers, found NaN or inf"),
    ],
)
def test_line_of_what_is_no_tensor_of_numbers_is_refused(arguments, words):
    points = fixed_points(torch.nn.GRU(2, 3), noise(20, 2, 2), seeds=4)
    with pytest.raises(ModuleError, match=words):
        line_attractor(points if arguments[0] is None else arguments[0], *arguments[1:])


@pytest.mark.parametrize(
    ("option", "words"), [({"seeds": True}, "seeds is True"), ({"generator": 3}, "torch.Generator, found int")]
)
def test_options_of_another_kind_are_refused(option, words):
    with pytest.raises(ModuleError, match=words):
        fixed_points(torch.nn.GRU(2, 3), noise(20, 2, 2), **option)
