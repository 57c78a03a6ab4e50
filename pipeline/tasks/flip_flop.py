"""Three-bit flip-flop (Sussillo and Barak 2013): remember the sign of the last pulse on each channel."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from .base.task import Splits, Task, deal

CHANNELS = 3
FORMS = {  # steps, probability of a pulse per step and channel; numbers of training, validation and test sequences
    "packaged": (30, 0.2, (3500, 500, 500)),
    "long": (75, 0.08, (3500, 500, 500)),
    "full": (64, 0.5, (20_000, 1000, 1000)),
}


class FlipFlop(Task):
    """Sequences of 30 steps with a pulse at every fifth step on average, or of 64 steps with a pulse at every other step.

    In the long form, the sequences have 75 steps and pulses are 2.5 times as rare as in the packaged one. Without memory,
    the best answer is the pulse itself, or 0 if there is none; its loss is the share of steps without a pulse. The rarer the
    pulses, the longer the memory that is needed. A constant answer loses about 1, the variance of a sign.
    """

    title: ClassVar = "Three-bit flip-flop"
    description: ClassVar = (
        "The inputs are positive and negative pulses on three channels; at each step, the network must give the sign of the "
        "last pulse on each channel."
    )
    head: ClassVar = "every"
    metric_name: ClassVar = "accuracy"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of pulses and targets of signs, (T, N, 3) each, float32."""
        steps, probability, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, probability, np.random.default_rng(seed)), counts)
        notes = {"pulse_probability": probability}
        return Splits(arrays, CHANNELS, CHANNELS, "generated from the seed", "none needed", notes)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return (outputs - targets).square().mean()

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of signs that are right."""
        return (outputs * targets > 0).double().mean()

    def constant(self, targets: Tensor, output_size: int) -> Tensor:
        """The mean sign of each channel."""
        return targets.mean((0, 1))


def sequences(count: int, steps: int, probability: float, random: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pulses (steps, count, 3) of -1, 0 or 1, with one on each channel at the first step; and the sign of the last pulse."""
    signs = random.choice(np.array([-1, 1], np.float32), (steps, count, CHANNELS))
    present = random.random(signs.shape) < probability
    present[0] = True
    last = np.maximum.accumulate(np.where(present, np.arange(steps)[:, None, None], 0), axis=0)
    return np.where(present, signs, np.float32(0)), np.take_along_axis(signs, last, axis=0)
