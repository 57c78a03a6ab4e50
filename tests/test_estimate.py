"""Exponents, their order, errors and intervals, dimension and entropy rate; nats per step.

Exponents are estimated independently of one another, so that thousands of repeats of a one-dimensional system can be
placed side by side on the axis k of one growth tensor. Sorting them does not change the share of intervals that cover their
common true value.
"""

import math
import warnings
from functools import partial

import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from torch import nn
from torch.testing import assert_close

from benchmarks import coverage as simulation
from pipeline import Spectrum, lyapunov_spectra, lyapunov_spectrum
from pipeline.core.errors import AlignmentWarning, ModuleError
from pipeline.spectrum import lyapunov
from pipeline.spectrum.engine import growth as growth_of
from pipeline.spectrum.engine import random_basis
from pipeline.spectrum.estimate import (
    RATIO,
    aligning_steps,
    alignment_error,
    kaplan_yorke_dimension,
    largest_alignment_error,
    largest_standard_error,
)

REPEATS = 2000
# 90 % minus and 99 % plus 4 binomial standard errors: (0.9 * 0.1 / 2000) ** 0.5 = 0.0067, (0.99 * 0.01 / 2000) ** 0.5 = 0.0022
COVERED = (0.90 - 4 * 0.0067, 0.99 + 4 * 0.0022)


def correlated(correlation, steps, *shape, seed=2):
    """Stationary AR(1) series (steps, *shape) with mean 0, variance 1 and the given correlation from step to step."""
    series = noise(steps, *shape, seed=seed)
    for t in range(1, steps):
        series[t] = correlation * series[t - 1] + (1 - correlation**2) ** 0.5 * series[t]
    return series


def coverage(growth, truth):
    """Share of the exponents whose 95 % interval covers the true value."""
    low, high = Spectrum.from_growth(growth).confidence_interval()
    return ((low < truth) & (truth < high)).double().mean().item()


def of_exponents(*values, **options):
    return Spectrum.from_growth(exact(*values).reshape(1, 1, -1), **options)


# Intervals that hold


@pytest.mark.parametrize("steps", [80, 200])
@pytest.mark.parametrize("sequences", [1, 4, 15])
def test_intervals_of_gaussian_products_cover_newmans_exponents(sequences, steps):
    # two directions by hand: the first grows by |A q|, both together by |det A|; A is isotropic, so that q can be fixed
    matrices = noise(4, steps, sequences, REPEATS)
    first = (matrices[0].square() + matrices[1].square()).log() / 2
    both = (matrices[0] * matrices[3] - matrices[1] * matrices[2]).abs().log()
    for growth, truth in zip((first, both - first), oracles.gaussian_products(2, 2**0.5), strict=True):
        assert COVERED[0] < coverage(growth, truth) < COVERED[1]


@pytest.mark.parametrize(("sequences", "steps"), [(1, 300), (2, 80), (4, 80), (4, 300), (15, 80)])
@pytest.mark.parametrize("correlation", [-0.5, 0.5, 0.9])
def test_intervals_of_a_map_with_correlated_growth_cover_its_mean(correlation, sequences, steps):
    # state' = exp(a) state grows by a, whose mean is 0.3; one sequence of 80 steps at 0.9 would be too short
    growth = 0.3 + correlated(correlation, steps, sequences, REPEATS)
    assert COVERED[0] < coverage(growth, 0.3) < COVERED[1]


@pytest.mark.parametrize("sequences", [4, 15])
def test_intervals_are_valid_if_sequences_share_their_input(sequences):
    shared, own = correlated(0.5, 120, 1, REPEATS), correlated(0.5, 120, sequences, REPEATS, seed=3)
    assert COVERED[0] < coverage(0.8 * shared + 0.6 * own, 0.0) < COVERED[1]


@pytest.mark.parametrize("sequences", [4, 15])
def test_intervals_are_valid_if_sequences_differ_systematically(sequences):
    growth = noise(80, sequences, REPEATS) + noise(sequences, REPEATS, seed=3)
    assert COVERED[0] < coverage(growth, 0.0) < COVERED[1]


