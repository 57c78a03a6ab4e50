"""The scikit-learn models: what is tried, and how one is chosen inside the training data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR

from ..config import PredictorSettings
from .inputs import CATEGORIES


def fit_score(x: pd.DataFrame, score: pd.Series, settings: PredictorSettings, seed: int) -> BaseEstimator:
    """A regression of the score, chosen by inner cross-validation for the least squared error; the mean if x is empty."""
    if x.shape[1] == 0 or len(x) < 2 * settings.inner_folds:
        return DummyRegressor().fit(x, score)
    trees = ExtraTreesRegressor(settings.trees, min_samples_leaf=2, random_state=seed)
    candidates = [
        {"model": [Ridge()], "model__alpha": [1.0, 10.0]},
        {"model": [SVR(epsilon=0.05)], "model__C": [1.0, 10.0]},
        {"model": [trees]},
    ]
    folds = KFold(settings.inner_folds, shuffle=True, random_state=seed)
    search = GridSearchCV(_pipeline(list(x.columns)), candidates, scoring="neg_mean_squared_error", cv=folds, error_score="raise")
    return search.fit(x, score).best_estimator_


def fit_success(x: pd.DataFrame, success: pd.Series, settings: PredictorSettings, seed: int) -> BaseEstimator:
    """A calibrated classifier of success, chosen by inner cross-validation for the least log loss.

    Calibration is Platt's (1999), on held-out folds. Where a class has fewer than two members a fold, the share of
    successes is all that can be learned, and it is the answer.
    """
    if x.shape[1] == 0 or min(success.sum(), (~success).sum()) < 2 * settings.inner_folds:
        return DummyClassifier(strategy="prior").fit(x, success)
    trees = ExtraTreesClassifier(settings.trees, min_samples_leaf=2, random_state=seed)
    candidates = [
        {"model": [LogisticRegression(max_iter=2000)], "model__C": [0.03, 0.3]},
        {"model": [trees]},
    ]
    folds = StratifiedKFold(settings.inner_folds, shuffle=True, random_state=seed)
    search = GridSearchCV(
        _pipeline(list(x.columns)), candidates, scoring="neg_log_loss", cv=folds, error_score="raise", refit=False
    )
    best = _pipeline(list(x.columns)).set_params(**search.fit(x, success).best_params_)
    return CalibratedClassifierCV(best, method="sigmoid", cv=folds, ensemble=False).fit(x, success)


def predict(score: BaseEstimator, success: BaseEstimator, x: pd.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    """Expected scores within [0, 1] and probabilities of success, each (N,)."""
    probabilities = success.predict_proba(x)
    column = list(success.classes_).index(True) if True in success.classes_ else None
    probability = np.zeros(len(x)) if column is None else probabilities[:, column]
    return np.clip(score.predict(x), 0, 1), probability


def name(estimator: BaseEstimator) -> str:
    """The kind of a fitted model, for people."""
    if isinstance(estimator, CalibratedClassifierCV):
        estimator = estimator.estimator
    return type(estimator[-1] if isinstance(estimator, Pipeline) else estimator).__name__


def _pipeline(columns: Sequence[str]) -> Pipeline:
    """Numbers imputed by their median, with a flag, and scaled; categories one-hot; then a model to be set."""
    numbers = [c for c in columns if c not in CATEGORIES]
    categories = [c for c in columns if c in CATEGORIES]
    prepare = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()),
            numbers,
        ),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
    )
    return Pipeline([("prepare", prepare), ("model", None)])
