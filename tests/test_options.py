"""The public options: tolerance, rounding, ensembles, covariant vectors, truncation; nats per step."""

import copy
import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from torch import nn
from torch.testing import assert_close

from benchmarks.timing import threads
from pipeline import Spectrum, cells, lyapunov_spectra, lyapunov_spectrum
from pipeline.core.errors import ModuleError, RoundingWarning
from pipeline.spectrum import lyapunov
from pipeline.spectrum.engine import Growth, growth, random_basis
from pipeline.spectrum.estimate import largest_standard_error
from pipeline.spectrum.reference import reference_spectrum

MODULES = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]


def multiplied(state, x):
    """The map state' = x state, whose growth is log |x|."""
    return x * state


def rates(steps, sequences=4, seed=2):
    """Growth (T, B, 1) with mean 0 and standard deviation 1."""
    return noise(steps, sequences, 1, seed=seed)


def error_by_hand(growth):
    """Standard error of the mean of growth (T, B): the larger of those from the last six batches and from the sequences."""
    length = len(growth) // 6
    batches = growth[-6 * length :].reshape(6, length, -1).mean((1, 2))
    return max((means.var() / len(means)).sqrt().item() for means in (batches, growth.mean(0)))


# Tolerance


@pytest.mark.parametrize("tolerance", [0.2, 0.06, 0.03])
def test_a_run_stops_at_the_first_doubled_length_with_a_small_standard_error(tolerance):
    growth = rates(450)
    errors = {steps: error_by_hand(growth[:steps, :, 0]) for steps in (50, 100, 200, 400, 450)}
    expected = next(steps for steps, error in errors.items() if error < tolerance)
    assert expected < 450
    options = {"transient": 0, "every": 1, "tolerance": tolerance}  # a longer interval would spread growth across batches
    spectrum = lyapunov_spectrum(multiplied, growth.exp(), state=torch.zeros(4, 1), **options)
    assert spectrum.steps == expected
    assert spectrum.converged is True
    assert spectrum.standard_error[0] < tolerance
    # a sum of 1600 logs near 1 in another order
    assert spectrum.standard_error[0].item() == pytest.approx(errors[expected], rel=1e-11)
    assert_close(spectrum.per_sequence, growth[:expected].mean(0), rtol=0, atol=1e-13)


def test_the_checks_are_at_doubled_lengths_and_at_the_end(monkeypatch):
    checks = []
    monkeypatch.setattr(lyapunov, "largest_standard_error", lambda growth: checks.append(len(growth)) or math.inf)
    lyapunov_spectrum(multiplied, rates(260).exp(), state=torch.zeros(4, 1), transient=30, tolerance=0.1)
    assert checks == [50, 100, 200, 230]


def test_inputs_that_end_first_give_what_no_tolerance_gives():
    module, inputs = module_of(nn.LSTM, 2, 3), noise(100, 2, 2)
    plain = lyapunov_spectrum(module, inputs)
    sought = lyapunov_spectrum(module, inputs, tolerance=1e-9)
    assert plain.converged is None
    assert sought.converged is False
    assert sought.steps == plain.steps == 80
    assert_close(sought.per_sequence, plain.per_sequence, rtol=0, atol=2e-5)  # twice the accuracy of each
    at_each = (lyapunov_spectrum(module, inputs, every=1, tolerance=t).per_sequence for t in (None, 1e-9))
    assert_close(*at_each, rtol=0, atol=1e-9)  # 100 steps of rounding, amplified by at most a few powers of ten


def test_each_network_of_an_ensemble_has_its_own_flag_and_all_continue_until_the_last():
    calm, wild = module_of(nn.RNN, 2, 3, scale=0.05), module_of(nn.RNN, 2, 3, scale=1.5)
    inputs = noise(140, 4, 2)
    errors = [s.standard_error[0].item() for s in lyapunov_spectra([calm, wild], inputs, transient=20)]
    assert errors[0] < errors[1] / 3  # its slopes are all near 1
    between = math.sqrt(errors[0] * errors[1])
    found = lyapunov_spectra([calm, wild], inputs, transient=20, tolerance=between)
    assert [s.converged for s in found] == [True, False]
    assert [s.steps for s in found] == [120, 120]
    both = lyapunov_spectra([calm, wild], inputs, transient=20, tolerance=10.0)
    assert [s.converged for s in both] == [True, True]
    assert [s.steps for s in both] == [50, 50]
    assert [s.converged for s in lyapunov_spectra([calm, wild], inputs)] == [None, None]


