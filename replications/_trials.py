"""Trials of chosen hyper-parameters, drawn, trained and measured as those of a study."""

from collections.abc import Sequence
from typing import Any

from pipeline.core.config import Config, Train
from pipeline.core.hyper_parameters import Range
from pipeline.core.records import TaskInfo, Trial
from pipeline.training import draw

DEFAULTS: dict[str, Any] = {
    "clip_norm": (1.0,),
    "dropout": (0.0,),
    "head": ("default",),
    "early_epoch": 1,
    "state": "stateless",
    "options": {},
}


def exactly(value: float) -> Range:
    """A range of one number."""
    return Range(low=value, high=value)


def trials(info: TaskInfo, cells: Sequence[str], seed: int, **train: Any) -> list[Trial]:
    """Trials of a task on the CPU, by cell and index; `train` as in params.yaml, DEFAULTS where it says nothing."""
    settings = Config.model_construct(seed=seed, cells=tuple(cells), train=Train(**DEFAULTS | train))
    return sorted(draw(settings, info, "cpu"), key=lambda trial: (trial.cell, trial.index))


def trial(info: TaskInfo, cell: str, seed: int, *, epochs: int, **hyper_parameters: Any) -> Trial:
    """One trial with these hyper-parameters; `early_epoch` may be among them."""
    for name in ("init_scale", "learning_rate"):
        hyper_parameters[name] = exactly(hyper_parameters[name])
    for name in {"hidden_size", "clip_norm", "dropout"} & set(hyper_parameters):
        hyper_parameters[name] = (hyper_parameters[name],)
    return trials(info, [cell], seed, trials=1, epochs=epochs, **hyper_parameters)[0]
