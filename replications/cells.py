"""Well-known cells, each on the same two problems of long memory."""

from functools import partial

import numpy as np
import torch

from pipeline import cells, lyapunov_spectrum
from pipeline.tasks import adding

from . import _digits
from ._harness import Outcome, Row
from ._learn import Learning, adding_problem, best_rate, learn

IDEAS = {
    "elman": "the plain network (Elman 1990)",
    "lstm": "gates preserve the gradient (Hochreiter and Schmidhuber 1997)",
    "gru": "fewer gates (Cho et al. 2014)",
    "irnn": "ReLU, initialised with the identity (Le et al. 2015)",
    "indrnn": "units that do not mix (Li et al. 2018)",
    "antisymmetric": "a damped rotation (Chang et al. 2019)",
    "lipschitz": "a linear part of bounded growth (Erichson et al. 2021)",
    "leaky": "a mixture with the old state (Jaeger et al. 2007)",
    "esn": "only the readout is trained (Jaeger 2001)",
    "fastrnn": "a residual connection of trained size (Kusupati et al. 2018)",
    "cornn": "damped oscillators (Rusch and Mishra 2021)",
    "unicornn": "undamped oscillators (Rusch and Mishra 2021)",
    "lem": "learned time scales (Rusch et al. 2022)",
    "mingru": "gates that depend on the input alone (Feng et al. 2024)",
    "lru": "a diagonal linear recurrence (Orvieto et al. 2023)",
}
RATES = (3e-3, 1e-2)
LENGTH, STEPS = 50, 800
SOLVED = 0.03  # mean squared error
EPOCHS, UNITS = 15, 32


def run(small: bool) -> Outcome:
    """Each cell at the better of two learning rates; small: one cell, one rate, a short adding problem, no digits."""
    rates, length = (RATES[:1], 20) if small else (RATES, LENGTH)
    rows, solved, accuracies = [], 0, []
    for name in ["lem"] if small else IDEAS:
        added = best_rate(partial(_add, name, length), rates, [1], STEPS)[1][0]
        accuracies.append(float("nan") if small else _see(name))
        solved += added.solved_at is not None
        reached = f"solved at {added.solved_at}" if added.solved_at else f"not solved, {added.last_loss:.3f}"
        found = f"adding {reached}; digits {accuracies[-1]:.3f}; largest exponent {_largest(added):+.3f}"
        rows.append(Row(f"`{name}`: {IDEAS[name]}", found, "not available at this size"))
    linear = _digits.linear_accuracy()
    facts = {"units": UNITS, "rates": rates, "length": length, "steps": STEPS, "mark": SOLVED, "epochs": EPOCHS}
    facts |= {"cells": len(rows), "solved": solved, "above": sum(a > linear for a in accuracies), "linear": linear}
    return Outcome(rows, facts)


def _add(name: str, length: int, rate: float, seed: int, steps: int) -> Learning:
    cell = cells.get(name)(2, UNITS)
    return learn(cell, adding_problem(length), steps=steps, learning_rate=rate, seed=seed, solved=SOLVED, clip_norm=1.0)


def _see(name: str) -> float:
    """Test accuracy of a cell trained on digits pixel by pixel, at the rate with the lower training loss."""
    cell = cells.get(name)(1, UNITS)
    tried = [_digits.learned(cell, epochs=EPOCHS, learning_rate=rate, seed=1, clip_norm=1.0) for rate in RATES]
    return _digits.accuracy(min(tried, key=lambda learning: learning.rank).module)


def _largest(added: Learning) -> float:
    """Largest exponent of the trained cell, driven by a long adding problem, in nats per step."""
    cell, params = added.module.network.cell, added.module.weights().items()
    weights = cell.weights({n[5:]: torch.from_numpy(w).double() for n, w in params if n.startswith("cell.")})
    inputs = torch.from_numpy(adding.sequences(4, 200, np.random.default_rng(2))[0]).double()
    state = inputs.new_zeros(4, cell.state_size)
    return lyapunov_spectrum(lambda s, x: cell.step(weights, s, x), inputs, state=state, count=1).exponents.item()
