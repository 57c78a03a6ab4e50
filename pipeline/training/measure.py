"""The spectra of a finished trial."""

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import spectrum, tasks
from ..artefacts import CHECKPOINTS, Arrays, TaskData, TrialResult, TrialSpectra, digest
from ..cells import Cell, Params
from ..config import SpectrumSettings
from ..errors import ArtefactError
from .network import Network
from .policies import POLICIES, previous
from .trial import Trial, code_hash

Work = tuple[Path, Path, SpectrumSettings, str, Path]


def measurements(results: Path, data: Path, settings: SpectrumSettings, folder: Path, device: str) -> dict[Path, Work]:
    """File of spectra to make -> argument for `measure`, for every trial of a folder of results.

    The file's name tells apart all that could change what is in it.
    """
    code = code_hash("spectrum", "training/measure.py")
    work = {}
    for result in sorted(results.glob("*.safetensors")):
        content = json.dumps([digest(result), settings.model_dump(), device, code])
        path = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.safetensors"
        work[path] = (result, data, settings, device, path)
    if not work:
        raise ArtefactError(f"{results} holds no trials; run `dvc repro` to make them")
    return work


def measure(work: Work) -> Path:
    """Measure a trial's full spectrum at its three checkpoints, write its TrialSpectra and return the path.

    The networks are driven by the task's own validation data in natural order, in float64, from the zero state, which is
    carried from sequence to sequence whatever the trial's policy. A policy that tells targets tells the true ones:
    exponents are of the driven network, not of the loop that it closes when it is told its own answers.

    Args:
        work: file of the trial's result, file of the task's data, settings, device, file to write.
    """
    result_path, data_path, settings, device, path = work
    begin = time.perf_counter()
    result = TrialResult.load(result_path)
    trial = Trial.from_description(result.trial)
    network = Network.of(trial)
    params = _stacked(network.cell, [result.weights[c] for c in CHECKPOINTS], device)
    inputs = driving_inputs(trial, data_path, settings).to(device)
    state = inputs.new_zeros(len(CHECKPOINTS), settings.sequences, network.cell.state_size)
    growth = spectrum.growth(network.cell, params, state, inputs, network.cell.state_size, transient=settings.transient)
    spectra = [
        spectrum.Spectrum.from_growth(rows, rounding_error=error.mean(0))
        for rows, error in zip(growth.per_step.unbind(1), growth.rounding_error, strict=True)
    ]
    TrialSpectra(
        trial=result.trial,
        settings=settings.model_dump() | {"seconds": time.perf_counter() - begin},
        exponents=np.stack([s.per_sequence.cpu().numpy() for s in spectra]),
        standard_error=np.stack([s.standard_error.cpu().numpy() for s in spectra]),
        rounding_error=np.stack([s.rounding_error.cpu().numpy() for s in spectra]),
        history=np.stack([s.history[:, 0].cpu().numpy() for s in spectra]),
    ).save(path)
    return path


def driving_inputs(trial: Trial, path: Path, settings: SpectrumSettings) -> Tensor:
    """What drives the trial's network, (T, B, I) float64."""
    inputs, before = _driving(path, settings, POLICIES[trial.state].told)
    encoded = tasks.get(trial.task).encode(torch.from_numpy(inputs), trial.input_size)
    return (encoded if before is None else torch.cat([encoded, torch.from_numpy(before)], dim=-1)).double()


@lru_cache(maxsize=1)
def _driving(path: Path, settings: SpectrumSettings, told: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Stretches of validation data and, on demand, the targets of the step before the sequence that a step belongs to."""
    inputs, targets = TaskData.load(path).split("validation")
    count, steps = settings.sequences, settings.transient + settings.steps
    if not told:
        return tasks.driving_sequences(inputs, count, steps), None
    before = previous(torch.from_numpy(targets)).expand(len(targets), -1, -1).numpy()
    return tasks.driving_sequences(inputs, count, steps), tasks.driving_sequences(before, count, steps)


def _stacked(cell: Cell, checkpoints: list[Arrays], device: str) -> Params:
    """What the cell's step reads at all checkpoints, (3, ...) float64."""
    made = [
        cell.weights({n.removeprefix("cell."): torch.from_numpy(w).double() for n, w in c.items() if n.startswith("cell.")})
        for c in checkpoints
    ]
    return {n: torch.stack([m[n] for m in made]).to(device) for n in made[0]}
