"""The definition of success."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..core.records import TrialResult


def final_losses(trials: Iterable[TrialResult]) -> NDArray[np.float64]:
    """Validation loss at the end of each trial, NaN where it diverged."""
    return np.array([np.nan if t.outcome.diverged else t.curves["validation_loss"][-1] for t in trials])


def scores(losses: NDArray[np.float64], chance: float) -> NDArray[np.float64]:
    """Share of the gap between chance and the best trial that each trial of one task closed, in [0, 1].

    (chance - loss) / (chance - best), best the lowest loss of any trial; 0 for a trial that diverged, and for all if
    none beat chance.
    """
    best = np.nanmin(losses, initial=chance)
    if best >= chance:
        return np.zeros_like(losses)
    return np.nan_to_num(np.clip((chance - losses) / (chance - best), 0, 1), nan=0.0)
