"""Three-bit flip-flop (Sussillo and Barak 2013): remember the sign of each channel's last pulse."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ._task import Splits, Task, deal

CHANNELS = 3
FORMS = {  # steps, probability of a pulse a step and channel; sequences to train, validate, test
    "packaged": (30, 0.2, (3500, 500, 500)),
    "full": (64, 0.5, (20_000, 1000, 1000)),
}


class FlipFlop(Task):
    """30 steps with a pulse in five, or 64 steps with one in two.

    Without memory the best answer is the pulse there is or 0, and it loses the share of steps without one: the rarer the
    pulses, the longer the memory that is needed. A constant loses about 1, the variance of a sign.
    """

    title: ClassVar = "Three-bit flip-flop"
    description: ClassVar = (
        "Pulses up or down come in on three channels; at each step, the direction of the last pulse on each channel is asked for."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 50

    def load(self, size: str, seed: int) -> Splits:
        """Pulses and signs (T, N, 3), float32."""
        steps, probability, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, probability, np.random.default_rng(seed)), counts)
        notes = {"pulse_probability": probability}
        return Splits(arrays, CHANNELS, CHANNELS, "generated from the seed", "none needed", notes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return (outputs - targets).square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of right signs."""
        return (outputs * targets > 0).double().mean()

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """Mean sign of each channel."""
        return targets.mean((0, 1))


def sequences(count: int, steps: int, probability: float, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pulses (steps, count, 3) of -1, 0 or 1, one in each channel at the first step; and the sign of the last, shaped alike."""
    signs = random.choice(np.array([-1, 1], np.float32), (steps, count, CHANNELS))
    there = random.random(signs.shape) < probability
    there[0] = True
    last = np.maximum.accumulate(np.where(there, np.arange(steps)[:, None, None], 0), axis=0)
    return np.where(there, signs, np.float32(0)), np.take_along_axis(signs, last, axis=0)
