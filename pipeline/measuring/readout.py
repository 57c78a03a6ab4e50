"""How well a linear read-out of the states predicts the target."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.columns import Column
from .base.lags import counted, numbers
from .base.measurement import TINY, Measurement, effective_rank

if TYPE_CHECKING:
    from .base.probe import Probe

STATES = 500  # number of states to fit to, and number of others to evaluate on
PENALTIES = np.logspace(-6, 3, 10)  # of ridge regression, relative to the mean squared singular value
FEWEST = 4  # states with targets that count
ROUNDING = 1e-7  # of states, relative to their norm
Values = NDArray[np.float64]


class Readout(Measurement):
    """Ridge regression from states to targets, evaluated on states of other sequences."""

    columns: ClassVar = {
        "readout_score": Column("", "share of the targets' variance that a ridge regression on the states explains", most=1),
        "readout_gap": Column("", "readout_score minus the network's own (1 - loss / chance)"),
        "state_rank": Column("", "effective rank of the states / H", 0, 1),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """The penalty is chosen by the leave-one-out errors on the states that are fitted to."""
        states, targets = probe.states
        x, y = (_flat(states), _flat(targets)) if probe.task.every_step else (states[-1], targets)
        there = _spread(np.flatnonzero(counted(y)), 2 * STATES if probe.task.every_step else len(y))
        x, y = x[there], numbers(y[there], 1)
        if len(x) < FEWEST or not np.isfinite(x).all():
            return dict.fromkeys(self.columns, float("nan"))
        x, half = x / max(float(np.abs(x).max()), TINY), len(x) // 2  # no number here depends on the unit of the states
        score = ridge_score(x[:half], y[:half], x[half:], y[half:])
        return {
            "readout_score": score,
            "readout_gap": score - (1 - probe.loss / probe.task.chance) if np.isfinite(probe.loss) else float("nan"),
            "state_rank": centred_rank(x[:half]) / x.shape[1],
        }


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """Rows of (T, B, ...), sequence by sequence, so that two halves of them share at most one sequence."""
    return values.swapaxes(0, 1).reshape(-1, *values.shape[2:])


def _spread(places: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of these places, evenly spread."""
    return places[np.linspace(0, len(places) - 1, min(len(places), most)).astype(int)]


def centred_rank(x: Values) -> float:
    """Effective rank of rows x (N, S) minus their mean; singular values within the rounding of float32 count as 0."""
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    return effective_rank(np.where(values > ROUNDING * np.linalg.norm(x), values, 0.0))


def ridge_score(x: Values, y: Values, other_x: Values, other_y: Values) -> float:
    """Share of the variance of other_y (N, O) that ridge regression from x (N, S) to y explains, at least -1; NaN if constant.

    The penalty is that of PENALTIES with the smallest leave-one-out error, (y - H y) / (1 - diag H) for the fit H y.
    """
    if not np.ptp(other_y, axis=0).any():
        return float("nan")
    mean_x, mean_y = x.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd(x - mean_x, full_matrices=False)
    y_in_u, best, weights = u.T @ (y - mean_y), np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in PENALTIES * max(float(np.square(s).mean()), 1e-30):
        shrink = s**2 / (s**2 + penalty)
        leverage = 1 / len(x) + (u**2 * shrink).sum(1)
        error = np.square((y - mean_y - u @ (shrink[:, None] * y_in_u)) / np.maximum(1 - leverage, 1e-9)[:, None]).sum()
        if error < best:
            best, weights = error, vt.T @ ((s / (s**2 + penalty))[:, None] * y_in_u)
    left = np.square(other_y - mean_y - (other_x - mean_x) @ weights).sum()
    return max(-1.0, float(1 - left / max(float(np.square(other_y - mean_y).sum()), 1e-30)))
