"""The models of score and success, how their kind is chosen and calibrated inside the training data, and what they answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from ..core.records import Recipe
from .inputs import CATEGORIES, FALLING

KINDS = ("linear", "trees", "both")  # the last is the mean of the others
PENALTY = 10.0  # of the linear models
TREES = {
    "max_iter": 80,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 15,
    "l2_regularization": 5.0,
    "early_stopping": False,
    "max_bins": 64,
    "random_state": 0,  # draws nothing
}
FOLDS = 4  # for the choice of the kind, and for the calibration
_CLIP = 1e-3  # probabilities are kept this far from 0 and 1 where their logit is taken
_QUANTILES = 64  # of the map of a column to normal scores
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fitted:
    """Models of score and success for one set of inputs.

    Attributes:
        recipe: what was fitted.
        score: regressions, whose mean answer counts; none if no column varied.
        success: classifiers, whose mean logit counts.
        mean_score, mean_success: of the training rows, the answers where there are no models.
    """

    recipe: Recipe
    score: tuple[Pipeline, ...]
    success: tuple[Pipeline, ...]
    mean_score: float
    mean_success: float

    def answer(self, rows: pd.DataFrame) -> tuple[Values, Values]:
        """Expected scores within [0, 1] and probabilities of success, each (N,)."""
        x = rows[list(self.recipe.columns)]
        if not self.score:
            return np.full(len(x), self.mean_score), np.full(len(x), self.mean_success)
        expected = np.mean([model.predict(x) for model in self.score], axis=0).clip(0, 1)
        level, slope = self.recipe.calibration
        return expected, sigmoid(level + slope * np.mean([_logits(model, x) for model in self.success], axis=0))


def choose(rows: pd.DataFrame, columns: Sequence[str], groups: Sequence[Any], *, seed: int) -> Recipe:
    """Choose kinds of models and calibrate them for one set of inputs.

    Groups are left out in FOLDS folds. The kinds with the least squared error of the score and the least log loss of success
    are taken; the probabilities for left-out groups calibrate the latter (Platt 1999).

    Args:
        rows: trials, with score and success.
        columns: of the set.
        groups: of each trial; those of a group are left out together.
        seed: of the deal of groups to folds.
    """
    columns = tuple(columns)
    deal = _deal(groups, seed)
    if not _can_learn(rows, columns) or not deal:
        return Recipe(columns, KINDS[0], KINDS[0], (0.0, 1.0))
    x, score, success = rows[list(columns)], rows["score"].to_numpy(float), rows["success"].to_numpy(bool)
    expected = {kind: _held_out(_regression, kind, x, score, deal) for kind in KINDS[:2]}
    logits = {kind: _held_out(_classifier, kind, x, success, deal) for kind in KINDS[:2]}
    for held in (expected, logits):
        held[KINDS[2]] = np.mean([held[kind] for kind in KINDS[:2]], axis=0)
    errors = {kind: np.mean((score - held) ** 2) for kind, held in expected.items()}
    losses = {kind: np.mean(_log_loss(success, sigmoid(held))) for kind, held in logits.items()}
    best_score, best_success = (min(KINDS, key=known.__getitem__) for known in (errors, losses))
    return Recipe(columns, best_score, best_success, _platt(logits[best_success], success))


def fit(rows: pd.DataFrame, recipe: Recipe) -> Fitted:
    """Fit what a recipe says to trials, with score and success."""
    score, success = rows["score"].to_numpy(float), rows["success"].to_numpy(bool)
    means = float(score.mean()), float(success.mean())
    if not _can_learn(rows, recipe.columns):
        return Fitted(recipe, (), (), *means)
    x = rows[list(recipe.columns)]
    regressions = tuple(_regression(kind, x).fit(x, score) for kind in _parts(recipe.score_kind))
    classifiers = tuple(_classifier(kind, x).fit(x, success) for kind in _parts(recipe.success_kind))
    return Fitted(recipe, regressions, classifiers, *means)


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def _parts(kind: str) -> tuple[str, ...]:
    return KINDS[:2] if kind == KINDS[2] else (kind,)


def _can_learn(rows: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether a column varies and both outcomes are there."""
    varies = any(rows[column].nunique(dropna=False) > 1 for column in columns)
    return varies and 2 <= rows["success"].sum() <= len(rows) - 2