def test_intervals_are_not_too_narrow_if_growth_is_compensated_later():
    # at 4 the logistic map's log |f'| = log 2 + g(next) - g(now), g = log sin of the angle: its mean converges as 1 / T
    state = torch.sin(torch.pi * torch.rand(REPEATS, generator=seeded(), dtype=torch.float64)).square()
    growth = []
    for _ in range(100):
        growth.append((4 * (1 - 2 * state)).abs().log())
        state = oracles.logistic_step(4)(state, None)
    assert coverage(torch.stack(growth)[:, None], math.log(2)) > COVERED[0]


def test_intervals_of_measured_spectra_cover_newmans_exponents():
    size, steps, groups, each = 2, 60, 60, 4
    matrices = noise(steps, groups * each, size * size)
    step = lambda s, x: (x.reshape(-1, size, size) @ s[..., None])[..., 0]  # noqa: E731
    state = torch.zeros(each, size)
    spectra = [lyapunov_spectrum(step, m, state=state, transient=0) for m in matrices.split(each, dim=1)]
    truth = oracles.gaussian_products(size, size**0.5)
    ends = torch.stack([s.confidence_interval() for s in spectra], dim=1)
    covered = ((ends[0] < truth) & (truth < ends[1])).double().mean(0)
    assert (covered > 0.90 - 4 * 0.039).all(), covered  # binomial: (0.9 * 0.1 / 60) ** 0.5 = 0.039
    # in units of the exact error of independent steps: the larger of the errors from 6 batches and from 4 sequences of
    # normal numbers, whose standard deviation is 0.31 for one spectrum and 0.04 for the mean of 60
    cells = noise(20000, 4, 6) * 24**0.5
    expected = torch.maximum(cells.mean(1).std(1) / 6**0.5, cells.mean(2).std(1) / 4**0.5).mean()
    right = oracles.gaussian_products_deviation(size) / (steps * each) ** 0.5
    ratio = torch.stack([s.standard_error for s in spectra]).mean(0) / right
    assert_close(ratio, expected.expand(size), rtol=0, atol=4 * 0.04)


def test_an_interval_has_the_width_of_students_t():
    spectrum = Spectrum.from_growth(exact(1, 2, 3, 4, 5, 6).reshape(6, 1, 1))
    error = (3.5 / 6) ** 0.5  # six batches of one step each, with variance 3.5
    assert spectrum.standard_error.item() == pytest.approx(error, rel=1e-14)
    assert spectrum.degrees_of_freedom.item() == 5
    for level, quantile in ((0.95, 2.570582), (0.5, 0.726687)):  # printed tables, 5 degrees of freedom
        low, high = spectrum.confidence_interval(level)[:, 0].tolist()
        assert (low, high) == pytest.approx((3.5 - quantile * error, 3.5 + quantile * error), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ModuleError, match=r"level is .* between 0 and 1"):
        of_exponents(1.0).confidence_interval(level)


# Standard errors


def test_standard_error_includes_systematic_differences_of_sequences():
    rates = exact(0.5, 0.6, 0.7, 0.8)
    spectrum = lyapunov_spectrum(lambda s, x: rates[:, None] * s, torch.zeros(50, 4, 1), state=torch.zeros(4, 1), transient=0)
    logs = rates.log()
    expected = math.sqrt(sum((x - logs.mean()) ** 2 for x in logs.tolist()) / 3 / 4)  # there is no fluctuation in time
    assert spectrum.standard_error.item() == pytest.approx(expected, rel=1e-9)
    assert spectrum.degrees_of_freedom.item() == 3
    assert spectrum.exponents.item() == pytest.approx(logs.mean().item(), rel=1e-12)


