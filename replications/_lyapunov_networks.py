"""Trained networks and their spectra, measured correctly and in the ways of earlier code; for lyapunov_paper.py."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import lyapunov_spectrum, tasks
from pipeline.core.config import SpectrumSettings
from pipeline.core.records import CHECKPOINTS, TrialResult
from pipeline.jobs.spectra import driving_inputs, measure
from pipeline.predictor.features import FLOOR
from pipeline.training import Network, train

from ._trials import trial

SETTINGS = SpectrumSettings(sequences=4, transient=40, steps=100)
EPOCHS, EARLY = 5, 1
SCALES = (0.1, 0.2, 0.4, 0.8, 1.6)  # p: the gains p H ** 0.5 of 0.025 to 0.4 at 512 units are those of 0.1 to 1.6 at 32
SIZES = (16, 32, 64)
BOTH = ("lstm", "gru")
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A point of the grid."""

    task: str
    cell: str
    init_scale: float
    hidden_size: int
    learning_rate: float
    dropout: float = 0.0
    epochs: int = EPOCHS
    early_epoch: int = EARLY


@dataclass(frozen=True)
class Measured:
    """A trained network; its spectra (S,) are in nats per step, largest first, means over sequences."""

    point: Point
    losses: Values  # (epochs + 1,) on validation data, entry 0 before training
    accuracy: float  # on validation data, at the end
    spectra: dict[str, Values]  # checkpoint -> spectrum
    other: dict[str, Values]  # the final network's in other ways: "reversed", and for an LSTM "h alone", "h alone, reversed"

    @property
    def loss(self) -> float:
        """The loss at the end."""
        return float(self.losses[-1])

    @property
    def largest(self) -> float:
        """Largest exponent at the end."""
        return float(self.spectra["final"][0])


def characters(small: bool) -> list[Point]:
    """Character prediction: p by width by learning rate, and learning rate by dropout."""
    if small:
        return [Point("english_characters", c, p, 8, 1e-2, epochs=1) for c, p in product(BOTH, (0.2, 1.6))]
    widths = [Point("english_characters", *v) for v in product(BOTH, SCALES, SIZES, (2e-3, 1e-2))]
    drops = [Point("english_characters", *v) for v in product(BOTH, (0.3,), (32,), (1e-3, 3e-3, 1e-2), (0.0, 0.1, 0.2))]
    return widths + drops


def by_epoch(small: bool) -> list[Point]:
    """Parts of trainings of `characters`: since training is reproducible, they end in what those pass through."""
    chosen = () if small else product(BOTH, (0.1, 0.4, 1.6))
    return [Point("english_characters", c, p, 32, 1e-2, epochs=3, early_epoch=2) for c, p in chosen]


def digits(small: bool) -> list[Point]:
    """Digits row by row: p by learning rate for each cell."""
    if small:
        return [Point("mnist_rows", "elman", 0.2, 8, 1e-2, epochs=1)]
    grid = product(("lstm", "gru", "elman", "antisymmetric"), SCALES[::2], (2e-3, 1e-2))
    return [Point("mnist_rows", c, p, 32, rate) for c, p, rate in grid]


def networks(points: list[Point], seed: int = 1) -> Iterator[Measured]:
    """Train and measure each point as a trial of a study."""
    with tempfile.TemporaryDirectory() as folder:
        for task in sorted({p.task for p in points}):
            data = tasks.get(task).prepare(task, "packaged", 2026)
            path = Path(folder) / task
            data.save(path)
            for point in (p for p in points if p.task == task):
                chosen = {name: value for name, value in asdict(point).items() if name not in ("task", "cell")}
                result = train(trial(data.info, point.cell, seed, **chosen), data)
                means = measure(result, path, SETTINGS, "cpu")
                yield Measured(
                    point,
                    losses=result.curves["validation_loss"],
                    accuracy=float(result.curves["validation_metric"][-1]),
                    spectra={c: np.sort(means.mean(c, floor=FLOOR))[::-1] for c in CHECKPOINTS},
                    other=_other_ways(result, path),
                )


def _other_ways(result: TrialResult, data: Path) -> dict[str, Values]:
    """The spectra of the final network in the ways of earlier code."""
    cell = Network.of(result.trial).cell
    weights = cell.weights({n: torch.from_numpy(w).double() for n, w in result.cell_weights("final").items()})
    inputs = driving_inputs(result.trial, data, SETTINGS)
    along = jacobians(lambda s, x: cell.step(weights, s, x), inputs, cell.state_size)
    ways = {"reversed": of_product(along.mT)}
    if result.trial.cell == "lstm":
        alone = along[..., : cell.hidden_size, : cell.hidden_size]
        ways |= {"h alone": of_product(alone), "h alone, reversed": of_product(alone.mT)}
    return {name: np.sort(s.clamp(min=FLOOR).mean(0).numpy())[::-1] for name, s in ways.items()}


def jacobians(step: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, state_size: int) -> Tensor:
    """The Jacobian (T, B, S, S) of each step along the path from the zero state."""
    state, found = inputs.new_zeros(inputs.shape[1], state_size), []
    for x in inputs:
        found.append(torch.func.vmap(torch.func.jacrev(step))(state, x))
        state = step(state, x)
    return torch.stack(found)


def of_product(matrices: Tensor, transient: int = SETTINGS.transient) -> Tensor:
    """Exponents (B, S) of the product M_T ... M_1 of given matrices (T, B, S, S), by the library.

    Transposed Jacobians give the spectrum of J_1 J_2 ... J_T, that of Q <- qr(J_t' Q) with t increasing. The blocks dh'/dh
    of an LSTM's Jacobians give the exponents of h as if c were an input, frozen to its path.
    """

    def step(state: Tensor, matrix: Tensor) -> Tensor:
        return (matrix.unflatten(-1, matrices.shape[-2:]) @ state.unsqueeze(-1)).squeeze(-1)

    state = matrices.new_zeros(matrices.shape[1:3])
    return lyapunov_spectrum(step, matrices.flatten(2), state=state, transient=transient, every=1).per_sequence
