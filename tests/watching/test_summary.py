"""The sentences of a summary against maps whose exponents are known, and at the edges of what can be measured."""

import json
import math
import warnings

import numpy as np
import oracles
import pytest
import torch
from draws import exact, module_of, noise, seeded
from matplotlib.figure import Figure
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from pipeline import ModuleError, Spectrum, StabilityPredictor, Summary, summary
from pipeline.core.errors import SurrogateWarning
from pipeline.watching import sentences

GOLDEN = math.log((3 + 5**0.5) / 2)  # the larger exponent of the cat map


def linear(*values, steps=100, **options):
    """Of the map state' = diag(values) state."""
    factors = exact(*values)
    return summary(lambda s, x: s * factors + x, torch.zeros(steps, 2, 1), state=torch.ones(2, len(values)), **options)


def of(growth, *, length=100, **options):
    """Of a spectrum with this log growth (T, B, k)."""
    return Summary(Spectrum.from_growth(growth, **options), length, "a function")


def line(found, begin):
    (only,) = [line for line in found.lines if line.startswith(begin)]
    return only


def test_a_linear_map_forgets_at_the_rate_of_its_largest_factor():
    found = linear(0.4, 0.995, 0.3)  # misaligned by (0.4 / 0.995)^20 = 1e-8 at first
    assert found.regime == "stable"
    assert found.memory == pytest.approx(-1 / math.log(0.995), rel=1e-6)  # 199.5
    assert found.log10_gain == pytest.approx(100 * math.log10(0.995), rel=1e-6)  # 0.606
    assert found.remembering == 1
    assert line(found, "a function") == (
        "a function: all 3 exponents, from 2 sequences of 100 steps (the first 20 are not counted)"
    )
    assert "approach each other by 0.5 % per step" in line(found, "stable")
    assert line(found, "memory").endswith("shrinks to 1/e (37 %) within 200 steps on average; a sequence has 100 steps")
    assert line(found, "directions") == (
        "directions: 1 of 3 (33 %) remembers a whole sequence; it does not shrink to 1/e within 100 steps"
    )
    assert "all 100 steps multiplies a gradient by about 0.61" in line(found, "gradients")
    assert line(found, "gradients").endswith("it is kept")


def test_a_fast_map_forgets_within_a_step_and_its_gradients_vanish():
    found = linear(1e-3, 1e-4, steps=50)
    assert "by more than 99 % per step" in line(found, "stable")
    assert "within less than 1 step on average" in line(found, "memory")
    assert line(found, "directions").startswith("directions: none of 2 remembers a whole sequence; each shrinks to 1/e or less")
    assert "10^-150" in line(found, "gradients")  # 1e-3 ** 50
    assert line(found, "gradients").endswith("it vanishes")


def test_the_length_of_a_training_sequence_counts_for_memory_and_gradients():
    found = linear(0.9, steps=30)
    assert found.length == 30
    told = summary(lambda s, x: 0.9 * s + x, torch.zeros(30, 2, 1), state=torch.ones(2, 1), steps=1000)
    assert told.length == 1000
    assert told.log10_gain == pytest.approx(1000 * math.log10(0.9))
    assert "a sequence has 1,000 steps" in line(told, "memory")
    assert "from 2 sequences of 30 steps" in told.lines[0]
    with pytest.raises(ModuleError, match="steps is 0; it should be a whole number above 0"):
        summary(lambda s, x: s, torch.zeros(30, 2, 1), state=torch.ones(2, 1), steps=0)


def test_the_henon_map_is_chaotic_with_its_known_dimension():
    start = oracles.settled(oracles.henon_step, 0.1 * noise(100, 2), 200)
    found = summary(oracles.henon_step, torch.zeros(320, 100, 1), state=start, transient=20)
    first, second = oracles.HENON
    assert found.regime == "chaotic"
    assert found.memory == math.inf
    assert found.dimension == pytest.approx(1 - first / second, abs=0.02)
    assert "doubles every 1.7 steps" in line(found, "chaotic") or "doubles every 1.6 steps" in line(found, "chaotic")  # 1.65
    assert "spread over about 1.2" in line(found, "dimension")
    assert line(found, "gradients").endswith("it explodes")
    assert "a deviation of the state does not fade, it grows by a factor of e within 2.4 steps" in line(found, "memory")


def test_fast_growth_is_a_factor_per_step():
    matrix = exact(2, 1, 1, 1).reshape(2, 2)
    found = summary(lambda s, x: s @ matrix.T, torch.zeros(120, 1, 1), state=torch.zeros(1, 2), transient=40)
    assert found.largest == pytest.approx(GOLDEN)
    assert "grows by a factor of 2.6 per step" in line(found, "chaotic, if the state stays bounded and does not rest")


