"""NeuroView-RNN (Barberan et al. 2022): a readout of all states, what it tells about the steps, and how it affects prediction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline import cells
from pipeline.core.files import save_bytes
from pipeline.heads import neuroview
from pipeline.report.figures import png, styled
from pipeline.tasks import planted_window
from pipeline.tasks.planted_window import CLASSES, LENGTH
from pipeline.training.network import Module

from . import _digits
from ._harness import PICTURES, Outcome, Row, several
from ._learn import Problem, learn, resampled
from ._two_heads import BATCH, EPOCHS, HEADS, SETS, Compared, explained, mean_scores, ranked, sweeps

STEPS, BEGIN = 60, 20  # of a planted sequence, and where its wave begins
WINDOW = slice(BEGIN, BEGIN + LENGTH + 3)  # the wave, and the steps just after it, in which the state still holds it
NAMES = {"elman": "tanh", "gru": "GRU", "lstm": "LSTM"}
DIGITS = {"pixel by pixel": (1, ("elman", "gru", "lstm")), "row by row": (8, ("elman", "lstm"))}  # pixels per step, cells
R2 = "R2 of the score from the {}"
NEARNESS = "rank correlation of the score with the nearness to 0 of the {} largest exponent"
MEASURES = {"evidence": "evidence", "spread": "spread of the contribution", "size": "mean |W_t|"}
DELETIONS = {"evidence": "of most evidence", "size": "of largest W_t", "random": "at random"}
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Results on the planted window for one cell and seed, on 1,000 sequences that were not trained on."""

    accuracy: dict[str, float]  # by head
    steps: dict[str, Values]  # name in MEASURES -> (T,), of the neuroview head
    deleted: dict[str, float]  # accuracy of that head without ten steps, by name in DELETIONS

    def mass(self, measure: str) -> float:
        """Share of a measure of importance that lies in WINDOW."""
        size = np.abs(self.steps[measure])
        return float(size[WINDOW].sum() / size.sum())

    @property
    def top(self) -> Values:
        """The ten steps of most evidence, in order."""
        return np.sort(np.argsort(-self.steps["evidence"])[:10])


def run(small: bool) -> Outcome:
    """The planted window, the digits, and the effect on prediction."""
    seeds, updates = (1, 250) if small else (3, 600)
    names = ("elman",) if small else ("elman", "gru")
    learners, trials, sequences = (("elman",), 5, 200) if small else (("elman", "gru", "lstm"), 24, 1500)
    window = {cell: [planted(cell, seed, updates) for seed in range(seeds)] for cell in names}
    digits = {} if small else _digit_accuracies()
    chosen = ("planted_window",) if small else ("planted_window", "mnist_rows")
    related = {task: relation(task, learners, trials, sequences) for task in chosen}
    rows = [row for cell, found in window.items() for row in planted_rows(cell, found)]
    rows += [Row(f"digits {what}: accuracy, by head", _by_head(found)) for what, found in digits.items()]
    linear = _digits.linear_accuracy()
    rows += [Row("digits, logistic regression on the pixels: accuracy", f"{linear:.3f}")] if digits else []
    what = f"{trials * len(learners)} networks under each head"
    rows += [Row(f"{task}, {what}: {name}", str(value)) for task, found in related.items() for name, value in found.items()]
    if not small:
        save_bytes(PICTURES / "neuroview.png", _picture(window["gru"][0]))
    last = window[names[-1]]
    facts = {
        "window": {"first": WINDOW.start, "last": WINDOW.stop - 1, "begin": BEGIN, "end": BEGIN + LENGTH - 1, "steps": STEPS},
        "seeds": seeds,
        "updates": updates,
        "mean": {head: float(np.mean([f.accuracy[head] for f in last])) for head in HEADS},
        "mass": {measure: float(np.mean([f.mass(measure) for f in last])) for measure in MEASURES},
        "outside": {NAMES[cell]: [1 - f.mass("size") for f in found] for cell, found in window.items()},
        "digits": len(digits),
        "above": [what for what, found in digits.items() if np.mean(found["neuroview"]) > linear],
        "sweep": {"trials": trials, "cells": [NAMES[c] for c in learners], "sequences": sequences},
        "training": {"epochs": EPOCHS, "batch": BATCH},
        "related": {
            task: {"r2": found[R2.format("early spectrum")], "rank": found[NEARNESS.format("early")]}
            for task, found in related.items()
        },
    }
    return Outcome(rows, facts)


