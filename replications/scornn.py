"""scoRNN, scuRNN and expRNN: copying, where an LSTM stays at the baseline, digits, and why D is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline import cells
from pipeline.cells.scornn import ScoRNN

from ._digits import accuracy, learned, linear_accuracy
from ._learn import Learning, learn
from ._outcome import Outcome, Row
from ._samples import COPIED, SYMBOLS, copying, copying_baseline

RMSPROP = partial(torch.optim.RMSprop, alpha=0.9)  # the papers' decay
SOLVED = 0.2  # share of the baseline's loss
UNITS = {"scornn": 64, "scurnn": 48, "exprnn": 64, "lstm": 64}
LABELS = {"scornn": "scoRNN", "scurnn": "scuRNN", "exprnn": "expRNN", "lstm": "LSTM"}
SOURCE = (
    "Helfrich, Willmott and Ye, *Orthogonal recurrent neural networks with scaled Cayley transform*, ICML 2018; Maduranga,"
    " Helfrich and Ye, *Complex unitary recurrent neural networks using scaled Cayley transform*, AAAI 2019; Lezcano-Casado and"
    " Martinez-Rubio, *Cheap orthogonal constraints in neural networks*, ICML 2019."
)
WHY = """Copying is the demonstration that counts. The LSTM is even above the baseline at this length: it has only learned to
name blanks. Digits show less: where b is near 0 modReLU is nearly the identity and scoRNN nearly linear; with b set
to 0 after training, where the network is exactly linear, little of the accuracy is lost, and logistic regression on
the pixels is better than all that read them one by one. D is needed because a real Cayley transform cannot change the
sign of the determinant: the squared distance of an orthogonal matrix of determinant 1 from one of determinant -1 is
at least 4, and the fit from the wrong component ends there. Copying over 1000 and 2000 steps, as in the papers, takes
20,000 and more mini-batches, and was not run."""


@dataclass(frozen=True)
class Size:
    """How much is run."""

    delay: int
    steps: int
    units: dict[str, int]
    learning_rate: float
    seeds: int
    fit_units: int
    fit_steps: int


WHOLE = Size(100, 1000, UNITS, 1e-3, 3, 64, 2000)
SMALL = Size(20, 250, {"scornn": 48, "lstm": 48}, 3e-3, 1, 8, 100)


def run(small: bool) -> Outcome:
    """Copying, the determinant, and digits; small: a delay of 20, scoRNN and LSTM, no digits."""
    size = SMALL if small else WHOLE
    found = {n: [copied(n, size, seed) for seed in range(size.seeds)] for n in size.units}
    baseline = copying_baseline(size.delay)
    rows = [copying_row(n, learnings, size) for n, learnings in found.items()]
    rows += determinant_rows(size)
    return Outcome(
        title="scoRNN, scuRNN, expRNN: orthogonal and unitary recurrent weights",
        source=SOURCE,
        summary=f"Copying over {size.delay} steps, mini-batches until the loss is below a fifth of the baseline: "
        + "; ".join(f"{LABELS[n]} {told(learnings, baseline)}" for n, learnings in found.items())
        + ".",
        ran=f"copying of {COPIED} of {SYMBOLS} symbols over {size.delay} steps on fresh mini-batches of 50, RMSprop at"
        f" {size.learning_rate:g}, a tenth of it for the skew-symmetric matrix, {size.steps} mini-batches at most,"
        f" {size.seeds} seed{'s' * (size.seeds > 1)}"
        + ("." if small else "; digits of scikit-learn, 1,437 to train on, 360 to test, 1 seed."),
        rows=tuple(rows if small else [*rows, *digit_rows()]),
        why=WHY,
        pictures={},
    )


def copied(name: str, size: Size, seed: int) -> Learning:
    """A network trained to copy, until its loss is low."""
    cell = cells.get(name)(SYMBOLS + 2, size.units[name])
    low = SOLVED * copying_baseline(size.delay)
    options: dict[str, Any] = {"steps": size.steps, "learning_rate": size.learning_rate, "optimiser": RMSPROP}
    return learn(cell, "every", SYMBOLS + 1, partial(copying, size.delay, 50), stepwise, seed=seed, solved=low, **options)


def stepwise(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of all steps, nats."""
    return cross_entropy(outputs.flatten(0, 1), targets.flatten())


def copying_row(name: str, found: Sequence[Learning], size: Size) -> Row:
    """The line of one cell."""
    what = f"copying T = {size.delay}, {LABELS[name]} of {size.units[name]} units: mini-batches until solved"
    return Row(what, "not available", told(found, copying_baseline(size.delay)))


def told(found: Sequence[Learning], baseline: float) -> str:
    """When each seed solved it, or the share of the baseline at which it was left."""
    left = [f"not in {len(f.losses)} ({f.losses[-20:].mean() / baseline:.2f} of the baseline)" for f in found]
    return ", ".join(t if f.solved_at is None else str(f.solved_at) for t, f in zip(left, found, strict=True))


def determinant_rows(size: Size) -> list[Row]:
    """How near a matrix of determinant -1 can be come to with and without an entry of -1 in D."""
    what = (
        f"fit of an orthogonal matrix of determinant -1, {size.fit_units} units, {size.fit_steps} steps of Adam: squared distance"
    )
    near = {entries: fit(entries, size.fit_units, size.fit_steps) for entries in (0, 1)}
    return [
        Row(f"{what}, no entry of D is -1", "not available", f"{near[0]:.2f}; at least 4"),
        Row(f"{what}, one entry is", "not available", f"{near[1]:.2f}"),
    ]


def fit(entries: int, size: int, steps: int) -> float:
    """Squared Frobenius distance of Q, with so many entries of -1 in D, from a target of determinant -1 after the steps."""
    generator = torch.Generator().manual_seed(0)
    target = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    target[0] *= -target.det().sign()
    cell = ScoRNN(1, size, negative_share=entries / size)
    params = cell.init(generator)
    skew = params["skew"].requires_grad_()
    optimiser = torch.optim.Adam([skew], lr=3e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        distance = (cell.weights(params)["weight_hh"] - target).square().sum()
        distance.backward()
        optimiser.step()
    return distance.item()


def digit_rows() -> list[Row]:
    """Accuracy pixel by pixel, of the linear network that is left with b = 0, and of a linear model."""
    orthogonal = learned(ScoRNN(1, 64), 1, epochs=30, learning_rate=1e-3, seed=0, optimiser=RMSPROP)
    gated = learned(cells.get("lstm")(1, 64), 1, epochs=60, learning_rate=1e-3, seed=0, optimiser=RMSPROP)
    both, biases = accuracy(orthogonal, 1), orthogonal.module.cell.bias
    largest = biases.abs().max().item()
    with torch.no_grad():
        biases.zero_()
    return [
        Row(
            "digits pixel by pixel, scoRNN of 64 units, 30 epochs: accuracy",
            "not available",
            f"{both:.3f}, |b| up to {largest:.3f}",
        ),
        Row("the same with b = 0 after training, a linear network", "not available", f"{accuracy(orthogonal, 1):.3f}"),
        Row("digits pixel by pixel, LSTM of 64 units, 60 epochs: accuracy", "not available", f"{accuracy(gated, 1):.3f}"),
        Row("digits, logistic regression on the pixels: accuracy", "not available", f"{linear_accuracy():.3f}"),
    ]
