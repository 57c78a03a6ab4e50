"""What passes between stages: one typed, frozen record per file.

Nothing here needs torch, so that the stages after `spectrum` start without it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from .config import FixedPointsSettings, SpectrumSettings
from .errors import ArtefactError
from .files import ArrayFile, Arrays, array_checksum, array_files, check
from .hyper_parameters import HyperParameters, Value
from .numbers import finite_mean
from .stored import ArrayRecord, check_axes
from .written import JsonRecord, other_version

CHECKPOINTS = ("initial", "early", "final")
MOMENTS = CHECKPOINTS[:2]  # at which measurements are taken
CONSTANT_INPUTS = ("zero", "mean")  # x = 0, and the mean of the inputs that drive the network
SPLITS = ("train", "validation", "test")
CURVES = ("train_loss", "validation_loss", "validation_metric", "gradient_norm", "gradient_norm_max")
UPDATES = ("loss", "gradient_norm")  # of each mini-batch; the norm is that before clipping


@dataclass(frozen=True)
class TaskInfo:
    """A task as `prepare` wrote it.

    Attributes:
        task: name of the task.
        title, description, metric: human-readable.
        head: name of the task's own head.
        batch_size: sequences per mini-batch.
        ordered: whether the sequences are a series cut up.
        size: "packaged", "long" or "full".
        input_size, output_size, steps: I, O, and T of a training sequence.
        sequences: split -> number of sequences.
        chance: loss on the validation split of the best constant answer.
        source, licence: of the data.
        hash: sha256 of the arrays.
        notes: further facts about the data.
    """

    task: str
    title: str
    description: str
    metric: str
    head: str
    batch_size: int
    ordered: bool
    size: str
    input_size: int
    output_size: int
    steps: int
    sequences: dict[str, int]
    chance: float
    source: str
    licence: str
    hash: str
    notes: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> str:
        """Human-readable summary of the data."""
        uses = zip(("train", "validate", "test"), self.sequences.values(), strict=True)
        sizes = ", ".join(f"{count} to {use}" for use, count in uses)
        return (
            f"{self.task} ({self.size}): sequences of {self.steps} steps, {sizes}; {self.input_size} inputs, "
            f"{self.output_size} outputs; loss by chance {self.chance:.4f}\n"
            f"  source: {self.source}\n  licence: {self.licence}\n  sha256: {self.hash}"
        )


@dataclass(frozen=True)
class TaskData(ArrayRecord):
    """The sequences of one task.

    Attributes:
        arrays: `{train,validation,test}_{inputs,targets}`; inputs (T, N, I) float32 or (T, N) token numbers,
            targets (N,) classes, (T, N) tokens or (T, N, O) values.
        info: what they are.
    """

    arrays: Arrays = field(repr=False)
    info: TaskInfo

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing, damaged or of another kind or version, or lacks sequences."""
        data = super().load(path)
        whole = set(data.arrays) == {f"{split}_{kind}" for split in SPLITS for kind in ("inputs", "targets")}
        if not whole or any(_count(inputs) != _count(targets) for inputs, targets in map(data.split, SPLITS)):
            raise ArtefactError(other_version(path, cls, "it lacks inputs or targets"))
        return data

    @classmethod
    def load_known(cls, path: Path, data_hash: str) -> Self:
        """Read `path`; ArtefactError if it does not hold the data that a trial was drawn for, with this hash."""
        data = cls.load(path)
        if data.info.hash != data_hash:
            raise ArtefactError(f"{path} holds other data than those of the trials; run `dvc repro` to train on these")
        return data

    @staticmethod
    def info_of(path: Path) -> TaskInfo:
        """What the data in a file are, without reading the sequences."""
        return ArrayRecord.header(TaskData, ArrayFile(path))["info"]

    def split(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets of "train", "validation" or "test"."""
        return self.arrays[f"{name}_inputs"], self.arrays[f"{name}_targets"]


def _count(array: NDArray[Any]) -> int:
    """The number of sequences of inputs or targets."""
    return int(array.shape[min(1, array.ndim - 1)])


@dataclass(frozen=True)
class Trial:
    """One network with its hyper-parameters and its seed: everything that determines what a trial gives.

    Attributes:
        task, cell: names of their files.
        index: number among the trials of this task and cell.
        draw: number of the draw of its hyper-parameters; trials with the same draw differ only in their seed.
        seed: of the trial's own generator.
        hyper_parameters: as drawn.
        options: the cell's own options that differ from its defaults.
        state: what happens to the state between sequences, a name of `training.policies`.
        epochs, early_epoch: length of the training, and of its part up to the early checkpoint.
        input_size, output_size, steps: I, O, and T of a training sequence.
        chance: loss of the best constant answer.
        device: "cpu" or "cuda".
        torch: version of torch.
        data_hash: of the task's sequences.
        code_hash: of the library's files that take part.
    """

    task: str
    cell: str
    index: int
    draw: int
    seed: int
    hyper_parameters: HyperParameters
    options: dict[str, Value]
    state: str
    epochs: int
    early_epoch: int
    input_size: int
    output_size: int
    steps: int
    chance: float
    device: str
    torch: str
    data_hash: str
    code_hash: str

    @cached_property
    def id(self) -> str:
        """16 hex digits that differ between trials that could give different results."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def batch_size(self) -> int:
        """Sequences per mini-batch."""
        return self.hyper_parameters.batch_size

    @property
    def name(self) -> str:
        """Human-readable name."""
        return f"{self.task} {self.cell} {self.index:02d}"

    def path(self, folder: Path) -> Path:
        """The file of its results in a folder."""
        return folder / f"{self.cell}-{self.id}.safetensors"

    def epoch_of(self, checkpoint: str) -> int:
        """Epochs trained at a checkpoint."""
        return {"initial": 0, "early": self.early_epoch, "final": self.epochs}[checkpoint]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        diverged: whether a loss or gradient was not finite.
        seconds: wall time of the training.
        test_loss, test_metric: at the end; None where not finite.
        parameter_count: trained numbers of the whole network.
    """

    diverged: bool
    seconds: float
    test_loss: float | None
    test_metric: float | None
    parameter_count: int


@dataclass(frozen=True)
class TrialResult(ArrayRecord):
    """One finished trial.

    Attributes:
        trial: what was trained.
        outcome: what became of it.
        curves: name in CURVES -> (epochs + 1,) float64, entry 0 before training; NaN where not measured.
        updates: name in UPDATES -> (mini-batches of all epochs,) float32, in the order of training; NaN where not measured.
        optimiser: name of a trained parameter -> name of a state variable of the optimiser -> array, at the early checkpoint.
        weights: checkpoint in CHECKPOINTS -> parameter name -> float32 array. Those of a file are read, and checked,
            each time that a checkpoint is asked for.
    """

    trial: Trial
    outcome: Outcome
    curves: Arrays
    updates: Arrays = field(repr=False)
    weights: Mapping[str, Arrays] = field(repr=False)
    optimiser: Mapping[str, Arrays] = field(repr=False)

    def __post_init__(self) -> None:
        if set(self.curves) != set(CURVES) or set(self.updates) != set(UPDATES) or set(self.weights) != set(CHECKPOINTS):
            raise ArtefactError("lacks curves or checkpoints")
        if {curve.shape for curve in self.curves.values()} != {(self.trial.epochs + 1,)}:
            raise ArtefactError("has curves of a wrong length")
        lengths = {update.shape for update in self.updates.values()}
        if len(lengths) != 1 or len(lengths.pop()) != 1:
            raise ArtefactError("has updates of different lengths")

    def cell_weights(self, checkpoint: str) -> Arrays:
        """The parameters of the cell at a checkpoint."""
        return {n.removeprefix("cell."): w for n, w in self.weights[checkpoint].items() if n.startswith("cell.")}

    def weights_checksum(self) -> str:
        """Checksum (16 hex digits) of all weights, whatever else the file holds."""
        sums = {f"{c}/{n}": array_checksum(w) for c in CHECKPOINTS for n, w in self.weights[c].items()}
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]


class _Unfinished(ArrayRecord):
    """A state to go on from, all of which is checked when it is read, as a training begins anew where it is damaged."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`; ArtefactError if it is missing, or anything in it is damaged."""
        check(path)
        return super().load(path)


@dataclass(frozen=True)
class UnfinishedTrial(_Unfinished):
    """Where the training of a trial stands between two mini-batches: all that it needs to go on with the same bits.

    Attributes:
        trial: what is trained.
        epoch: that is under way, counted from 1.
        seconds: wall time so far.
        curves, updates, weights, optimiser: of the TrialResult, as far as they are known.
        losses, norms: (mini-batches so far,) float64, of this epoch.
        weights_now, optimiser_now: of the network and its optimiser.
        generators: states of the trial's generator: "epoch", when the epoch began, and "now".
        carried: "state" -> (B, S), which the next mini-batch starts from; empty if it starts from zero.
    """

    trial: Trial
    epoch: int
    seconds: float
    curves: Arrays
    updates: Arrays
    weights: Mapping[str, Arrays]
    optimiser: Mapping[str, Arrays]
    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    weights_now: Arrays
    optimiser_now: Mapping[str, Arrays]
    generators: Arrays
    carried: Arrays


@dataclass(frozen=True)
class UnfinishedTrials(_Unfinished):
    """Where the training of M trials together stands between two epochs; arrays are those of `UnfinishedTrial` stacked, (M, ...).

    Attributes:
        trials: what is trained.
        epoch: the next one.
        seconds: wall time so far.
        curves, updates, weights, optimiser: of the TrialResults, as far as they are known.
        weights_now, optimiser_now: of the networks and their optimisers.
        generators: states of the trials' generators.
    """

    trials: tuple[Trial, ...]
    epoch: int
    seconds: float
    curves: Arrays
    updates: Arrays
    weights: Mapping[str, Arrays]
    optimiser: Mapping[str, Arrays]
    weights_now: Arrays
    optimiser_now: Mapping[str, Arrays]
    generators: NDArray[np.uint8]


@dataclass(frozen=True)
class TrialSpectra(ArrayRecord):
    """The spectra of one trial at its checkpoints.

    Attributes:
        trial: whose they are.
        settings: what drove them.
        seconds: wall time of the measurement.
        exponents: (3, B, S) float64, nats per step, for each sequence, sorted by their mean over sequences; -inf
            for a direction that is lost, NaN for a sequence whose state is not finite.
        standard_error: (3, S) of the mean over sequences.
        rounding_error: (3, S) estimate of what rounding added to it.
        history: (3, T) running estimate of the largest exponent.
    """

    trial: Trial
    settings: SpectrumSettings
    seconds: float
    exponents: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    rounding_error: NDArray[np.float64]
    history: NDArray[np.float64]

    def __post_init__(self) -> None:
        known = {"C": len(CHECKPOINTS), "B": self.settings.sequences, "T": self.settings.steps}
        errors = {"standard_error": (self.standard_error, "CS"), "rounding_error": (self.rounding_error, "CS")}
        check_axes(known, exponents=(self.exponents, "CBS"), history=(self.history, "CT"), **errors)
        if np.isposinf(self.exponents).any():
            raise ArtefactError("has infinite exponents")

    @property
    def diverged(self) -> bool:
        """Whether no sequence stayed finite at some checkpoint."""
        return any(np.isnan(rows).any(axis=1).all() for rows in self.exponents)

    def mean(self, checkpoint: str, *, floor: float = -np.inf) -> NDArray[np.float64]:
        """Exponents (S,) at a checkpoint, the mean over the sequences that stayed finite; NaN if none did.

        Exponents of a sequence below the floor count as the floor.
        """
        return finite_mean(self.exponents[CHECKPOINTS.index(checkpoint)], floor=floor)


@dataclass(frozen=True)
class TrialMeasurements(ArrayRecord):
    """The early measurements of one trial, before training and at the early checkpoint.

    Attributes:
        trial: what was measured.
        seconds: name of a measurement, a file of `pipeline/measuring` -> mean wall time at one checkpoint.
        columns: names of the measured numbers.
        values: (2, columns) float64, NaN where not defined.
    """

    trial: Trial
    seconds: dict[str, float]
    columns: list[str]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_axes({"M": len(MOMENTS), "N": len(self.columns)}, values=(self.values, "MN"))

    def at(self, moment: str) -> dict[str, float]:
        """The numbers at a checkpoint."""
        return dict(zip(self.columns, self.values[MOMENTS.index(moment)].tolist(), strict=True))


@dataclass(frozen=True)
class PointCounts:
    """The summary of a network's fixed points under one constant input.

    Attributes:
        fixed_points: number of points.
        stable: number of those without a growing direction.
        by_unstable_directions: number of points by their number of growing directions.
        slowest_time_constant: steps, the largest over all points; None if there is none or it is infinite.
        median_q: median of |F(h) - h|^2 / 2 over the visited states, under the constant input; None if it is not finite.
        natural_q: the same along the trajectories with their own inputs, a scale to compare it with.
        seeds_that_found: share of the seeds whose search ended at a point.
        outliers: number of distinct points that were left out because they are far from all visited states.
        index: sum over the points of the sign of det(I - J).
    """

    fixed_points: int
    stable: int
    by_unstable_directions: list[int]
    slowest_time_constant: float | None
    median_q: float | None
    natural_q: float | None
    seeds_that_found: float
    outliers: int
    index: int | None


@dataclass(frozen=True)
class TrialFixedPoints(ArrayRecord):
    """The fixed points of one trial's network at the end of training, under constant inputs.

    Attributes:
        trial: whose they are.
        settings: of the search.
        counts: constant input, a name in CONSTANT_INPUTS -> what was found.
        trajectories: (T + 1, B, S) float32, states on validation data.
        points: constant input -> (N, S) float64, states that the network keeps.
        moduli: constant input -> (N, S) float64, moduli of the eigenvalues of the Jacobian there, largest first.
    """

    trial: Trial
    settings: FixedPointsSettings
    counts: dict[str, PointCounts]
    trajectories: NDArray[np.float32]
    points: Arrays
    moduli: Arrays

    def __post_init__(self) -> None:
        check_axes({}, trajectories=(self.trajectories, "TBS"))
        for name in CONSTANT_INPUTS:
            if not all(name in found for found in (self.counts, self.points, self.moduli)):
                raise ArtefactError(f"lacks what was found under the input {name}")
            known = {"N": self.counts[name].fixed_points, "S": self.trajectories.shape[2]}
            check_axes(known, points=(self.points[name], "NS"), moduli=(self.moduli[name], "NS"))
            if not (np.isfinite(self.points[name]).all() and np.isfinite(self.moduli[name]).all()):
                raise ArtefactError(f"has points that are not finite under the input {name}")

    def unstable(self, constant_input: str) -> NDArray[np.int64]:
        """(N,) number of growing directions of each point under a constant input."""
        return (self.moduli[constant_input] > 1).sum(axis=1)


@dataclass(frozen=True)
class StageRecord(JsonRecord):
    """What the last run of a stage instance left.

    Attributes:
        stage, words: which instance.
        began: seconds since 1970.
        seconds: wall time, tracking included; 0 while a stage of many trials runs, and after it was interrupted.
        tracking_seconds: of that, spent on tracking.
        settings: sections of params.yaml that the stage read.
        origin: commit, user and so on, as tags of MLflow.
    """

    stage: str
    words: list[str]
    began: float
    seconds: float
    tracking_seconds: float
    settings: dict[str, Any]
    origin: dict[str, str]


R = TypeVar("R", TrialResult, TrialSpectra, TrialMeasurements)


def trials_in(folder: Path) -> list[TrialResult]:
    """All trials of a task's folder, sorted by cell and index, without their weights; ArtefactError if there are none."""
    return _sorted(TrialResult, folder)


def spectra_in(folder: Path) -> list[TrialSpectra]:
    """All spectra of a task's folder, sorted as the trials; ArtefactError if there are none."""
    return _sorted(TrialSpectra, folder)


def measurements_in(folder: Path) -> list[TrialMeasurements]:
    """All early measurements of a task's folder, sorted as the trials; ArtefactError if there are none."""
    return _sorted(TrialMeasurements, folder)


def _sorted(kind: type[R], folder: Path) -> list[R]:
    """The records of a task's folder by cell and index; ArtefactError if one is of another task, or there twice."""
    found: dict[str, R] = {}
    for path in array_files(folder):
        record = kind.load(path)
        trial = record.trial
        if trial.task != folder.name or trial.id in found:
            why = "which is there twice" if trial.id in found else f"which is none of {folder.name}"
            raise ArtefactError(f"{path} holds the trial {trial.name}, {why}; delete it and run `dvc repro`")
        found[trial.id] = record
    return sorted(found.values(), key=lambda record: (record.trial.cell, record.trial.index))


def by_cell(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Cell -> its trials."""
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        groups.setdefault(result.trial.cell, []).append(result)
    return groups