@cache
def planted(cell: str, seed: int, updates: int) -> Planted:
    """Train a network of 16 units with each head on 1,500 sequences, and measure what neuroview says about the steps."""
    random = np.random.default_rng([seed, 7])
    train, test = (
        (torch.from_numpy(x), torch.from_numpy(y).long())
        for x, y in (planted_window.sequences(count, STEPS, BEGIN, random) for count in (1500, 1000))
    )
    modules = {head: _fit(cell, 16, 1, Problem(head, CLASSES, resampled(*train), cross_entropy), updates, seed) for head in HEADS}
    with torch.no_grad():
        outputs = modules["neuroview"].run(test[0])[0]
        params = dict(modules["neuroview"].head)
        steps = {
            "evidence": neuroview.evidence(params, outputs, test[1]).double().numpy(),
            "spread": neuroview.spread(params, outputs).double().numpy(),
            "size": neuroview.weight_size(params, outputs.shape[-1]).double().numpy(),
        }
    without = partial(_accuracy_without, modules["neuroview"], outputs, test[1])
    deleted = {name: without(np.argsort(-steps[name])[:10]) for name in ("evidence", "size")}
    deleted["random"] = float(np.mean([without(random.permutation(STEPS)[:10]) for _ in range(20)]))
    return Planted({head: _digits.share_right(module, *test) for head, module in modules.items()}, steps, deleted)


def _fit(cell: str, hidden_size: int, input_size: int, problem: Problem, updates: int, seed: int) -> Module:
    made = cells.get(cell)(input_size, hidden_size)
    return learn(made, problem, steps=updates, learning_rate=5e-3, seed=seed, clip_norm=1.0).module


@torch.no_grad()
def _accuracy_without(module: Module, outputs: Tensor, targets: Tensor, steps: NDArray[np.int64]) -> float:
    """Share of the classes that are named correctly when the states at some steps are replaced by their means."""
    logits = module.read(neuroview.delete(outputs, torch.from_numpy(steps)))
    return float((logits.argmax(-1) == targets).double().mean())


def _digit_accuracies() -> dict[str, dict[str, list[float]]]:
    """Network -> head -> accuracies, one per seed."""
    return {
        f"{form}, {NAMES[cell]} of 32 units": {
            head: [_digits.accuracy(_fit(cell, 32, size, _digits.problem(size, head), 1150, seed)) for seed in range(2)]
            for head in HEADS
        }
        for form, (size, names) in DIGITS.items()
        for cell in names
    }


def planted_rows(cell: str, found: Sequence[Planted]) -> Iterator[Row]:
    """The results on the planted window for one cell."""
    what = f"planted window, {NAMES[cell]} of 16 units"
    accuracies = {head: [f.accuracy[head] for f in found] for head in HEADS}
    yield Row(f"{what}: accuracy, by head", _by_head(accuracies), '"higher accuracy in many cases" (abstract)')
    masses = _listed(MEASURES, lambda measure: [f.mass(measure) for f in found])
    yield Row(f"{what}: share of importance in steps {WINDOW.start} to {WINDOW.stop - 1}", masses)
    tops = "; ".join(", ".join(map(str, f.top)) for f in found)
    yield Row(f"{what}: the ten steps of most evidence, by seed", tops)
    yield Row(f"{what}: accuracy without ten steps", _listed(DELETIONS, lambda how: [f.deleted[how] for f in found]))


def _by_head(values: dict[str, list[float]]) -> str:
    return _listed({head: head for head in HEADS}, lambda head: values[head])


def _listed(titles: dict[str, str], values: Callable[[str], Sequence[float]]) -> str:
    return ", ".join(f"{title} {several(values(name))}" for name, title in titles.items())


def relation(task: str, names: Sequence[str], trials: int, sequences: int) -> dict[str, Compared]:
    """What the spectra of the same networks say about their scores under each head, by what was estimated."""
    pair = sweeps(task, names, trials, sequences)
    first = pair[0]["initial_exponent_1"]
    found = {"mean score": mean_scores(pair, first.notna())}
    groups = {"below -0.3": first < -0.3, "from -0.3 to 0.05": first.between(-0.3, 0.05), "above 0.05": first > 0.05}
    for group, chosen in groups.items():
        if chosen.sum() >= 5:
            found[f"mean score of the {chosen.sum()} with an initial largest exponent {group}"] = mean_scores(pair, chosen)
    found |= {R2.format(name): explained(pair, columns) for name, columns in SETS.items()}
    return found | {NEARNESS.format(when): ranked(pair, f"{when}_exponent_1") for when in ("initial", "early")}


@styled
def _picture(found: Planted) -> bytes:
    """Evidence beside the size of the weights, each as a share of its sum, as a PNG."""
    figure = Figure(figsize=(8, 4.2), dpi=110, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    shown = (("evidence", "evidence for the true class", "#0072B2"), ("size", "mean size of the weights", "#8C8C8C"))
    for axes, (measure, title, colour) in zip(panels, shown, strict=True):
        share = found.steps[measure] / np.abs(found.steps[measure]).sum()
        axes.axvspan(BEGIN - 0.5, BEGIN + LENGTH - 0.5, color="#F6E3B4", linewidth=0)
        axes.bar(np.arange(STEPS), share, color=colour)
        axes.set_title(f"{title}: {found.mass(measure):.0%} in steps {WINDOW.start} to {WINDOW.stop - 1}")
        axes.set_ylabel("share")
    panels[1].set_xlabel("step (shaded: the wave whose frequency is the class)")
    return png(figure)
