"""What tasks with numbers as targets at each step share: loss, metric, best constant answer and standardisation."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ...core.files import Arrays
from .task import Task


class Regression(Task):
    """Abstract: a task whose targets are numbers at each step, (T, B, O). The first `washout` steps do not count."""

    head: ClassVar = "every"
    metric_name: ClassVar = "share of variance explained"
    washout: ClassVar[int] = 0

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error after the washout."""
        return (outputs - targets)[self.washout :].square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One minus the squared error over the variance of the targets, after the washout."""
        counted = targets[self.washout :]
        return 1 - self.loss(outputs, targets) / counted.var((0, 1), correction=0).mean()

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The mean of each target after the washout."""
        return targets[self.washout :].mean((0, 1))


def standardised(arrays: Arrays, washout: int = 0) -> tuple[Arrays, dict[str, Any]]:
    """Inputs and targets (T, N, channels), float32, standardised by the training steps that count; and by what numbers."""
    scaled, notes = {}, {}
    for kind in ("inputs", "targets"):
        counted = arrays[f"train_{kind}"][washout:]
        mean, deviation = counted.mean((0, 1)), counted.std((0, 1))
        notes[kind] = {"mean": mean.tolist(), "std": deviation.tolist()}
        for split in ("train", "validation", "test"):
            scaled[f"{split}_{kind}"] = ((arrays[f"{split}_{kind}"] - mean) / deviation).astype(np.float32)
    return scaled, {"standardised_by": notes}