def test_a_rotation_is_on_the_edge_and_keeps_everything():
    turn = oracles.rotation(12, seeded())
    found = summary(lambda s, x: s @ turn.T, torch.zeros(50, 2, 1), state=noise(2, 12))
    assert found.regime == "on the edge"
    assert line(found, "on the edge") == "on the edge of stability: two nearby states keep their distance"
    assert "the largest is 0 nats per step (95 % interval 0 to 0), good to better than 1e-06" in line(found, "exponents")
    assert "12 of 12 (100 %) remember" in line(found, "directions")
    assert "by about 1 in the direction" in line(found, "gradients")
    assert "does not shrink" in line(found, "memory")


def test_an_interval_around_zero_is_on_the_edge_as_far_as_the_data_show():
    growth = noise(60, 2, 1)
    found = of(growth - growth.mean() + 0.01, transient=0)
    low, high = found.interval
    assert low < 0 < high
    assert found.regime == "on the edge"
    assert "may approach each other or move apart, as far as the data show" in line(found, "on the edge")
    assert f"it takes at least {sentences.steps(-1 / low)} to shrink" in line(found, "memory")
    assert line(found, "gradients").endswith("it vanishes or is kept or explodes")


def test_the_interval_contains_rounding():
    growth = torch.full((50, 4, 2), -1e-3).double()
    assert of(growth, transient=0).regime == "stable"
    assert of(growth, transient=0, rounding_error=exact(2e-3, 0)).regime == "on the edge"
    found = of(growth, transient=0, rounding_error=exact(math.inf, 0))
    assert found.regime == "on the edge"
    assert "how fast it fades is unknown" in line(found, "memory")
    assert "inf" not in line(found, "gradients")


def test_directions_that_are_all_lost_leave_nothing():
    found = summary(oracles.logistic_step(2), torch.zeros(10, 3, 1), state=torch.full((3, 1), 0.5), transient=0)
    assert found.regime == "stable"
    assert found.largest == -math.inf
    assert found.memory == 0
    assert "two nearby states become equal" in line(found, "stable")
    assert line(found, "exponents") == "exponents: all are -inf nats per step"
    assert line(found, "gradients").endswith("it vanishes")
    assert "none of 1" in line(found, "directions")


def test_directions_that_some_sequences_lose_are_counted():
    growth = torch.full((10, 3, 2), -0.1).double()
    growth[:, 0] = -math.inf
    assert line(of(growth, transient=0), "stable") == (
        "stable: each direction is lost in at least one sequence; in 1 of 3 sequences two nearby states become equal"
    )
    growth[:, 0, 1], growth[:, 1, 1] = -0.1, -math.inf
    assert line(of(growth, transient=0), "stable") == "stable: each direction is lost in at least one sequence"


def test_a_network_that_diverges_everywhere_has_no_exponents():
    found = summary(lambda s, x: 10 * s * s, torch.zeros(50, 2, 1), state=exact(4.0, 5.0)[:, None])
    assert found.regime == "diverged"
    assert found.lines[1:] == ("diverged: in no sequence did the state stay finite, so that there are no exponents",)
    assert math.isnan(found.memory)
    assert repr(found) == "Summary(a function: diverged)"


def test_sequences_that_diverge_are_counted_and_left_out():
    found = summary(lambda s, x: s * s / 2 + x, torch.zeros(60, 3, 1), state=exact(0.0, 0.5, 9.0)[:, None], transient=0)
    assert line(found, "diverged").startswith("diverged: in 1 of 3 sequences")
    assert found.regime == "stable"


def test_one_step_of_one_sequence_has_no_error():
    found = summary(lambda s, x: s / 2, torch.zeros(1, 1, 1), state=torch.ones(1, 1))
    assert found.regime == "unknown"
    assert "unknown error" in line(found, "exponents")
    assert "shrinks to 1/e (37 %) within 1.4 steps" in line(found, "memory")  # 1 / log 2
    assert "through 1 step multiplies a gradient by about 0.5" in line(found, "gradients")
    with pytest.raises(ModuleError):
        summary(lambda s, x: s / 2, torch.zeros(0, 1, 1), state=torch.ones(1, 1))


def test_a_truncated_spectrum_says_how_many_directions_there_are_at_least():
    values = [1.0, 0.999, 0.5, 0.4]
    assert line(linear(*values, count=2), "directions").startswith("directions: at least 2 of 4 (50 %) remember")
    assert line(linear(*values, count=3), "directions").startswith("directions: 2 of 4 (50 %) remember")
    assert line(linear(*values, count=1), "directions").startswith("directions: at least 1 of 4 (25 %) remember")
    assert linear(*values, count=3).lines[0].startswith("a function: 3 of 4 exponents, the largest, from")
    growing = linear(1.5, 1.2, 1.1, 0.9, count=2)
    assert "at least 2 of 4" in line(growing, "dimension")


@pytest.mark.parametrize(("size", "count"), [(256, 256), (257, 32)])
def test_of_a_large_state_the_32_largest_exponents_are_measured(size, count):
    found = summary(nn.GRU(2, size), noise(12, 1, 2).float())
    assert found.spectrum.per_sequence.shape[1] == count
    assert found.lines[0].startswith(f"GRU (H = {size}): ")


