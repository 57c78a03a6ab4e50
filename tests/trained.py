"""Small models, their data and one epoch of training, for the tests of the integrations."""

from dataclasses import dataclass
from typing import Any

import torch
from draws import noise, seeded
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

T, N = 32, 64


class Series(nn.Module):
    """Series (T, B, 3) -> logits (B, 3)."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class Tagger(nn.Module):
    """Tokens (B, T) -> logits (B, T, 3)."""

    def __init__(self):
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(5, 4), nn.GRU(4, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.gru(self.embedding(tokens))[0])


class Dropped(nn.Module):
    """Series (B, T, 3), projected, -> one number (B, 1); the initial state is learned, and time is first inside."""

    def __init__(self):
        super().__init__()
        self.project, self.drop, self.rnn = nn.Linear(3, 6), nn.Dropout(0.25), nn.RNN(6, 16, num_layers=2, dropout=0.5)
        self.begin, self.head = nn.Parameter(0.1 * torch.ones(2, 1, 16)), nn.Linear(16, 1)

    def forward(self, x):
        entered = self.drop(self.project(x)).transpose(0, 1)
        return self.head(self.rnn(entered, self.begin.expand(2, len(x), 16).contiguous())[0][-1])


class Leaky(nn.Module):
    """A cell of one's own: (T, B, 3) -> states and the last one."""

    def __init__(self):
        super().__init__()
        self.weight_ih, self.weight_hh = (nn.Parameter(torch.empty(16, size).uniform_(-0.3, 0.3)) for size in (3, 16))

    def forward(self, x, h=None):
        h, states = x.new_zeros(x.shape[1], 16) if h is None else h, []
        for value in x:
            h = 0.5 * h + 0.5 * (value @ self.weight_ih.T + h @ self.weight_hh.T).tanh()
            states.append(h)
        return torch.stack(states), h


class Own(nn.Module):
    """Series (T, B, 3) -> one number per step (T, B, 1), through a cell of one's own."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = Leaky(), nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.cell(x)[0])


def per_step(answers, targets):
    """Cross-entropy of answers (B, T, O)."""
    return cross_entropy(answers.flatten(0, 1), targets.flatten())


@dataclass
class Case:
    """A model with its data, and the layout that is to be found."""

    build: Any
    inputs: torch.Tensor
    targets: torch.Tensor
    loss: Any
    every_step: bool
    batch_first: bool
    recurrent: str = ""
    options: tuple = ()

    def training(self):
        """A model, its optimiser and the options of `watch`."""
        torch.manual_seed(0)
        model = self.build()
        optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
        options = {"loss": self.loss, "optimizer": optimiser, "budget": 50, **dict(self.options)}
        return model, optimiser, options | ({"recurrent": getattr(model, self.recurrent)} if self.recurrent else {})

    def batches(self, size=8):
        """The mini-batches of one epoch."""
        both = self.inputs, self.targets
        axes = int(not self.batch_first), int(self.every_step and not self.batch_first)
        return list(zip(*(v.split(size, axis) for v, axis in zip(both, axes, strict=True)), strict=True))


SERIES = noise(T, N, 3).float()
TOKENS = torch.randint(5, (N, T), generator=seeded(3))
CASES = {
    "series": Case(Series, SERIES, SERIES[-4].argmax(-1), cross_entropy, False, False),
    "tokens": Case(Tagger, TOKENS, TOKENS.roll(2, 1) % 3, per_step, True, True),
    "dropout": Case(
        Dropped, SERIES.transpose(0, 1), (SERIES[-2, :, :1] > 0).float(), binary_cross_entropy_with_logits, False, True
    ),
    "own cell": Case(
        Own, SERIES, SERIES[..., :1].roll(1, 0), mse_loss, True, False, "cell", (("batch_first", False), ("batch_size", 8))
    ),
}


def trained(model, optimiser, case, batches):
    """The losses of training on these mini-batches."""
    losses = []
    for inputs, targets in batches:
        optimiser.zero_grad()
        loss = case.loss(model(inputs), targets)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return losses
