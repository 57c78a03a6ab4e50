"""The next value of an autoregressive moving-average series (Box and Jenkins 1970) whose shocks return after some steps."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.regression import Regression
from .base.task import Splits, deal

AUTOREGRESSION, ECHO = 0.5, 0.9
BEFORE = 100  # steps that are simulated before each sequence, so that the start is forgotten
FORMS = {  # steps, lag of the moving average; numbers of training, validation and test sequences
    "packaged": (40, 4, (3500, 500, 500)),
    "long": (100, 10, (3500, 500, 500)),
    "full": (200, 10, (20_000, 1000, 1000)),
}


class Arma(Regression):
    """x(t) = 0.5 x(t - 1) + e(t) + 0.9 e(t - lag), with normal shocks e of variance 1.

    No answer can have a loss below 1, the variance of the shocks, however much of the past it remembers. Since the shocks
    before the first step are unknown, the best possible loss over the 40 steps is 1.168.
    """

    title: ClassVar = "Moving-average series"
    description: ClassVar = (
        "The input is a random series in which each shock comes back some steps later; at each step, the network must "
        "predict the next value."
    )
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of values and targets of the values one step later, (T, N, 1), float32."""
        steps, lag, counts = FORMS[size]
        series = sequences(sum(counts), steps + 1, lag, np.random.default_rng(seed))[..., None]
        notes = {"autoregression": AUTOREGRESSION, "echo": ECHO, "lag": lag}
        return Splits(deal(series[:-1], series[1:], counts), 1, 1, "generated from the seed", "none needed", notes)


def sequences(count: int, steps: int, lag: int, random: Generator) -> NDArray[Any]:
    """Series (steps, count), float32."""
    shocks = random.standard_normal((BEFORE + lag + steps, count), np.float32)
    driven = shocks[lag:] + ECHO * shocks[:-lag]
    series = np.zeros_like(driven)
    for t in range(1, len(series)):
        series[t] = AUTOREGRESSION * series[t - 1] + driven[t]
    return series[BEFORE:]
