"""Exponents, their order, errors and intervals, dimension and entropy rate; nats per step.

Exponents are estimated independently of one another, so that thousands of repeats of a one-dimensional system can be
placed side by side on the axis k of one growth tensor. Sorting them does not change the share of intervals that cover their
common true value.
"""

import math

import oracles
import pytest
import torch
from draws import exact, noise, seeded
from torch import nn
from torch.testing import assert_close

from pipeline import Spectrum, lyapunov_spectrum
from pipeline.core.errors import ModuleError
from pipeline.spectrum.estimate import kaplan_yorke_dimension, largest_standard_error

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
