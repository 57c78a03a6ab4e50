"""Spectra against closed forms, torch's own modules and a dense reference; nats per step unless said."""

import copy
import math

import oracles
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.errors import ModuleError
from pipeline.spectrum import growth, push_forward, reorthonormalise
from pipeline.spectrum.lyapunov import _random_basis

MODULES = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]
HALF = math.log(0.5)


def exact(*values):
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=2):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def module_of(kind, *sizes, scale=None, seed=3, **options):
    """A float64 module with weights uniform(-scale, scale), drawn from a generator of its own."""
    module = kind(*sizes, **options).double()
    scale = module.hidden_size**-0.5 if scale is None else scale
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    return module


def of_matrix(matrix, *, steps=120, transient=40, **options):
    """The spectrum of state' = matrix state."""
    state = torch.zeros(1, len(matrix), dtype=torch.float64)
    return lyapunov_spectrum(lambda s, x: s @ matrix.T, noise(steps, 1, 1), state=state, transient=transient, **options)


# Autonomous maps with known exponents


def test_noncommuting_cycle_multiplies_later_jacobians_on_the_left():
    order = [oracles.CYCLE[t % 3].reshape(1, 4) for t in range(180)]
    step = lambda s, x: (x.reshape(-1, 2, 2) @ s[..., None])[..., 0]  # noqa: E731
    found = lyapunov_spectrum(step, torch.stack(order), state=exact(0, 0)[None], transient=150).exponents
    a, b, c = oracles.CYCLE
    moduli = torch.linalg.eigvals(c @ b @ a).abs().log() / 3  # applied a, then b, then c
    # a misaligned first direction decays as exp(-.231 * 150) = 1e-15; the wrong order gives .1155, .1155
    assert_close(found, moduli.sort(descending=True).values, rtol=0, atol=1e-12)
    assert_close(found, exact(0.2310491, 0.0), rtol=0, atol=1e-7)  # the printed digits


def test_lorenz_has_its_three_exponents():
    start = oracles.settled(oracles.lorenz_step, noise(800, 3), 2000)  # 40 units of time: away from the unstable foci
    spectrum = lyapunov_spectrum(oracles.lorenz_step, torch.zeros(550, 800, 1), state=start, transient=400)
    found = spectrum.exponents / oracles.LORENZ_STEP
    # 8 units of time align the directions to exp(-.9 * 8) = 7e-4; sequences are independent, so their spread gives the
    # standard error; 4 of them are a third of what the wrong order errs by (.640, .190 instead of .906, 0)
    errors = spectrum.per_sequence.std(0) / 800**0.5 / oracles.LORENZ_STEP
    assert errors.max() < 0.025
    assert ((found - exact(*oracles.LORENZ)).abs() < 4 * errors).all(), found
    # the flow's divergence is constant; Runge-Kutta errs by z^4 / 120 = 4e-4 relative at the fastest rate z = .46
    assert found.sum().item() == pytest.approx(-41 / 3, rel=4e-4)


def test_linear_map_has_the_log_moduli_of_its_eigenvalues():
    basis = exact(1.0, 1.0, 0.0, 1.0).reshape(2, 2)
    matrix = basis @ exact(1.5, 0.25).diag() @ basis.inverse()
    # alignment error (.25 / 1.5)**40 is below rounding; rounding of 80 logs is below 1e-13
    assert_close(of_matrix(matrix).exponents, exact(math.log(1.5), math.log(0.25)), rtol=0, atol=1e-12)


