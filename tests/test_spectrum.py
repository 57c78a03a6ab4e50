"""Options, extremes, the two halves of a step, and what importing the room loads; nats per step."""

import math
import subprocess
import sys
from pathlib import Path

import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from torch import nn
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.spectrum import growth, push_forward, reorthonormalise
from pipeline.spectrum.reorthonormalise import PANEL, reorthonormalise_fast

MODULES = [nn.RNN, nn.LSTM, nn.GRU]


# Options


@pytest.mark.parametrize("every", [2, 3, 6])
def test_exponents_do_not_depend_on_every(every):
    module = module_of(nn.LSTM, 2, 3)
    inputs = noise(28, 2, 2)
    each = lyapunov_spectrum(module, inputs, transient=4, every=1)
    rarely = lyapunov_spectrum(module, inputs, transient=4, every=every)
    # the product of the triangles is the same, but the error of a direction is eps times the first one's lead over it
    lead = every * (each.exponents[0] - each.exponents[-1]).item()
    assert_close(rarely.per_sequence, each.per_sequence, rtol=0, atol=100 * 2**-52 * math.exp(lead))
    assert 100 * 2**-52 * math.exp(lead) < 1e-3
    assert len(rarely.history) == 24  # one row per counted step


def test_a_driven_networks_exponents_are_those_of_the_reference_for_all_and_for_few():
    module = module_of(nn.GRU, 2, 6)
    inputs = noise(20, 2, 2)
    dense = oracles.reference_of_module(module, torch.zeros(2, 6).double(), inputs, transient=4)
    counted = lyapunov_spectrum(module, inputs, count=6, every=1)
    assert_close(counted.exponents, dense.mean(0).sort(descending=True).values, rtol=0, atol=1e-9)
    leading = lyapunov_spectrum(module, inputs, count=2, every=1)
    assert leading.per_sequence.shape == (2, 2)


def test_single_precision_errs_by_its_rounding_on_a_mild_network():
    module = module_of(nn.GRU, 2, 4)
    inputs = noise(30, 2, 2)
    single = lyapunov_spectrum(module, inputs, dtype=torch.float32)
    assert single.exponents.dtype == torch.float32
    # exponents spread over about 1 nat, so 2**-24 is magnified by a few powers of ten at the most
    assert_close(single.exponents.double(), lyapunov_spectrum(module, inputs).exponents, rtol=0, atol=1e-3)


def test_a_fifth_of_the_steps_is_transient_by_default():
    assert len(lyapunov_spectrum(module_of(nn.RNN, 2, 3), noise(50, 1, 2), every=1).history) == 40


