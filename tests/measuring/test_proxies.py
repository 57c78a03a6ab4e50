"""Zero-cost proxies against closed forms and plain loops in NumPy."""

import math

import numpy as np
import pytest
import torch
from draws import exact, noise
from probed import Linear, Reader, head_of, network, probe
from torch import nn

from pipeline import measuring
from pipeline.measuring.proxies import agreement, evenness

K = 1e-5  # of Mellor et al.


def proxies(model, inputs, targets=None, **options):
    return measuring.get("proxies").measure(probe(model, inputs, targets, **options))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_snip_is_the_sum_of_gradient_times_weight(kind):
    model, inputs, targets = network(kind), noise(6, 64, 3), noise(64, 2, seed=5)
    given = probe(model, inputs, targets)
    (model(inputs) - targets).square().mean().backward()
    expected = sum(abs(g * w) for p in model.parameters() for g, w in zip(p.grad.flatten(), p.detach().flatten(), strict=True))
    assert measuring.get("proxies").measure(given)["snip"] == pytest.approx(math.log10(expected), abs=1e-12)


def test_synaptic_flow_of_a_linear_network_is_that_of_its_paths():
    """R = sum_k c |W|^k |V| 1 of a head |c|: each path has one weight of V, one of c and k of W, and so counts 2 + k times."""
    weight, into, head = 0.3 * noise(4, 4), noise(4, 3, seed=3), noise(2, 4, seed=4)
    model = Reader(Linear(weight, into), head_of(head))
    flow, state = 0.0, into.abs().sum(1)
    for k in range(6):
        flow += (2 + k) * float((head.abs() @ state).sum())
        state = weight.abs() @ state
    assert proxies(model, noise(6, 10, 3))["synflow"] == pytest.approx(math.log10(flow), abs=1e-12)


def test_synaptic_flow_of_gates_is_the_sum_of_absolute_flows():
    """A GRU with the absolute values of its weights, driven by ones, through torch's own autograd."""
    model = network(nn.GRU)
    found = proxies(model, noise(6, 10, 3), noise(10, 2))["synflow"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model(torch.ones(6, 1, 3, dtype=torch.float64)).sum().backward()
    flows = torch.cat([(p.grad * p.detach()).flatten() for p in model.parameters()])
    assert flows.min() < 0 < flows.max()  # so that the plain sum would be another number
    assert found == pytest.approx(math.log10(flows.abs().sum()), abs=1e-12)


def naive_evenness(rows):
    """Pearson's correlations pair by pair, and the roots of their matrix."""
    count = len(rows)
    matrix = np.empty((count, count))
    for i in range(count):
        for j in range(count):
            a, b = rows[i] - sum(rows[i]) / len(rows[i]), rows[j] - sum(rows[j]) / len(rows[j])
            matrix[i, j] = sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))
    values = np.linalg.eigvals(matrix).real
    return -np.mean([math.log(v + K) + 1 / (v + K) for v in values])


def test_covariances_are_those_of_gradients_and_of_last_states():
    """As many rows as the rank allows: eight sequences of ten numbers and more, so that no eigenvalue is rounding over K."""
    model, inputs, targets = network(hidden=12), noise(6, 8, 3), noise(8, 2, seed=5)
    found = proxies(model, inputs, targets)
    own = inputs.clone().requires_grad_()
    states = model.recurrent(own)[0]
    (model.head(states[-1]) - targets).square().mean().backward()
    # eigenvalues v carry 1e-14, and 1 / v^2 of that is left in 1 / v: v here above 1e-3
    assert found["jacobian_covariance"] == pytest.approx(naive_evenness(own.grad.transpose(0, 1).flatten(1).numpy()), abs=1e-7)
    assert found["hidden_covariance"] == pytest.approx(naive_evenness(states[-1].detach().numpy()), abs=1e-7)
    codes = (states[-1] > states[-1].mean()).numpy()
    same = [[sum(a == b for a, b in zip(one, two, strict=True)) / 12 for two in codes] for one in codes]
    expected = math.log(np.linalg.det(np.array(same) + K * np.eye(8))) / 8
    assert found["activation_distance"] == pytest.approx(expected, abs=1e-9)


def test_evenness_of_known_correlations():
    hadamard = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], float)
    assert evenness(hadamard + 5) == pytest.approx(-(math.log(1 + K) + 1 / (1 + K)), abs=1e-12)  # uncorrelated: the most
    pair = np.array([[1.0, -1.0], [3.0, 1.0]])  # correlated fully: eigenvalues 2 and 0
    expected = -(math.log(2 + K) + 1 / (2 + K) + math.log(K) + 1 / K) / 2
    assert evenness(pair) == pytest.approx(expected, rel=1e-9)  # an eigenvalue of 1e-16 over K = 1e-5, in 1 / K
    assert math.isnan(evenness(np.array([[1.0, 1.0], [1.0, 2.0]])))
    assert math.isnan(evenness(np.array([[1.0, math.inf], [1.0, 2.0]])))
    assert math.isnan(evenness(np.array([[1.0], [2.0], [3.0]])))  # of one number there is no correlation


def test_agreement_of_known_codes():
    alike = np.array([[True, False, True]] * 3)
    assert agreement(alike) == pytest.approx((math.log(3 + K) + 2 * math.log(K)) / 3, rel=1e-9)
    opposite = np.array([[True, False], [False, True]])
    assert agreement(opposite) == pytest.approx(math.log(1 + K), abs=1e-12)
    half = np.array([[True, True], [True, False]])  # 1/2 of their bits agree
    assert agreement(half) == pytest.approx(math.log((1 + K) ** 2 - 0.25) / 2, abs=1e-12)


def test_copies_of_one_sequence_are_as_uneven_as_can_be():
    inputs = noise(6, 1, 3).repeat(1, 8, 1)
    found = proxies(network(hidden=12), inputs, torch.zeros(8, 2, dtype=torch.float64))
    least = -(math.log(8 + K) + 1 / (8 + K) + 7 * (math.log(K) + 1 / K)) / 8
    assert found["jacobian_covariance"] == pytest.approx(least, rel=1e-8)
    assert found["hidden_covariance"] == pytest.approx(least, rel=1e-8)
    assert found["activation_distance"] == pytest.approx((math.log(8 + K) + 7 * math.log(K)) / 8, rel=1e-8)


def test_what_lies_before_the_recurrent_part_has_no_synaptic_flow():
    """Ones enter the recurrent part: an embedding in front of it changes nothing."""

    class Embedded(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.recurrent, self.head = Linear(exact([0.5]), exact([2.0])), head_of(exact([3.0]))
            self.table = nn.Parameter(scale * noise(4, 1))

        def forward(self, tokens):
            return self.head(self.recurrent(self.table[tokens])[1])

    tokens = torch.arange(20).reshape(2, 10) % 4
    found = [proxies(Embedded(scale), tokens)["synflow"] for scale in (1.0, 100.0)]
    assert found == pytest.approx([math.log10(2 * 6 + 3 * 3)] * 2, abs=1e-12)  # paths 3 * 2 and 3 * 0.5 * 2
