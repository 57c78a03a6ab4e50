"""Whether the distance to the training trials recognises answers that are far off: if not, no verdict uses it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from ..core.cards import Estimate
from .inputs import MOMENTS, SETS
from .measures import Answers, auc, estimate, weights
from .splits import CELLS, TASKS

NEIGHBOURS = 5
_FAR = 4.0  # interquartile ranges at which numbers are cut


def outside(answers: pd.DataFrame, trials: pd.DataFrame, *, count: int, seed: int) -> dict[str, Estimate]:
    """AUC of recognising answers on the wrong side of 1/2 by their distance, by split and moment; 1/2 is chance.

    The distance is the mean of those to the NEIGHBOURS nearest trials of other tasks (or cells), all numeric inputs of the
    set "all" in units of their interquartile range.

    Args:
        answers: from `evidence.answers`.
        trials: rows of `trial_inputs`.
        count: number of bootstrap samples.
        seed: of these.
    """
    found = {}
    for split, column in ((TASKS, "task"), (CELLS, "cell")):
        for moment in MOMENTS:
            own = answers[(answers["split"] == split) & (answers["moment"] == moment) & (answers["inputs"] == "all")]
            rows = trials.set_index("trial").reindex(own["trial"]).reset_index()
            if own.empty or rows[column].nunique() < 2:
                continue
            success, probability = own["success"].to_numpy(float), own["probability_of_success"].to_numpy(float)
            wrong = (np.abs(success - probability) > 0.5).astype(float)
            distance = distances(rows, [c for c in SETS[moment]["all"] if pd.api.types.is_numeric_dtype(rows[c])], column)
            told = Answers(wrong, wrong, distance, distance, np.zeros(len(own), int))
            samples = weights(list(rows[column]), count, seed)
            found[f"{split}, {moment}"] = estimate(lambda w, told=told: auc(told, w), samples)  # type: ignore[misc]
    return found


def distances(rows: pd.DataFrame, columns: list[str], group: str) -> NDArray[np.float64]:
    """Mean distance of each row to its nearest rows of other groups, (N,)."""
    x = rows[columns].astype(float)
    spread = (x.quantile(0.75) - x.quantile(0.25)).replace(0, np.nan)
    z = ((x - x.median()) / spread).clip(-_FAR, _FAR).fillna(0).to_numpy()
    found = np.zeros(len(rows))
    for name in rows[group].unique():
        own = (rows[group] == name).to_numpy()
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, int((~own).sum()))).fit(z[~own])
        found[own] = near.kneighbors(z[own])[0].mean(1)
    return found