def test_same_call_gives_the_same_bits_for_every_global_seed():
    module, inputs = module_of(nn.GRU, 2, 3), noise(10, 2, 2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = lyapunov_spectrum(module, inputs)
        torch.manual_seed(2)
        two = lyapunov_spectrum(module, inputs)
    assert torch.equal(one.per_sequence, two.per_sequence)


# Extremes


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("kind", MODULES)
def test_strongly_contracting_networks_give_no_nan(kind, scale):
    spectrum = lyapunov_spectrum(module_of(kind, 4, 16, scale=scale), noise(20, 2, 4), accuracy=0.1)
    assert not spectrum.exponents.isnan().any()
    assert not spectrum.diverged.any()
    assert (spectrum.exponents.diff() <= 0).all() or spectrum.lost
    assert spectrum.exponents[0] < -0.3  # an RNN's weights are small; gates near one half halve the memory


def test_direction_that_the_map_annihilates_is_lost_and_nothing_diverges():
    flat = lyapunov_spectrum(oracles.logistic_step(2), torch.zeros(10, 3, 1), state=torch.full((3, 1), 0.5), transient=0)
    assert flat.exponents.tolist() == [-math.inf]  # the slope at the fixed point is 0
    assert flat.lost == 1
    assert not flat.diverged.any()
    for layers in (1, 2):  # an LSTM of zero weights forgets its outputs, and only them
        forgetful = lyapunov_spectrum(module_of(nn.LSTM, 3, 4, layers, scale=0.0, bias=False), noise(10, 2, 3))
        assert forgetful.lost == 4 * layers
        assert not forgetful.diverged.any()


def test_weak_elman_network_has_the_determinant_of_its_weights():
    module = module_of(nn.RNN, 4, 16, scale=1e-3)
    spectrum = lyapunov_spectrum(module, torch.zeros(20, 1, 4), state=torch.zeros(1, 1, 16))
    # at |h| < 0.002 the slope is 1 - 4e-6, on each of 16 units
    assert spectrum.exponents.sum().item() == pytest.approx(module.weight_hh_l0.slogdet().logabsdet.item(), abs=16 * 1e-5)


def test_long_transient_of_an_expanding_network_does_not_overflow():
    module = module_of(nn.RNN, 1, 256, bias=False)
    with torch.no_grad():
        module.weight_hh_l0.copy_(3 * oracles.rotation(256, seeded()))
    # at rest J is 3 times a rotation; growth by 3**700 = exp(769) would exceed the largest float64
    spectrum = lyapunov_spectrum(module, torch.zeros(704, 1, 1), transient=700, count=2, every=1)
    assert_close(spectrum.exponents, exact(3, 3).log(), rtol=0, atol=1e-12)


def test_chaotic_network_of_gain_three_is_finite_after_its_transient():
    module = module_of(nn.RNN, 1, 256)
    with torch.no_grad():
        module.weight_hh_l0.copy_(3 * noise(256, 256) / 16)
    spectrum = lyapunov_spectrum(module, noise(24, 1, 1), transient=20, count=64)
    assert spectrum.exponents.isfinite().all()
    assert spectrum.exponents[0] > 0


def test_diverging_sequence_is_nan_and_does_not_affect_others():
    weight = oracles.rotation(3, seeded())
    step = lambda s, x: (s @ weight.T).pow(3) + x  # noqa: E731 - explodes beyond 1, contracts below
    inputs = 0.01 * noise(40, 3, 3)
    calm = 0.1 * noise(3, 3)
    wild = calm.clone()
    wild[1] = 1e3
    spectrum, undisturbed = (lyapunov_spectrum(step, inputs, state=s, transient=5, every=1) for s in (wild, calm))
    assert spectrum.diverged.tolist() == [False, True, False]
    assert spectrum.per_sequence[1].isnan().all()
    assert undisturbed.per_sequence.isfinite().all()
    rows = [0, 2]  # the orders may differ, since they are by the mean over the sequences: compare sorted values
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
    return growth(step, [], torch.zeros(1, inputs.shape[1], 6, dtype=torch.float64), inputs, 6, transient=0).per_step


def test_ensemble_gives_each_network_what_it_gives_alone():
    weights = noise(3, 4, 4)
    inputs, start = noise(12, 2, 4), noise(3, 2, 4, seed=4)
    step = lambda w, s, x: (s @ w.T + x).tanh()  # noqa: E731
    together = growth(step, weights, start, inputs, 4, transient=2, every=1).per_step
    for m in range(3):
        alone = lyapunov_spectrum(lambda s, x, w=weights[m]: step(w, s, x), inputs, state=start[m], transient=2, every=1)
        found = together[:, m].mean(0)
        # batched and single products round differently: eps times the spread of the growth over 12 steps
        assert_close(found.sort(dim=1).values, alone.per_sequence.sort(dim=1).values, rtol=0, atol=1e-9)


# The two halves of a step


def test_push_forward_is_the_jacobian_times_the_deviations():
    weight = noise(3, 3)
    state, deviations = noise(2, 3, seed=4), noise(2, 5, 3, seed=6)
    new, pushed = push_forward(lambda s: (s @ weight.T).tanh(), state, deviations)
    slopes = 1 - (state @ weight.T).tanh().square()
    assert_close(new, (state @ weight.T).tanh(), rtol=0, atol=0)
    # three products and a sum: a few roundings of numbers near 1
    assert_close(pushed, slopes[:, None] * (deviations @ weight.T), rtol=0, atol=1e-14)


def test_reorthonormalised_rows_are_orthonormal_span_the_same_flag_and_have_the_right_growth():
    rows = noise(2, 3, 5)
    new, log = reorthonormalise(rows)
    for b in range(2):
        q, old = new[b], rows[b]
        assert_close(q @ q.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
        for k in (1, 2, 3):  # volumes of the first k rows by Gram's determinant, and the same span
            assert log[b, :k].sum().item() == pytest.approx((old[:k] @ old[:k].T).logdet().item() / 2, abs=1e-13)
            assert (old[:k] - old[:k] @ q[:k].T @ q[:k]).abs().max() < 1e-14


def test_reorthonormalise_marks_a_lost_direction_and_isolates_numbers_that_are_not_finite():
    rows = noise(3, 3, 4)
    rows[0, 2] = rows[0, 0] - 2 * rows[0, 1]
    rows[1, 1] = math.nan
    new, log = reorthonormalise(rows)
    assert log[0].isfinite().tolist() == [True, True, False]
    assert log[0, 2] == -math.inf
    assert log[1].isnan().all()
    assert log[2].isfinite().all()
    for b in range(3):  # the basis is orthonormal in any case
        assert_close(new[b] @ new[b].T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 40, 64, 65, 90, 100])  # panels of 32, full or not, in halves or not
def test_fast_reorthonormalisation_finds_the_growth_and_the_flag_of_householders(count):
    size = 100
    # as after a step: orthonormal rows, stretched by factors e^2 to e^-2, plus noise
    stretch = torch.linspace(2, -2, count, dtype=torch.float64).exp()[:, None]
    rows = torch.stack([oracles.rotation(size, seeded(s))[:count] * stretch for s in (1, 2)])
    rows += 0.1 * rows.norm(dim=-1, keepdim=True) * noise(2, count, size, seed=8) / size**0.5
    expected, log = reorthonormalise(rows)
    found = rows.clone()
    grown, fine = reorthonormalise_fast(found, torch.zeros(2, 1, count, dtype=torch.float64))
    # the rounding of Cholesky is magnified by the condition kappa^2 of the Gram matrix of rows scaled to one length
    condition = torch.linalg.cond(rows / rows.norm(dim=-1, keepdim=True)).max().item()
    allowed = 10 * size * 2**-52 * condition**2
    assert allowed < 1e-8
    assert fine.all()
    assert_close(grown.log(), log, rtol=0, atol=allowed)
    signs = (found * expected).sum(-1, keepdim=True).sign()
    assert_close(found * signs, expected, rtol=0, atol=allowed)
    for k in {1, count // 2, count} - {0}:  # the first k rows span what the first k given rows spanned
        outside = rows[:, :k] - rows[:, :k] @ found[:, :k].mT @ found[:, :k]
        assert (outside.norm(dim=-1) / rows[:, :k].norm(dim=-1)).max() < allowed


@pytest.mark.parametrize("bad", [0, 20, PANEL + 3])  # at the beginning of a panel, within it, in the second panel
def test_fast_reorthonormalisation_reports_which_sequences_fail(bad):
    rows = noise(4, PANEL + 8, 60)
    clean = rows.clone()
    rows[1, bad] = 0
    rows[2, bad, 5] = math.nan
    rows[3, bad, 5] = math.inf
    found, probe = rows.clone(), torch.zeros(4, 2, PANEL + 8, dtype=torch.float64)
    grown, fine = reorthonormalise_fast(found, probe)
    # NaN may also be visible in the numbers themselves
    assert (fine & grown.isfinite().all(-1) & (grown > 0).all(-1)).tolist() == [True, False, False, False]
    assert fine[0]
    alone, _ = reorthonormalise_fast(clean[:1], torch.zeros(1, 2, PANEL + 8, dtype=torch.float64))
    # it is not affected by the others: rounding times a condition of some tens, squared
    assert_close(grown[0].log(), alone[0].log(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("apart", [1.0, 0.01, 1e-4])
def test_probe_is_amplified_as_the_error_of_a_row_that_is_nearly_another_is(apart):
    # rows e1 and e1 + d e2. R = [[1, 0], [1, d]], so new rows are e1 and (row 2 - e1) / d: errors a and b along the rows' own
    # new directions become a / 1 and (b - a) / d
    rows = exact(1, 0, 0, 1, apart, 0).reshape(1, 2, 3)
    probe = exact(3e-16, 5e-16, -2e-16, 4e-16).reshape(1, 2, 2)
    grown, fine = reorthonormalise_fast(rows, probe)
    assert fine.all()
    # the Gram determinant d^2 is a difference of numbers near 1, with an error of 1e-16 / d^2; its root has half of that
    assert_close(grown, exact(1, apart)[None], rtol=4 * 2**-53 / apart**2, atol=0)
    expected = exact(3e-16, 2e-16 / apart, -2e-16, 6e-16 / apart).reshape(1, 2, 2)
    assert_close(probe, expected, rtol=8 * 2**-53 / apart**2, atol=0)


def test_probe_goes_through_panels_as_through_the_inverse_triangle():
    count = 2 * PANEL + 9
    rows, probe = noise(2, count, 90), noise(2, 3, count, seed=5)
    triangle = torch.linalg.qr(rows.mT)[1]  # rows = R^T Q: errors of new rows are R^-T times those of the old
    triangle = triangle * triangle.diagonal(dim1=-2, dim2=-1).sign()[..., None]
    expected = probe @ triangle.inverse()
    reorthonormalise_fast(rows, probe)
    assert_close(probe, expected, rtol=0, atol=1e-10 * expected.abs().max().item())  # condition of some tens, squared, 90 eps


# Imports

PIPELINE_ONLY = ("safetensors", "tqdm", "pydantic", "pandas", "sklearn", "scipy", "mlflow", "yaml")
MEASURING = f"""
import sys, numpy, torch
before = set(sys.modules)  # torch imports tqdm by itself, if it is installed
from pipeline.spectrum import lyapunov_spectrum
from pipeline.points import fixed_points
lyapunov_spectrum(torch.nn.LSTM(2, 3), torch.zeros(10, 1, 2))
fixed_points(torch.nn.GRU(2, 3), torch.zeros(10, 1, 2), seeds=4)
print([name for name in {PIPELINE_ONLY} if name in sys.modules and name not in before])
"""


def test_measuring_needs_torch_and_numpy_only():
    root = Path(__file__).parent.parent
    answer = subprocess.run([sys.executable, "-c", MEASURING], cwd=root, check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"
