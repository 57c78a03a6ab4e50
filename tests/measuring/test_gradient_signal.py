"""The gradient's signal: against NumPy, and for gradients drawn from a known distribution."""

import math

import numpy as np
import pytest
import torch
from draws import exact, noise
from probed import network, probe
from torch import nn

from pipeline import measuring
from pipeline.measuring.gradient_signal import signal


class Sum(nn.Module):
    """w x of the last input, and a second parameter v for inputs beyond the first `split`."""

    def __init__(self, size, split):
        super().__init__()
        self.recurrent, self.split = nn.Identity(), split
        self.recurrent.w = nn.Parameter(torch.zeros(split, dtype=torch.float64))
        self.v = nn.Parameter(torch.zeros(size - split, dtype=torch.float64))

    def forward(self, inputs):
        x = self.recurrent(inputs)[-1]
        return (x[:, : self.split] @ self.recurrent.w + x[:, self.split :] @ self.v)[:, None]


def mean(answers, targets):
    """A loss whose gradient of one sequence is that sequence's input."""
    return answers.mean()


def of(gradients, *, split=1, **options):
    given = probe(Sum(gradients.shape[1], split), gradients[None], loss=mean, **options)
    return measuring.get("gradient_signal").measure(given)


@pytest.mark.parametrize(("count", "micro"), [(64, 16), (40, 10), (8, 2), (11, 2)])
def test_the_numbers_are_mccandlishs_from_gradients_of_two_batch_sizes(count, micro):
    """Loops over sequences: |g_b|^2 of four micro-batches, |g_B|^2 of all, equation A.2 of the paper."""
    rows = 0.7 + noise(count, 5)
    given = probe(Sum(5, 2), rows[None], loss=mean, batch_size=20)
    order = given._chosen[: 4 * micro]
    assert sorted(set(order.tolist())) == sorted(order.tolist())
    x = rows[order].numpy()
    found = measuring.get("gradient_signal").measure(given)
    for name, part in (("signal", slice(0, 5)), ("signal_recurrent", slice(0, 2)), ("signal_rest", slice(2, 5))):
        small = np.mean([sum(np.mean(x[i : i + micro, j]) ** 2 for j in range(5)[part]) for i in range(0, 4 * micro, micro)])
        large = sum(np.mean(x[:, j]) ** 2 for j in range(5)[part])
        b, whole = micro, 4 * micro
        squared = (whole * large - b * small) / (whole - b)
        trace = (small - large) / (1 / b - 1 / whole)
        assert trace > 0
        assert squared > 0.01 * trace / whole
        assert found[name] == pytest.approx(math.log10(20 * squared / trace), abs=1e-10)
    assert found["probe_gradient_norm"] == pytest.approx(math.log10(np.linalg.norm(x.mean(0))), abs=1e-12)


@pytest.mark.parametrize(("size", "spread", "batch"), [(1.0, 1.0, 1), (0.5, 2.0, 20), (2.0, 0.5, 100)])
def test_signal_of_gradients_of_a_known_mean_and_variance(size, spread, batch):
    """D = 4000 numbers of mean m and variance s^2: |G|^2 = D m^2, tr V = D s^2."""
    D, B = 4000, 64
    found = of(size + spread * noise(B, D), split=D // 2, batch_size=batch)
    # relative standard errors: tr V rests on 3 D squares, sqrt(2 / 3 D); |g_B|^2 on D m^2 + 2 m e + e^2 - s^2 / B, e ~ s^2 / B
    for name, count in (("signal", D), ("signal_recurrent", D / 2), ("signal_rest", D / 2)):
        noise_of_v = math.sqrt(2 / (3 * count))
        e = spread**2 / B
        noise_of_g = math.sqrt((4 * size**2 * e + 4 * e**2) / count) / size**2
        allowed = 4 * math.hypot(noise_of_v, noise_of_g) / math.log(10)
        assert allowed < 0.2
        assert found[name] == pytest.approx(math.log10(batch * (size / spread) ** 2), abs=1.1 * allowed)


def test_no_signal_counts_as_a_hundredth_of_its_uncertainty():
    """Gradients g, -g, g and -g of the four micro-batches: the estimate of |G|^2 is -|g|^2 / 3, less than tr V / 100 B."""
    rows = noise(1, 5).repeat(64, 1)
    order = probe(Sum(5, 2), rows[None], loss=mean)._chosen
    rows[order] *= torch.tensor([1.0, -1.0, 1.0, -1.0]).repeat_interleave(16)[:, None]
    found = of(rows, split=2, batch_size=20)
    assert [found[name] for name in ("signal", "signal_recurrent", "signal_rest")] == pytest.approx(
        [math.log10(20 * 0.01 / 64)] * 3
    )
    assert found["probe_gradient_norm"] == -6  # of a square that is cut to 1e-12
    assert signal(1.0, 0.25, 16, 64) == pytest.approx(0.01 / 64, rel=1e-12)  # as of independent gradients of mean 0


def test_sequences_that_are_alike_are_all_signal():
    """No variance: 1e-12 of the squared norm in its place."""
    found = of(exact(1.0, 2.0, 3.0).repeat(64, 1), batch_size=1)
    assert found["signal"] == pytest.approx(12, abs=1e-9)
    assert found["probe_gradient_norm"] == pytest.approx(math.log10(14) / 2, abs=1e-12)


@pytest.mark.parametrize(("small", "large"), [(0.0, 0.0), (math.inf, 1.0), (math.nan, math.nan), (1.0, math.nan)])
def test_no_gradient_or_no_number_has_no_signal(small, large):
    assert math.isnan(signal(small, large, 16, 64))


def test_the_recurrent_parameters_are_those_of_the_recurrent_part():
    """Of an LSTM: torch's own gradient of the mean loss of the whole batch, and its squares by part."""
    model, inputs, targets = network(), noise(6, 64, 3), noise(64, 2, seed=5)
    given = probe(model, inputs, targets)
    (model(inputs) - targets).square().mean().backward()
    recurrent, rest = (sum(float(p.grad.square().sum()) for p in part.parameters()) for part in (model.recurrent, model.head))
    found = measuring.get("gradient_signal").measure(given)
    assert found["probe_gradient_norm"] == pytest.approx(math.log10(recurrent + rest) / 2, abs=1e-12)
    assert given.in_recurrence == [True] * 4 + [False] * 2
    ours = [
        sum(float(g.square().sum()) for g, own in zip(given.gradient, given.in_recurrence, strict=True) if own is which)
        for which in (True, False)
    ]
    assert ours == pytest.approx([recurrent, rest], rel=1e-12)