def test_standard_error_of_one_sequence_comes_from_its_batches():
    errors = Spectrum.from_growth(noise(400, 1, REPEATS)).standard_error
    # white noise of variance 1: 1 / sqrt(400), times the mean 0.9515 of the deviation of 6 normal numbers of variance 1,
    # whose own standard deviation is sqrt(1 - 0.9515^2) = 0.308
    assert errors.mean().item() * 20 == pytest.approx(0.9515, abs=4 * 0.308 / REPEATS**0.5)


def test_batches_are_long_enough_for_correlated_growth():
    errors = Spectrum.from_growth(correlated(0.5, 600, 1, REPEATS)).standard_error
    # the variance of the mean is (1 + 0.5) / (1 - 0.5) / 600 up to terms in 1 / 100, the inverse length of a batch
    right = (3 / 600) ** 0.5
    assert errors.mean().item() / right == pytest.approx(0.9515, abs=4 * 0.308 / REPEATS**0.5 + 0.01)


def test_the_standard_error_of_so_few_steps_is_that_between_sequences():
    spectrum = Spectrum.from_growth(exact(1, 3).reshape(1, 2, 1))
    assert spectrum.standard_error.item() == pytest.approx(1)  # sqrt(2) / sqrt(2)
    assert spectrum.degrees_of_freedom.item() == 1
    assert of_exponents(1.0).standard_error.isnan().all()
    assert of_exponents(1.0).confidence_interval().isnan().all()


def test_an_exponent_that_is_not_finite_has_no_standard_error():
    growth = noise(20, 3, 2)
    growth[0, 1, 0] = -math.inf  # among the first 20 - 6 * 3 steps, which are in no batch
    spectrum = Spectrum.from_growth(growth)
    assert spectrum.exponents[1] == -math.inf
    for values in (spectrum.standard_error, spectrum.degrees_of_freedom, spectrum.confidence_interval()[0]):
        assert values.isfinite().tolist() == [True, False]
        assert values[1].isnan()


def test_a_diverged_sequence_is_left_out_of_everything():
    growth = noise(20, 3, 2)
    growth[7:, 1] = math.nan
    spectrum, rest = Spectrum.from_growth(growth), Spectrum.from_growth(growth[:, [0, 2]])
    assert spectrum.diverged.tolist() == [False, True, False]
    for name in ("exponents", "standard_error", "degrees_of_freedom", "history"):
        assert torch.equal(getattr(spectrum, name), getattr(rest, name))
    assert largest_standard_error(growth) == pytest.approx(rest.standard_error[0].item(), rel=1e-12)  # sums in another order
    nothing = Spectrum.from_growth(growth[:, 1:2])
    assert nothing.standard_error.isnan().all()
    assert nothing.degrees_of_freedom.isnan().all()


def test_largest_standard_error_is_that_of_the_largest_exponent():
    growth = torch.stack([exact(0, 0, 0, 0, 0, 0), exact(1, 2, 3, 4, 5, 6), exact(9, -9, 9, -9, 9, -9)], dim=-1)[:, None]
    assert largest_standard_error(growth) == pytest.approx((3.5 / 6) ** 0.5, rel=1e-14)
    assert math.isnan(largest_standard_error(growth * math.nan))


# Alignment

UNALIGNED = {
    "selective state space": (partial(simulation.decays, 16, 4), 100, 4),
    "normal matrices": (partial(simulation.matrices, 16, 0.0), 40, 1),
    "oblique matrices": (partial(simulation.matrices, 16, 0.2), 40, 1),
    "leaky network of 100 steps": (partial(simulation.networks, "leaky", 8, gain=0.9, settle=300, leak=0.01), 100, 4),
    "GRU": (partial(simulation.networks, "gru", 16), 60, 15),
}
ALIGNED = {
    "Gaussian products": (partial(simulation.products, 8), 80, 4),
    "chaotic network": (partial(simulation.networks, "elman", 16, gain=3.0), 150, 4),
}


