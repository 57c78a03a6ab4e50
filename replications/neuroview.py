"""NeuroView-RNN (Barberan et al. 2022): a readout of all states, what it says of the steps, and what it does to prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from pipeline import cells
from pipeline.heads import neuroview
from pipeline.report.figures import styled
from pipeline.tasks import planted_window
from pipeline.tasks.planted_window import CLASSES, LENGTH
from pipeline.training.network import Module

from ._learn import learn
from ._outcome import Outcome, Row
from ._two_heads import BATCH, EPOCHS, HEADS, SETS, Estimate, explained, mean_scores, ranked, sweeps

STEPS, BEGIN = 60, 20  # of a planted sequence; of the wave in it
WINDOW = slice(BEGIN, BEGIN + LENGTH + 3)  # the wave, and what the state holds of it just after
NAMES = {"elman": "tanh", "gru": "GRU", "lstm": "LSTM"}
R2 = "R2 of the score from the {}"
NEARNESS = "rank correlation of the score with the nearness to 0 of the {} largest exponent"
LINEAR = "by logistic regression on the raw pixels"
PICTURES = Path(__file__).parent.parent / "docs" / "replications"
CAPTION = (
    "What a GRU's readout says of the steps: above, the evidence for the true class; below, the mean size of the weights, "
    "each as a share of its sum over steps."
)
Values = NDArray[np.float64]
Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Planted:
    """What the planted window gave with one cell and seed, on 1,000 sequences that were not trained on.

    Attributes:
        accuracy: share of classes named right, by head.
        steps: evidence, spread of the contribution and mean |W_t| of the neuroview head, (T,) each.
        deleted: accuracy of that head without the ten steps of most evidence, of most |W_t|, and without ten at random.
    """

    accuracy: dict[str, float]
    steps: dict[str, Values]
    deleted: dict[str, float]

    def mass(self, name: str) -> float:
        """Share of a measure of importance that lies in WINDOW."""
        size = np.abs(self.steps[name])
        return float(size[WINDOW].sum() / size.sum())

    @property
    def top(self) -> Values:
        """The ten steps of most evidence, in order."""
        return np.sort(np.argsort(-self.steps["evidence"])[:10])


def run(small: bool) -> Outcome:
    """The planted window, the digits, and the predictor's question."""
    seeds, updates = (1, 250) if small else (3, 600)
    names = ("elman",) if small else ("elman", "gru")
    window = {cell: [planted(cell, seed, updates) for seed in range(seeds)] for cell in names}
    learners, trials, sequences = (("elman",), 5, 200) if small else (("elman", "gru", "lstm"), 24, 1500)
    chosen = ("planted_window",) if small else ("planted_window", "mnist_rows")
    related = {task: relation(task, learners, trials, sequences) for task in chosen}
    rows = [row for cell, found in window.items() for row in planted_rows(cell, found)]
    digits = {} if small else digit_accuracies()
    rows += digit_rows(digits)
    for task, found in related.items():
        rows += relation_rows(task, found, trials * len(learners))
    if not small:
        picture(window["gru"][0])
    return Outcome(
        title="NeuroView-RNN: a readout of all states",
        source="Barberan, Alemohammad, Liu, Balestriero, Baraniuk, *NeuroView-RNN: It's About Time*, FAccT 2022",
        summary=summary(window[names[-1]], related),
        ran=ran(small, seeds, updates, trials, sequences),
        rows=tuple(rows),
        why=why(window, digits, related),
        pictures={} if small else {"neuroview.png": CAPTION},
    )


