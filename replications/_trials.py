"""Trials of chosen hyper-parameters, drawn, trained and measured as those of a study."""

from collections.abc import Sequence
from typing import Any

from pipeline.core.config import Config, Range, Train
from pipeline.core.hyper_parameters import DECLARED
from pipeline.core.records import TaskInfo, Trial
from pipeline.training import draw

DEFAULTS: dict[str, Any] = {name: (d.default,) for name, d in DECLARED.items() if d.default is not None}
DEFAULTS |= {"clip_norm": (1.0,), "head": ("default",), "early_epoch": 1, "state": "stateless", "options": {}}
DEFAULTS |= {"initialisation": ("uniform",), "batch_size": ("default",), "repeated": 0}


def exactly(value: float) -> Range:
    """A range of one number."""
    return Range(low=value, high=value)


def trials(info: TaskInfo, cells: Sequence[str], seed: int, **train: Any) -> list[Trial]:
    """Trials of a task on the CPU, by cell and index; `train` as in params.yaml, DEFAULTS where it says nothing."""
    settings = Config.model_construct(seed=seed, cells=tuple(cells), train=Train(**DEFAULTS | train))
    return sorted(draw(settings, info, "cpu"), key=lambda trial: (trial.cell, trial.index))


def trial(info: TaskInfo, cell: str, seed: int, *, epochs: int, **hyper_parameters: Any) -> Trial:
    """One trial with these hyper-parameters; `early_epoch` may be among them."""
    for name in set(DECLARED) & set(hyper_parameters):
        value = hyper_parameters[name]
        hyper_parameters[name] = exactly(value) if DECLARED[name].interval else (value,)
    return trials(info, [cell], seed, trials=1, epochs=epochs, **hyper_parameters)[0]
