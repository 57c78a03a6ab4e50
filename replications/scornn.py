"""scoRNN, scuRNN and expRNN: copying compared with an LSTM, digits, and why D is needed."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from pipeline import cells
from pipeline.cells.scornn import ScoRNN

from . import _digits
from ._harness import Outcome, Row
from ._learn import SYMBOLS, Learning, best_rate, copying_baseline, copying_problem, descend, learn

RMSPROP = partial(torch.optim.RMSprop, alpha=0.9)  # the papers' decay
SOLVED = 0.2  # share of the baseline's loss
LABELS = {"scornn": "scoRNN", "scurnn": "scuRNN", "exprnn": "expRNN", "lstm": "LSTM"}


@dataclass(frozen=True)
class Size:
    """How much is run: copying over a delay, the rates that are tried for the LSTM, and the fit of an orthogonal matrix."""

    delay: int
    steps: int
    units: dict[str, int]
    learning_rate: float
    lstm_rates: tuple[float, ...]
    seeds: int
    fit_units: int
    fit_steps: int


WHOLE = Size(100, 800, {"scornn": 64, "scurnn": 48, "exprnn": 64, "lstm": 64}, 1e-3, (1e-3, 3e-3, 1e-2), 3, 64, 2000)
SMALL = Size(20, 250, {"scornn": 48, "lstm": 48}, 3e-3, (3e-3, 1e-2), 1, 8, 100)


def run(small: bool) -> Outcome:
    """Copying, the determinant, and digits; small: a delay of 20, scoRNN and LSTM, no digits."""
    size = SMALL if small else WHOLE
    rows, reached = [], {}
    for name, units in size.units.items():
        rate, found = best(name, size)
        reached[LABELS[name]] = ", ".join(
            f.reached(f"{f.last_loss / copying_baseline(size.delay):.2f} of the baseline") for f in found
        )
        what = f"copying T = {size.delay}, {LABELS[name]} of {units} units at {rate:g}: mini-batches until solved"
        rows.append(Row(what, reached[LABELS[name]]))
    what = f"fit of an orthogonal matrix of determinant -1, {size.fit_units} units, {size.fit_steps} steps of Adam"
    near = [fit(entries, size.fit_units, size.fit_steps) for entries in (0, 1)]
    rows += [
        Row(f"{what}: squared distance, no entry of D is -1", f"{near[0]:.2f}; at least 4 in theory"),
        Row(f"{what}: squared distance, one entry is -1", f"{near[1]:.2f}"),
    ]
    digits = None if small else _digit_accuracies()
    if digits:
        what = "digits pixel by pixel"
        rows += [
            Row(f"{what}, scoRNN of 64 units, 30 epochs: accuracy", f"{digits['scornn']:.3f}, |b| up to {digits['largest']:.3f}"),
            Row(f"{what}, the same with b = 0 after training, a linear network: accuracy", f"{digits['without']:.3f}"),
            Row(f"{what}, LSTM of 64 units, 60 epochs: accuracy", f"{digits['lstm']:.3f}"),
            Row("digits, logistic regression on the pixels: accuracy", f"{digits['linear']:.3f}"),
        ]
    return Outcome(rows, {"size": asdict(size), "symbols": SYMBOLS, "reached": reached, "digits": digits})


def best(name: str, size: Size) -> tuple[float, list[Learning]]:
    """The learning rate that is best with seed 0, and the trainings of all seeds at this rate."""
    rates = size.lstm_rates if name == "lstm" else (size.learning_rate,)
    return best_rate(partial(copied, name, size), rates, range(size.seeds), size.steps)


def copied(name: str, size: Size, rate: float, seed: int, steps: int) -> Learning:
    """A network trained to copy until its loss is low."""
    cell = cells.get(name)(10, size.units[name])
    low = SOLVED * copying_baseline(size.delay)
    problem = copying_problem(size.delay)
    return learn(cell, problem, steps=steps, learning_rate=rate, seed=seed, solved=low, optimiser=RMSPROP)


def fit(entries: int, size: int, steps: int) -> float:
    """Squared Frobenius distance of Q, with this many entries of -1 in D, from a target of determinant -1 after the steps."""
    generator = torch.Generator().manual_seed(0)
    target = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    target[0] *= -target.det().sign()
    cell = ScoRNN(1, size, negative_share=entries / size)
    params = cell.init(generator)
    skew = torch.nn.ParameterDict({"skew": params["skew"]})
    distances = ((cell.weights(params | dict(skew))["weight_hh"] - target).square().sum() for _ in range(steps))
    return list(descend(distances, skew, torch.optim.Adam(skew.parameters(), lr=3e-2)))[-1]


def _digit_accuracies() -> dict[str, float]:
    """Accuracies pixel by pixel, of the linear network that is left with b = 0, and of a linear model; and the largest |b|."""
    options = {"learning_rate": 1e-3, "seed": 0, "optimiser": RMSPROP}
    orthogonal: Any = _digits.learned(ScoRNN(1, 64), epochs=30, **options).module
    gated = _digits.learned(cells.get("lstm")(1, 64), epochs=60, **options).module
    found = {"scornn": _digits.accuracy(orthogonal), "lstm": _digits.accuracy(gated), "linear": _digits.linear_accuracy()}
    found["largest"] = orthogonal.cell.bias.abs().max().item()
    with torch.no_grad():
        orthogonal.cell.bias.zero_()
    return found | {"without": _digits.accuracy(orthogonal)}
