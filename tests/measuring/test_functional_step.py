"""The functional step of linear models, whose gradient is known in closed form."""

import math

import numpy as np
import pytest
import torch
from draws import exact, noise
from probed import Linear, Reader, head_of, probe, squares
from torch import nn

from pipeline import measuring

SEQUENCES, RATE = 24, 0.03  # four micro-batches of six: the whole batch is all sequences
WEIGHT = noise(2, 3, seed=8)


def measured(model, inputs, targets, **options):
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    return measuring.get("functional_step").measure(probe(model, inputs, targets, optimiser=optimiser, **options))


class Regression(nn.Module):
    """Answers W x of the last input, or of every one."""

    def __init__(self, *, every_step=False):
        super().__init__()
        self.recurrent, self.head, self.every_step = nn.Identity(), head_of(WEIGHT), every_step

    def forward(self, inputs):
        x = self.recurrent(inputs)
        return self.head(x if self.every_step else x[-1])


def expected(x, y):
    """Of rows x (N, I), y (N, O): W falls by eta g, g = 2 / (N O) (x W - y)^T x, and the answers by eta g x."""
    x, y, w = x.numpy(), y.numpy(), WEIGHT.numpy()
    gradient = 2 / y.size * (x @ w.T - y).T @ x
    moved = (RATE * x @ gradient.T) ** 2
    answers = x @ w.T
    spread = sum(np.mean((answers[:, o] - answers[:, o].mean()) ** 2) for o in range(2))
    return math.log10(moved.sum(1).mean() / spread)


def test_a_regression_moves_by_its_gradient():
    inputs, targets = noise(4, SEQUENCES, 3), noise(SEQUENCES, 2, seed=3)
    found = measured(Regression(), inputs, targets)
    assert found["functional_step"] == pytest.approx(expected(inputs[-1], targets), abs=1e-10)  # rounding of some 100 sums


def test_answers_at_every_step_vary_over_steps_too():
    inputs, targets = noise(4, SEQUENCES, 3) + torch.arange(4)[:, None, None], noise(4, SEQUENCES, 2, seed=3)
    found = measured(Regression(every_step=True), inputs, targets, every_step=True)
    assert found["functional_step"] == pytest.approx(expected(inputs.flatten(0, 1), targets.flatten(0, 1)), abs=1e-10)


def test_memory_costs_sensitivity():
    """d h_T / d rho = sum k rho^(k - 1) x_(T - k) grows with memory: the step of a scalar network by hand."""
    found = {}
    inputs, targets = noise(30, SEQUENCES, 1), noise(SEQUENCES, 1, seed=3)
    lags = np.arange(29, -1, -1.0)
    x = inputs[..., 0].numpy()
    for rho in (0.2, 0.9):
        model = Reader(Linear(exact([rho]), exact([1.0])), head_of(exact([1.0])))
        found[rho] = measured(model, inputs, targets)["functional_step"]
        error = 2 * ((rho**lags @ x) - targets[:, 0].numpy()) / SEQUENCES
        by_weight = (lags * rho ** np.maximum(lags - 1, 0)) @ x  # of all sequences
        new = rho - RATE * error @ by_weight
        scale = (1 - RATE * error @ (rho**lags @ x)) ** 2  # of the input weight and of the head alike
        moved = scale * (new**lags @ x) - rho**lags @ x
        by_hand = math.log10(np.mean(moved**2) / np.var(rho**lags @ x))
        assert found[rho] == pytest.approx(by_hand, abs=1e-9)
    assert found[0.9] > found[0.2] + 1


def test_the_step_is_that_of_the_optimiser():
    """Ten times the learning rate moves a linear model ten times as far, and AdamW's own update counts."""
    inputs, targets = noise(4, SEQUENCES, 3), noise(SEQUENCES, 2, seed=3)
    found = []
    for rate in (0.01, 0.1):
        model = Regression()
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
        given = probe(model, inputs, targets, loss=squares, optimiser=optimiser)
        found.append(measuring.get("functional_step").measure(given)["functional_step"])
    answers = inputs[-1] @ WEIGHT.T
    sign = 2 * ((answers - targets).T @ inputs[-1]).sign()  # up to 1e-8 / |g|, below 1e-5
    moved = (0.005 * inputs[-1] @ sign.T).square().sum(-1).mean() / answers.var(0, correction=0).sum()
    assert found[0] == pytest.approx(math.log10(moved), abs=1e-5)
    assert found[1] - found[0] == pytest.approx(2, abs=1e-9)
