"""How well final losses of networks are predicted from their spectra, out of fold; for lyapunov_paper.py."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.float64]

FOLDS, REPEATS, RESAMPLES = 5, 3, 1000
METHOD = (
    f"R2 of the final validation loss by extremely randomised trees, {FOLDS} folds, {REPEATS} times, with 95 % intervals by "
    "bootstrap over networks"
)
LENGTH = 24  # numbers to which every spectrum is stretched, since sizes differ
LATENT = 4


def stretched(spectrum: Array) -> Array:
    """A spectrum read off at LENGTH equal steps of its index, from the largest exponent to the smallest."""
    return np.interp(np.linspace(0, 1, LENGTH), np.linspace(0, 1, len(spectrum)), spectrum)


def plain(spectrum: Array, steps: int = 50) -> Array:
    """Four features without fitting: the largest exponent, the mean, the median, the share that outlasts `steps` steps."""
    return np.array([spectrum[0], spectrum.mean(), np.median(spectrum), (spectrum > -1 / steps).mean()])


def trees() -> Any:
    """The regressor that judges all sets of features alike."""
    return ExtraTreesRegressor(60, random_state=0)


def readout() -> Any:
    """A linear map from standardised codes, as AeLLE reads its latent code."""
    return TransformedTargetRegressor(Ridge(1.0), transformer=StandardScaler())


class Bottleneck(TransformerMixin, BaseEstimator):
    """The latent code of a network that gives spectrum and loss back from the spectrum (Vogt et al. 2024).

    Here one layer of 16 units stands on either side of the code, which suits some dozens of networks.

    Attributes:
        weight: of the loss against a number of the spectrum.
    """

    def __init__(self, weight: float = 5.0) -> None:
        self.weight = weight

    def fit(self, spectra: Array, losses: Array) -> Self:
        """Learn from standardised spectra (N, LENGTH) and their losses (N,)."""
        self.mlp_ = MLPRegressor(
            hidden_layer_sizes=(16, LATENT, 16), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=300, random_state=0
        )
        target = self.weight * (losses - losses.mean()) / losses.std()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is part of it
            self.mlp_.fit(spectra, np.column_stack([spectra, target]))
        return self

    def transform(self, spectra: Array) -> Array:
        """The codes (N, LATENT)."""
        code = spectra
        for matrix, bias in list(zip(self.mlp_.coefs_, self.mlp_.intercepts_, strict=True))[:2]:
            code = np.tanh(code @ matrix + bias)
        return code


def out_of_fold(model: Any, features: Array, losses: Array) -> Array:
    """Predictions (REPEATS, N), each for networks that the model had not seen."""
    folds = [KFold(FOLDS, shuffle=True, random_state=seed) for seed in range(REPEATS)]
    return np.array([cross_val_predict(model, features, losses, cv=fold) for fold in folds])


def r2(predicted: Array, losses: Array) -> float:
    """Share of the variance of the losses that is explained, mean over the repeats."""
    return float(1 - ((predicted - losses) ** 2).mean() / losses.var())


def interval(statistic: Callable[[NDArray[np.intp]], float], count: int) -> tuple[float, float]:
    """The middle 95 % of a statistic of networks drawn with replacement."""
    random = np.random.default_rng(0)
    found = [statistic(random.integers(count, size=count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Judged:
    """A number with the middle 95 % of its bootstrap over networks."""

    value: float
    low: float
    high: float
    signed: bool = False

    def __str__(self) -> str:
        number = "{:+.3f}" if self.signed else "{:.2f}"
        return f"{number} ({number} to {number})".format(self.value, self.low, self.high)

    @property
    def verdict(self) -> str:
        """What a change amounts to."""
        return "a gain" if self.low > 0 else "a loss" if self.high < 0 else "no measurable difference"


def judged(predicted: Array, losses: Array) -> Judged:
    """R2 with its interval."""
    return Judged(r2(predicted, losses), *interval(lambda chosen: r2(predicted[:, chosen], losses[chosen]), len(losses)))


def change(first: Array, second: Array, losses: Array) -> Judged:
    """R2 of the first less that of the second on the same networks, with its interval."""

    def difference(chosen: NDArray[np.intp]) -> float:
        return r2(first[:, chosen], losses[chosen]) - r2(second[:, chosen], losses[chosen])

    return Judged(difference(np.arange(len(losses))), *interval(difference, len(losses)), signed=True)


def with_copies(features: Array, losses: Array, lost: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Rows in which each lost network has become a copy of another one, loss and all."""
    random = np.random.default_rng(0)
    rows = np.arange(len(losses))
    rows[lost] = random.choice(rows[~lost], size=lost.sum())
    return features[rows], losses[rows]