def simulated(draw, steps, sequences, runs=120):
    """The coverage of 120 runs, four for each network or one for each matrix; true exponents of networks are from 8,800 steps."""
    generator = seeded()
    return simulation.simulated(draw(runs, generator).known(600, 22, generator), steps, sequences, runs, generator)


@pytest.mark.parametrize("kind", UNALIGNED)
def test_intervals_cover_the_truth_where_the_deviations_have_not_aligned(kind):
    found = simulated(*UNALIGNED[kind])
    ends = [0, -1]
    # binomial, four runs of a system counted as one: (0.92 * 0.08 / 30) ** 0.5 = 0.05
    assert (found.after[ends] > 0.92 - 3 * 0.05).all(), found
    assert found.after.mean() > 0.92
    assert found.before.min() < 0.85  # the standard error alone is not enough
    assert found.warned > 0.9


@pytest.mark.parametrize("kind", ALIGNED)
def test_intervals_are_hardly_wider_where_the_deviations_have_aligned(kind):
    found = simulated(*ALIGNED[kind])
    assert found.after.mean() > 0.9
    assert (found.wider < 1.1).all(), found
    assert found.warned == 0


@pytest.mark.parametrize("transient", [0, 7])
def test_growth_of_a_deviation_is_delayed_as_the_formula_says(transient):
    logs, steps = exact(-0.1, -0.13, -0.2), 50
    step = lambda s, x: s * logs.exp()  # noqa: E731
    rows = growth_of(
        lambda p, s, x: step(s, x),
        {},
        torch.zeros(1, 1, 3).double(),
        torch.zeros(transient + steps, 1, 1),
        1,
        transient=transient,
    ).per_step
    components = random_basis(3, 1, logs)[0].square()
    lead = [
        ((components * (-2 * t * (logs[0] - logs)).exp()).sum() / components[0]).log() / 2 for t in (transient, transient + steps)
    ]
    assert_close(logs[0] - rows.mean(), (lead[0] - lead[1]) / steps, rtol=0, atol=1e-13)  # rounding of 50 logs


def test_the_alignment_error_is_the_formula_with_typical_components():
    found = alignment_error(exact(-0.1, -0.13, -0.2), 3, 7, 50)
    lead = [math.log1p(RATIO * (math.exp(-0.06 * t) + math.exp(-0.2 * t))) / 2 for t in (7, 57)]
    assert found[0].item() == pytest.approx((lead[0] - lead[1]) / 50, rel=1e-12)
    assert math.atan(RATIO**0.5) == pytest.approx(2 / 3 * math.pi / 2)  # the angle of a random direction in a plane is uniform


def test_equal_exponents_need_no_alignment():
    rotated = oracles.rotation(6, seeded())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum = lyapunov_spectrum(lambda s, x: s @ rotated, torch.zeros(50, 1, 1), state=torch.zeros(1, 6))
    assert (spectrum.alignment_error < 1e-13).all()
    assert spectrum.aligned.all()


def test_lost_directions_are_apart_at_once_and_have_no_alignment_error():
    for transient, first in ((0, math.log1p(RATIO * 2) / 2 / 50), (1, 0.0)):
        found = alignment_error(exact(0.2, -math.inf, -math.inf), 3, transient, 50)
        assert found[0].item() == pytest.approx(first, rel=1e-12)
        assert found[1:].isnan().all()
    assert alignment_error(exact(math.nan, math.nan), 2, 5, 50).isnan().all()


def test_exponents_that_a_truncated_spectrum_lacks_continue_at_the_mean_distance():
    whole = -0.02 * torch.arange(10, dtype=torch.float64)
    for count in (2, 3, 9):
        assert_close(alignment_error(whole[:count], 10, 8, 50), alignment_error(whole, 10, 8, 50)[:count], rtol=1e-12, atol=0)


