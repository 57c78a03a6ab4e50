"""The spectra of finished trials."""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import tasks
from ..cells import Cell, Params
from ..core import layout
from ..core.code import code_hash, content_hash
from ..core.config import Config, SpectrumSettings
from ..core.files import array_files
from ..core.records import CHECKPOINTS, TaskData, Trial, TrialResult, TrialSpectra
from ..spectrum.engine import growth as growth_of
from ..spectrum.estimate import Spectrum
from ..training.device import choose_device
from ..training.network import Network
from ..training.policies import POLICIES, previous


@dataclass(frozen=True)
class Measurement:
    """The spectra of one trial, to be measured.

    Attributes:
        result: file of the trial.
        data: file of the task's data.
        settings: what drives the spectra.
        device: "cpu" or "cuda".
        path: the file to write.
    """

    result: Path
    data: Path
    settings: SpectrumSettings
    device: str
    path: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the job reads."""
        return (self.result, self.data)

    def run(self) -> TrialSpectra:
        """Measure."""
        return measure(TrialResult.load(self.result), self.data, self.settings, self.device)


def jobs(settings: Config, task: str) -> list[Measurement]:
    """The measurements of all trials of a task, the largest networks first; from `device`, `execution`, `spectrum`.

    The name of a file of spectra depends on all that could change them: the trial, its weights, settings, device and code.
    """
    chosen, code, results = choose_device(settings), code_hash("jobs/spectra.py"), layout.trials(task)
    measurements = []
    for path in array_files(results):
        result = TrialResult.load(path)
        name = content_hash([result.trial.id, result.weights_checksum(), settings.spectrum.model_dump(), chosen, code])
        target = layout.spectra(task) / f"{result.trial.cell}-{name}.safetensors"
        measurements.append(
            (Network.of(result.trial).cell.state_size, Measurement(path, layout.data(task), settings.spectrum, chosen, target))
        )
    return [job for _, job in sorted(measurements, key=lambda pair: -pair[0])]


def diverged(path: Path) -> bool:
    """Whether the states of the spectra in a file were not finite."""
    return TrialSpectra.load(path).diverged


def measure(result: TrialResult, data: Path, settings: SpectrumSettings, device: str) -> TrialSpectra:
    """Measure a trial's full spectrum at its three checkpoints.

    The networks are driven by the task's own validation data in natural order, in float64, from the zero state, which is
    carried from sequence to sequence whatever the trial's policy. If the policy feeds back targets, the true targets are
    used (teacher forcing): the exponents describe the driven network, not the closed loop.
    """
    begin = time.perf_counter()
    trial = result.trial
    cell = Network.of(trial).cell
    params = _stacked(cell, result, device)
    inputs = driving_inputs(trial, data, settings).to(device)
    state = inputs.new_zeros(len(CHECKPOINTS), settings.sequences, cell.state_size)
    growth = growth_of(cell, params, state, inputs, cell.state_size, transient=settings.transient)
    spectra = [
        Spectrum.from_growth(rows, rounding_error=error.mean(0))
        for rows, error in zip(growth.per_step.unbind(1), growth.rounding_error, strict=True)
    ]
    return TrialSpectra(
        trial=trial,
        settings=settings,
        seconds=time.perf_counter() - begin,
        exponents=np.stack([s.per_sequence.cpu().numpy() for s in spectra]),
        standard_error=np.stack([s.standard_error.cpu().numpy() for s in spectra]),
        rounding_error=np.stack([s.rounding_error.cpu().numpy() for s in spectra]),
        history=np.stack([s.history[:, 0].cpu().numpy() for s in spectra]),
    )


def driving_inputs(trial: Trial, path: Path, settings: SpectrumSettings) -> Tensor:
    """The inputs (T, B, I) float64 that drive a trial's network."""
    inputs, before = _driving(path, trial.data_hash, settings, POLICIES[trial.state].sees_targets)
    encoded = tasks.get(trial.task).encode(torch.from_numpy(inputs), trial.input_size)
    return (encoded if before is None else torch.cat([encoded, torch.from_numpy(before)], dim=-1)).double()


@lru_cache(maxsize=1)
def _driving(
    path: Path, data_hash: str, settings: SpectrumSettings, sees_targets: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Stretches of validation data and, on demand, the targets of the step before the sequence of each step."""
    inputs, targets = TaskData.load_known(path, data_hash).split("validation")
    count, steps = settings.sequences, settings.transient + settings.steps
    if not sees_targets:
        return tasks.driving_sequences(inputs, count, steps), None
    before = previous(torch.from_numpy(targets)).expand(len(targets), -1, -1).numpy()
    return tasks.driving_sequences(inputs, count, steps), tasks.driving_sequences(before, count, steps)


def _stacked(cell: Cell, result: TrialResult, device: str) -> Params:
    """The weights that the cell's step reads at all checkpoints, (3, ...) float64."""
    checkpoints = [
        cell.weights({n: torch.from_numpy(w).double() for n, w in result.cell_weights(c).items()}) for c in CHECKPOINTS
    ]
    return {n: torch.stack([weights[n] for weights in checkpoints]).to(device) for n in checkpoints[0]}
