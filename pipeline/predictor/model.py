"""The scikit-learn models that are tried, and how one is chosen inside the training data."""

from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
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

from ..core.config import PredictorSettings
from .codes import ENCODERS
from .inputs import CATEGORIES


def fit_score(inputs: str, x: pd.DataFrame, score: pd.Series, settings: PredictorSettings, seed: int) -> BaseEstimator:
    """A regression of the score, chosen by inner cross-validation for the least squared error.

    It answers with the mean if no input varies. `inputs` is the name of the set in SETS.
    """
    if not _varying(x) or len(x) < 2 * settings.inner_folds:
        return DummyRegressor().fit(x, score)
    trees = ExtraTreesRegressor(settings.trees, min_samples_leaf=2, random_state=seed)
    candidates = [
        {"model": [Ridge()], "model__alpha": [1.0, 10.0]},
        {"model": [SVR(epsilon=0.05)], "model__C": [1.0, 10.0]},
        {"model": [trees]},
    ]
    folds = KFold(settings.inner_folds, shuffle=True, random_state=seed)
    with TemporaryDirectory() as cache:
        steps = _steps(inputs, x, seed, cache)
        search = GridSearchCV(steps, candidates, scoring="neg_mean_squared_error", cv=folds, error_score="raise")
        return search.fit(x, score).best_estimator_


def fit_success(inputs: str, x: pd.DataFrame, success: pd.Series, settings: PredictorSettings, seed: int) -> BaseEstimator:
    """A calibrated classifier of success, chosen by inner cross-validation for the least log loss.

    Calibration is Platt's (1999), on held-out folds. If a class has fewer than two members per fold, the share of
    successes is all that can be learned, and it is the answer.
    """
    if not _varying(x) or min(success.sum(), (~success).sum()) < 2 * settings.inner_folds:
        return DummyClassifier(strategy="prior").fit(x, success)
    trees = ExtraTreesClassifier(settings.trees, min_samples_leaf=2, random_state=seed)
    candidates = [
        {"model": [LogisticRegression(max_iter=2000)], "model__C": [0.03, 0.3]},
        {"model": [trees]},
    ]
    folds = StratifiedKFold(settings.inner_folds, shuffle=True, random_state=seed)
    with TemporaryDirectory() as cache:
        steps = _steps(inputs, x, seed, cache)
        search = GridSearchCV(steps, candidates, scoring="neg_log_loss", cv=folds, error_score="raise", refit=False)
        best = clone(steps).set_params(**search.fit(x, success).best_params_)
        return CalibratedClassifierCV(best, method="sigmoid", cv=folds, ensemble=False).fit(x, success)


def predict(score: BaseEstimator, success: BaseEstimator, x: pd.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    """Expected scores within [0, 1] and probabilities of success, each (N,)."""
    probabilities = success.predict_proba(x)
    column = list(success.classes_).index(True) if True in success.classes_ else None
    probability = np.zeros(len(x)) if column is None else probabilities[:, column]
    return np.clip(score.predict(x), 0, 1), probability


def kind(estimator: BaseEstimator) -> str:
    """The kind of a fitted model."""
    if isinstance(estimator, CalibratedClassifierCV):
        estimator = estimator.estimator
    return type(estimator[-1] if isinstance(estimator, Pipeline) else estimator).__name__


def _varying(x: pd.DataFrame) -> list[str]:
    """The columns that vary."""
    return [c for c in x.columns if x[c].nunique(dropna=False) > 1]


def _steps(inputs: str, x: pd.DataFrame, seed: int, cache: str) -> Pipeline:
    """The steps before a model, and the place of the model.

    Numbers are imputed by their median, with a flag, and scaled; categories become one column each. Columns that do not
    vary are left out, so that they cannot change what trees draw. A set with an encoder is first compressed by it, inside
    each fold anew; `cache` is a folder that keeps the encoders of folds, which all models share.
    """
    numeric = make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler())
    if inputs in ENCODERS:
        prepare = make_pipeline(ENCODERS[inputs](seed), numeric, memory=cache)
    else:
        numbers = [c for c in _varying(x) if c not in CATEGORIES]
        categories = [c for c in _varying(x) if c in CATEGORIES]
        encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        prepare = make_column_transformer((numeric, numbers), (encode, categories))
    return Pipeline([("prepare", prepare), ("model", None)])