@pytest.mark.parametrize("value", [0, -0.1, math.nan])
@pytest.mark.parametrize("option", ["tolerance", "accuracy"])
def test_a_tolerance_or_accuracy_that_nothing_can_meet_is_refused(option, value):
    with pytest.raises(ModuleError, match=f"^{option} is {value}; it should be above 0, in nats per step$"):
        lyapunov_spectrum(multiplied, rates(10).exp(), state=torch.zeros(4, 1), **{option: value})


class FakeEnsemble:
    """An ensemble whose growth is its input."""

    def __init__(self, *_, **__):
        pass

    def threads(self):
        return warnings.catch_warnings()  # any context will do

    def advance(self, inputs):
        return Growth(inputs[:, None], torch.zeros(1, *inputs.shape[1:], dtype=inputs.dtype))


@pytest.mark.parametrize("sequences", [4, 8])
def test_intervals_of_runs_that_stop_early_cover_the_truth(monkeypatch, sequences):
    monkeypatch.setattr(lyapunov, "Ensemble", FakeEnsemble)
    state, covered, lengths = torch.zeros(sequences, 2), [], []
    for run in range(200):
        white = noise(401, sequences, 2, seed=run)
        growth = (white[1:] + white[:-1]) / 2**0.5 - exact(0.0, 3.0)  # neighbouring steps are correlated by 0.5
        tolerance = (
            0.12 / (sequences / 4) ** 0.5
        )  # near the exact error of 50 steps, sqrt(2 / 4 / 50) = 0.1, so that the checks decide
        spectrum = lyapunov_spectrum(multiplied, growth, state=state, transient=0, tolerance=tolerance)
        low, high = spectrum.confidence_interval()[:, 0].tolist()
        covered.append(low < 0 < high)
        lengths.append(spectrum.steps)
    assert len(set(lengths)) > 1
    # the standard deviation of 95 % of 200 is (0.95 * 0.05 / 200) ** 0.5 = 0.015
    assert 0.90 <= sum(covered) / 200 <= 0.99


# Rounding


def spread(**options):
    """The measured spectrum of a matrix with oblique eigenvectors, and its known exponents."""
    logs = exact(0, -0.1, -0.2, -1, -1.5, -2)
    basis = torch.eye(6).double() + 0.3 * noise(6, 6)
    matrix = basis @ logs.exp().diag() @ basis.inverse()
    step = lambda s, x: s @ matrix.T.to(s)  # noqa: E731
    return lyapunov_spectrum(step, torch.zeros(220, 2, 1), state=torch.zeros(2, 6), transient=20, **options), logs


