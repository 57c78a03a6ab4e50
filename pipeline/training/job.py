"""The trainings of a study as jobs for an executor."""

import gc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ..core import layout
from ..core.config import Config
from ..core.errors import ExecutionError
from ..core.execution import Group
from ..core.records import TaskData, Trial, TrialResult
from .device import choose_device
from .draw import draw
from .ensemble import shared, train_together
from .loop import train

MOST = 256  # networks in a group: so many keep an H100 busy (docs/gpu.md)


@dataclass(frozen=True)
class Training:
    """A trial to be trained.

    Attributes:
        trial: what to train.
        data: file of the task's data.
        folder: of the results.
    """

    trial: Trial
    data: Path
    folder: Path

    @property
    def path(self) -> Path:
        """The file of the result."""
        return self.trial.path(self.folder)

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the training reads."""
        return (self.data,)

    def run(self) -> TrialResult:
        """Train, from where an interrupted training of the trial stood."""
        return train(self.trial, _data(self.data, self.trial.data_hash), layout.unfinished(self.path))


def jobs(settings: Config, task: str) -> Sequence[Training | Group]:
    """The trainings of a task, the most expensive first; settings as `draw` needs them, `device` and `execution`.

    On a GPU, networks of one shape train together: one alone leaves it idle for most of the time.
    """
    data, device = layout.data(task), choose_device(settings)
    trainings = [Training(trial, data, layout.trials(task)) for trial in draw(settings, TaskData.info_of(data), device)]
    return trainings if device == "cpu" else grouped(trainings)


def grouped(trainings: Sequence[Training]) -> list[Training | Group]:
    """Trainings, where several of networks of one shape are groups of up to `MOST`."""
    alike: dict[str, list[Training]] = {}
    for training in trainings:
        alike.setdefault(repr(shared(training.trial)), []).append(training)
    parts = [own[begin : begin + MOST] for own in alike.values() for begin in range(0, len(own), MOST)]
    return [Group(tuple(part), _together) if len(part) > 1 else part[0] for part in parts]


def _together(trainings: Sequence[Training]) -> list[TrialResult]:
    """Train together, in halves where the memory of the GPU is too small for all.

    Raises:
        ExecutionError: it is too small for a single network.
    """
    first, trials = trainings[0], [training.trial for training in trainings]
    with suppress(torch.OutOfMemoryError):
        return train_together(trials, _data(first.data, first.trial.data_hash), layout.unfinished(first.path))
    gc.collect()  # the networks hold one another
    with suppress(RuntimeError):
        torch.cuda.empty_cache()
    if len(trials) == 1:
        raise ExecutionError(
            f"the memory of the GPU is too small for {trials[0].name}; set device to cpu, or make batch_size smaller"
        )
    half = len(trials) // 2
    return [*_together(trainings[:half]), *_together(trainings[half:])]


def diverged(path: Path) -> bool:
    """Whether the trial of a file diverged."""
    return TrialResult.load(path).outcome.diverged


@lru_cache(maxsize=1)
def _data(path: Path, data_hash: str) -> TaskData:
    return TaskData.load_known(path, data_hash)
