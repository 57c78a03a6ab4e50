"""How trials are held out: every set of inputs is fitted without them and answers for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.model_selection import StratifiedKFold

from ..core.config import PredictorSettings
from ..core.errors import ArtefactError
from .inputs import EARLY, EARLY_LOSS, GRADIENTS, HYPER_PARAMETERS, INITIAL, SETS
from .model import fit_score, fit_success, kind, predict

SPLITS = ("over trials", "one cell left out", "one task left out")
FAMILIES = {
    "hyper-parameters and size": HYPER_PARAMETERS,
    "early loss": EARLY_LOSS,
    "early gradient norms": GRADIENTS,
    "spectrum at initialisation": INITIAL,
    "early spectrum": EARLY,
}
SHUFFLES = 20


@dataclass(frozen=True)
class Fold:
    """One fit: a set of inputs, the rows to learn from and those to answer for."""

    split: str
    inputs: str
    group: str
    train: pd.DataFrame
    test: pd.DataFrame
    settings: PredictorSettings
    seed: int


def folds(rows: pd.DataFrame, settings: PredictorSettings, seed: int) -> list[Fold]:
    """All fits that the evidence needs, of rows from `trial_inputs`; a split that leaves nothing to learn from is left out.

    Raises:
        ArtefactError: there are too few trials to hold any out.
    """
    if len(rows) < 4:
        raise ArtefactError(f"the study has {len(rows)} trials; a predictor needs at least 4: raise train.trials in params.yaml")
    return [
        Fold(split, inputs, group, _seen(rows[~held], inputs), _seen(rows[held], inputs), settings, seed)
        for split in SPLITS
        for group, held in _groups(split, rows, settings, seed)
        for inputs in SETS
    ]


def answer(fold: Fold) -> pd.DataFrame:
    """Fit, and answer for the rows that were held out.

    Columns: trial, task, cell, score, success, split, inputs, group, expected_score, probability_of_success, the kinds of
    models, and for all inputs over trials `drop FAMILY`, the fall of R2 when a family is shuffled.
    """
    x = fold.train[list(SETS[fold.inputs])]
    score = fit_score(fold.inputs, x, fold.train["score"], fold.settings, fold.seed)
    success = fit_success(fold.inputs, x, fold.train["success"], fold.settings, fold.seed)
    expected, probability = predict(score, success, fold.test[list(SETS[fold.inputs])])
    answers = fold.test[["trial", "task", "cell", "score", "success"]].assign(
        split=fold.split,
        inputs=fold.inputs,
        group=fold.group,
        expected_score=expected,
        probability_of_success=probability,
        score_model=kind(score),
        success_model=kind(success),
    )
    if fold.split == SPLITS[0] and fold.inputs == "all":
        for family, drop in _drops(score, fold).items():
            answers[f"drop {family}"] = drop
    return answers


def _groups(split: str, rows: pd.DataFrame, settings: PredictorSettings, seed: int) -> Iterator[tuple[str, pd.Series]]:
    """Name and rows (a mask) of each part that is held out."""
    if split == SPLITS[0]:
        # strata: task and success, so that every fold has both
        strata = rows["task"] + rows["success"].astype(str)
        count = min(settings.outer_folds, len(rows) // 2)
        shuffled = StratifiedKFold(count, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(shuffled.split(rows, _merged(strata, count))):
            yield f"fold {number + 1}", pd.Series(np.isin(np.arange(len(rows)), held), index=rows.index)
        return
    column = "cell" if split == SPLITS[1] else "task"
    names = sorted(rows[column].unique())
    if len(names) > 1:
        yield from ((name, rows[column] == name) for name in names)


def _merged(strata: pd.Series, count: int) -> pd.Series:
    """Strata that are too small to be dealt to all folds become one, or all become one."""
    sizes = strata.map(strata.value_counts())
    merged = strata.where(sizes >= count, "few")
    return merged if (merged.value_counts() >= count).all() else pd.Series("all", index=strata.index)


def _seen(rows: pd.DataFrame, inputs: str) -> pd.DataFrame:
    return rows[list(dict.fromkeys([*SETS[inputs], "trial", "task", "cell", "score", "success"]))]


def _drops(model: Any, fold: Fold) -> dict[str, float]:
    """Fall of R2 on the held-out rows when the columns of a family are shuffled together, mean of SHUFFLES."""
    x, y = fold.test[list(SETS["all"])], fold.test["score"]
    random = np.random.default_rng(fold.seed)
    whole = model.score(x, y)
    drops = {}
    for family, members in FAMILIES.items():
        orders = np.concatenate([random.permutation(len(x)) for _ in range(SHUFFLES)])
        shuffled = pd.concat([x] * SHUFFLES, ignore_index=True)
        shuffled[list(members)] = x.iloc[orders][list(members)].reset_index(drop=True)
        answers = model.predict(shuffled).reshape(SHUFFLES, len(x))
        drops[family] = whole - float(np.mean([r2_score(y, expected) for expected in answers]))
    return drops