def ran(small: bool, seeds: int, updates: int, trials: int, sequences: int) -> str:
    """Data, sizes, seeds and optimisers."""
    digits = " Digits: 1,437 images of 8 x 8 to train and 360 to test, 1,150 mini-batches, 32 units, 2 seeds, the rest alike."
    learners, task = ("tanh", "planted_window") if small else ("each of tanh, GRU and LSTM", "planted_window and mnist_rows")
    return (
        f"Planted window: {STEPS} steps of noise with a wave at {BEGIN}..{BEGIN + LENGTH - 1} whose frequency is the class, "
        f"1,500 sequences to train and 1,000 to test, {updates} mini-batches of 50, 16 units, Adam at .005, gradients clipped at "
        f"1, {seeds} seed{'s' * (seeds > 1)}.{'' if small else digits} The predictor's question: {trials} draws of {learners} on "
        f"{task} (packaged sizes, {sequences} of the sequences to train on) over these ranges: 16 or 32 units, learning rate of "
        f"Adam .0001 to .1, start .01 to 3, clipping at 1 or none; {EPOCHS} epochs of mini-batches of {BATCH}; the same initial "
        "networks and hyper-parameters under both heads, 1 seed; early is after one epoch; R2 out of sample by extremely "
        "randomised trees over five folds; 95 % intervals by bootstrap over networks."
    )


def why(
    window: dict[str, list[Planted]], digits: dict[str, dict[str, list[float]]], related: dict[str, dict[str, Estimate]]
) -> str:
    """What the figures say, one paragraph an experiment."""
    after = STEPS - BEGIN - LENGTH
    shares = "; ".join(f"{NAMES[cell]} {_outside(found)}" for cell, found in window.items())
    paragraphs = [
        "The paper's tables could not be had, so that only its claims are compared.",
        f"*The window.* Behind the wave lie {after} steps of noise, through which a gradient that enters at the last step alone "
        "has to pass; a readout of all states has a path of its own for each step. States can hold the wave for a few steps, "
        f"hence steps {WINDOW.start}..{WINDOW.stop - 1}. Share of the weights' size that lies outside them, although those steps "
        f"tell nothing: {shares}. Chance is .25.",
    ]
    if digits:
        bar = digits[LINEAR]["linear"][0]
        cases = [what for what in digits if what != LINEAR]
        above = [what for what in cases if np.mean(digits[what][HEADS[1]]) > bar]
        paragraphs.append(
            "*The digits.* The linear model of the raw pixels is the bar: a readout of all states that only reaches it has "
            "rescued the training of the network, and has not shown that the recurrence adds anything. With a readout of all "
            f"states {len(above)} of {len(cases)} are above it in the mean ({'; '.join(above) or 'none'})."
        )
    compared = [
        f"{task}: R2 of the score from the early spectrum {found[R2.format('early spectrum')].verdict}, rank correlation of the "
        f"score with the early exponent's nearness to 0 {found[NEARNESS.format('early')].verdict}"
        for task, found in related.items()
    ]
    paragraphs.append(
        "*The predictor.* The head changes no spectrum of the same network, it changes the gradient, and so what a spectrum "
        "means. Under the readout of all states, beside the last, as the intervals of the change say: "
        f"{'; '.join(compared)}. `head` is among the predictor's inputs."
    )
    return "\n\n".join(paragraphs)


def _outside(found: Sequence[Planted]) -> str:
    return _mean(found, lambda f: 1 - f.mass("size"))


def summary(found: Sequence[Planted], related: dict[str, dict[str, Estimate]]) -> str:
    """What came out, in two sentences."""
    last, new = (float(np.mean([f.accuracy[head] for f in found])) for head in HEADS)
    evidence, size = (float(np.mean([f.mass(name) for f in found])) for name in ("evidence", "size"))
    r2 = {task: estimates[R2.format("early spectrum")].values for task, estimates in related.items()}
    explains = (f"{task} {values[1]:.2f} (last state {values[0]:.2f})" for task, values in r2.items())
    return (
        f"A wave planted long before the end is named right in {new:.0%} (last state {last:.0%}, chance 25 %), and the "
        f"evidence finds it ({evidence:.0%} of it lies there, {size:.0%} of the weights' size). R2 of the score from the early "
        f"spectrum: {', '.join(explains)}."
    )