@pytest.mark.parametrize(
    ("options", "first"),
    [
        # errors are about eps / n times the lead exp(n d) over the first after n steps, d the distance of the exponents:
        # above 1e-5 from d = 0.57 on for n = 50 in float64, from 0.67 on for n = 10 in float32
        ({"every": 50}, 4),
        ({"dtype": torch.float32, "every": 10}, 4),
    ],
)
def test_a_warning_names_the_first_exponent_that_is_lost_and_the_count_that_is_right(options, first):
    words = rf"from number {first} on .* accuracy=1e-05; ask for fewer exponents \(count={first - 1}\)"
    with pytest.warns(RoundingWarning, match=words) as caught:
        whole, logs = spread(**options)
    assert {w.filename for w in caught} == {__file__}  # the line with the options
    assert (whole.rounding_error > 1e-5).tolist() == [False] * (first - 1) + [True] * (7 - first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fewer, _ = spread(**options, count=first - 1)
    assert_close(fewer.exponents.double(), logs[: first - 1], rtol=0, atol=0.003)  # effect of the ends: log cond(basis) / 200
    assert torch.linalg.cond(torch.eye(6).double() + 0.3 * noise(6, 6)).log() / 200 < 0.02


def test_directions_that_an_interval_loses_have_an_infinite_error():
    with pytest.warns(RoundingWarning, match="by up to inf"):
        found, _ = spread(every=50)  # exp(-50) is below eps = exp(-36)
    assert found.rounding_error.isposinf().tolist() == [False] * 3 + [True] * 3
    assert found.exponents[3:].isneginf().all()
    assert found.lost == 3
    assert found.standard_error[3:].isnan().all()


@pytest.mark.parametrize("options", [{}, {"every": 1}, {"every": 4}, {"dtype": torch.float32, "every": 1}])
def test_a_benign_matrix_is_measured_without_a_warning(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, logs = spread(**options)
    assert found.rounding_error.shape == (6,)
    assert (found.rounding_error < 1e-5).all()
    assert (found.rounding_error > 0).all()
    # the ends of a finite run contribute at most log cond(basis) / 200
    assert_close(found.exponents.double(), logs, rtol=0, atol=0.02)


SETTINGS = {
    "every 6": {"every": 6},
    "float32": {"dtype": torch.float32, "every": 1},
    "float32, every 2": {"dtype": torch.float32, "every": 2},
}


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", MODULES)
def test_rounding_error_is_of_the_size_of_what_rounding_does(kind, setting):
    ratios = []
    for seed in range(6):
        module, inputs = module_of(kind, 2, 5, scale=1.0, seed=seed), noise(40, 1, 2, seed=30 + seed)
        right = lyapunov_spectrum(module, inputs, every=1)
        found = lyapunov_spectrum(module, inputs, **SETTINGS[setting])
        assert found.rounding_error.shape == right.exponents.shape
        kept = found.rounding_error.isfinite()
        assert kept[:-1].all()
        assert torch.equal(kept, found.exponents.isfinite())
        moved = (found.exponents.double() - right.exponents).abs()[kept]
        ratios.append((moved.max() / found.rounding_error[kept].max()).item())
    assert max(ratios) < 10  # an error may exceed its estimate, but not by an order of magnitude
    # nor is the estimate far too large: it adds up to 32 errors, of 3 roundings each, that partly cancel, to 1 / 6
    assert sorted(ratios)[3] > 1 / 100


# Ensembles


class Shrinking(nn.Module):
    """A custom module: a cell whose output is scaled by a buffer."""

    def __init__(self, cell, share, *, saved=True):
        super().__init__()
        self.cell = cell
        self.register_buffer("share", torch.tensor(share), persistent=saved)
        self.register_buffer("calls", torch.tensor(3))

    def forward(self, x, state):
        new = self.cell(x, state)
        return tuple(self.share * n for n in new) if isinstance(new, tuple) else self.share * new


class WrittenOut(nn.Module):
    """An LSTM written out, without biases, with coupled input and forget gates."""

    def __init__(self, seed):
        super().__init__()
        self.weight = nn.Parameter(0.5 * noise(9, 5, seed=seed))

    def forward(self, x, state):
        h, c = state
        i, g, o = (torch.cat([x, h], dim=-1) @ self.weight.T).chunk(3, dim=-1)
        c = (1 - i.sigmoid()) * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


def of_layers(kind, layers):
    return [module_of(kind, 2, 3, layers, seed=seed) for seed in (1, 2, 3)], None


def of_cells(kind):
    return [module_of(kind, 2, 3, seed=seed) for seed in (1, 2, 3)], None


def of_own(kind, *, saved=True):
    cells = [kind(seed) if kind is WrittenOut else module_of(kind, 2, 3, seed=seed) for seed in (1, 2, 3)]
    state = (noise(2, 3), noise(2, 3, seed=9)) if kind is WrittenOut else noise(2, 3)
    return [Shrinking(cell, share, saved=saved) for cell, share in zip(cells, (0.9, 0.6, 0.3), strict=True)], state


ENSEMBLES = {
    **{f"{kind.__name__}, {n} layers": (of_layers, kind, n) for kind in MODULES for n in (1, 2)},
    **{kind.__name__: (of_cells, kind) for kind in CELLS},
    **{f"own {kind.__name__}": (of_own, kind) for kind in (nn.RNNCell, nn.GRUCell, WrittenOut)},
}


SLOWLY = "ignore:There is a performance drop"  # torch's own cells, called in a custom module for many networks at a time


@pytest.mark.filterwarnings(SLOWLY)
@pytest.mark.parametrize("case", ENSEMBLES)
def test_an_ensemble_gives_each_network_the_spectrum_that_it_has_alone(case):
    make, *arguments = ENSEMBLES[case]
    models, state = make(*arguments)
    before = [copy.deepcopy(m.state_dict()) for m in models]
    inputs = noise(16, 2, 2)
    together = lyapunov_spectra(models, inputs, state=state, every=1)
    assert len(together) == 3
    for model, found, kept in zip(models, together, before, strict=True):
        alone = lyapunov_spectrum(model, inputs, state=state, every=1)
        # batched and single products round differently: eps times the spread of the growth over 16 steps
        assert_close(found.per_sequence, alone.per_sequence, rtol=0, atol=1e-9)
        # a mean of few steps averages less of the rounding away
        assert_close(found.history, alone.history, rtol=0, atol=1e-7)
        assert_close(found.standard_error, alone.standard_error, rtol=0, atol=1e-7)
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert (together[0].exponents - together[1].exponents).abs().max() > 0.01


@pytest.mark.filterwarnings(SLOWLY)
def test_buffers_that_are_not_saved_are_each_networks_own():
    found, saved = (
        lyapunov_spectra(models, noise(16, 2, 2), state=state, every=1)
        for models, state in (of_own(nn.GRUCell, saved=s) for s in (False, True))
    )
    for one, other in zip(found, saved, strict=True):
        assert torch.equal(one.per_sequence, other.per_sequence)


class Tied(nn.Module):
    """Two layers with a shared weight, state' = W W state."""

    def __init__(self, weight):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.first.weight = self.second.weight = nn.Parameter(weight)

    def forward(self, x, state):
        return self.second(self.first(state)) + x


def test_tied_weights_are_one():
    values = [0.9, 0.5, 0.2], [0.8, 0.4, 0.1]
    models = [Tied(oracles.symmetric(v, seeded())) for v in values]
    found = lyapunov_spectra(models, torch.zeros(130, 1, 3), state=torch.zeros(1, 3), transient=100, every=1)
    for spectrum, value in zip(found, values, strict=True):
        # misaligned by (0.5 / 0.9) ** 200 = 1e-51
        assert_close(spectrum.exponents, 2 * exact(*value).log(), rtol=0, atol=1e-12)


def rectified():
    """A custom module that differs from others only in an attribute of its cell."""
    return Shrinking(module_of(nn.RNNCell, 2, 3, nonlinearity="relu"), 0.9)


UNLIKE = {
    "no network": (list, "a list of at least one module"),
    "sizes": (lambda: [nn.GRU(2, 3), nn.GRU(2, 4)], "model 2 .*same type, settings and shapes"),
    "types": (lambda: [nn.RNN(2, 3), nn.RNN(2, 3), nn.GRU(2, 3)], "model 3 .*same type, settings and shapes"),
    "biases": (lambda: [nn.RNN(2, 3), nn.RNN(2, 3, bias=False)], "model 2 .*same type"),
    "layouts": (lambda: [nn.RNN(2, 3), nn.RNN(2, 3, batch_first=True)], "model 2 .*settings"),
    "nonlinearities": (lambda: [nn.RNN(2, 3), nn.RNN(2, 3, nonlinearity="relu")], "model 2 .*settings"),
    "parts of a custom module": (lambda: [Shrinking(module_of(nn.RNNCell, 2, 3), 0.9), rectified()], "model 2 .*settings"),
    "functions": (lambda: [torch.add, torch.mul], "a list of at least one module.*lyapunov_spectrum"),
    "a function among modules": (lambda: [nn.RNN(2, 3), torch.add], "a list of at least one module"),
    "dropout": (lambda: [nn.LSTM(2, 3, 2, dropout=0.5).eval(), nn.LSTM(2, 3, 2, dropout=0.5)], r"dropout.*eval\(\)"),
}


@pytest.mark.parametrize("case", UNLIKE)
def test_networks_that_cannot_be_measured_together_are_refused_in_one_sentence(case):
    make, words = UNLIKE[case]
    with pytest.raises(ModuleError, match=words) as raised:
        lyapunov_spectra(make(), noise(10, 2, 2), state=None)
    assert "\n" not in str(raised.value)


# Covariant vectors and finite-time exponents


def constant(**options):
    """A matrix with oblique eigenvectors (rows), its exponents, and its spectrum from 3 sequences of 100 steps."""
    values = exact(1.5, -0.8, 0.25)
    basis = torch.tensor([[1, 0.8, 0], [0, 0.6, 0.6], [0, 0, 0.8]], dtype=torch.float64)  # columns of length 1
    matrix = basis @ values.diag() @ basis.inverse()
    step = lambda s, x: s @ matrix.T  # noqa: E731
    found = lyapunov_spectrum(step, torch.zeros(100, 3, 1), state=torch.zeros(3, 3), transient=40, **options)
    return basis.T, values.abs().log(), found


# alignment (0.8 / 1.5) ** 40 = 1e-11 of vectors, and its effect on growth, times a condition number of the basis below 5
ALIGNED = 1e-9


def test_vectors_of_a_matrix_are_its_eigenvectors_in_the_order_of_the_exponents():
    rows, logs, found = constant(vectors="covariant")
    assert found.vectors.shape == (100 - 2 * 40, 3, 3, 3)
    assert found.local is None
    cosines = (found.vectors * rows).sum(-1)
    across = found.vectors - cosines[..., None] * rows
    assert across.abs().max() < ALIGNED
    assert_close(found.exponents, logs, rtol=0, atol=ALIGNED)


def test_growth_along_the_vectors_of_a_matrix_is_that_of_its_eigenvalues_at_each_step():
    _, logs, found = constant(vectors="covariant", local=True)
    assert found.local.shape == (20, 3, 3)
    assert_close(found.local, logs.expand(20, 3, 3), rtol=0, atol=ALIGNED)


def test_fewer_vectors_are_the_first():
    rows, _, found = constant(vectors="covariant", local=True, count=2)
    assert found.vectors.shape == (20, 3, 2, 3)
    assert found.local.shape == (20, 3, 2)
    cosines = (found.vectors * rows[:2]).sum(-1)
    assert (cosines.abs() - 1).abs().max() < ALIGNED


@pytest.mark.parametrize("every", [None, 1])
def test_local_exponents_average_to_those_of_each_sequence(every):
    module, inputs = module_of(nn.LSTM, 2, 3, 2), noise(30, 2, 2)
    found = lyapunov_spectrum(module, inputs, local=True, every=every)
    assert found.local.shape == (24, 2, 12)
    assert found.vectors is None
    assert_close(found.local.mean(0), found.per_sequence, rtol=0, atol=1e-13)  # the same sums
    step = oracles.one_step(module)
    basis = random_basis(12, 12, inputs).T
    for b in range(2):
        # the last steps' mean from runs of two lengths: growth of a step is the difference of sums
        ends = [reference_spectrum(step, torch.zeros(12).double(), inputs[:n, b], basis, transient=n - 1) for n in (29, 30)]
        for place, dense in zip((-2, -1), ends, strict=True):
            assert_close(found.local[place, b].sort().values, dense.sort().values, rtol=0, atol=1e-9)


def test_growth_and_vectors_are_sorted_with_the_exponents():
    first = random_basis(2, 2, exact(0))[0]  # where the first deviation starts
    weaker = first.abs().argmin()
    slopes = exact(0.9, 0.9).index_fill(0, weaker, 1.0)  # so that it grows less than the second deviation at first
    path = first * slopes ** torch.arange(5)[:, None]
    lengths = path.norm(dim=-1)
    growth = (lengths[1:] / lengths[:-1]).log()
    assert growth.mean() < math.log(0.9) / 2  # so that the second deviation is sorted first
    measure = lambda **options: lyapunov_spectrum(  # noqa: E731
        lambda s, x: slopes * s, torch.zeros(4, 1, 1), state=torch.zeros(1, 2), transient=0, local=True, **options
    )
    plain, along = measure(), measure(vectors="covariant")
    assert_close(plain.exponents, torch.stack([math.log(0.9) - growth.mean(), growth.mean()]), rtol=0, atol=1e-14)
    assert_close(plain.local[:, 0, 1], growth, rtol=0, atol=1e-14)
    assert_close(plain.local[:, 0, 0], math.log(0.9) - growth, rtol=0, atol=1e-14)
    assert_close(along.local[:, 0, 1], growth, rtol=0, atol=1e-14)  # the first covariant vector is the first deviation
    cosines = (along.vectors[:, 0, 1] * path[:-1]).sum(-1) / lengths[:-1]
    assert_close(cosines.abs(), torch.ones(4).double(), rtol=0, atol=1e-14)


def two_at_rest():
    """Two layers with symmetric weights, and their Jacobian at rest, where the lower layer drives the upper one."""
    module = module_of(nn.RNN, 2, 3, 2, bias=False)
    values = [0.9, 0.5, 0.2], [0.7, 0.35, 0.1]
    with torch.no_grad():
        module.weight_hh_l0.copy_(oracles.symmetric(values[0], seeded()))
        module.weight_hh_l1.copy_(oracles.symmetric(values[1], seeded(5)))
    through = module.weight_ih_l1.detach()
    below, above = module.weight_hh_l0.detach(), module.weight_hh_l1.detach()
    jacobian = torch.cat([torch.cat([below, torch.zeros(3, 3).double()], 1), torch.cat([through @ below, above], 1)])
    return module, jacobian


def test_vectors_of_layers_at_rest_are_eigenvectors_of_the_whole():
    module, jacobian = two_at_rest()
    moduli, columns = torch.linalg.eig(jacobian)
    order = moduli.abs().argsort(descending=True)
    rows = columns.real.T[order]
    found = lyapunov_spectrum(module, torch.zeros(250, 1, 2), transient=120, vectors="covariant", local=True)
    assert found.vectors.shape == (10, 1, 6, 6)
    assert_close(found.exponents, moduli.abs()[order].log(), rtol=0, atol=1e-5)  # the accuracy; (0.7 / 0.9) ** 120 = 8e-14
    cosines = (found.vectors * rows).sum(-1)
    assert_close(cosines.abs(), torch.ones_like(cosines), rtol=0, atol=1e-9)
    assert_close(found.local, moduli.abs()[order].log().expand(10, 1, 6), rtol=0, atol=1e-9)


def lstm_jacobians(module, inputs):
    """Jacobians (T, S, S) from rest, by reverse mode through torch's module, of one sequence (T, I)."""
    step, size = oracles.one_step(module), 2 * module.num_layers * module.hidden_size
    state, jacobians = torch.zeros(size, dtype=torch.float64), []
    for x in inputs:
        jacobians.append(torch.autograd.functional.jacobian(lambda s, x=x: step(s, x), state))
        state = step(state, x).detach()
    return torch.stack(jacobians)


def test_vectors_of_an_lstm_of_two_layers_are_mapped_onto_one_another():
    modules = [module_of(nn.LSTM, 2, 2, 2, seed=seed, scale=0.9) for seed in (3, 4)]
    inputs = noise(34, 2, 2)
    for module, found in zip(
        modules, lyapunov_spectra(modules, inputs, transient=12, vectors="covariant", local=True), strict=True
    ):
        assert found.vectors.shape == (10, 2, 8, 8)
        assert found.local.shape == (10, 2, 8)
        for b in range(2):
            jacobians = lstm_jacobians(module, inputs[:, b])[12:22]
            moved = found.vectors[:, b] @ jacobians.mT
            # QR, triangular solve and products err by a few S^2 eps ||J||, and ||J|| < 3
            assert torch.linalg.matrix_norm(jacobians, 2).max() < 3
            expected = found.local[:-1, b, :, None].exp() * found.vectors[1:, b]
            assert_close(moved[:-1], expected, rtol=0, atol=10 * 64 * 2**-52 * 3)
            assert_close(moved.norm(dim=-1), found.local[:, b].exp(), rtol=0, atol=10 * 64 * 2**-52 * 3)


def test_an_ensembles_vectors_are_those_of_each_network_alone():
    modules = [module_of(nn.GRU, 2, 3, seed=seed) for seed in (3, 4)]
    inputs = noise(34, 2, 2)
    options = {"transient": 12, "vectors": "covariant", "local": True, "every": 1}
    for module, found in zip(modules, lyapunov_spectra(modules, inputs, **options), strict=True):
        alone = lyapunov_spectrum(module, inputs, **options)
        assert_close(found.vectors, alone.vectors, rtol=0, atol=1e-9)  # as for ensembles, above
        assert_close(found.local, alone.local, rtol=0, atol=1e-9)


def test_growth_along_vectors_approaches_the_exponents():
    module, inputs = module_of(nn.LSTM, 2, 3, 2), noise(400, 1, 2)
    found = lyapunov_spectrum(module, inputs, count=3, transient=40, vectors="covariant", local=True)
    # the exponents have 40 steps more, and at either end log of a sine, which the angles of 3 vectors keep below 4: 8 / 320;
    # what 40 more steps of 360 can change: 5 deviations of a mean of 40, of which they are a ninth
    change = 5 * found.local.std(0).max() / 40**0.5 / 9
    assert ((found.local.mean((0, 1)) - found.exponents).abs() < 8 / 320 + change).all()


@pytest.mark.parametrize("word", ["backward", "Covariant", True])
def test_other_words_for_vectors_are_refused(word):
    with pytest.raises(ModuleError, match=f'vectors is {word!r}; it should be "covariant" or None'):
        lyapunov_spectrum(nn.RNN(2, 3), noise(20, 1, 2), vectors=word)


def test_transients_that_leave_no_vector_are_refused():
    lyapunov_spectrum(nn.RNN(2, 3), noise(21, 1, 2), transient=10, vectors="covariant")
    with pytest.raises(ModuleError, match=r"twice the transient of 10 steps.*half of 20"):
        lyapunov_spectrum(nn.RNN(2, 3), noise(20, 1, 2), transient=10, vectors="covariant")


# Truncation


def test_leading_exponents_determine_dimension_and_entropy_only_if_they_can():
    values = exact(1.5, 1.2, 0.9, 0.3)  # logs 0.405, 0.182, -0.105, -1.204
    logs = values.log().tolist()
    dimension = 3 + sum(logs[:3]) / -logs[3]
    for count, entropy, whole in (
        (1, None, None),
        (2, None, None),
        (3, logs[0] + logs[1], None),
        (4, logs[0] + logs[1], dimension),
    ):
        step = lambda s, x: s * values  # noqa: E731
        found = lyapunov_spectrum(step, torch.zeros(300, 1, 1), state=torch.zeros(1, 4), transient=200, count=count, every=1)
        # misaligned by (1.2 / 1.5) ** 200 = 4e-20
        assert found.entropy_rate == pytest.approx(math.nan if entropy is None else entropy, abs=1e-12, nan_ok=True)
        assert found.kaplan_yorke_dimension == pytest.approx(math.nan if whole is None else whole, abs=1e-12, nan_ok=True)


def test_the_stopping_rule_reads_the_error_that_the_spectrum_reports():
    growth = rates(60)
    assert largest_standard_error(growth) == pytest.approx(Spectrum.from_growth(growth).standard_error[0].item(), rel=1e-12)
    assert largest_standard_error(growth) == pytest.approx(error_by_hand(growth[..., 0]), rel=1e-12)


# Threads and modes of the caller


def test_inference_mode_gives_the_same_numbers_in_several_threads():
    module, inputs = module_of(nn.LSTM, 3, 64), noise(10, 20, 3)  # large enough for threads
    with threads(2):
        plain = lyapunov_spectrum(module, inputs)
        with torch.inference_mode():
            inside = lyapunov_spectrum(module, inputs.clone())
    assert torch.equal(plain.per_sequence, inside.per_sequence)


def test_calls_at_the_same_time_leave_torch_its_number_of_threads():
    module, inputs = module_of(nn.GRU, 3, 8), noise(40, 4, 3)
    alone = lyapunov_spectrum(module, inputs)
    with threads(2):
        with ThreadPoolExecutor(1) as fresh:
            usual = fresh.submit(torch.get_num_threads).result()  # of a new thread: OMP_NUM_THREADS, where it is set
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(lambda _: lyapunov_spectrum(module, inputs), range(6)))
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == usual
        assert torch.get_num_threads() == 2
    for spectrum in together:
        assert torch.equal(spectrum.per_sequence, alone.per_sequence)


def test_fewer_deviations_grow_like_the_first_of_all_at_any_length():
    cell, start, inputs = cells.get("gru")(2, 40), torch.zeros(1, 3, 40, dtype=torch.float64), noise(12, 3, 2)
    params = {n: p[None].double() for n, p in cell.init(seeded()).items()}
    whole = growth(cell, params, start, inputs, 40, transient=0, every=1).per_step
    for count in (1, 16, 33):
        few = growth(cell, params, start, inputs, count, transient=0, every=1).per_step
        assert_close(few, whole[..., :count], rtol=0, atol=1e-11)  # rounding of 12 steps


def test_an_ensemble_keeps_the_accuracy_of_each_of_its_networks():
    modules = [module_of(nn.LSTM, 2, 8, scale=0.5, seed=n) for n in range(15)] + [module_of(nn.LSTM, 2, 8, scale=0.05)]
    inputs = noise(60, 4, 2)
    for module, spectrum in zip(modules, lyapunov_spectra(modules, inputs), strict=True):
        careful = lyapunov_spectrum(module, inputs, every=1)
        assert spectrum.rounding_error.max() <= 1e-5
        assert_close(spectrum.exponents, careful.exponents, rtol=0, atol=1e-5)


class Doubling(nn.GRUCell):
    def forward(self, x, state):
        return super().forward(2 * x, state)


def test_a_torch_cell_with_a_forward_of_its_own_is_measured_by_that():
    cell = module_of(Doubling, 2, 3)
    plain = nn.GRUCell(2, 3).double()
    plain.load_state_dict(cell.state_dict())
    inputs, start = noise(20, 2, 2), torch.zeros(2, 3)
    found = lyapunov_spectrum(cell, inputs, state=start, every=1)
    expected = lyapunov_spectrum(plain, 2 * inputs, state=start, every=1)
    assert_close(found.per_sequence, expected.per_sequence, rtol=0, atol=1e-9)  # rounding of 20 steps


def test_a_function_of_another_dtype_is_refused_in_one_sentence():
    weight = torch.eye(3)  # float32, while the computation is float64
    with pytest.raises(ModuleError, match=r"same dtype.*dtype=torch\.float32") as raised:
        lyapunov_spectrum(lambda s, x: s @ weight, noise(5, 2, 3), state=torch.zeros(2, 3))
    assert "\n" not in str(raised.value)
    lyapunov_spectrum(lambda s, x: s @ weight, noise(5, 2, 3), state=torch.zeros(2, 3), dtype=torch.float32, accuracy=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 2.0}, "count is 2.0.*whole number"),
        ({"transient": 0.2}, "transient is 0.2.*whole number"),
        ({"every": "2"}, "every is '2'.*whole number"),
        ({"accuracy": math.inf}, "accuracy is inf.*above 0"),
        ({"accuracy": None}, "accuracy is None.*above 0"),
        ({"vectors": "covariant", "tolerance": 0.1}, "vectors.*leave tolerance out"),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused_in_one_sentence(options, words):
    with pytest.raises(ModuleError, match=words) as raised:
        lyapunov_spectrum(nn.RNN(2, 3), noise(20, 1, 2), **options)
    assert "\n" not in str(raised.value)


def apart(state, x):
    return (2 * state).tanh() * 0.9 + x


def in_place(state, x):
    x.mul_(2)
    return state.mul_(2).tanh_().mul_(0.9).add_(x.mul_(0.5))


class InPlace(nn.Module):
    def forward(self, x, state):
        return in_place(state, x)


@pytest.mark.parametrize("model", [in_place, InPlace()])
def test_a_step_that_works_in_place_gives_the_same_numbers_and_changes_nothing_of_the_callers(model):
    start, inputs = torch.full((2, 3), 0.3, dtype=torch.float64), 0.1 * noise(30, 2, 3)
    kept = start.clone(), inputs.clone()
    found = lyapunov_spectrum(model, inputs, state=start)
    assert_close(found.per_sequence, lyapunov_spectrum(apart, inputs, state=start).per_sequence, rtol=0, atol=1e-12)
    assert torch.equal(start, kept[0])
    assert torch.equal(inputs, kept[1])
