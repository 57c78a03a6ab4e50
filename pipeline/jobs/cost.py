"""The time that a study would take: `python -m pipeline.jobs.cost [PROFILE]` times a few steps of each part.

The early measurements are not counted: they take a few percent of a training.
"""

import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from pathlib import Path

import torch

from .. import tasks
from ..core import config, execution
from ..core.config import Config
from ..core.errors import ExecutionError, PipelineError
from ..core.records import TaskData, Trial
from ..core.tables import Table
from ..training import MEASURING, choose_device, draw, sharing
from ..training.draw import SEEDS
from ..training.ensemble import Ensemble
from ..training.job import MOST
from ..training.loop import train
from .spectra import measure

BATCHES = 10  # mini-batches that are timed
STEPS = 48  # steps of a spectrum that are timed: three of its longest intervals
MANY = 64  # workers of a cluster
FORWARD = 1 / 3  # share of a training step that evaluating a batch takes: no backward pass, which is twice the forward one


@dataclass(frozen=True)
class Cost:
    """What the trials of one task, cell and size take on this device, one after the other.

    Attributes:
        task, cell: names.
        hidden_size: H.
        trials: of that size, H being drawn in equal shares.
        batches: mini-batches that one trial trains on.
        evaluated: mini-batches that one trial evaluates.
        batch_seconds: of one training step.
        steps: of one trial's spectra.
        step_seconds: of one step of the spectra of all checkpoints.
        together: trials that are trained at once; the seconds are each one's share.
    """

    task: str
    cell: str
    hidden_size: int
    trials: float
    batches: int
    evaluated: int
    batch_seconds: float
    steps: int
    step_seconds: float
    together: int = 1

    @property
    def train_hours(self) -> float:
        """Of stage `train`."""
        return self.trials * (self.batches + FORWARD * self.evaluated) * self.batch_seconds / 3600

    @property
    def spectrum_hours(self) -> float:
        """Of the spectra in stage `measure`."""
        return self.trials * self.steps * self.step_seconds / 3600


def costs(settings: Config) -> Iterator[Cost]:
    """The cost of each task, cell and size; downloads what `prepare.size` asks for and trains and measures a little of each."""
    device = choose_device(settings)
    for task in settings.tasks:
        data = tasks.get(task).prepare(task, settings.prepare.size, settings.seed)
        first = {trial.cell: trial for trial in draw(settings, data.info, device) if trial.index == 0}
        for cell in settings.cells:
            for hidden_size in settings.train.drawn("hidden_size"):
                hyper = replace(first[cell].hyper_parameters, hidden_size=hidden_size)
                yield cost(settings, data, replace(first[cell], hyper_parameters=hyper))


