"""The Lyapunov-exponent paper and AeLLE: their study at a small size, and what their code did beside what is right."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import cells, lyapunov_spectrum, tasks
from pipeline.artefacts import TaskData, TrialResult, TrialSpectra
from pipeline.config import Range, SpectrumSettings, Train
from pipeline.spectrum import push_forward
from pipeline.training import Network, Trial, draw, train
from pipeline.training.measure import measure

from . import _lyapunov_claims as claims
from . import _lyapunov_evidence as evidence
from . import _lyapunov_pictures as pictures
from ._outcome import Outcome, Row

SETTINGS = SpectrumSettings(sequences=4, transient=40, steps=100)
FLOOR = -20.0  # nats per step; what lies below counts as this
EPOCHS, EARLY = 5, 1
SCALES = (0.1, 0.2, 0.4, 0.8, 1.6)  # p: the gains p H ** .5 of .025 to .4 at 512 units are those of .1 to 1.6 at 32
SIZES = (16, 32, 64)


@dataclass(frozen=True)
class Point:
    """A place in the grid."""

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
    """A trained network.

    Attributes:
        point: its place in the grid.
        losses: (epochs + 1,) on validation data, entry 0 before training.
        accuracy: on validation data, at the end.
        spectra: checkpoint -> (S,) exponents, nats per step, largest first; means over sequences.
        other: the same of the final network in other ways: "reversed", and for an LSTM "h alone", "h alone, reversed".
    """

    point: Point
    losses: np.ndarray
    accuracy: float
    spectra: dict[str, np.ndarray]
    other: dict[str, np.ndarray]

    @property
    def loss(self) -> float:
        """At the end."""
        return float(self.losses[-1])


def characters(small: bool) -> list[Point]:
    """Character prediction: p by width by learning rate, learning rate by dropout, and three networks epoch by epoch."""
    both = ("lstm", "gru")
    if small:
        return [Point("english_characters", c, p, 8, 1e-2, epochs=1) for c, p in product(both, (0.2, 1.6))]
    widths = [Point("english_characters", *v) for v in product(both, SCALES, SIZES, (2e-3, 1e-2))]
    drops = [Point("english_characters", *v) for v in product(both, (0.3,), (32,), (1e-3, 3e-3, 1e-2), (0.0, 0.1, 0.2))]
    return widths + drops


def by_epoch(small: bool) -> list[Point]:
    """Parts of trainings of `characters`: as training is reproducible, they end in what those pass through on the way."""
    chosen = () if small else product(("lstm", "gru"), (0.1, 0.4, 1.6))
    return [Point("english_characters", c, p, 32, 1e-2, epochs=3, early_epoch=2) for c, p in chosen]


def digits(small: bool) -> list[Point]:
    """Digits row by row: p by learning rate for each cell."""
    named = [c for c in ("lstm", "gru", "elman", "antisymmetric") if c in cells.names()]
    if small:
        return [Point("mnist_rows", "elman", 0.2, 8, 1e-2, epochs=1)]
    return [Point("mnist_rows", c, p, 32, rate) for c, p, rate in product(named, SCALES[::2], (2e-3, 1e-2))]


def networks(points: list[Point], seed: int = 1) -> Iterator[Measured]:
    """Each point trained and measured, with the library's own `train` and `measure`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task in sorted({p.task for p in points}):
            data = tasks.get(task).prepare(task, "packaged", 2026)
            data.save(folder / task)
            for point in points:
                if point.task == task:
                    yield _network(point, data, folder, seed)


def _network(point: Point, data: TaskData, folder: Path, seed: int) -> Measured:
    trial = draw(_train(point), seed, point.cell, data.about, "cpu")[0]
    result = TrialResult.load(train((trial, folder / point.task, folder)))
    found = TrialSpectra.load(measure((trial.path(folder), folder / point.task, SETTINGS, "cpu", folder / "spectra")))
    loss = result.curves["validation_loss"]
    spectra = {c: np.sort(found.mean(c, floor=FLOOR))[::-1] for c in ("initial", "early", "final")}
    return Measured(point, loss, float(result.curves["validation_metric"][-1]), spectra, _other_ways(result, data))


def _train(point: Point) -> Train:
    """A sweep of one trial."""
    return Train(
        trials=1,
        epochs=point.epochs,
        early_epoch=point.early_epoch,
        init_scale=Range(low=point.init_scale, high=point.init_scale),
        learning_rate=Range(low=point.learning_rate, high=point.learning_rate),
        hidden_size=(point.hidden_size,),
        clip_norm=(1.0,),
        dropout=(point.dropout,),
        head=("default",),
        state="stateless",
    )


def _other_ways(result: TrialResult, data: TaskData) -> dict[str, np.ndarray]:
    """The final network's spectra in the ways of the earlier code."""
    network = Network.of(Trial.from_description(result.trial))
    inputs = torch.from_numpy(tasks.driving_sequences(data.split("validation")[0], SETTINGS.sequences, _length()))
    inputs = tasks.get(result.trial["task"]).encode(inputs, network.cell.input_size).double()
    params = {n.removeprefix("cell."): torch.from_numpy(w).double() for n, w in result.weights["final"].items() if "cell." in n}
    weights = network.cell.weights(params)
    along = jacobians(lambda s, x: network.cell.step(weights, s, x), inputs, network.cell.state_size)
    ways = {"reversed": of_product(along.mT)}
    if result.trial["cell"] == "lstm":
        size = network.cell.hidden_size
        ways |= {"h alone": of_product(along[..., :size, :size]), "h alone, reversed": of_product(along[..., :size, :size].mT)}
    return {name: np.sort(s.clamp(min=FLOOR).mean(0).numpy())[::-1] for name, s in ways.items()}


