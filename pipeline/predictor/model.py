"""The models of score and success, how their kind is chosen and calibrated inside the training data, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from ..core.cards import Recipe
from .inputs import CATEGORIES, FALLING
from .rows import Rows, Table, count, missing, take

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
    score: tuple["_Model", ...]
    success: tuple["_Model", ...]
    mean_score: float
    mean_success: float

    def answer(self, rows: Table) -> tuple[Values, Values]:
        """Expected scores within [0, 1] and probabilities of success, each (N,)."""
        x = inputs_of(rows, self.recipe.columns)
        if not self.score:
            return np.full(count(rows), self.mean_score), np.full(count(rows), self.mean_success)
        expected = np.mean([model.values(x) for model in self.score], axis=0).clip(0, 1)
        level, slope = self.recipe.calibration
        return expected, sigmoid(level + slope * np.mean([model.values(x) for model in self.success], axis=0))


def choose(rows: Table, columns: Sequence[str], groups: Sequence[Any], *, seed: int) -> Recipe:
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
    x, score, success = inputs_of(rows, columns), np.asarray(rows["score"], float), np.asarray(rows["success"], bool)
    if not _can_learn(x, success) or not deal:
        return Recipe(columns, KINDS[0], KINDS[0], (0.0, 1.0))
    expected = {kind: _held_out(kind, x, score, deal) for kind in KINDS[:2]}
    logits = {kind: _held_out(kind, x, success, deal) for kind in KINDS[:2]}
    for held in (expected, logits):
        held[KINDS[2]] = np.mean([held[kind] for kind in KINDS[:2]], axis=0)
    errors = {kind: np.mean((score - held) ** 2) for kind, held in expected.items()}
    losses = {kind: np.mean(_log_loss(success, sigmoid(held))) for kind, held in logits.items()}
    best_score, best_success = (min(KINDS, key=known.__getitem__) for known in (errors, losses))
    return Recipe(columns, best_score, best_success, _platt(logits[best_success], success))


def fit(rows: Table, recipe: Recipe) -> Fitted:
    """Fit what a recipe says to trials, with score and success."""
    x, score, success = inputs_of(rows, recipe.columns), np.asarray(rows["score"], float), np.asarray(rows["success"], bool)
    means = float(score.mean()), float(success.mean())
    if not _can_learn(x, success):
        return Fitted(recipe, (), (), *means)
    regressions = tuple(_Model.fitted(kind, x, score) for kind in _parts(recipe.score_kind))
    classifiers = tuple(_Model.fitted(kind, x, success) for kind in _parts(recipe.success_kind))
    return Fitted(recipe, regressions, classifiers, *means)


def inputs_of(rows: Table, columns: Sequence[str]) -> Rows:
    """Columns of a table as the models take them: 64-bit numbers, and names, "" where one is missing."""
    return {c: _names(rows[c]) if c in CATEGORIES else np.asarray(rows[c], float) for c in columns}


def _names(values: Any) -> NDArray[Any]:
    found = np.array(values, dtype=object)
    found[missing(found)] = ""
    return found.astype(str)


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def _parts(kind: str) -> tuple[str, ...]:
    return KINDS[:2] if kind == KINDS[2] else (kind,)


def _can_learn(x: Rows, success: Mask) -> bool:
    """Whether a column varies and both outcomes are there."""
    varies = any(len(np.unique(values)) > 1 for values in x.values())
    return varies and bool(2 <= success.sum() <= len(success) - 2)


def _held_out(kind: str, x: Rows, y: Any, deal: Sequence[Mask]) -> Values:
    """Scores, or logits of success, for the rows that each fold leaves out, (N,)."""
    held = np.zeros(len(y))
    for left_out in deal:
        known = take(x, ~left_out)
        if len(np.unique(y[~left_out])) < 2 or not any(_is_known(values) for values in known.values()):
            held[left_out] = _logit(np.mean(y[~left_out])) if y.dtype == bool else np.mean(y[~left_out])
            continue
        held[left_out] = _Model.fitted(kind, known, y[~left_out]).values(take(x, left_out))
    return held


def _deal(groups: Sequence[Any], seed: int) -> list[Mask]:
    """Masks of the rows that each fold leaves out: whole groups in random order, the folds about equal; none for one group."""
    places: dict[Any, int] = {}
    codes = np.array([places.setdefault(group, len(places)) for group in groups], int)
    names = list(places)
    number = min(FOLDS, len(names))
    if number < 2:
        return []
    sizes, fold_of, counts = np.zeros(number), np.zeros(len(names), int), np.bincount(codes)
    order = np.random.default_rng(seed).permutation(len(names))
    for group in sorted(order, key=lambda g: -counts[g]):
        fold_of[group] = int(np.argmin(sizes))
        sizes[fold_of[group]] += counts[group]
    return [fold_of[codes] == fold for fold in range(number)]


@dataclass(frozen=True)
class _Design:
    """How rows become the numbers that a model sees: the numeric columns, and a column for each name of each category.

    Attributes:
        numbers: numeric columns, but for those in which nothing was ever measured.
        names: category -> its names.
        scores: what maps numbers to normal scores, with a flag where one is missing; None for numbers as they are.
    """

    numbers: tuple[str, ...]
    names: dict[str, NDArray[Any]]
    scores: Any

    @classmethod
    def fitted(cls, kind: str, x: Rows) -> "_Design":
        """Normal scores for linear models; numbers as they are for trees."""
        numbers = tuple(c for c, values in x.items() if values.dtype.kind == "f" and not np.isnan(values).all())
        names = {c: np.unique(values) for c, values in x.items() if values.dtype.kind == "U"}
        scores = None
        if kind == "linear" and numbers:
            size = min(_QUANTILES, count(x))
            scores = make_pipeline(
                QuantileTransformer(n_quantiles=size, output_distribution="normal", subsample=None),
                SimpleImputer(strategy="median", add_indicator=True),
            ).fit(np.column_stack([x[c] for c in numbers]))
        return cls(numbers, names, scores)

    def of(self, x: Rows) -> Values:
        """The numbers (N, columns) of rows."""
        known = np.column_stack([np.empty((count(x), 0)), *[x[c] for c in self.numbers]])
        scored = known if self.scores is None else self.scores.transform(known)
        return np.column_stack([scored, *[x[c][:, None] == names for c, names in self.names.items()]]).astype(float)

    @property
    def directions(self) -> list[int]:
        """-1 for a column of which a larger value never raises the answer, 0 for others; of numbers as they are."""
        return [-1 if name in FALLING else 0 for name in self.numbers] + [0] * sum(map(len, self.names.values()))


@dataclass(frozen=True)
class _Model:
    """A regression of the score, or a classifier of success, on rows of one set of inputs."""

    design: _Design
    estimator: Any

    @classmethod
    def fitted(cls, kind: str, x: Rows, y: Any) -> "_Model":
        design = _Design.fitted(kind, x)
        if kind == "linear":
            estimator: Any = LogisticRegression(C=1 / PENALTY, max_iter=1000) if y.dtype == bool else Ridge(PENALTY)
        else:
            trees = HistGradientBoostingClassifier if y.dtype == bool else HistGradientBoostingRegressor
            estimator = trees(**TREES, monotonic_cst=design.directions)
        return cls(design, estimator.fit(design.of(x), y))

    def values(self, x: Rows) -> Values:
        """Scores, or logits of success, (N,)."""
        if hasattr(self.estimator, "predict_proba"):
            return _logit(self.estimator.predict_proba(self.design.of(x))[:, 1])
        return np.asarray(self.estimator.predict(self.design.of(x)), float)


def _is_known(values: NDArray[Any]) -> bool:
    """Whether anything is known of a column."""
    return not np.isnan(values).all() if values.dtype.kind == "f" else True


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
