"""The early measurements of finished trials."""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from .. import heads, measuring, tasks
from ..core import layout
from ..core.code import code_hash, content_hash
from ..core.config import Config
from ..core.files import array_files
from ..core.records import MOMENTS, TaskData, TrialMeasurements, TrialResult
from ..measuring.base import lags as dependence
from ..measuring.base.probe import SEQUENCES, Probe, Task
from ..training.device import choose_device
from ..training.loop import optimiser_at
from ..training.network import Network
from ..training.policies import POLICIES, append, previous


@dataclass(frozen=True)
class Measurements:
    """A job that takes the early measurements of one trial.

    Attributes:
        result: file of the trial.
        data: file of the task's data.
        device: "cpu" or "cuda".
        path: the file to write.
    """

    result: Path
    data: Path
    device: str
    path: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the job reads."""
        return (self.result, self.data)

    def run(self) -> TrialMeasurements:
        """Measure."""
        return measure(TrialResult.load(self.result), self.data, self.device)


def jobs(settings: Config, task: str) -> list[Measurements]:
    """The measurement jobs of all trials of a task. Reads the sections `device` and `execution` of params.yaml."""
    files = ["jobs/measurements.py", f"tasks/{task}.py", *(f"measuring/{name}.py" for name in measuring.names())]
    code, results, device = code_hash(*files), layout.trials(task), choose_device(settings)
    found = []
    for path in array_files(results):
        result = TrialResult.load(path)
        name = content_hash([result.trial.id, result.weights_checksum(), device, code])
        target = layout.measurements(task) / f"{result.trial.cell}-{name}.safetensors"
        found.append(Measurements(path, layout.data(task), device, target))
    return found


def measure(result: TrialResult, data: Path, device: str) -> TrialMeasurements:
    """Take all measurements of a trial's network before training and at the early checkpoint.

    Each sequence starts at the zero state, whatever the trial's policy. What several measurements need is computed once; its
    time counts for the first of them.
    """
    trial = result.trial
    task = _task(data, trial.data_hash, trial.task, POLICIES[trial.state].sees_targets, trial.input_size, device)
    values: list[list[float]] = []
    seconds = dict.fromkeys(measuring.names(), 0.0)
    for moment in MOMENTS:
        probe = probe_of(result, moment, task, device)
        row: dict[str, float] = {}
        for name in measuring.names():
            begin = time.perf_counter()
            row |= measuring.get(name).measure(probe)
            seconds[name] += (time.perf_counter() - begin) / len(MOMENTS)
        values.append([row[column] for column in measuring.columns()])
    return TrialMeasurements(trial, seconds, list(measuring.columns()), np.array(values))


def probe_of(result: TrialResult, moment: str, task: Task, device: str) -> Probe:
    """A probe of a trial's network at a moment, from which measurements are taken."""
    trial = result.trial
    module = Network.of(trial).init(torch.Generator().manual_seed(trial.seed)).to(device)
    module.load(result.weights[moment])
    hyper = trial.hyper_parameters
    optimiser = optimiser_at(moment, module, result)
    return Probe(module, module.cell, optimiser, task, batch_size=trial.batch_size, clip_norm=hyper.clip_norm)


@lru_cache(maxsize=1)
def _task(path: Path, data_hash: str, name: str, sees_targets: bool, input_size: int, device: str) -> Task:
    """Some of a task's training sequences, encoded as inputs of the networks."""
    data, task = TaskData.load_known(path, data_hash), tasks.get(name)
    every_step = heads.get(data.info.head).every_step
    inputs, targets = (torch.from_numpy(a) for a in data.split("train"))
    before = previous(targets) if sees_targets else None
    count = inputs.shape[1]
    chosen = torch.linspace(0, count - 1, min(count, 2 * SEQUENCES)).long()
    x = task.encode(inputs[:, chosen], input_size)
    y = targets[:, chosen] if every_step else targets[chosen]
    weights, _ = dependence.lags(x.numpy(), y.numpy(), every_step=every_step)
    x = append(x, before[chosen]) if before is not None else x
    return Task(x.to(device), y.to(device), task.loss, data.info.chance, weights, every_step)