@cache
def planted(cell: str, seed: int, updates: int) -> Planted:
    """Train a network of 16 units under each head on 1,500 sequences of 60 steps, and see what neuroview says of the steps."""
    random = np.random.default_rng([seed, 7])
    train, test = (_tensors(*planted_window.sequences(count, STEPS, BEGIN, random)) for count in (1500, 1000))
    modules = {head: fit(cell, head, 16, train, CLASSES, updates, seed) for head in HEADS}
    with torch.no_grad():
        outputs = modules["neuroview"].run(test[0])[0]
        params = dict(modules["neuroview"].head)
        steps = {
            "evidence": neuroview.evidence(params, outputs, test[1]).double().numpy(),
            "spread": neuroview.spread(params, outputs).double().numpy(),
            "size": neuroview.weight_size(params, outputs.shape[-1]).double().numpy(),
        }
    without = partial(accuracy_without, modules["neuroview"], outputs, test[1])
    deleted = {name: without(np.argsort(-steps[name])[:10]) for name in ("evidence", "size")}
    deleted["random"] = float(np.mean([without(random.permutation(STEPS)[:10]) for _ in range(20)]))
    return Planted({head: accuracy(module, test) for head, module in modules.items()}, steps, deleted)


def fit(cell: str, head: str, hidden_size: int, train: Split, classes: int, updates: int, seed: int) -> Module:
    """A network trained on mini-batches of 50 drawn from fixed sequences."""
    inputs, targets = train

    def sample(generator: Generator) -> Split:
        chosen = torch.randint(0, len(targets), (50,), generator=generator)
        return inputs[:, chosen], targets[chosen]

    made = cells.get(cell)(inputs.shape[-1], hidden_size)
    return learn(made, head, classes, sample, cross_entropy, steps=updates, learning_rate=5e-3, seed=seed, clip_norm=1.0).module


@torch.no_grad()
def accuracy(module: Module, split: Split) -> float:
    """Share of classes named right."""
    return float((module(split[0]).argmax(-1) == split[1]).double().mean())


@torch.no_grad()
def accuracy_without(module: Module, outputs: Tensor, targets: Tensor, steps: NDArray[np.int64]) -> float:
    """Share of classes named right where the states at some steps are replaced by their means."""
    logits = module.read(neuroview.delete(outputs, torch.from_numpy(steps)))
    return float((logits.argmax(-1) == targets).double().mean())


def _tensors(inputs: NDArray[np.float32], targets: NDArray[np.uint8]) -> Split:
    return torch.from_numpy(inputs), torch.from_numpy(targets).long()


def planted_rows(cell: str, found: Sequence[Planted]) -> list[Row]:
    """The planted window with one cell."""
    what = f"planted window, {NAMES[cell]} of 16 units"
    both = ", ".join(f"{head} {_mean(found, lambda f, head=head: f.accuracy[head])}" for head in HEADS)
    masses = ", ".join(
        f"{title} {_mean(found, lambda f, name=name: f.mass(name))}"
        for name, title in (("evidence", "evidence"), ("spread", "spread of the contribution"), ("size", "mean abs W_t"))
    )
    deletions = ", ".join(
        f"{title} {_mean(found, lambda f, name=name: f.deleted[name])}"
        for name, title in (("evidence", "of most evidence"), ("size", "of largest W_t"), ("random", "at random"))
    )
    tops = "; ".join(", ".join(map(str, f.top)) for f in found)
    return [
        Row(f"{what}: accuracy, by head", '"higher accuracy in many cases" (abstract)', both),
        Row(f"{what}: share of importance in steps {WINDOW.start}..{WINDOW.stop - 1}", "not available", masses),
        Row(f"{what}: the ten steps of most evidence, by seed", "not available", tops),
        Row(f"{what}: accuracy without ten steps", "not available", deletions),
    ]


