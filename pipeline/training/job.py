"""The trainings of a study as jobs for an executor."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..core import layout
from ..core.config import Config
from ..core.records import TaskData, Trial, TrialResult
from .device import choose_device
from .draw import draw
from .loop import train


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


def jobs(settings: Config, task: str) -> list[Training]:
    """The trainings of a task, the most expensive first; settings as `draw` needs them, `device` and `execution`."""
    data = layout.data(task)
    trials = draw(settings, TaskData.info_of(data), choose_device(settings))
    return [Training(trial, data, layout.trials(task)) for trial in trials]


def diverged(path: Path) -> bool:
    """Whether the trial of a file diverged."""
    return TrialResult.load(path).outcome.diverged


@lru_cache(maxsize=1)
def _data(path: Path, data_hash: str) -> TaskData:
    return TaskData.load_known(path, data_hash)