def test_a_spectrum_of_eight_or_all_exponents_is_compared_with_the_trials():
    assert linear(*[0.9] * 9, count=7).trials == 0
    assert "not compared" in line(linear(*[0.9] * 9, count=7), "unusual")
    assert linear(*[0.9] * 9, count=8).trials == linear(0.9).trials == 2880


def test_what_is_unusual_agrees_with_the_trials_themselves():
    trials = StabilityPredictor.load().trials
    growth = np.sort(np.asarray(trials["initial_growth_over_sequence"], float))
    growth = growth[np.isfinite(growth)]
    for share, words in ((0.01, "among the smallest 2.5 %"), (0.5, ""), (0.99, "among the largest 2.5 %")):
        factor = math.exp(growth[int(share * len(growth))] / 40)
        found = linear(*[factor] * 8, steps=40)
        said = [sentence for sentence in found.unusual if sentence.startswith("the growth of a deviation over a sequence")]
        assert said == ([f"the growth of a deviation over a sequence is {words}"] if words else [])
    found = linear(*[math.exp(1.1 * growth[-1] / 40)] * 8, steps=40)
    assert "the growth of a deviation over a sequence is above all of them" in found.unusual
    assert "above all of them" in line(found, "unusual among the 2,880 trials, before training")
    assert line(linear(*[0.95] * 8, steps=40), "unusual").endswith(": nothing")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.LSTM(3, 8, num_layers=2), "LSTM (H = 8, 2 layers): all 32 exponents"),
        (nn.GRU(3, 8, batch_first=True), "GRU (H = 8): all 8 exponents"),
        (nn.DataParallel(nn.RNN(3, 8)), "RNN (H = 8): all 8 exponents"),
    ],
)
def test_a_model_is_named_and_left_as_it_is(model, words):
    before, random, inputs = (
        {k: v.clone() for k, v in model.state_dict().items()},
        torch.get_rng_state(),
        noise(20, 20, 3).float(),
    )
    found = summary(model, inputs)
    assert found.lines[0].startswith(words)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert model.training


def test_sequences_of_unequal_length_are_compared_with_the_longest():
    packed = pack_sequence([noise(40, 3), noise(25, 3)])
    found = summary(module_of(nn.GRU, 3, 4), packed)
    assert "from 2 sequences of up to 40 steps" in found.lines[0]
    assert "the longest sequence has 40 steps" in line(found, "memory")


def test_what_limits_the_result_is_a_note_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = linear(*np.linspace(0.90, 0.99, 12))
    assert any("had not aligned" in note for note in found.notes)
    assert [each for each in found.lines if each.startswith("note: ")] == [f"note: {note}" for note in found.notes]


class Spike(torch.autograd.Function):
    """A step function with a derivative of its own."""

    @staticmethod
    def forward(state):
        return state.sign()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + ctx.saved_tensors[0].abs()) ** 2


def test_other_warnings_reach_the_caller():
    with pytest.warns(SurrogateWarning) as caught:
        summary(lambda s, x: 0.5 * s + Spike.apply(s + x), noise(30, 2, 2), state=noise(2, 2))
    assert caught[0].filename == __file__


EVERY = {
    "stable": lambda: linear(0.9, 0.5),
    "chaotic": lambda: linear(1.5, 0.5),
    "edge": lambda: of(noise(60, 2, 1), transient=0),
    "lost": lambda: of(torch.full((10, 3, 2), -math.inf).double(), transient=0),
    "unknown": lambda: of(noise(1, 1, 2), transient=0),
    "growing, unknown": lambda: of(noise(1, 1, 2).abs(), transient=0),
    "still, unknown": lambda: of(torch.zeros(1, 1, 2).double(), transient=0),
    "diverged": lambda: of(torch.full((10, 3, 2), math.nan).double(), transient=0),
    "truncated": lambda: of(noise(60, 3, 2), transient=10, state_size=700, length=123456),
    "steep": lambda: of(noise(60, 3, 2) - 700, transient=10, length=123456),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_summary_is_about_ten_lines_and_json_and_a_figure(name, tmp_path):
    found = EVERY[name]()
    assert 2 <= len(found.lines) <= 11
    assert str(found) == "\n".join(found.lines)
    assert "nan" not in str(found)
    assert "\n" not in repr(found)
    assert len(repr(found)) <= 120
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["lines"] == list(found.lines)
    assert again["regime"] == found.regime
    axes = found.plot(path=tmp_path / "summary.png")
    assert (tmp_path / "summary.png").stat().st_size > 5000
    written = " ".join(" ".join(text.get_text() for text in axes.texts).split())
    assert all(" ".join(each.split()) in written for each in found.lines)


def test_on_axes_of_ones_own_the_regime_is_the_title():
    axes = Figure().subplots()
    assert linear(0.9).plot(ax=axes) is axes
    assert axes.get_title(loc="left") == "a function: stable"