def _held_out(build: Callable[[str, pd.DataFrame], Pipeline], kind: str, x: pd.DataFrame, y: Any, deal: Sequence[Mask]) -> Values:
    """Scores, or logits of success, for the rows that each fold leaves out, (N,)."""
    held = np.zeros(len(x))
    for left_out in deal:
        if len(np.unique(y[~left_out])) < 2 or x[~left_out].isna().all(axis=None):
            held[left_out] = _logit(np.mean(y[~left_out])) if y.dtype == bool else np.mean(y[~left_out])
            continue
        model = build(kind, x[~left_out]).fit(x[~left_out], y[~left_out])
        held[left_out] = _logits(model, x[left_out]) if y.dtype == bool else model.predict(x[left_out])
    return held


def _deal(groups: Sequence[Any], seed: int) -> list[Mask]:
    """Masks of the rows that each fold leaves out: whole groups in random order, the folds about equal; none for one group."""
    codes, names = pd.factorize(np.asarray(groups))
    number = min(FOLDS, len(names))
    if number < 2:
        return []
    sizes, fold_of, counts = np.zeros(number), np.zeros(len(names), int), np.bincount(codes)
    order = np.random.default_rng(seed).permutation(len(names))
    for group in sorted(order, key=lambda g: -counts[g]):
        fold_of[group] = int(np.argmin(sizes))
        sizes[fold_of[group]] += counts[group]
    return [fold_of[codes] == fold for fold in range(number)]


def _regression(kind: str, x: pd.DataFrame) -> Pipeline:
    model = Ridge(PENALTY) if kind == "linear" else HistGradientBoostingRegressor(**TREES, monotonic_cst=_directions(x))
    return Pipeline([("prepare", _prepared(kind, x)), ("model", model)])


def _classifier(kind: str, x: pd.DataFrame) -> Pipeline:
    if kind == "linear":
        model: Any = LogisticRegression(C=1 / PENALTY, max_iter=1000)
    else:
        model = HistGradientBoostingClassifier(**TREES, monotonic_cst=_directions(x))
    return Pipeline([("prepare", _prepared(kind, x)), ("model", model)])


def _prepared(kind: str, x: pd.DataFrame) -> ColumnTransformer:
    """Normal scores for linear models, with a flag where a number is missing; numbers as they are for trees."""
    numbers: Any = "passthrough"
    if kind == "linear":
        scores = QuantileTransformer(n_quantiles=min(_QUANTILES, len(x)), output_distribution="normal", subsample=None)
        numbers = make_pipeline(scores, SimpleImputer(strategy="median", add_indicator=True))
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numeric, categories = _split(x)
    return ColumnTransformer([("numbers", numbers, numeric), ("categories", encode, categories)])


def _directions(x: pd.DataFrame) -> list[int]:
    """-1 for a column of which a larger value never raises the answer, 0 for others, as `_prepared` orders them."""
    numeric, categories = _split(x)
    return [-1 if name in FALLING else 0 for name in numeric] + [0] * sum(x[c].nunique(dropna=False) for c in categories)


def _split(x: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Numeric columns, but for those in which nothing was ever measured, and categories."""
    return [c for c in x.columns if c not in CATEGORIES and x[c].notna().any()], [c for c in x.columns if c in CATEGORIES]


def _logits(model: Pipeline, x: pd.DataFrame) -> Values:
    return _logit(model.predict_proba(x)[:, 1])


def _logit(probability: Any) -> Any:
    p = np.clip(probability, _CLIP, 1 - _CLIP)
    return np.log(p / (1 - p))


def _log_loss(success: Mask, probability: Values) -> Values:
    p = probability.clip(_CLIP, 1 - _CLIP)
    return -np.where(success, np.log(p), np.log(1 - p))


def _platt(logits: Values, success: Mask) -> tuple[float, float]:
    """Level and slope of a weakly penalised logistic regression of success on logits; the slope is not negative."""
    model = LogisticRegression(C=10.0).fit(logits[:, None], success)
    level, slope = float(model.intercept_[0]), float(model.coef_[0, 0])
    return (level, slope) if slope > 0 else (float(_logit(success.mean())), 0.0)
