"""Well-known tasks: chance compared with its closed form, a linear model, and what a GRU learns in six epochs."""

from dataclasses import dataclass, replace
from math import log

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline import tasks
from pipeline.core.records import TaskData, TrialResult
from pipeline.training import train

from ._harness import Outcome, Row
from ._trials import trial


@dataclass(frozen=True)
class Known:
    """Chance of a task's packaged form as a number and as a formula; a linear model, where each sequence has one answer."""

    chance: float
    formula: str
    linear: type | None = None


KNOWN = {
    "copying": Known(5 * log(8) / 20, "5 ln 8 / 20"),
    "adding": Known(1 / 6, "1/6", Ridge),
    "flip_flop": Known(1.0, "1"),
    "valence_text": Known(log(2), "ln 2", LogisticRegression),
    "planted_window": Known(log(4), "ln 4", LogisticRegression),
    "digits_pixels": Known(log(10), "ln 10", LogisticRegression),
    "catchment": Known(1.0, "1, over the training years"),
}
RATES = (3e-3, 1e-2)
UNITS, EPOCHS, SEED = 32, 6, 2026


def run(small: bool) -> Outcome:
    """All tasks; small: the adding task alone, at one learning rate."""
    rates = RATES[-1:] if small else RATES
    rows = [_row(name, rates) for name in (["adding"] if small else KNOWN)]
    return Outcome(rows, {"tasks": len(rows), "units": UNITS, "epochs": EPOCHS, "rates": rates, "seed": SEED})


def _row(name: str, rates: tuple[float, ...]) -> Row:
    task, data, known = tasks.get(name), tasks.get(name).prepare(name, "packaged", SEED), KNOWN[name]
    best = min((_trained(data, rate) for rate in rates), key=lambda result: np.nan_to_num(_last(result, "loss"), nan=np.inf))
    found = f"chance {data.info.chance:.4f}; GRU: loss {_last(best, 'loss'):.4f}, {task.metric_name} {_last(best, 'metric'):.3f}"
    if known.linear:
        found += f"; linear model: {task.metric_name} {_linear(data, known.linear):.3f}"
    return Row(f"`{name}`, {data.info.steps} steps: {task.description}", found, f"chance {known.formula} = {known.chance:.4f}")


def _trained(data: TaskData, rate: float) -> TrialResult:
    """A GRU, trained as a trial of a study."""
    chosen = {"init_scale": UNITS**-0.5, "learning_rate": rate, "hidden_size": UNITS}
    return train(replace(trial(data.info, "gru", SEED, epochs=EPOCHS, **chosen), seed=SEED), data)


def _last(result: TrialResult, what: str) -> float:
    return float(result.curves[f"validation_{what}"][-1])


def _linear(data: TaskData, kind: type) -> float:
    """The task's metric of a linear model of the whole encoded sequence, on the validation data."""
    task, size = tasks.get(data.info.task), data.info.input_size
    seen, asked = (
        task.encode(torch.from_numpy(data.split(s)[0]), size).movedim(1, 0).flatten(1) for s in ("train", "validation")
    )
    model = (kind(max_iter=2000) if kind is LogisticRegression else kind()).fit(seen.numpy(), data.split("train")[1])
    found = model.predict_log_proba(asked) if kind is LogisticRegression else model.predict(asked)[:, None]
    return float(task.metric(torch.from_numpy(found.astype(np.float32)), torch.from_numpy(data.split("validation")[1])))
