"""The learning rate in units of the largest step that does not raise the loss (critical sharpness, arXiv 2601.16979)."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..core.columns import Column
from .base.measurement import Measurement, log10

if TYPE_CHECKING:
    from .base.probe import Probe


class StepRatio(Measurement):
    """log10(learning rate / a), where a is the smallest step along the optimiser's update that raises the loss of a batch."""

    columns: ClassVar = {
        "step_ratio": Column("decades", "log10(learning rate / smallest step of the optimiser that raises the loss of a batch)"),
        "step_descent": Column(
            "", "largest decrease of the loss of a batch in one step of the optimiser, at any learning rate / chance", 0
        ),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """The critical step lies between the largest step found that does not raise the loss and the smallest that does.

        NaN if the loss before the step is not finite.
        """
        if not np.isfinite(probe.loss):
            return dict.fromkeys(self.columns, float("nan"))
        losses = {step: loss for step, loss in probe.line_search.items() if step > 0}
        falls = [probe.loss - loss for loss in losses.values() if np.isfinite(loss)]
        return {
            "step_ratio": log10(probe.learning_rate / critical(losses, probe.loss)),
            "step_descent": max([0.0, *falls]) / probe.task.chance,
        }


def critical(losses: dict[float, float], loss: float) -> float:
    """The geometric mean of the largest step after which the loss is not above `loss` and of the next larger step.

    If the loss is above `loss` after all steps, it is the smallest step; if after none, the largest. The search is built to
    find where the loss first exceeds `loss`: it ends as soon as it does so after one step and not after a step FACTOR smaller.
    A smaller step after which the loss is nevertheless higher, in a narrow bump or by rounding where the loss is flat, is
    found only by chance and does not count.
    """
    lower = [step for step, after in losses.items() if after <= loss]
    if not lower:
        return min(losses)
    beyond = [step for step in losses if step > max(lower)]
    return float(np.sqrt(max(lower) * min(beyond))) if beyond else max(lower)