def cost(settings: Config, data: TaskData, trial: Trial) -> Cost:
    """The cost of the trials of a sweep that are of one trial's size."""
    size = trial.hyper_parameters.hidden_size
    tame = replace(trial.hyper_parameters, init_scale=size**-0.5, learning_rate=1e-4)  # divergence would end it early
    trial = replace(trial, hyper_parameters=tame, epochs=1, early_epoch=1)
    part = thin(data, trial.batch_size * BATCHES, trial.batch_size)
    trials = (settings.train.trials + (SEEDS - 1) * settings.train.repeated) / len(settings.train.drawn("hidden_size"))
    short = settings.spectrum.model_copy(update={"transient": 0, "steps": STEPS})
    with tempfile.TemporaryDirectory() as name:
        data.save(Path(name) / "data")
        for _ in range(2):  # the first time libraries load and kernels are chosen
            result = train(trial, part)
        seconds = result.outcome.seconds / (BATCHES + 3 * FORWARD)  # three evaluations of a batch: validation twice, test
        networks = min(MOST, math.ceil(trials)) if trial.device == "cuda" else 1
        if networks > 1:
            networks, seconds = together(trial, part, networks)
        for _ in range(2):
            spectra = measure(result, Path(name) / "data", short, trial.device)
    sequences, epochs = data.info.sequences, settings.train.epochs
    return Cost(
        task=trial.task,
        cell=trial.cell,
        hidden_size=size,
        trials=trials,
        batches=epochs * -(-sequences["train"] // trial.batch_size),
        evaluated=((epochs + 1) * sequences["validation"] + sequences["test"]) // trial.batch_size,
        batch_seconds=seconds,
        steps=settings.spectrum.transient + settings.spectrum.steps,
        step_seconds=spectra.seconds / STEPS,
        together=networks,
    )


def together(trial: Trial, data: TaskData, networks: int) -> tuple[int, float]:
    """How many of the networks can be trained together, as on a GPU those of one size are, and seconds per mini-batch of one."""
    ensemble = Ensemble([replace(trial, seed=seed) for seed in range(networks)], data)
    try:
        for _ in range(3):  # the first epoch is the one in which a GPU learns what it repeats
            begin = time.perf_counter()
            ensemble.epoch([True] * networks)
        return networks, (time.perf_counter() - begin) / ensemble.steps / networks
    except torch.OutOfMemoryError:
        if networks == 1:
            raise ExecutionError(f"the memory of the GPU is too small for {trial.name}") from None
    finally:
        ensemble.release()
    return together(trial, data, networks // 2)


def thin(data: TaskData, train: int, rest: int) -> TaskData:
    """The task with so many sequences to train, and to validate and test."""
    arrays = {}
    for name, array in data.arrays.items():
        count = train if name.startswith("train") else rest
        one_answer = name.endswith("targets") and data.info.head == "last"
        arrays[name] = array[:count] if one_answer else array[:, :count]
    return TaskData(arrays, data.info)


def hours_on(costs: Sequence[Cost], workers: int) -> float:
    """Hours that the study takes on a number of workers, without the starts of its stages.

    The stages of the tasks run one after the other; within one, a worker that is free takes the next job, as `execution` does.
    """
    hours = 0.0
    for task in dict.fromkeys(c.task for c in costs):
        for part in ("train_hours", "spectrum_hours"):
            free = [0.0] * workers  # when each worker will be, as a heap
            sizes = [(c, c.together if part == "train_hours" else 1) for c in costs if c.task == task]
            own = [(n * getattr(c, part) / c.trials, math.ceil(c.trials / n)) for c, n in sizes]
            for length, jobs in sorted(own, reverse=True):
                for _ in range(jobs):
                    heapreplace(free, free[0] + length)
            hours += max(free)
    return hours


def report(costs: list[Cost], workers: int, device: str) -> str:
    """The costs as a table for a terminal, and the time on one worker, on some, and on MANY."""
    rows = [
        [c.task, c.cell, c.hidden_size, 1000 * c.batch_seconds, c.train_hours, 1000 * c.step_seconds, c.spectrum_hours]
        for c in costs
    ]
    columns = ["task", "cell", "H", "ms per batch", "train, h", "ms per step", "spectrum, h"]
    train_hours, spectrum_hours = sum(c.train_hours for c in costs), sum(c.spectrum_hours for c in costs)
    times = ", ".join(f"{hours_on(costs, n):.3g} hours on {n}" for n in dict.fromkeys((1, workers, MANY)))
    lines = [
        Table(columns, rows, text_columns=2).text(),
        f"{sum(c.trials for c in costs):.0f} trials on {device}: {train_hours:.2f} hours of training, "
        f"{spectrum_hours:.2f} of spectra",
        f"workers as fast as this process is alone would take: {times}; on one machine they share memory and GPU",
    ]
    return "\n".join(lines) + "\n"


def main(profile: str = "") -> None:
    """Print the time that the study of params.yaml, or of a profile laid over it, would take."""
    settings = config.load(profile=config.PROFILES / f"{profile}.yaml" if profile else None)
    torch.set_num_threads(settings.execution.cpus)  # as the stages do
    execution_, most = settings.execution, sharing(settings, MEASURING)
    workers = execution.process_count(execution_.workers, execution_.cpus, most)
    sys.stdout.write(report(list(costs(settings)), workers, choose_device(settings)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
