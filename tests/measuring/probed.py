"""Small networks and probes of them, for the tests of the measurements."""

import numpy as np
import torch
from draws import noise, seeded
from torch import nn

from pipeline.measuring.base.probe import Probe, Task


class Linear(nn.Module):
    """h' = W h + V x from 0: inputs (T, B, I) -> states (T, B, H) and the last of them."""

    def __init__(self, weight, into):
        super().__init__()
        self.weight, self.into = nn.Parameter(weight.clone()), nn.Parameter(into.clone())

    def forward(self, inputs):
        state, states = inputs.new_zeros(inputs.shape[1], len(self.weight)), []
        for x in inputs:
            state = state @ self.weight.T + x @ self.into.T
            states.append(state)
        return torch.stack(states), state


class Reader(nn.Module):
    """A recurrent part, and a head that reads its state at one step, or at every step."""

    def __init__(self, recurrent, head, *, step=-1, every_step=False):
        super().__init__()
        self.recurrent, self.head, self.step, self.every_step = recurrent, head, step, every_step

    def forward(self, inputs):
        states = self.recurrent(inputs)[0]
        return self.head(states if self.every_step else states[self.step])


class Quadratic(nn.Module):
    """Answers with its one parameter, whatever the inputs."""

    def __init__(self, point):
        super().__init__()
        self.recurrent, self.point = nn.Identity(), nn.Parameter(point.clone())

    def forward(self, inputs):
        return self.recurrent(inputs).new_ones(inputs.shape[1], 1) * self.point


def squares(answers, targets):
    """Mean squared error."""
    return (answers - targets).square().mean()


def head_of(weight):
    """A linear layer without bias."""
    layer = nn.Linear(*reversed(weight.shape), bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def orthogonal(size, seed=5):
    """A random orthogonal matrix."""
    return torch.linalg.qr(noise(size, size, seed=seed)).Q


def probe(model, inputs, targets=None, *, loss=squares, optimiser=None, chance=1.0, lags=None, recurrent=None, **options):
    """A probe of a model on data; by default stochastic gradient descent with a learning rate of 0.1, and w(tau) even."""
    task = {name: options.pop(name) for name in ("every_step", "batch_first") if name in options}
    batch, time = (0, 1) if task.get("batch_first") else (1, 0)
    targets = torch.zeros(inputs.shape[batch], 1, dtype=torch.float64) if targets is None else targets
    lags = np.full(inputs.shape[time], 1 / inputs.shape[time]) if lags is None else np.asarray(lags, float)
    optimiser = optimiser or torch.optim.SGD(model.parameters(), lr=0.1)
    described = Task(inputs, targets, loss, chance, lags, **task)
    options = {"batch_size": 20} | options
    return Probe(model, model.recurrent if recurrent is None else recurrent, optimiser, described, **options)


def drawn(model, *, seed=1, scale=0.5):
    """The model with weights from uniform(-scale, scale)."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    return model


def network(kind=nn.LSTM, inputs=3, hidden=5, outputs=2, *, double=True, seed=1, **options):
    """A recurrent module of torch and a linear layer, with weights as `drawn`."""
    model = Reader(kind(inputs, hidden), nn.Linear(hidden, outputs), **options)
    return drawn(model.double() if double else model, seed=seed)
