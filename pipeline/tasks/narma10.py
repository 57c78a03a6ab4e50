"""A nonlinear moving average of order ten, NARMA-10 (Atiya and Parlos 2000)."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.regression import Regression, standardised
from .base.task import Splits, deal

ORDER = 10
LARGEST = 1.0  # a sequence that exceeds it is about to diverge and is drawn again
FORMS = {  # steps; numbers of training, validation and test sequences
    "packaged": (40, (3500, 500, 500)),
    "long": (100, (3500, 500, 500)),
    "full": (200, (20_000, 1000, 1000)),
}


class Narma10(Regression):
    """Each sequence starts from an output of zero, as the network starts from a state of zero.

    The first ten steps, in which the system has not yet seen its oldest input, do not count. A perfect answer has a loss of 0;
    a constant one has a loss of about 1, the variance of the standardised output.
    """

    title: ClassVar = "NARMA-10"
    description: ClassVar = (
        "The input is a random number between 0 and 0.5 (standardised); the network must give the output of a nonlinear "
        "system that depends on the last ten inputs and outputs."
    )
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")
    washout: ClassVar = ORDER

    def load(self, size: str, seed: int) -> Splits:
        """Inputs and targets (T, N, 1), float32, both standardised by the training steps that count."""
        steps, counts = FORMS[size]
        arrays = deal(*sequences(sum(counts), steps, np.random.default_rng(seed)), counts)
        arrays, notes = standardised(arrays, self.washout)
        return Splits(arrays, 1, 1, "generated from the seed", "none needed", notes)


def sequences(count: int, steps: int, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs from uniform(0, 0.5) and outputs up to 1, (steps, count, 1)."""
    kept = np.zeros((2, steps, 0))
    while kept.shape[2] < count:
        inputs = random.uniform(0, 0.5, (steps, count))
        outputs = respond(inputs)
        kept = np.concatenate([kept, np.stack([inputs, outputs])[:, :, outputs.max(0) < LARGEST]], axis=2)
    return kept[0, :, :count, None], kept[1, :, :count, None]


def respond(inputs: NDArray[Any]) -> NDArray[Any]:
    """Outputs (steps, N) after inputs (steps, N); inputs and outputs before the first step are 0.

    y(t + 1) = 0.3 y(t) + 0.05 y(t) (y(t) + ... + y(t - 9)) + 1.5 u(t - 9) u(t) + 0.1; row t holds y(t + 1).
    """
    driven = np.concatenate([np.zeros((ORDER - 1, inputs.shape[1])), inputs])
    outputs = np.zeros((len(inputs) + ORDER, inputs.shape[1]))
    for t in range(len(inputs)):
        past = outputs[t : t + ORDER]
        drive = 1.5 * driven[t] * driven[t + ORDER - 1] + 0.1
        outputs[t + ORDER] = np.minimum(0.3 * past[-1] + 0.05 * past[-1] * past.sum(0) + drive, 2 * LARGEST)
    return outputs[ORDER:]
