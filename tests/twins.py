"""Small trials of real tasks, and torch's own modules with their weights."""

from dataclasses import replace

import numpy as np
import study
import torch
from torch import nn

from pipeline.core import execution
from pipeline.core.records import TaskData
from pipeline.training import loop

TWINS = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def cut(data, train, others):
    """The first sequences of a task."""
    counts = {"train": train, "validation": others, "test": others}
    arrays = {}
    for name, array in data.arrays.items():
        count = counts[name.partition("_")[0]]
        arrays[name] = np.ascontiguousarray(array[:count] if array.ndim == 1 else array[:, :count])
    return TaskData(arrays, replace(data.info, sequences=counts))


def trial_of(data, cell="elman", **changes):
    """A trial of a task with three epochs and six units, and what else a test changes."""
    info = data.info
    given = {name: getattr(info, name) for name in ("task", "head", "input_size", "output_size", "steps", "chance")}
    given |= {"seed": 11, "init_scale": 0.3, "learning_rate": 0.01, "hidden_size": 6, "batch_size": 20, "data_hash": info.hash}
    return study.trial(cell=cell, **given | changes)


def twin(cell, weights):
    """Torch's own recurrent module and linear layer with the weights of a checkpoint."""
    hidden, inputs = weights["cell.weight_hh"].shape[1], weights["cell.weight_ih"].shape[1]
    recurrent, linear = TWINS[cell](inputs, hidden), nn.Linear(hidden, len(weights["head.bias"]))
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    recurrent.load_state_dict({f"{n.removeprefix('cell.')}_l0": v for n, v in tensors.items() if n.startswith("cell.")})
    linear.load_state_dict({n.removeprefix("head."): v for n, v in tensors.items() if n.startswith("head.")})
    return recurrent, linear


def tensors_of(data, split):
    """Inputs and targets of a split."""
    return tuple(torch.from_numpy(array) for array in data.split(split))


def same_weights(one, two):
    """Whether two checkpoints hold the same parameters."""
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)


class Killed(BaseException):
    """Stands for the end of the process."""


def end_after(at, monkeypatch):
    """End the process after each of these numbers of states that were kept; the paths that were kept so far."""
    monkeypatch.setattr(loop, "EVERY", 0.0)
    kept = []

    def listener(path):
        kept.append(path)
        if len(kept) in at:
            raise Killed

    monkeypatch.setattr(execution, "LISTENERS", [listener])
    return kept
