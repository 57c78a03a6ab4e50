"""Credit of linear recurrent networks, whose gradient decays at a known rate."""

import math

import numpy as np
import pytest
import torch
from draws import noise
from probed import Linear, Reader, head_of, network, orthogonal, probe

from pipeline import measuring
from pipeline.measuring.base.measurement import TINY
from pipeline.measuring.credit import profile

STEPS = 12


def credit(model, lags, *, inputs=None, **options):
    inputs = noise(STEPS, 8, 4) if inputs is None else inputs
    return measuring.get("credit").measure(probe(model, inputs, noise(8, 1, seed=3), lags=lags, **options))


def linear(rho, *, size=4, step=-1):
    """h' = rho Q h + P x, Q and P orthogonal: the gradient loses the factor rho at each step back."""
    return Reader(Linear(rho * orthogonal(size), orthogonal(size, 6)), head_of(noise(1, size, seed=9)), step=step)


@pytest.mark.parametrize("rho", [0.3, 1.0, 1.4])
def test_the_gradient_decays_as_the_powers_of_the_recurrent_weights(rho):
    lags = np.zeros(STEPS)
    lags[[1, 4, 6]] = 0.5, 0.2, 0.3
    found = credit(linear(rho), lags)
    # products of 12 rotations: rounding below 12 x 4 x 16 eps
    assert found["credit_mean"] == pytest.approx((0.5 * 1 + 0.2 * 4 + 0.3 * 6) * math.log(rho), abs=1e-12)
    assert found["credit_least"] == pytest.approx(min(lag * math.log(rho) for lag in (1, 4, 6)), abs=1e-12)


def test_lags_beyond_tau_star_do_not_count():
    lags = np.zeros(STEPS)
    lags[[2, 5, 9]] = 0.6, 0.37, 0.03  # 97 % of the dependence lie within 5 steps
    found = credit(linear(0.5), lags)
    assert found["credit_least"] == pytest.approx(5 * math.log(0.5), abs=1e-12)
    assert found["credit_mean"] == pytest.approx((0.6 * 2 + 0.37 * 5) / 0.97 * math.log(0.5), abs=1e-12)


@pytest.mark.parametrize("every_step", [False, True])
def test_the_gradient_is_that_of_the_last_steps_loss(every_step):
    """An LSTM, unrolled by hand: torch's own gradient of the last step's squared error, and sums over sequences in NumPy."""
    model, inputs = network(every_step=every_step), noise(STEPS, 8, 3)
    targets = noise(STEPS, 8, 2, seed=3) if every_step else noise(8, 2, seed=3)
    lags = np.array([0.2, 0.3, 0, 0.5] + [0] * (STEPS - 4))
    given = probe(model, inputs, targets, lags=lags, every_step=every_step)
    own = inputs.clone().requires_grad_()
    answers = model.head(model.recurrent(own)[0][-1])
    (answers - (targets[-1] if every_step else targets)).square().sum().backward()
    squares = (own.grad**2).sum((1, 2)).flip(0)
    growth = 0.5 * (squares / squares[0]).log().numpy()
    found = measuring.get("credit").measure(given)
    assert found["credit_mean"] == pytest.approx(lags @ growth[:STEPS], abs=1e-10)
    assert found["credit_least"] == pytest.approx(growth[[0, 1, 3]].min(), abs=1e-10)


def test_the_mean_square_is_taken_over_sequences_and_inputs():
    gradient = np.zeros((3, 2, 2))
    gradient[2] = [[1, 0], [0, 1]]  # tau = 0: mean square 1
    gradient[1] = [[2, 2], [0, 0]]  # 4
    gradient[0] = [[0, 0], [0, 0.5]]  # 1/8
    assert profile(gradient) == pytest.approx([0, math.log(4) / 2, math.log(1 / 8) / 2], abs=1e-15)


def test_a_gradient_that_is_lost_counts_as_the_least_one():
    lost = math.log(TINY) / 2
    found = credit(linear(1e-6), np.full(STEPS, 1 / STEPS))
    assert found["credit_least"] == pytest.approx(lost, abs=1e-12)
    growth = [max(lag * math.log(1e-6), lost) for lag in range(STEPS)]
    assert found["credit_mean"] == pytest.approx(np.mean(growth), abs=1e-12)


def test_a_last_input_without_influence_leaves_the_unit_to_the_largest_gradient():
    """A head that reads the state three steps before the end."""
    found = credit(linear(0.5, step=-4), np.full(STEPS, 1 / STEPS))
    lost = math.log(TINY) / 2
    growth = [lost] * 3 + [lag * math.log(0.5) for lag in range(STEPS - 3)]
    assert found["credit_mean"] == pytest.approx(np.mean(growth), abs=1e-12)
    assert found["credit_least"] == pytest.approx(lost, abs=1e-12)


def test_credit_does_not_depend_on_the_size_of_the_loss():
    lags = np.full(STEPS, 1 / STEPS)
    one, other = (credit(linear(0.8), lags, loss=lambda a, t, scale=scale: scale * (a - t).square().mean()) for scale in (1, 1e3))
    assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("rho", [1e-3, 1e3])
def test_a_gradient_whose_square_has_no_float_still_has_its_growth(rho):
    """rho^130 is 1e390: both the last gradient and the first have a float64, but their squares have not."""
    sign = math.copysign(195, math.log(rho))
    gradient = np.logspace(sign, -sign, 131)[:, None, None] * np.ones((131, 2, 3))  # the last step is tau = 0
    growth = np.clip(np.arange(131) * math.log(rho), math.log(TINY) / 2, -math.log(TINY) / 2)
    assert profile(gradient) == pytest.approx(growth, abs=1e-12)  # logarithms up to 450, of some eps each


def test_no_gradient_at_all_is_no_number():
    model = linear(0.5)
    with torch.no_grad():
        model.head.weight.zero_()
    assert all(math.isnan(value) for value in credit(model, np.full(STEPS, 1 / STEPS)).values())