def test_next_to_a_single_exponent_of_several_the_error_is_an_upper_bound():
    found = alignment_error(exact(0.1), 10, 8, 50)
    assert found.item() == pytest.approx(math.log1p(RATIO * 9) / 2 / 50, rel=1e-12)
    assert alignment_error(exact(0.1), 1, 8, 50).item() == 0
    spectrum = Spectrum.from_growth(exact(0.1, 0.1).reshape(2, 1, 1), transient=0, state_size=10)
    assert spectrum.aligned.tolist() == [True]  # nothing speaks for the bound


def test_the_alignment_error_of_a_spectrum_is_that_of_its_means_over_finite_sequences():
    growth = noise(40, 3, 4) / 10
    growth[5:, 1] = math.nan
    spectrum = Spectrum.from_growth(growth, transient=8, state_size=6)
    rest = Spectrum.from_growth(growth[:, [0, 2]], transient=8, state_size=6)
    assert torch.equal(spectrum.alignment_error, rest.alignment_error)
    assert_close(spectrum.alignment_error, alignment_error(spectrum.exponents, 6, 8, 40), rtol=1e-12, atol=0)
    assert largest_alignment_error(growth, 6, 8) == pytest.approx(spectrum.alignment_error[0].item(), rel=1e-12)
    assert (spectrum.transient, rest.transient) == (8, 8)


def test_without_a_transient_the_interval_is_that_of_sampling():
    growth = noise(40, 3, 4) / 10
    unknown, known = Spectrum.from_growth(growth), Spectrum.from_growth(growth, transient=0)
    assert unknown.alignment_error.isnan().all()
    assert unknown.aligned.all()
    sampling = unknown.confidence_interval()[1] - unknown.exponents
    # 1.959964 is the normal quantile of printed tables
    expected = (sampling.square() + (1.959964 * known.alignment_error).square()).sqrt()
    assert_close(known.confidence_interval()[1] - known.exponents, expected, rtol=1e-6, atol=0)


def test_a_single_step_of_a_single_sequence_has_no_interval():
    spectrum = Spectrum.from_growth(noise(1, 1, 3), transient=0)
    assert spectrum.confidence_interval().isnan().all()
    assert "error unknown" in repr(spectrum)


def of_alignment(caught):
    """The warnings of alignment among those caught; torch has one of its own at the first jvp of a process."""
    return [w for w in caught if w.category is AlignmentWarning]


def slow(size=8):
    """A map of slow and similar rates that the input varies, and its exponents."""
    rates = torch.linspace(0.01, 0.05, size, dtype=torch.float64)
    return lambda s, x: s * (-rates * (1 + x / 2)).exp(), -rates


@pytest.mark.parametrize("count", [None, 4])
def test_a_warning_names_exponents_that_have_not_aligned_and_a_transient_that_does(count):
    step, exponents = slow()
    inputs, options = noise(2000, 4, 1).clamp(-2, 2), {"state": torch.zeros(4, 8), "count": count}
    with pytest.warns(AlignmentWarning, match=r"^exponents 1 .* off by about 0\.\d+ nats .* transient of 20 steps") as caught:
        short = lyapunov_spectrum(step, inputs[:100], **options)
    (warning,) = of_alignment(caught)
    assert warning.filename == __file__
    assert not short.aligned[0]
    transient, steps = aligning_steps(short)
    assert f"transient={transient} of about {steps} steps would do" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        long = lyapunov_spectrum(step, inputs[:2000], transient=800, **options)
    assert steps <= 2000
    (low, high), right = long.confidence_interval(), exponents[: count or 8]
    assert ((low < right) & (right < high)).all()


def test_an_ensemble_is_warned_of_once_and_the_same_steps_may_do():
    modules = [module_of(nn.GRU, 2, 32, seed=seed) for seed in range(3)]
    words = r"of \d of 3 networks may be off.* transient=\d+ of the same 80 steps would do$"
    with pytest.warns(AlignmentWarning, match=words) as caught:
        lyapunov_spectra(modules, noise(80, 4, 2))
    assert len(of_alignment(caught)) == 1


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([4], "exponent 4"),
        ([1, 2, 3, 7], "exponents 1 to 3, 7"),
        ([1, 2, 4, 6, 8], "exponents 1 to 2, 4, 6 and 1 other"),
        ([1, 2, 4, 6, 8, 9], "exponents 1 to 2, 4, 6 and 2 others"),
    ],
)
def test_many_exponents_are_named_in_a_few_words(numbers, words):
    assert lyapunov._named(numbers) == words


