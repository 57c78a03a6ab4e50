"""The shape of a training so far, from the losses and gradient norms of its mini-batches."""

import numpy as np
from numpy.typing import NDArray

from ...core.columns import Column
from .measurement import log10

COLUMNS = {
    "first": Column("decades", "log10 of the mean loss of the first eighth of the mini-batches / chance"),
    "last": Column("decades", "log10 of the mean loss of the last eighth / chance"),
    "mean": Column("decades", "log10 of the mean loss of all mini-batches / chance (the ranking of Ru et al. 2021)"),
    "least": Column("decades", "log10 of the lowest loss / chance"),
    "noise": Column(
        "decades",
        "log10 of the noise / chance: root mean square difference of successive losses in the second half, / sqrt 2",
    ),
    "slope": Column("", "slope of log loss against log mini-batch"),
    "forecast": Column(
        "decades", "log10 of the loss that a fitted power law a s^-b + c predicts for the end of the training / chance"
    ),
    "gradient_mean": Column("decades", "log10 of the mean norm of the gradients before clipping"),
    "gradient_peak": Column("decades", "log10 of the largest norm / the mean norm", 0),
    "gradient_trend": Column("decades", "log10 of the mean norm in the last quarter / that in the first quarter"),
}
POWERS = np.linspace(0.05, 2, 40)
Values = NDArray[np.float64]


def eighth_of(epoch: int) -> int:
    """Number of mini-batches of the first eighth of an epoch; at least 2, as a curve needs them."""
    return max(2, epoch // 8)


def curve(losses: Values, norms: Values, chance: float, updates: int) -> dict[str, float]:
    """The numbers COLUMNS of the first mini-batches of a training.

    Args:
        losses: of the mini-batches so far, in their order, (N,).
        norms: of their gradients, (N,).
        chance: loss of the best answer that ignores the input.
        updates: mini-batches of the whole training.

    Returns:
        NaN for all if a loss or norm is not finite, if there are fewer than two, or if chance is not above 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # losses near the largest float64; their logarithms are clipped
        return _curve(np.asarray(losses, float), np.asarray(norms, float), chance, updates)


def _curve(losses: Values, norms: Values, chance: float, updates: int) -> dict[str, float]:
    if len(losses) < 2 or not chance > 0 or not (np.isfinite(losses).all() and np.isfinite(norms).all()):
        return dict.fromkeys(COLUMNS, float("nan"))
    eighth, quarter = (max(1, len(losses) // part) for part in (8, 4))
    place, tiny = np.log(np.arange(1, len(losses) + 1)), 1e-12 * chance
    steps = np.diff(losses[len(losses) // 2 - 1 :] if len(losses) > 2 else losses)
    mean = max(float(norms.mean()), 1e-30)
    return {
        "first": log10(losses[:eighth].mean() / chance),
        "last": log10(losses[-eighth:].mean() / chance),
        "mean": log10(losses.mean() / chance),
        "least": log10(losses.min() / chance),
        "noise": log10(float(np.sqrt(np.mean(steps**2) / 2)) / chance),
        "slope": float(np.polyfit(place, np.log(np.maximum(losses, tiny)), 1)[0]),
        "forecast": log10(forecast(losses, updates) / chance),
        "gradient_mean": log10(mean),
        "gradient_peak": max(0.0, log10(float(norms.max()) / mean)),
        "gradient_trend": log10(max(norms[-quarter:].mean(), 1e-30) / max(norms[:quarter].mean(), 1e-30)),
    }


def forecast(losses: Values, updates: int) -> float:
    """a s^-b + c at s = updates, for the b of POWERS and the a, c >= 0 with the least squared error at s = 1, 2, ..."""
    s = np.arange(1, len(losses) + 1, dtype=float)
    best, value = np.inf, float(losses.mean())
    for b in POWERS:
        x = s**-b
        spread = np.square(x - x.mean()).sum()
        a = max(0.0, float(((x - x.mean()) * (losses - losses.mean())).sum() / spread))
        c = float(losses.mean() - a * x.mean())
        if c < 0:
            a, c = float((x * losses).sum() / np.square(x).sum()), 0.0
        error = float(np.square(losses - a * x - c).sum())
        if error < best:
            best, value = error, a * updates**-b + c
    return value
