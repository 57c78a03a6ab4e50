"""The predictor of a study: the packaged trials are additional training data, and the study's own trials are held out."""

from concurrent.futures import Executor

import pandas as pd

from ..core.cards import Card, Judgement
from ..core.config import LEAST_TRIALS
from ..core.errors import ArtefactError
from . import evidence
from .folds import parts
from .inputs import BEFORE, EIGHTH, EPOCH

# Moment -> the sets that a study judges on its own trials.
JUDGED = {
    BEFORE: ["hyper-parameters", "step ratio", "measurements", "measurements, spectrum", "hyper-parameters, measurements", "all"],
    EIGHTH: ["loss", "loss, hyper-parameters", "loss, measurements", "all"],
    EPOCH: [
        "loss", "curve", "curve, gradients", "loss, hyper-parameters", "loss, measurements", "loss, measurements, spectrum",
        "loss, hyper-parameters, measurements", "all",
    ],
}  # fmt: skip


def own(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials of a study that it is judged on and learned from: without repeated draws."""
    return rows[rows["index"] == rows["draw"]].reset_index(drop=True)


def judge(
    rows: pd.DataFrame, known: pd.DataFrame, card: Card, count: int, seed: int, on: Executor
) -> tuple[pd.DataFrame, Judgement]:
    """The answers for a study's trials that were held out, and what they show.

    The kinds of models and their calibration are those of the packaged predictor; its trials are learned from beside those
    of the study that are not held out, except those of the cell or task that is left out. Own trials count as often as its
    card says.

    Args:
        rows: of the study, from `trial_inputs`.
        known: the trials from which the packaged predictor learns.
        card: of the packaged predictor.
        count: number of bootstrap samples.
        seed: of the folds and of the samples.
        on: where models are fitted.

    Raises:
        ArtefactError: there are too few trials.
    """
    trials = own(rows)
    if len(trials) < LEAST_TRIALS:
        raise ArtefactError(
            f"the study has {len(trials)} trials; a predictor needs at least {LEAST_TRIALS}: raise train.trials in params.yaml"
        )
    recipes = {(moment, name): recipe for moment, sets in card.recipes.items() for name, recipe in sets.items()}
    weight = int(max(card.own_weights.items(), key=lambda item: int(item[0]))[1])
    held = parts(trials, known, seed, weight=weight)
    table, _ = evidence.answers([fold for part in held for fold in part.folds(JUDGED, seed, recipes)], on)
    return table, evidence.judgement(table, rows.assign(study="own"), count=count, seed=seed, on=on)
