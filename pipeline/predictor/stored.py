"""Whether the files of a predictor belong together and hold what it needs, so that no damage shows only when it is asked."""

from collections.abc import Iterator

import numpy as np

from ..core.cards import Card
from . import model, packaged
from .inputs import CATEGORIES, DIVERGED, IDENTITY, INPUTS, OUTCOME, SETS
from .rows import Rows, count, missing

MOST = 1000  # times that an own trial counts
_MEASURES = {"brier", "auc", "calibration_error"}  # of evidence, that a verdict names


def are_of_this_version(card: Card, trials: Rows) -> bool:
    """Whether the sets of inputs are those of this version, and all of their columns are there."""
    fitted = {moment: {name: recipe.columns for name, recipe in sets.items()} for moment, sets in card.recipes.items()}
    return fitted == SETS and {*INPUTS, *IDENTITY, *OUTCOME, DIVERGED, "study"} <= set(trials)


def damages(card: Card, trials: Rows) -> Iterator[str]:
    """What is wrong with a card and trials of this version."""
    numbers = [column for column in INPUTS if column not in CATEGORIES]
    yield from _of_trials(trials, numbers)
    yield from _of_card(card, numbers)
    yield from _of_both(card, trials)


def _of_trials(trials: Rows, numbers: list[str]) -> Iterator[str]:
    for column in (*numbers, "score"):
        if trials[column].dtype.kind not in "iuf" or np.isinf(trials[column]).any():
            yield f"{column} of the trials should be finite numbers"
    texts = [column for column in (*CATEGORIES, *IDENTITY, "study") if trials[column].dtype != object]
    if texts or trials[DIVERGED].dtype != bool:
        yield f"{(texts or [DIVERGED])[0]} of the trials should be {'text' if texts else 'True or False'}"
    scores = trials["score"]
    if trials["success"].dtype != bool or not ((scores >= 0) & (scores <= 1)).all():
        yield "each trial should have a score within 0 and 1 and a success, True or False"
    if not count(trials) or any(missing(trials[column]).any() for column in (*IDENTITY, "study")):
        yield "there should be trials, each with a task, a cell and a study"


def _of_both(card: Card, trials: Rows) -> Iterator[str]:
    found = packaged.quantiles(trials)
    if not all(np.allclose(card.quantiles[column], values, rtol=1e-4, atol=1e-6) for column, values in found.items()):
        yield f"{packaged.CARD} and {packaged.TRIALS} do not belong together"


def _of_card(card: Card, numbers: list[str]) -> Iterator[str]:
    for column in numbers:
        if not (known := card.quantiles.get(column)) or not np.isfinite(known).all() or sorted(known) != known:
            yield f"the card should hold the quantiles of {column}"
    if not all(count.isdecimal() and 1 <= times <= MOST for count, times in card.own_weights.items()):
        yield f"own_weights of the card should be by numbers of trials, from 1 to {MOST}"
    if not 0 < card.threshold <= 1:
        yield "the threshold of the card should lie within 0 and 1"
    recipes = [recipe for sets in card.recipes.values() for recipe in sets.values()]
    if not {kind for recipe in recipes for kind in (recipe.score_kind, recipe.success_kind)} <= set(model.KINDS):
        yield f"the models of the card should be of the kinds {', '.join(model.KINDS)}"
    if not all(found.measures.keys() >= _MEASURES for found in card.judgement.evidence):
        yield f"the evidence of the card should hold {', '.join(sorted(_MEASURES))}"