@pytest.mark.parametrize("module", [nn.GRU(2, 3), nn.GRU(2, 3, batch_first=True)])
def test_few_steps_of_many_sequences_are_said_to_be_read_so(module):
    shape = (20, 4, 2) if module.batch_first else (4, 20, 2)
    with pytest.warns(AlignmentWarning, match=r"^the inputs were read as 4 steps of 20 sequences.* batch_first") as caught:
        lyapunov_spectrum(module, noise(*shape))
    assert len(of_alignment(caught)) == 1


@pytest.mark.parametrize("module", [module_of(nn.GRU, 5, 32), module_of(nn.LSTM, 5, 16), module_of(nn.RNN, 5, 32, scale=0.4)])
def test_three_hundred_steps_of_networks_of_torchs_initial_size_are_measured_without_a_warning(module):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lyapunov_spectrum(module, noise(300, 4, 5)).aligned.all()


def test_a_tolerance_is_not_reached_while_the_first_exponent_has_not_aligned():
    step, _ = slow()
    run = partial(lyapunov_spectrum, step, state=torch.zeros(4, 8), transient=10, tolerance=2e-3)
    with pytest.warns(AlignmentWarning):
        short = run(noise(60, 4, 1).clamp(-2, 2))
    assert short.standard_error[0] < 2e-3
    assert short.converged is False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        long = run(noise(2000, 4, 1).clamp(-2, 2))
    assert long.converged is True
    assert long.steps > 50
    assert max(long.standard_error[0], long.alignment_error[0]) < 2e-3


def test_a_spectrum_is_shown_in_one_line_and_may_be_compared():
    growth = noise(200, 4, 64)
    spectrum = Spectrum.from_growth(growth, rounding_error=torch.full((64,), 2e-9), transient=50, state_size=70)
    assert len(repr(spectrum)) <= 120
    low, high = spectrum.confidence_interval()[:, 0].tolist()
    assert repr(spectrum).startswith(
        f"Spectrum(64 of 70 exponents; largest {spectrum.exponents[0]:.4g} ({low:.4g} to {high:.4g})"
    )
    assert "200 steps of 4 sequences" in repr(spectrum)
    growth[3:, 1] = math.nan
    assert repr(Spectrum.from_growth(growth)).endswith("1 diverged)")
    assert spectrum == spectrum
    assert spectrum != Spectrum.from_growth(growth)


@pytest.mark.slow
def test_the_quick_page_of_coverage_has_a_row_for_each_kind_and_length(capsys):
    simulation.main("--quick")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    runs = len(simulation.QUICK.sequences) * sum(len(case.steps) for case in simulation.QUICK.cases)
    assert len(lines) == 2 + runs


# Order and history


def lstm_and_inputs():
    module = nn.LSTM(2, 3).double()
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(0.3 * noise(*parameter.shape, seed=10 + i))
    return module, noise(50, 3, 2)


@pytest.mark.parametrize("every", [1, 4])
def test_history_ends_at_the_exponents(every):
    spectrum = lyapunov_spectrum(*lstm_and_inputs(), every=every)
    assert spectrum.history.shape == (40, 6)
    assert spectrum.steps == 40
    assert_close(spectrum.history[-1], spectrum.exponents, rtol=0, atol=1e-13)  # the same sum in another order


def test_history_is_the_running_mean():
    spectrum = Spectrum.from_growth(exact(1, 2, 6).reshape(3, 1, 1))
    assert spectrum.history[:, 0].tolist() == [1, 1.5, 3]
    assert spectrum.steps == 3