def _length() -> int:
    return SETTINGS.transient + SETTINGS.steps


def jacobians(step: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, state_size: int) -> Tensor:
    """The Jacobian (T, B, S, S) of each step along the path from the zero state."""
    state = inputs.new_zeros(inputs.shape[1], state_size)
    unit = torch.eye(state_size, dtype=inputs.dtype).expand(len(state), -1, -1)
    found = []
    for x in inputs:
        state, columns = push_forward(lambda s, x=x: step(s, x), state, unit)
        found.append(columns.mT)
    return torch.stack(found)


def of_product(matrices: Tensor, transient: int = SETTINGS.transient) -> Tensor:
    """Exponents (B, S) of the product M_T ... M_1 of given matrices (T, B, S, S), by the library's own method.

    Transposed Jacobians give the spectrum of J_1 J_2 ... J_T: that of Q <- qr(J_t' Q) with t increasing. The blocks dh'/dh of an
    LSTM's Jacobians give the exponents of h as if c were an input, frozen to its path.
    """

    def step(state: Tensor, matrix: Tensor) -> Tensor:
        return (matrix.unflatten(-1, matrices.shape[-2:]) @ state.unsqueeze(-1)).squeeze(-1)

    state = matrices.new_zeros(matrices.shape[1:3])
    return lyapunov_spectrum(step, matrices.flatten(2), state=state, transient=transient, every=1).per_sequence


def run(small: bool) -> Outcome:
    """The study: 78 networks on characters, 6 a cell on digits; small, a handful for one epoch and no pictures."""
    text = list(networks(characters(small)))
    parts = list(networks(by_epoch(small)))
    images = list(networks(digits(small)))
    rows, judged = claims.findings(text) + claims.image_findings(images), {}
    if not small:
        judged = claims.judge(text)
        rows += [Row(f"R2 of the final loss: {name}", claims.NOT_AVAILABLE, str(value)) for name, value in judged.items()]
    return Outcome(
        title="The Lyapunov-exponent paper and AeLLE",
        source=claims.SOURCE,
        summary=claims.summary(text, judged) if judged else "small form",
        ran=ran(text, parts, images, small),
        rows=tuple(rows),
        why=claims.why(text, judged) if judged else "",
        pictures={} if small else draw_pictures(text, parts, images),
    )


def ran(text: Sequence[Measured], parts: Sequence[Measured], images: Sequence[Measured], small: bool) -> str:
    """Data, sizes, seeds and optimiser."""
    again = f"; {len(parts)} of the former once more for 3 epochs, for the picture" if parts else ""
    return (
        f"{len(text)} networks on characters ({_grid(text)}; 3,200 sequences of 50 steps to train, 600 to validate) and "
        f"{len(images)} on digits row by row ({_grid(images)}; 4,000 images of 28 x 28 to train, 500 to validate){again}; one "
        "layer, Adam, mini-batches of 50, gradients clipped at norm 1, one seed; full spectra in float64 on "
        f"{SETTINGS.sequences} sequences of {SETTINGS.transient} + {SETTINGS.steps} steps of the validation data"
        + ("." if small else f"; {evidence.METHOD}.")
    )


def _grid(found: Sequence[Measured]) -> str:
    """The values of each setting that occur."""
    points = [n.point for n in found]
    shown = {
        "p": {p.init_scale for p in points},
        "units": {p.hidden_size for p in points},
        "learning rate": {p.learning_rate for p in points},
        "dropout": {p.dropout for p in points},
        "epochs": {p.epochs for p in points},
    }
    return ", ".join(f"{name} {' '.join(f'{v:g}' for v in sorted(values))}" for name, values in shown.items())


def draw_pictures(text: Sequence[Measured], parts: Sequence[Measured], images: Sequence[Measured]) -> dict[str, str]:
    """Write the pictures and return their captions."""
    panels = []
    for part in parts:
        whole = next(n for n in text if n.point == replace(part.point, epochs=EPOCHS, early_epoch=EARLY))
        spectra = {0: whole.spectra["initial"], EARLY: whole.spectra["early"], EPOCHS: whole.spectra["final"]}
        spectra |= {part.point.early_epoch: part.spectra["early"], part.point.epochs: part.spectra["final"]}
        panels.append((f"{part.point.cell}, 32 units, p = {part.point.init_scale:g}", spectra))
    captions = {}
    for name, figure, caption in (
        ("epochs", pictures.spectra_by_epoch(panels), "Full spectra of six networks while they learn characters (Adam at .01)."),
        (
            "losses",
            pictures.against_loss(text, ["lstm", "gru"]),
            "Largest and mean exponent of the trained character networks and their final loss.",
        ),
        (
            "ways",
            pictures.ways([*text, *images]),
            "The same trained networks, measured in the ways of the earlier code; equal on the line.",
        ),
    ):
        pictures.save(figure, f"lyapunov_paper_{name}.png")
        captions[f"lyapunov_paper_{name}.png"] = caption
    return captions
