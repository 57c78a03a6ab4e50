"""SBO-RNN (Zhang et al. 2021): the adding problem compared with a tanh network and an LSTM, and digits."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from pipeline import cells
from pipeline.cells import Cell
from pipeline.cells.sbo_gradient import SBOGradient

from . import _digits
from ._harness import NOT_AVAILABLE, Outcome, Row
from ._learn import Learning, adding_problem, best_rate, learn

SOLVED = 0.02  # mean squared error
RATES = (1e-2, 1e-3)  # of Adam, tried for every network
VARIANTS = ("sbo_gradient", "sbo_heavy_ball", "sbo_nesterov")
LABELS = {
    "sbo_gradient": "gradient steps",
    "sbo_heavy_ball": "heavy ball",
    "sbo_nesterov": "Nesterov",
    "elman": "tanh",
    "lstm": "LSTM",
    "frozen": "gradient steps, W never trained, as in the published code",
}
# As the figure of T = 100 in the paper shows it.
ORIGINAL = dict.fromkeys(VARIANTS, "error near 0 within a tenth of the plot") | {"elman": "error stays near 0.17"}
BY_ROW = "row by row, heavy ball, eta 0.1, learning rate 3e-3, 40 epochs"
DIGITS = {  # cell, pixels per step, eta, learning rate, epochs
    BY_ROW: ("sbo_heavy_ball", 8, 0.1, 3e-3, 40),
    "pixel by pixel, gradient steps, eta 1e-3, learning rate 1e-2, 30 epochs": ("sbo_gradient", 1, 1e-3, 1e-2, 30),
    "pixel by pixel, gradient steps, eta 0.1, learning rate 1e-2, 30 epochs": ("sbo_gradient", 1, 0.1, 1e-2, 30),
    "pixel by pixel, heavy ball, eta 0.1, learning rate 1e-3, 30 epochs": ("sbo_heavy_ball", 1, 0.1, 1e-3, 30),
}


@dataclass(frozen=True)
class Frozen(SBOGradient):
    """W keeps its initial value."""

    fixed: ClassVar = frozenset({"left", "right"})


def run(small: bool) -> Outcome:
    """Adding for all variants and baselines, and digits; small: 20 steps, Nesterov and tanh, no digits."""
    steps, size, most, seeds = (20, 48, 250, 1) if small else (100, 64, 900, 2)
    names = ["sbo_nesterov", "elman"] if small else list(LABELS)
    rows, solved, summary = [], {}, {}
    for name in names:
        rate, found = best_rate(partial(added, name, steps, size), RATES, range(seeds), most)
        summary[LABELS[name]] = " and ".join(f.reached(f"error {f.last_loss:.3f}") for f in found)
        solved[name] = sum(f.solved_at is not None for f in found)
        what = f"adding T = {steps}, {LABELS[name]} at {rate:g}: mini-batches until solved"
        rows.append(Row(what, summary[LABELS[name]], ORIGINAL.get(name, NOT_AVAILABLE)))
    digits = {} if small else {what: _digit_accuracy(*how) for what, how in DIGITS.items()}
    rows += [Row(f"digits {what}: accuracy", f"{found:.3f}{end}", _original(what)) for what, (found, end) in digits.items()]
    facts = {"steps": steps, "size": size, "most": most, "seeds": seeds, "rates": RATES, "mark": SOLVED, "reached": summary}
    facts |= {"solved": {LABELS[n]: count for n, count in solved.items() if n != "frozen"}, "frozen": solved.get("frozen")}
    if digits:
        linear = _digits.linear_accuracy()
        rows.append(Row("digits, logistic regression on the pixels: accuracy", f"{linear:.3f}"))
        by_pixel = max(found for what, (found, _) in digits.items() if what != BY_ROW)
        facts["digits"] = {"linear": linear, "by_row": digits[BY_ROW][0], "by_pixel": by_pixel}
    return Outcome(rows, {"digits": None} | facts)


def added(name: str, steps: int, size: int, rate: float, seed: int, most: int) -> Learning:
    """A network trained on the adding problem until it is solved."""
    cell: Cell = Frozen(2, size) if name == "frozen" else cells.get(name)(2, size)
    return learn(cell, adding_problem(steps), steps=most, learning_rate=rate, seed=seed, solved=SOLVED)


def _digit_accuracy(name: str, pixels: int, eta: float, rate: float, epochs: int) -> tuple[float, str]:
    """Accuracy of a network, and a remark if its training diverged."""
    learning = _digits.learned(cells.get(name)(pixels, 64, step_size=eta), epochs=epochs, learning_rate=rate, seed=0)  # type: ignore[call-arg]
    end = "" if np.isfinite(learning.losses[-1]) else f" (diverged after {len(learning.losses)} mini-batches)"
    return _digits.accuracy(learning.module), end


def _original(what: str) -> str:
    """The accuracy in the paper, which is that of its own eta."""
    return "98.85 % on MNIST, 784 steps" if "eta 1e-3" in what else NOT_AVAILABLE
