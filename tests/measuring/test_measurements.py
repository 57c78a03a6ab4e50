"""Properties of all measurements: their columns, and networks at the limits of what can be measured."""

import math
import subprocess
import sys
import warnings

import pytest
import torch
from draws import noise, seeded
from probed import Reader, drawn, network, probe
from torch import nn

from pipeline import measuring
from pipeline.core.registry import LIBRARY

NAMES = measuring.names()


def everything(given):
    found = {}
    for name in NAMES:
        found |= measuring.get(name).measure(given)
    return found


# The registry


def test_every_file_is_a_measurement_with_documented_columns():
    assert sorted(p.stem for p in (LIBRARY / "measuring").glob("*.py")) == sorted([*NAMES, "__init__"])
    for name in NAMES:
        columns = measuring.get(name).columns
        assert columns
        for column, described in columns.items():
            assert column.isidentifier()
            assert column == column.lower()
            assert len(described.meaning) > 10
            assert described.least < described.most


def test_columns_are_unique_over_the_files():
    every = [column for name in NAMES for column in measuring.get(name).columns]
    assert len(every) == len(set(every))
    assert list(measuring.columns()) == every


def test_importing_the_measurements_loads_no_torch():
    code = "import sys; from pipeline import measuring; measuring.columns(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent, timeout=60).returncode == 0


# Any network

MODELS = {
    "lstm": lambda: (network(nn.LSTM), noise(9, 64, 3), noise(64, 2, seed=5), {}),
    "gru, float32": lambda: (network(nn.GRU, double=False), noise(9, 64, 3).float(), noise(64, 2, seed=5).float(), {}),
    "each step": lambda: (network(every_step=True), noise(9, 64, 3), noise(9, 64, 2, seed=5), {"every_step": True}),
    "one output": lambda: (network(outputs=1), noise(9, 64, 3), noise(64, 1, seed=5), {}),
    "one input": lambda: (network(inputs=1), noise(9, 64, 1), noise(64, 2, seed=5), {}),
    "one unit": lambda: (network(hidden=1), noise(9, 64, 3), noise(64, 2, seed=5), {}),
    "one step": lambda: (network(), noise(1, 64, 3), noise(64, 2, seed=5), {}),
    "eight sequences": lambda: (network(), noise(9, 8, 3), noise(8, 2, seed=5), {}),
    "eight sequences, each step": lambda: (
        network(every_step=True),
        noise(9, 8, 3),
        noise(9, 8, 2, seed=5),
        {"every_step": True},
    ),
    "many sequences": lambda: (network(), noise(3, 1500, 3), noise(1500, 2, seed=5), {}),
    "constant inputs": lambda: (network(), torch.ones(9, 64, 3).double(), noise(64, 2, seed=5), {}),
    "constant targets": lambda: (network(), noise(9, 64, 3), torch.ones(64, 2).double(), {}),
}
BROKEN = {
    "constant answers": lambda model: model.head.weight.zero_(),
    "all weights 0": lambda model: [p.zero_() for p in model.parameters()],
    "no recurrence": lambda model: model.recurrent.weight_hh_l0.zero_(),
    "no input": lambda model: model.recurrent.weight_ih_l0.zero_(),
    "one weight NaN": lambda model: model.recurrent.weight_hh_l0.view(-1)[0].fill_(math.nan),
    "all weights NaN": lambda model: [p.fill_(math.nan) for p in model.parameters()],
    "infinite weights": lambda model: [p.fill_(math.inf) for p in model.parameters()],
    "infinite head": lambda model: model.head.weight.fill_(math.inf),
    "huge weights": lambda model: [p.mul_(1e18) for p in model.parameters()],
    "vast weights": lambda model: [p.mul_(1e37) for p in model.parameters()],
    "tiny weights": lambda model: [p.mul_(1e-20) for p in model.parameters()],
}


def sane(found):
    """All columns, each a finite number within its bounds or NaN."""
    assert list(found) == list(measuring.columns())
    for name, value in found.items():
        column = measuring.columns()[name]
        assert isinstance(value, float)
        assert math.isnan(value) or (math.isfinite(value) and column.least <= value <= column.most), (name, value)
    return found


@pytest.mark.parametrize("case", MODELS)
def test_numbers_lie_within_the_bounds_of_their_columns(case):
    model, inputs, targets, options = MODELS[case]()
    found = sane(everything(probe(model, inputs, targets, **options)))
    undefined = {
        "one unit": {"hidden_covariance"},
        "constant targets": {"readout_score", "readout_gap"},
    }
    assert {name for name, value in found.items() if math.isnan(value)} == undefined.get(case, set())


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("case", BROKEN)
def test_a_network_that_is_broken_is_measured_without_an_exception_or_warning(case, kind, every_step, optimiser):
    model = network(kind, every_step=every_step, double=False)
    with torch.no_grad():
        BROKEN[case](model)
    targets = noise(9, 64, 2, seed=5) if every_step else noise(64, 2, seed=5)
    given = optimiser(model.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sane(everything(probe(model, noise(9, 64, 3).float(), targets.float(), every_step=every_step, optimiser=given)))
    if case in ("all weights NaN", "infinite weights"):
        told = {name for name, value in found.items() if not math.isnan(value)}
        assert told == {"lag_needed"}


def test_a_network_of_zeros_has_no_step_that_is_too_large_and_no_rank():
    """Nothing moves but the head's bias: no gradient reaches the input, no state differs, and answers are all alike."""
    model = network(double=False)
    with torch.no_grad():
        BROKEN["all weights 0"](model)
    found = everything(probe(model, noise(9, 64, 3).float(), noise(64, 2, seed=5).float()))
    assert all(math.isnan(found[name]) for name in ("credit_mean", "credit_least", "signal_recurrent", "jacobian_covariance"))
    assert found["state_rank"] == found["separation"] == found["generalisation"] == 0
    assert found["snip"] == found["synflow"] == -12
    assert found["functional_step"] == 12  # it moves, and does not vary


def test_a_diverged_network_of_float64_whose_gradient_explodes_is_measured_without_warnings():
    """A linear network that grows by 1e3 at each of 80 steps: the square of its gradient exceeds the range of float64."""

    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((1, 1), 1e3, dtype=torch.float64))

        def forward(self, inputs):
            state, states = torch.zeros_like(inputs[0]), []
            for x in inputs:
                state = state @ self.weight + x
                states.append(state)
            return torch.stack(states), state

    model = Reader(Growing(), nn.Linear(1, 1).double())
    with torch.no_grad():
        model.head.weight.fill_(1.0)
    loss = lambda answers, targets: answers.mean()  # noqa: E731
    found = sane(everything(probe(model, noise(80, 64, 1), noise(64, 1, seed=3), loss=loss)))
    assert found["credit_mean"] > 30


def test_classes_and_tokens_are_measured():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.recurrent, self.head = nn.Embedding(5, 3), nn.GRU(3, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, tokens):
            return self.head(self.recurrent(self.embedding(tokens))[0][:, -1])

    tokens, classes = torch.randint(0, 5, (40, 7), generator=seeded()), torch.randint(0, 4, (40,), generator=seeded(2))
    given = probe(drawn(Tagger()), tokens, classes, loss=nn.functional.cross_entropy, chance=math.log(4), batch_first=True)
    assert all(map(math.isfinite, sane(everything(given)).values()))