def test_exponents_are_sorted_with_everything_that_belongs_to_them():
    growth = exact(-3, 1, 0, -5, 3, 0).reshape(1, 2, 3)
    vectors = torch.arange(1 * 2 * 3 * 4).reshape(1, 2, 3, 4)
    spectrum = Spectrum.from_growth(growth, rounding_error=exact(0.3, 0.1, 0.2), local=growth + 1, vectors=vectors)
    assert spectrum.exponents.tolist() == [2, 0, -4]
    assert spectrum.per_sequence.tolist() == [[1, 0, -3], [3, 0, -5]]
    assert spectrum.rounding_error.tolist() == [0.1, 0.2, 0.3]
    assert spectrum.local.tolist() == [[[2, 1, -2], [4, 1, -4]]]
    assert spectrum.vectors[0, 1].tolist() == [[16, 17, 18, 19], [20, 21, 22, 23], [12, 13, 14, 15]]


def test_omitted_values_are_unknown():
    spectrum = of_exponents(1.0, -1.0)
    assert spectrum.rounding_error.isnan().tolist() == [True, True]
    assert spectrum.state_size == 2
    assert (spectrum.converged, spectrum.local, spectrum.vectors) == (None, None, None)
    assert of_exponents(1.0, converged=False).converged is False


# Dimension and entropy rate


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([0.9056, 0.0, -14.5723], 2 + 0.9056 / 14.5723),
        ([0.4192, -1.6231], 1 + 0.4192 / 1.6231),
        ([0.0, -1.0], 1.0),
        ([-0.1, -2.0], 0.0),
        ([-math.inf], 0.0),
        ([0.5, -math.inf], 1.0),
        ([1.0, 0.5, -0.2], 3.0),
        ([0.5, -0.25, -0.25], 3.0),
        ([0.5, -0.25, -0.5, -1.0], 2.5),
    ],
)
def test_kaplan_yorke_dimension_by_hand(exponents, dimension):
    assert kaplan_yorke_dimension(exponents) == pytest.approx(dimension, abs=1e-12)
    assert of_exponents(*exponents).kaplan_yorke_dimension == pytest.approx(dimension, abs=1e-12)


def test_kaplan_yorke_dimension_of_nan_is_nan():
    assert math.isnan(kaplan_yorke_dimension([math.nan, math.nan]))


def test_kaplan_yorke_dimension_is_known_from_leading_exponents_only_where_their_sum_is_negative():
    whole = [0.5, -0.25, -0.5, -1.0]
    for count, known in enumerate([False, False, True, True], start=1):
        found = of_exponents(*whole[:count], state_size=4).kaplan_yorke_dimension
        assert found == (2.5 if known else pytest.approx(math.nan, nan_ok=True))


def test_entropy_rate_is_the_sum_of_the_positive_exponents():
    spectrum = of_exponents(-2, 0.25, 0.5, -math.inf)
    assert spectrum.entropy_rate == 0.75
    assert spectrum.lost == 1


def test_entropy_rate_is_known_from_leading_exponents_only_where_the_last_is_not_positive():
    assert math.isnan(of_exponents(0.5, 0.25, state_size=4).entropy_rate)
    assert of_exponents(0.5, 0.25, state_size=2).entropy_rate == 0.75
    for last in (0.0, -0.1, -math.inf):  # the following exponents are not larger
        assert of_exponents(0.5, 0.25, last, state_size=4).entropy_rate == 0.75


def test_a_truncated_measurement_knows_the_size_of_its_state():
    module, inputs = lstm_and_inputs()
    assert lyapunov_spectrum(module, inputs, count=2).state_size == 6
    expanding = lambda s, x: 2 * s  # noqa: E731
    spectrum = lyapunov_spectrum(expanding, torch.zeros(20, 1, 1), state=torch.zeros(1, 3), count=2)
    assert math.isnan(spectrum.entropy_rate)
    assert math.isnan(spectrum.kaplan_yorke_dimension)
