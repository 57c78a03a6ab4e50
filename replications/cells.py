"""Cells that a researcher expects, each on the same two problems of long memory."""

from functools import partial

import numpy as np
import torch
from torch import Generator
from torch.nn.functional import mse_loss

from pipeline import cells, lyapunov_spectrum

from ._digits import accuracy, learned, linear_accuracy
from ._learn import Learning, learn
from ._outcome import Outcome, Row
from ._samples import adding

IDEAS = {
    "elman": "the plain network (Elman 1990)",
    "lstm": "gates keep the gradient (Hochreiter and Schmidhuber 1997)",
    "gru": "fewer gates (Cho et al. 2014)",
    "irnn": "ReLU from the identity (Le et al. 2015)",
    "indrnn": "units that do not mix (Li et al. 2018)",
    "antisymmetric": "a damped rotation (Chang et al. 2019)",
    "lipschitz": "a linear part of bounded growth (Erichson et al. 2021)",
    "leaky": "old state mixed in (Jaeger et al. 2007)",
    "esn": "only the readout is trained (Jaeger 2001)",
    "fastrnn": "a residual of trained size (Kusupati et al. 2018)",
    "cornn": "damped oscillators (Rusch and Mishra 2021)",
    "unicornn": "undamped oscillators (Rusch and Mishra 2021)",
    "lem": "learned time scales (Rusch et al. 2022)",
    "mingru": "gates that see the input alone (Feng et al. 2024)",
    "lru": "a diagonal linear recurrence (Orvieto et al. 2023)",
}
RATES = (3e-3, 1e-2)
LENGTH, STEPS, BATCH = 50, 800, 50
SOLVED = 0.03  # mean squared error; chance is 1/6
EPOCHS, UNITS = 15, 32
RAN = (
    f"{UNITS} units, the cell's own initialisation, gradients clipped to norm 1, seed 1, Adam at rates {{rates}}: shown is "
    f"the one that solved adding first, and that of lower training loss on digits. Adding: fresh batches of {BATCH}, solved "
    f"when the mean squared error over 20 of them is below {SOLVED} (chance {1 / 6:.3f}), {STEPS} at the most. Digits: "
    f"scikit-learn's 8 x 8 images, a pixel a step, {EPOCHS} epochs"
)
WHY = """The papers train for hours on sequences ten times as long, so that none of their figures can stand beside these. Logistic
regression on the raw pixels names {linear:.3f} of the same test digits: a cell that does not reach that has not shown that its
recurrence helps. The largest exponent is the trained network's, driven by adding problems (nats per step); 1 / |exponent| is the
number of steps that a perturbation outlasts. The echo state network's readout learns by gradient descent like all others, not by
the usual ridge regression. The exact spectra that the equations of LRU, minGRU, IndRNN, UnICORNN, coRNN, ESN and the
antisymmetric cell imply are tests (`tests/cells/`), met to rounding."""


def run(small: bool) -> Outcome:
    """Each cell at two learning rates, the better one shown; small: one cell, one rate, a short adding problem."""
    rates = RATES[:1] if small else RATES
    rows, solved, above = [], 0, 0
    linear = linear_accuracy()
    for name in ["lem"] if small else IDEAS:
        added = min((_add(name, rate, 20 if small else LENGTH) for rate in rates), key=_reached)
        seen = 0.0 if small else _see(name, rates)
        rows.append(_row(name, added, seen))
        solved, above = solved + (added.solved_at is not None), above + (seen > linear)
    return Outcome(
        title="Cells that a researcher expects",
        source="Each cell's source stands in the table and in its file in `pipeline/cells/`.",
        summary=f"{solved} of {len(rows)} solve adding T = {LENGTH} in {STEPS} mini-batches; "
        f"on digits pixel by pixel {above} beat a linear model",
        ran=RAN.format(rates=" and ".join(map(str, rates))),
        rows=tuple(rows),
        why=WHY.format(linear=linear),
        pictures={},
    )


def _add(name: str, rate: float, length: int) -> Learning:
    """A cell trained on the adding problem."""
    task = partial(adding, length, BATCH)
    options = {"steps": STEPS, "learning_rate": rate, "seed": 1, "solved": SOLVED, "clip_norm": 1.0}
    return learn(cells.get(name)(2, UNITS), "last", 1, task, mse_loss, **options)


def _reached(learning: Learning) -> tuple[float, float]:
    """When it was solved, and how far the loss came; less is better, and NaN worst."""
    return learning.solved_at or float("inf"), float(np.nan_to_num(learning.losses[-20:].mean(), nan=np.inf))


def _see(name: str, rates: tuple[float, ...]) -> float:
    """Test accuracy of a cell trained on digits pixel by pixel at the rate with the lower training loss."""
    cell = cells.get(name)(1, UNITS)
    tried = [learned(cell, 1, epochs=EPOCHS, learning_rate=rate, seed=1, clip_norm=1.0) for rate in rates]
    return accuracy(min(tried, key=_reached), 1)


def _row(name: str, added: Learning, seen: float) -> Row:
    """A cell's figures."""
    reached = f"solved at {added.solved_at}" if added.solved_at else f"not solved, {added.losses[-20:].mean():.3f}"
    found = f"adding {reached}; digits {seen:.3f}; largest exponent {_largest(added):+.3f}"
    return Row(f"`{name}`: {IDEAS[name]}", "not available at this size", found)


def _largest(added: Learning) -> float:
    """The largest exponent of the trained cell, driven by a long adding problem, nats per step."""
    cell, trained = added.module.network.cell, added.module.weights()
    params = {n.removeprefix("cell."): torch.from_numpy(w).double() for n, w in trained.items() if n.startswith("cell.")}
    weights = cell.weights(params)
    inputs = adding(200, 4, Generator().manual_seed(2))[0].double()
    state = inputs.new_zeros(4, cell.state_size)
    return lyapunov_spectrum(lambda s, x: cell.step(weights, s, x), inputs, state=state, count=1).exponents.item()
