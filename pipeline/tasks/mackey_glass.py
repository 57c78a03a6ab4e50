"""Predicting the Mackey-Glass series (Mackey and Glass 1977; as a benchmark, Jaeger and Haas 2004)."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.regression import Regression, standardised
from .base.task import Splits, deal

DELAY, GROWTH, DECAY, POWER = 17, 0.2, 0.1, 10  # mildly chaotic; one period takes about 50 units of time
SUBSTEPS = 4  # integration steps per unit of time
INTERVAL = 2  # units of time between samples
TRANSIENT = 300  # units of time that are not recorded
NOISE = 0.05  # standard deviation of the observations; that of the series is 0.23
FORMS = {  # steps, horizon in steps; numbers of training, validation and test sequences
    "packaged": (40, 25, (3500, 500, 500)),
    "long": (100, 42, (3500, 500, 500)),
    "full": (200, 42, (20_000, 1000, 1000)),
}


class MackeyGlass(Regression):
    """Each sequence is a separate series with its own random past.

    The observations are noisy and the targets are not. The horizon of the packaged form is 25 steps, or 50 units of time; that
    of the other forms is 84 units, as in Jaeger and Haas (2004).
    """

    title: ClassVar = "Mackey-Glass series"
    description: ClassVar = (
        "The input is a noisy chaotic series, every second unit of time (standardised); at each step, the network must "
        "predict a later value of the series."
    )
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of observations and targets of the series `horizon` steps later, (T, N, 1), float32, both standardised."""
        steps, horizon, counts = FORMS[size]
        random = np.random.default_rng(seed)
        series = sequences(sum(counts), steps + horizon, random)[..., None]
        observed = series[:steps] + NOISE * random.standard_normal((steps, sum(counts), 1))
        arrays, notes = standardised(deal(observed, series[horizon:], counts))
        return Splits(arrays, 1, 1, "generated from the seed", "none needed", notes | {"horizon": horizon})


def sequences(count: int, steps: int, random: Generator) -> NDArray[Any]:
    """Samples (steps, count) of series with random constant pasts, after the transient."""
    return simulate(random.uniform(0.5, 1.3, count), TRANSIENT + INTERVAL * steps)[TRANSIENT::INTERVAL]


def simulate(past: NDArray[Any], duration: int, substeps: int = SUBSTEPS) -> NDArray[Any]:
    """The series (duration, N) at times 0, 1, ..., from constant pasts (N,), by Heun's method.

    x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x. Both delayed values that a step needs lie on the grid of the steps, so
    that nothing is interpolated and the method keeps its second order.
    """
    lag, size = DELAY * substeps, 1 / substeps
    drive = np.tile(GROWTH * past / (1 + past**POWER), (lag + 1, 1))  # of the last lag + 1 grid points, in a ring
    series, x = np.zeros((duration, len(past))), past.astype(float)
    for step in range(duration * substeps):
        if step % substeps == 0:
            series[step // substeps] = x
        drive[step % (lag + 1)] = GROWTH * x / (1 + x**POWER)
        slope = drive[(step + 1) % (lag + 1)] - DECAY * x
        x = x + size / 2 * (slope + drive[(step + 2) % (lag + 1)] - DECAY * (x + size * slope))
    return series
