"""The hidden state of the Lorenz system (Lorenz 1963): its third variable, predicted from the first one alone."""

from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .base.regression import Regression, standardised
from .base.task import Splits, deal

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
SIZE, SUBSTEPS = 0.01, 5  # integration step, and steps per sample
TRANSIENT = 4000  # integration steps that are not recorded; trajectories that start near the middle of a wing leave it slowly
FORMS = {  # steps; how many steps ahead; numbers of training, validation and test sequences
    "packaged": (40, 5, (3500, 500, 500)),
    "long": (100, 10, (3500, 500, 500)),
    "full": (200, 10, (20_000, 1000, 1000)),
}


class Lorenz(Regression):
    """Each sequence is a separate trajectory with its own initial state.

    The system is symmetric under a change of sign of x and y, so that the best prediction of z is an even function of the
    observations. A linear answer is therefore at chance.
    """

    title: ClassVar = "Lorenz system, hidden variable"
    description: ClassVar = (
        "The input is the variable x of the Lorenz system, 20 samples per unit of time (standardised); at each step, the "
        "network must predict a later value of the variable z."
    )
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of x and targets of z `horizon` steps later, (T, N, 1), float32, both standardised."""
        steps, horizon, counts = FORMS[size]
        states = sequences(sum(counts), steps + horizon, np.random.default_rng(seed))
        arrays, notes = standardised(deal(states[:steps, :, :1], states[horizon:, :, 2:], counts))
        return Splits(arrays, 1, 1, "generated from the seed", "none needed", notes | {"horizon": horizon})


def sequences(count: int, steps: int, random: Generator) -> NDArray[Any]:
    """States (steps, count, 3), sampled after the transient, of trajectories with random initial states."""
    states = random.normal(0, 5, (count, 3)) + np.array([0, 0, 25])
    for _ in range(TRANSIENT):
        states = advance(states, SIZE)
    samples = np.zeros((steps, count, 3))
    for t in range(steps):
        samples[t] = states
        for _ in range(SUBSTEPS):
            states = advance(states, SIZE)
    return samples


def advance(states: NDArray[Any], size: float) -> NDArray[Any]:
    """States (N, 3) after one step of the classical Runge-Kutta method of order four."""
    one = slope(states)
    two = slope(states + size / 2 * one)
    three = slope(states + size / 2 * two)
    four = slope(states + size * three)
    return states + size / 6 * (one + 2 * two + 2 * three + four)


def slope(states: NDArray[Any]) -> NDArray[Any]:
    """Time derivatives (N, 3) of states x, y, z (N, 3)."""
    x, y, z = states.T
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=1)