def test_driving_a_linear_map_changes_nothing():
    matrix = oracles.symmetric([0.9, 0.3, 0.1], seeded())
    drive = noise(3, 2)
    step = lambda s, x: s @ matrix.T + x @ drive.T  # noqa: E731
    found = lyapunov_spectrum(step, noise(200, 4, 2), state=noise(4, 3), transient=100)
    expected = exact(0.9, 0.3, 0.1).log()
    # alignment (.3 / .9)**100 is below rounding
    assert_close(found.per_sequence, expected.expand(4, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", [0.3, 1.0, 4.0])
def test_scaled_rotation_has_all_exponents_log_gain(gain):
    spectrum = of_matrix(gain * oracles.rotation(12, seeded()), steps=20, transient=0)
    # any basis grows alike, so no alignment is needed; 12 * 2**-53 rounding a step
    assert_close(spectrum.exponents, torch.full((12,), math.log(gain), dtype=torch.float64), rtol=0, atol=1e-13)


def test_cat_map_stretches_by_the_square_of_the_golden_ratio():
    log = math.log((3 + 5**0.5) / 2)
    found = of_matrix(exact(2, 1, 1, 1).reshape(2, 2)).exponents
    assert_close(found, exact(log, -log), rtol=0, atol=1e-12)  # alignment exp(-1.92 * 40) = 3e-34
    assert log == pytest.approx(0.9624237, abs=1e-7)


def test_henon_has_its_exponents_and_shrinks_areas_by_three_tenths():
    start = oracles.settled(oracles.henon_step, 0.1 * noise(500, 2), 200)
    spectrum = lyapunov_spectrum(oracles.henon_step, torch.zeros(320, 500, 1), state=start, transient=20)
    error = spectrum.per_sequence.std(0) / 500**0.5
    assert error.max() < 0.003
    # 4 standard errors of independent orbits, and the 4 printed digits
    assert ((spectrum.exponents - exact(*oracles.HENON)).abs() < 4 * error + 1e-4).all(), spectrum.exponents
    # |det J| = .3 at every step, on every orbit; rounding of 300 logs
    assert_close(spectrum.per_sequence.sum(1), torch.full((500,), math.log(0.3), dtype=torch.float64), rtol=0, atol=1e-12)


def test_logistic_map_at_four_has_exponent_log_two():
    share = torch.rand(2000, 1, generator=seeded(), dtype=torch.float64)
    start = torch.sin(torch.pi / 2 * share).square()  # the invariant density
    found = lyapunov_spectrum(oracles.logistic_step(4), torch.zeros(100, 2000, 1), state=start, transient=0)
    # log |f'| has variance pi^2 / 12 and does not correlate with itself later: standard error .002
    error = (math.pi**2 / 12 / (100 * 2000)) ** 0.5
    assert found.exponents.item() == pytest.approx(math.log(2), abs=4 * error)


def test_logistic_map_on_a_cycle_of_two_has_half_the_log_of_its_multiplier():
    step = oracles.logistic_step(3.2)
    start = oracles.settled(step, exact(0.4)[None], 400)  # contracts by .4 a step: on the cycle to rounding
    found = lyapunov_spectrum(step, torch.zeros(20, 1, 1), state=start, transient=0).exponents
    assert found.item() == pytest.approx(math.log(abs(4 + 2 * 3.2 - 3.2**2)) / 2, abs=1e-13)
    assert found.item() == pytest.approx(-0.916291, abs=1e-6)


def test_superstable_logistic_map_loses_its_direction():
    found = lyapunov_spectrum(oracles.logistic_step(2), torch.zeros(10, 3, 1), state=torch.full((3, 1), 0.5), transient=0)
    assert found.exponents.tolist() == [-math.inf]
    assert found.lost == 1
    assert not found.diverged.any()


def test_gaussian_products_have_newmans_spectrum():
    size, gain, steps, sequences = 8, 1.3, 60, 100
    matrices = noise(steps, sequences, size * size) * gain / size**0.5
    step = lambda s, x: (x.reshape(-1, size, size) @ s[..., None])[..., 0]  # noqa: E731
    found = lyapunov_spectrum(step, matrices, state=torch.zeros(sequences, size), transient=0)
    # a Gaussian matrix has no preferred basis, so steps are independent and exact from the first one on
    error = oracles.gaussian_products_deviation(size) / (steps * sequences) ** 0.5
    assert ((found.exponents - oracles.gaussian_products(size, gain)).abs() < 4 * error).all()


@pytest.mark.parametrize("gain", [1.5, 2.0, 3.0, 5.0])
def test_random_rate_network_has_the_mean_field_exponent(gain):
    networks, size = 4, 200
    weights = torch.randn(networks, size, size, generator=seeded(), dtype=torch.float64) * gain / size**0.5
    step = lambda s, x: torch.einsum("bij,bj->bi", weights, s.tanh())  # noqa: E731
    start = noise(networks, size)
    spectrum = lyapunov_spectrum(step, torch.zeros(400, networks, 1), state=start, count=1, transient=100)
    # finite size takes .01 to .02 off; to that come 4 standard errors over networks and time
    error = max(spectrum.standard_error.item(), spectrum.per_sequence.std().item() / networks**0.5)
    assert error < 0.01
    assert spectrum.exponents.item() == pytest.approx(oracles.MEAN_FIELD[gain] - 0.015, abs=0.005 + 4 * error)


# Networks with known exponents


@pytest.mark.parametrize("layers", [1, 2])
def test_zero_weight_gru_halves_every_direction(layers):
    module = module_of(nn.GRU, 3, 4, layers, scale=0.0, bias=False)
    found = lyapunov_spectrum(module, noise(10, 2, 3)).exponents
    assert_close(found, torch.full((4 * layers,), HALF, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("layers", [1, 2])
def test_zero_weight_lstm_halves_its_cells_and_forgets_its_outputs(layers):
    module = module_of(nn.LSTM, 3, 4, layers, scale=0.0, bias=False)
    spectrum = lyapunov_spectrum(module, noise(10, 2, 3))
    assert_close(spectrum.exponents[: 4 * layers], torch.full((4 * layers,), HALF, dtype=torch.float64), rtol=0, atol=1e-14)
    assert spectrum.exponents[4 * layers :].tolist() == [-math.inf] * 4 * layers
    assert spectrum.lost == 4 * layers


def test_stack_at_rest_has_the_union_of_its_layers_eigenvalues():
    module = module_of(nn.RNN, 2, 3, 2, bias=False)
    values = [0.9, 0.5, 0.2], [0.7, 0.35, 0.1]  # interleaved: layer by layer would not be sorted
    with torch.no_grad():
        module.weight_hh_l0.copy_(oracles.symmetric(values[0], seeded()))
        module.weight_hh_l1.copy_(oracles.symmetric(values[1], seeded(5)))
    found = lyapunov_spectrum(module, torch.zeros(200, 1, 2), transient=180).exponents
    # from rest the state stays 0, where J is block triangular; the worst alignment is (.7 / .9)**180 = 2e-20
    assert_close(found, exact(*values[0], *values[1]).log().sort(descending=True).values, rtol=0, atol=1e-12)


def test_driven_stack_has_the_union_of_its_layers_spectra():
    stack = module_of(nn.RNN, 2, 3, 2, scale=0.1)
    with torch.no_grad():  # the lower layer contracts faster in each direction, so that no cross term is left at finite length
        stack.weight_hh_l0.copy_(exact(0.2, 0.05, 0.01).diag() + 1e-3 * noise(3, 3))
        stack.weight_hh_l1.copy_(exact(0.95, 0.8, 0.6).diag() + 1e-3 * noise(3, 3, seed=6))
    inputs = noise(220, 2, 2)
    below, above = nn.RNN(2, 3).double(), nn.RNN(3, 3).double()
    below.load_state_dict({n: p for n, p in stack.state_dict().items() if n.endswith("_l0")})
    above.load_state_dict({n.replace("_l1", "_l0"): p for n, p in stack.state_dict().items() if n.endswith("_l1")})
    with torch.no_grad():
        between = below(inputs)[0]
    found = lyapunov_spectrum(stack, inputs, transient=200).per_sequence
    apart = [lyapunov_spectrum(m, x, transient=200).per_sequence for m, x in ((above, between), (below, inputs))]
    # the least ratio of growths within a layer is .8 / .95, and (.8 / .95)**200 = 1e-15
    assert_close(found, torch.cat(apart, dim=1), rtol=0, atol=1e-9)


def test_resting_network_under_constant_input_has_the_log_moduli_of_its_jacobian():
    module = module_of(nn.RNN, 2, 4)
    weight = oracles.symmetric([0.9, -0.6, 0.4, 0.2], seeded())
    with torch.no_grad():
        module.weight_hh_l0.copy_(weight)
    x = noise(1, 1, 2).expand(400, 1, 2)
    with torch.no_grad():
        rest = module(x)[1][0, 0]
    # J = diag(1 - h^2) W is similar to a symmetric matrix: real eigenvalues, no slow rotation
    moduli = torch.linalg.eigvals((1 - rest.square())[:, None] * weight).abs().log().sort(descending=True).values
    assert (moduli[:-1] - moduli[1:]).min() > 0.1  # so that 300 steps align the directions to exp(-30)
    assert_close(lyapunov_spectrum(module, x, transient=300).exponents, moduli, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", MODULES)
def test_exponents_sum_to_the_mean_log_determinant(kind, layers):
    module = module_of(kind, 2, 3, layers, scale=0.8)
    inputs = noise(12, 1, 2)
    spectrum = lyapunov_spectrum(module, inputs, transient=2)
    step = oracles.one_step(module)
    state = torch.zeros(spectrum.exponents.shape[0], dtype=torch.float64)
    logs = []
    for x in inputs[:, 0]:
        logs.append(torch.autograd.functional.jacobian(lambda s, x=x: step(s, x), state).slogdet().logabsdet)
        state = step(state, x).detach()
    # det(J_T ... J_1) is the product of the triangles' diagonals, at any length
    assert_close(spectrum.exponents.sum(), torch.stack(logs[2:]).mean(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", MODULES)
def test_module_has_the_spectrum_of_its_dense_jacobians(kind, layers, bias, batch_first):
    module = module_of(kind, 2, 3, layers, scale=0.9, bias=bias, batch_first=batch_first)
    inputs = noise(10, 2, 2)
    start = noise(2 if kind is nn.LSTM else 1, layers, 2, 3, seed=8)  # h, or h and c: (layers, B, H) as torch takes them
    given = tuple(start) if kind is nn.LSTM else start[0]
    found = lyapunov_spectrum(module, inputs.transpose(0, 1) if batch_first else inputs, state=given, transient=3)
    size = found.exponents.shape[0]
    assert size == (6 if kind is nn.LSTM else 3) * layers
    basis = _random_basis(size, size, inputs).T  # same start: what is compared is all that follows
    flat = start.permute(2, 1, 0, 3).reshape(2, size)
    step = oracles.one_step(module)
    dense = torch.stack([oracles.dense_spectrum(step, flat[b], inputs[:, b], basis, transient=3) for b in range(2)])
    # rounding in a basis grows by the ratio of neighbouring growths, at most a few powers of ten over 10 steps
    assert_close(found.per_sequence, dense[:, dense.mean(0).argsort(descending=True)], rtol=0, atol=1e-9)


def test_relu_network_has_the_spectrum_of_its_dense_jacobians():
    module = module_of(nn.RNN, 2, 3, nonlinearity="relu", seed=11)
    with torch.no_grad():
        module.bias_ih_l0.fill_(3.0)  # no unit is ever off, so that no direction is lost
    inputs = noise(10, 1, 2)
    found = lyapunov_spectrum(module, inputs, transient=0).exponents
    # every unit stays on, so the map is linear: the mean log determinant is that of the weights
    assert found.sum().item() == pytest.approx(module.weight_hh_l0.slogdet().logabsdet.item(), abs=1e-12)


@pytest.mark.parametrize(("cell", "kind"), list(zip(CELLS, MODULES, strict=True)))
def test_cell_form_equals_the_module_form(cell, kind):
    single = module_of(cell, 2, 3)
    module = kind(2, 3).double()
    module.load_state_dict({f"{n}_l0": p for n, p in single.state_dict().items()})
    inputs = noise(15, 2, 2)
    start = noise(1, 2, 3), noise(1, 2, 3, seed=9)
    given = (start, tuple(s[0] for s in start)) if kind is nn.LSTM else (start[0], start[0][0])
    of_module = lyapunov_spectrum(module, inputs, state=given[0])
    of_cell = lyapunov_spectrum(single, inputs, state=given[1])
    assert torch.equal(of_module.per_sequence, of_cell.per_sequence)  # the same sums in the same order
    at_rest = lyapunov_spectrum(module, inputs)
    assert not torch.equal(at_rest.per_sequence, of_module.per_sequence)  # the start was used


def test_unbatched_input_equals_a_batch_of_one():
    module = module_of(nn.LSTM, 2, 3, batch_first=True)
    inputs, h, c = noise(12, 2), noise(1, 3), noise(1, 3, seed=8)
    alone = lyapunov_spectrum(module, inputs, state=(h, c))
    batch = lyapunov_spectrum(module, inputs[None], state=(h[:, None], c[:, None]))
    assert torch.equal(alone.per_sequence, batch.per_sequence)
    assert not torch.equal(alone.per_sequence, lyapunov_spectrum(module, inputs).per_sequence)


class Own(nn.Module):
    """A module of one's own in the forms that are accepted."""

    def __init__(self, cell, answer):
        super().__init__()
        self.cell, self.answer = cell, answer

    def forward(self, x, state):
        new = self.cell(x, state)
        return new if self.answer == "state" else (x.sum(-1), new)


@pytest.mark.parametrize("answer", ["state", "output and state"])
@pytest.mark.parametrize("kind", CELLS)
def test_module_of_ones_own_has_the_spectrum_of_the_cell_it_wraps(kind, answer):
    cell = module_of(kind, 2, 3)
    inputs = noise(15, 2, 2)
    state = (noise(2, 3), noise(2, 3, seed=9)) if kind is nn.LSTMCell else noise(2, 3)
    found = lyapunov_spectrum(Own(cell, answer), inputs, state=state, transient=0)
    # 15 steps of rounding, amplified by at most a few powers of ten
    assert_close(found.per_sequence, lyapunov_spectrum(cell, inputs, state=state, transient=0).per_sequence, rtol=0, atol=1e-10)


def test_step_function_equals_the_module_it_writes_out():
    module = module_of(nn.RNN, 2, 3)
    step = lambda s, x: (x @ module.weight_ih_l0.T + module.bias_ih_l0 + s @ module.weight_hh_l0.T + module.bias_hh_l0).tanh()  # noqa: E731
    inputs = noise(15, 2, 2)
    found = lyapunov_spectrum(step, inputs, state=torch.zeros(2, 3))
    assert_close(found.per_sequence, lyapunov_spectrum(module, inputs).per_sequence, rtol=0, atol=1e-11)


# Options


@pytest.mark.parametrize("every", [2, 3, 6])
def test_exponents_do_not_depend_on_every(every):
    module = module_of(nn.LSTM, 2, 3)
    inputs = noise(28, 2, 2)
    each = lyapunov_spectrum(module, inputs, transient=4)
    rarely = lyapunov_spectrum(module, inputs, transient=4, every=every)
    # the product of the triangles is the same, but a direction is found only to eps times the first one's lead over it
    lead = every * (each.exponents[0] - each.exponents[-1]).item()
    assert_close(rarely.per_sequence, each.per_sequence, rtol=0, atol=100 * 2**-52 * math.exp(lead))
    assert 100 * 2**-52 * math.exp(lead) < 1e-3
    assert len(rarely.history) == 24  # a row a counted step


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_exponents_are_the_first_ones_of_all(count):
    matrix = oracles.symmetric([1.5, 1.1, 0.8, 0.5, 0.3, 0.1], seeded())
    found = of_matrix(matrix, steps=200, transient=180, count=count).exponents
    assert_close(found, exact(1.5, 1.1, 0.8, 0.5, 0.3, 0.1)[:count].log(), rtol=0, atol=1e-12)  # (1.1 / 1.5)**180 = 6e-25


def test_a_driven_networks_first_exponents_do_not_depend_on_how_many_are_asked():
    module = module_of(nn.GRU, 2, 6)
    inputs = noise(20, 2, 2)
    basis = _random_basis(6, 6, inputs).T
    dense = [
        oracles.dense_spectrum(oracles.one_step(module), torch.zeros(6).double(), x, basis, transient=4) for x in inputs.unbind(1)
    ]
    counted = lyapunov_spectrum(module, inputs, count=6)
    assert_close(counted.exponents, torch.stack(dense).mean(0).sort(descending=True).values, rtol=0, atol=1e-9)
    leading = lyapunov_spectrum(module, inputs, count=2)
    assert leading.per_sequence.shape == (2, 2)


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_first_exponent_is_the_growth_of_the_distance_of_two_nearby_henon_orbits(gain):
    start = oracles.settled(oracles.henon_step, 0.1 * noise(100, 2), 200)
    spectrum = lyapunov_spectrum(oracles.henon_step, torch.zeros(30, 100, 1), state=start, transient=15, count=1)
    offset = 1e-11 * gain * noise(100, 2, seed=7)
    distances = []
    near = start + offset
    for _ in range(30):
        start, near = oracles.henon_step(start, None), oracles.henon_step(near, None)
        distances.append((near - start).norm(dim=-1))
    grown = (distances[-1] / distances[14]).log() / 15
    # alignment exp(-2.04 * 15) = 5e-14 and second order 3e-11 exp(.42 * 30) = 1e-5 in the mean, a hundred times more
    # on the most unstable orbits; rounding 1e-16 / 1e-11, magnified as the distance shrinks on the way
    assert_close(grown.median(), spectrum.per_sequence[:, 0].median(), rtol=0, atol=1e-4)
    assert (grown - spectrum.per_sequence[:, 0]).abs().median() < 1e-4


@pytest.mark.parametrize("kind", MODULES)
def test_growth_of_one_deviation_is_that_of_the_distance_of_two_nearby_trajectories(kind):
    module = module_of(kind, 2, 3, scale=1.5)
    inputs = noise(12, 4, 2)
    pair = kind is nn.LSTM
    size = 6 if pair else 3
    start, offset = 0.1 * noise(4, size, seed=8), 1e-6 * _random_basis(size, 1, inputs)

    def run(flat):
        given = tuple(s[None].contiguous() for s in flat.chunk(2, dim=-1)) if pair else flat[None]
        return given, torch.cat(module(inputs, given)[1], dim=-1)[0] if pair else module(inputs, given)[1][0]

    with torch.no_grad():
        grown = ((run(start + offset)[1] - run(start - offset)[1]).norm(dim=-1) / 2e-6).log() / 12
    found = lyapunov_spectrum(module, inputs, state=run(start)[0], transient=0, count=1).per_sequence[:, 0]
    # two-sided difference: second order cancels, third is 1e-12 relative to the growth; rounding is eps / 1e-6 of the
    # distance at the start, and more by as much as the distance has shrunk
    rounding = 2**-52 / 1e-6 * math.exp(-12 * found.min().item())
    assert rounding < 1e-3
    assert_close(grown, found, rtol=0, atol=rounding)


def test_single_precision_errs_by_its_rounding_on_a_mild_network():
    module = module_of(nn.GRU, 2, 4)
    inputs = noise(30, 2, 2)
    single = lyapunov_spectrum(module, inputs, dtype=torch.float32)
    assert single.exponents.dtype == torch.float32
    # exponents spread over about 1 nat, so 2**-24 is magnified by a few powers of ten at the most
    assert_close(single.exponents.double(), lyapunov_spectrum(module, inputs).exponents, rtol=0, atol=1e-3)


def test_a_fifth_of_the_steps_is_transient_unless_said():
    assert len(lyapunov_spectrum(module_of(nn.RNN, 2, 3), noise(50, 1, 2)).history) == 40


# Extremes


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("kind", MODULES)
def test_strongly_contracting_networks_give_no_nan(kind, scale):
    spectrum = lyapunov_spectrum(module_of(kind, 4, 16, scale=scale), noise(20, 2, 4))
    assert not spectrum.exponents.isnan().any()
    assert not spectrum.diverged.any()
    assert (spectrum.exponents.diff() <= 0).all() or spectrum.lost
    assert spectrum.exponents[0] < -0.3  # an RNN's weights are small; gates near one half halve the memory


def test_weak_elman_network_has_the_determinant_of_its_weights():
    module = module_of(nn.RNN, 4, 16, scale=1e-3)
    spectrum = lyapunov_spectrum(module, torch.zeros(20, 1, 4), state=torch.zeros(1, 1, 16))
    # at |h| < .002 the slope is 1 - 4e-6, on each of 16 units
    assert spectrum.exponents.sum().item() == pytest.approx(module.weight_hh_l0.slogdet().logabsdet.item(), abs=16 * 1e-5)


def test_long_transient_of_an_expanding_network_does_not_overflow():
    module = module_of(nn.RNN, 1, 256, bias=False)
    with torch.no_grad():
        module.weight_hh_l0.copy_(3 * oracles.rotation(256, seeded()))
    # at rest J is 3 times a rotation; unchecked growth of 3**700 = exp(769) would pass the largest float64
    spectrum = lyapunov_spectrum(module, torch.zeros(704, 1, 1), transient=700, count=2)
    assert_close(spectrum.exponents, exact(3, 3).log(), rtol=0, atol=1e-12)


def test_chaotic_network_of_gain_three_is_finite_after_its_transient():
    module = module_of(nn.RNN, 1, 256)
    with torch.no_grad():
        module.weight_hh_l0.copy_(3 * noise(256, 256) / 16)
    spectrum = lyapunov_spectrum(module, noise(24, 1, 1), transient=20, count=64)
    assert spectrum.exponents.isfinite().all()
    assert spectrum.exponents[0] > 0


def test_diverging_sequence_is_nan_and_touches_no_other():
    weight = oracles.rotation(3, seeded())
    step = lambda s, x: (s @ weight.T).pow(3) + x  # noqa: E731 - explodes beyond 1, contracts below
    inputs = 0.01 * noise(40, 3, 3)
    calm = 0.1 * noise(3, 3)
    wild = calm.clone()
    wild[1] = 1e3
    spectrum, undisturbed = (lyapunov_spectrum(step, inputs, state=s, transient=5) for s in (wild, calm))
    assert spectrum.diverged.tolist() == [False, True, False]
    assert spectrum.per_sequence[1].isnan().all()
    assert undisturbed.per_sequence.isfinite().all()
    rows = [0, 2]  # sorted by the mean of other sequences, so by each sequence's own values
    assert torch.equal(spectrum.per_sequence[rows].sort(dim=1).values, undisturbed.per_sequence[rows].sort(dim=1).values)
    assert_close(spectrum.exponents, spectrum.per_sequence[rows].mean(0), rtol=0, atol=0)
    assert spectrum.history.isfinite().all()


def test_map_that_diverges_everywhere_is_all_nan():
    spectrum = lyapunov_spectrum(lambda s, x: s.square() + 2, torch.zeros(40, 2, 1), state=torch.ones(2, 2))
    assert spectrum.diverged.all()
    for values in (spectrum.exponents, spectrum.standard_error, spectrum.history[-1]):
        assert values.isnan().all()
    assert math.isnan(spectrum.kaplan_yorke_dimension)


def test_sequences_do_not_mix():
    module = module_of(nn.LSTM, 2, 3)
    inputs = noise(15, 3, 2)
    other = inputs.clone()
    other[:, 1] = noise(15, 2, seed=30)
    one, two = (growth_of(module, x) for x in (inputs, other))
    assert torch.equal(one[:, 0, [0, 2]], two[:, 0, [0, 2]])
    assert not torch.equal(one[:, 0, 1], two[:, 0, 1])


def growth_of(module, inputs):
    """Log growth (T, 1, B, S) of an LSTM, stepped by torch's cell."""
    cell = nn.LSTMCell(2, 3).double()
    cell.load_state_dict({n.removesuffix("_l0"): p for n, p in module.state_dict().items()})
    step = lambda _, s, x: torch.cat(cell(x, s.chunk(2, dim=-1)), dim=-1)  # noqa: E731
    return growth(step, torch.zeros(1), torch.zeros(1, inputs.shape[1], 6, dtype=torch.float64), inputs, 6, transient=0)


def test_ensemble_gives_each_network_what_it_gives_alone():
    weights = noise(3, 4, 4)
    inputs, start = noise(12, 2, 4), noise(3, 2, 4, seed=4)
    step = lambda w, s, x: (s @ w.T + x).tanh()  # noqa: E731
    together = growth(step, weights, start, inputs, 4, transient=2)
    for m in range(3):
        alone = lyapunov_spectrum(lambda s, x, w=weights[m]: step(w, s, x), inputs, state=start[m], transient=2)
        found = together[:, m].mean(0)
        # batched and single products round differently: eps times the spread of the growth over 12 steps
        assert_close(found.sort(dim=1).values, alone.per_sequence.sort(dim=1).values, rtol=0, atol=1e-9)


# What the caller keeps


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_module_inputs_and_random_state_are_left_as_they_were(kind, training):
    module = module_of(kind, 2, 3, 2).float().train(training)
    module.weight_hh_l0.requires_grad_(False)
    inputs = noise(10, 2, 2).float().requires_grad_()
    before, held, kept = copy.deepcopy(module.state_dict()), inputs.detach().clone(), torch.get_rng_state()
    lyapunov_spectrum(module, inputs)
    assert all(torch.equal(before[n], p) and p.dtype == before[n].dtype for n, p in module.state_dict().items())
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["weight_hh_l0"]
    assert all(p.grad is None for p in module.parameters())
    assert module.training is training
    assert torch.equal(inputs, held)
    assert inputs.grad is None
    assert torch.equal(torch.get_rng_state(), kept)
    assert torch.is_grad_enabled()


def test_module_of_ones_own_is_left_as_it_was():
    own = Own(nn.RNNCell(2, 3), "state")  # float32, while the computation is float64
    before = copy.deepcopy(own.state_dict())
    lyapunov_spectrum(own, noise(10, 2, 2), state=torch.zeros(2, 3))
    assert all(torch.equal(before[n], p) and p.dtype == torch.float32 for n, p in own.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in own.parameters())
    assert own.training


def test_same_call_gives_the_same_bits_whatever_the_global_seed():
    module, inputs = module_of(nn.GRU, 2, 3), noise(10, 2, 2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = lyapunov_spectrum(module, inputs)
        torch.manual_seed(2)
        two = lyapunov_spectrum(module, inputs)
    assert torch.equal(one.per_sequence, two.per_sequence)


# Refusals


class Sleepy(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x, state):
        return self.drop(state) + x


class Forgetful(nn.Module):
    def forward(self, x, state):
        return state[0]


IN = noise(10, 2, 2)
ZERO = torch.zeros(2, 2)
WITH_NAN = torch.where(torch.arange(10)[:, None, None] == 4, math.nan, IN)
REFUSALS = {
    "bidirectional": (lambda: nn.GRU(2, 3, bidirectional=True), IN, {}, "bidirectional.*future"),
    "projection": (lambda: nn.LSTM(2, 3, proj_size=2), IN, {}, "proj_size.*step function"),
    "dropout between layers": (lambda: nn.LSTM(2, 3, 2, dropout=0.5), IN, {}, r"dropout.*eval\(\)"),
    "dropout in a module of one's own": (Sleepy, IN, {"state": ZERO}, r"dropout.*eval\(\)"),
    "width of a module": (lambda: nn.RNN(5, 3), IN, {}, r"input size 5.*\(10, 2, 2\)"),
    "width of a cell": (lambda: nn.GRUCell(5, 3), IN, {}, r"input size 5.*\(10, 2, 2\)"),
    "width of an unbatched input": (lambda: nn.RNN(5, 3), IN[:, 0], {}, "input size 5"),
    "too many axes": (lambda: nn.RNN(2, 3), IN[None], {}, "input size 2"),
    "transient of all steps": (lambda: nn.RNN(2, 3), IN, {"transient": 10}, "transient is 10.*10"),
    "negative transient": (lambda: nn.RNN(2, 3), IN, {"transient": -1}, "transient is -1.*at least 0"),
    "every that divides nothing": (lambda: nn.RNN(2, 3), IN, {"transient": 2, "every": 3}, "every is 3.*8 steps"),
    "every of none": (lambda: nn.RNN(2, 3), IN, {"every": 0}, "every is 0"),
    "more exponents than states": (lambda: nn.LSTM(2, 3), IN, {"count": 7}, "count is 7.*1 to.*6"),
    "no exponent": (lambda: nn.RNN(2, 3), IN, {"count": 0}, "count is 0"),
    "inputs with NaN": (lambda: nn.RNN(2, 3), WITH_NAN, {}, "inputs.*finite"),
    "inputs with infinity": (lambda: nn.RNN(2, 3), IN / 0, {}, "inputs.*finite"),
    "inputs that are a list": (lambda: nn.RNN(2, 3), IN.tolist(), {}, "inputs should be a tensor.*list"),
    "inputs that are NumPy": (lambda: nn.RNN(2, 3), IN.numpy(), {}, "inputs should be a tensor.*ndarray"),
    "inputs of no step": (lambda: nn.RNN(2, 3), IN[:0], {}, "no step"),
    "state with NaN": (lambda: nn.RNN(2, 2), IN, {"state": torch.full((1, 2, 2), math.nan)}, "state.*finite"),
    "state of another shape": (lambda: nn.RNN(2, 3), IN, {"state": torch.zeros(1, 2, 4)}, r"\(1, 2, 3\).*\(1, 2, 4\)"),
    "one tensor for an LSTM": (lambda: nn.LSTM(2, 3), IN, {"state": torch.zeros(1, 2, 3)}, "2 tensor"),
    "no state for a module of one's own": (lambda: Own(nn.RNNCell(2, 3), "state"), IN, {}, "state="),
    "no state for a function": (lambda: torch.add, IN, {}, "state="),
    "state of other sequences": (lambda: torch.add, IN, {"state": torch.zeros(3, 2)}, "same B"),
    "flat state": (lambda: torch.add, IN, {"state": torch.zeros(2)}, r"\(B, S\)"),
    "step that changes the shape": (lambda: lambda s, x: s[:, :1], IN, {"state": ZERO}, "keep the state's shape"),
    "module that drops half the state": (Forgetful, IN, {"state": (ZERO, ZERO)}, "1 tensors from one of 2"),
    "step that gives no tensor": (lambda: lambda s, x: (s, x), IN, {"state": ZERO}, "step.*tuple"),
    "state that is text": (lambda: nn.RNN(2, 3), IN, {"state": "zero"}, "state.*str"),
    "inputs of no sequence": (lambda: nn.RNN(2, 3), IN[:, :0], {}, "no sequence"),
    "whole numbers": (lambda: nn.RNN(2, 3), IN, {"dtype": torch.int64}, "dtype.*float64"),
    "half precision": (lambda: nn.RNN(2, 3), IN, {"dtype": torch.float16}, "dtype.*float64"),
    "no model": (lambda: 3, IN, {}, "torch.nn.Module or a function.*int"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_says_what_was_found_and_what_would_be_right(case):
    model, inputs, options, words = REFUSALS[case]
    with pytest.raises(ModuleError, match=f"(?s){words}") as raised:
        lyapunov_spectrum(model(), inputs, **options)
    assert "\n" not in str(raised.value)


def test_dropout_is_accepted_in_evaluation_mode():
    module = module_of(nn.LSTM, 2, 3, 2, dropout=0.5).eval()
    plain = module_of(nn.LSTM, 2, 3, 2)
    assert torch.equal(lyapunov_spectrum(module, IN).per_sequence, lyapunov_spectrum(plain, IN).per_sequence)


# The two halves of a step


def test_push_forward_is_the_jacobian_times_the_deviations():
    weight = noise(3, 3)
    state, deviations = noise(2, 3, seed=4), noise(5, 2, 3, seed=6)
    new, pushed = push_forward(lambda s: (s @ weight.T).tanh(), state, deviations)
    slopes = 1 - (state @ weight.T).tanh().square()
    assert_close(new, (state @ weight.T).tanh(), rtol=0, atol=0)
    # three products and a sum: a few roundings of numbers near 1
    assert_close(pushed, slopes * (deviations @ weight.T), rtol=0, atol=1e-14)


def test_reorthonormalised_rows_are_orthonormal_span_the_same_flag_and_say_their_growth():
    rows = noise(3, 2, 5)
    new, log = reorthonormalise(rows)
    for b in range(2):
        q, old = new[:, b], rows[:, b]
        assert_close(q @ q.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
        for k in (1, 2, 3):  # volumes of the first k rows, by Gram's determinant; and nothing of them is left outside
            assert log[b, :k].sum().item() == pytest.approx((old[:k] @ old[:k].T).logdet().item() / 2, abs=1e-13)
            assert (old[:k] - old[:k] @ q[:k].T @ q[:k]).abs().max() < 1e-14


def test_reorthonormalise_names_a_lost_direction_and_keeps_numbers_that_are_not_finite_apart():
    rows = noise(3, 3, 4)
    rows[2, 0] = rows[0, 0] - 2 * rows[1, 0]
    rows[1, 1] = math.nan
    new, log = reorthonormalise(rows)
    assert log[0].isfinite().tolist() == [True, True, False]
    assert log[0, 2] == -math.inf
    assert log[1].isnan().all()
    assert log[2].isfinite().all()
    for b in range(3):  # a basis to go on with in any case
        assert_close(new[:, b] @ new[:, b].T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