def digit_accuracies() -> dict[str, dict[str, list[float]]]:
    """Accuracy by network and head, a number a seed, pixel by pixel and row by row; and of a linear model of all pixels."""
    images, digits = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images.astype(np.float32) / 16, digits, test_size=360, stratify=digits, random_state=0
    )
    found = {}
    for form, steps, names in (("pixel by pixel", 64, ("elman", "gru", "lstm")), ("row by row", 8, ("elman", "lstm"))):
        train, test = (_as_sequences(*split, steps) for split in ((x, y), (x_test, y_test)))
        for cell in names:
            scores = {h: [accuracy(fit(cell, h, 32, train, 10, 1150, s), test) for s in range(2)] for h in HEADS}
            found[f"{form}, {NAMES[cell]} of 32 units"] = scores
    return found | {LINEAR: {"linear": [LogisticRegression(max_iter=5000).fit(x, y).score(x_test, y_test)]}}


def digit_rows(found: dict[str, dict[str, list[float]]]) -> list[Row]:
    """A row a network, and one of the linear model."""
    rows = []
    for what, scores in found.items():
        shown = ", ".join(f"{head} {_several(values)}" for head, values in scores.items())
        by = ": accuracy" if what == LINEAR else ": accuracy, by head"
        text = f"{scores['linear'][0]:.3f}" if what == LINEAR else shown
        rows.append(Row(f"digits {what}{by}", "not available", text))
    return rows


def relation(task: str, names: Sequence[str], trials: int, sequences: int) -> dict[str, Estimate]:
    """What the spectra of the same networks tell of their scores under each head, by what was estimated."""
    pair = sweeps(task, names, trials, sequences)
    first = pair[0]["initial_exponent_1"]
    found = {"mean score": mean_scores(pair, first.notna())}
    for group, chosen in (("below -.3", first < -0.3), ("-.3 to .05", first.between(-0.3, 0.05)), ("above .05", first > 0.05)):
        if chosen.sum() >= 5:
            found[f"mean score of the {chosen.sum()} with an initial largest exponent {group}"] = mean_scores(pair, chosen)
    found |= {R2.format(name): explained(pair, columns) for name, columns in SETS.items()}
    return found | {NEARNESS.format(when): ranked(pair, f"{when}_exponent_1") for when in ("initial", "early")}


def relation_rows(task: str, found: dict[str, Estimate], count: int) -> list[Row]:
    """The predictor's question on one task."""
    return [Row(f"{task}, {count} networks under each head: {what}", "not available", str(f)) for what, f in found.items()]


@styled
def picture(found: Planted) -> None:
    """Evidence beside the size of the weights, each as a share of its sum."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    shown = (("evidence", "evidence for the true class", "#0072B2"), ("size", "mean size of the weights", "#8C8C8C"))
    for axes, (name, title, colour) in zip(panels, shown, strict=True):
        share = found.steps[name] / np.abs(found.steps[name]).sum()
        axes.axvspan(BEGIN - 0.5, BEGIN + LENGTH - 0.5, color="#F6E3B4", linewidth=0)
        axes.bar(np.arange(STEPS), share, color=colour)
        axes.set_title(f"{title}: {found.mass(name):.0%} in steps {WINDOW.start} to {WINDOW.stop - 1}")
        axes.set_ylabel("share")
    panels[1].set_xlabel("step (shaded: where the wave lies that tells the class)")
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / "neuroview.png", dpi=110)


def _as_sequences(images: NDArray[np.float32], targets: NDArray[np.int64], steps: int) -> Split:
    """Images (N, 64) as (steps, N, 64 / steps), and their classes."""
    return torch.from_numpy(images).unflatten(1, (steps, -1)).transpose(0, 1).contiguous(), torch.from_numpy(targets)


def _mean(found: Sequence[Planted], figure: Callable[[Planted], float]) -> str:
    return _several([figure(f) for f in found])


def _several(values: Sequence[float]) -> str:
    """Mean over seeds and how far they reach."""
    if len(values) == 1:
        return f"{values[0]:.3f} (1 seed)"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seeds)"
