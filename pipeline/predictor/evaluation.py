"""The evidence: every set of inputs under every split, out of sample, with bootstrap intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import r2_score
from sklearn.model_selection import StratifiedKFold

from ..config import PredictorSettings
from .codes import compressed
from .inputs import EARLY, EARLY_LOSS, GRADIENTS, HYPER_PARAMETERS, INITIAL, SETS, WITHOUT_SPECTRA
from .model import fit_score, fit_success, name, predict

SPLITS = ("over trials", "one cell left out", "one task left out")
FAMILIES = {
    "hyper-parameters and size": HYPER_PARAMETERS,
    "early loss": EARLY_LOSS,
    "early gradient norms": GRADIENTS,
    "spectrum at initialisation": INITIAL,
    "early spectrum": EARLY,
}
# Sets that differ by the spectrum alone.
PAIRS = (
    ("hyper-parameters and size", "hyper-parameters and initial spectrum"),
    ("early loss", "early loss and early spectrum"),
    ("all but spectra", "all"),
)
SHUFFLES = 20
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """One fit: a set of inputs, the rows to learn from and those to answer for."""

    split: str
    features: str
    group: str
    train: pd.DataFrame
    test: pd.DataFrame
    settings: PredictorSettings
    seed: int


def folds(inputs: pd.DataFrame, settings: PredictorSettings, seed: int) -> list[Fold]:
    """All fits that the evidence needs; a split that leaves nothing to learn from is left out."""
    return [
        Fold(split, features, group, _seen(inputs[~held], features), _seen(inputs[held], features), settings, seed)
        for split in SPLITS
        for group, held in _groups(split, inputs, settings, seed)
        for features in SETS
    ]


def fit_fold(fold: Fold) -> pd.DataFrame:
    """Answers for the rows held out: trial, split, features, group, score, success, their predictions and the models."""
    columns = list(SETS[fold.features])
    seen, asked = compressed(fold.features, fold.train[columns], fold.train["score"], fold.test[columns], fold.seed)
    score = fit_score(seen, fold.train["score"], fold.settings, fold.seed)
    success = fit_success(seen, fold.train["success"], fold.settings, fold.seed)
    expected, probability = predict(score, success, asked)
    answers = fold.test[["trial", "task", "cell", "score", "success"]].assign(
        split=fold.split,
        features=fold.features,
        group=fold.group,
        expected_score=expected,
        probability=probability,
        score_model=name(score),
        success_model=name(success),
    )
    if fold.split == SPLITS[0] and fold.features == "all":
        for family, drop in _drops(score, fold).items():
            answers[f"drop {family}"] = drop
    return answers


def summarise(predictions: pd.DataFrame, settings: PredictorSettings, seed: int) -> dict[str, Any]:
    """What metrics/predictor.json holds: headline figures, whether "all" is champion, what it looks at, the whole table."""
    table = evidence(predictions, settings, seed)
    best = champion(predictions, table, settings, seed)
    headline = {
        row["split"]: {m: row[m] for m in ("r2", "spearman", "auc", "brier")} for row in table if row["features"] == "all"
    }
    return {
        "all": headline,
        "champion": best,
        "gains": gains(predictions, settings, seed),
        "looks_at": looks_at(predictions),
        "table": table,
    }


def text(result: dict[str, Any]) -> str:
    """The table for a terminal, and what it says."""
    rows = pd.DataFrame(result["table"])
    shown = rows[["split", "features", "trials"]].copy()
    for measure in ("r2", "spearman", "auc", "brier"):
        shown[measure] = [
            "" if value is None or value != value else f"{value:.2f} ({low:.2f} to {high:.2f})"
            for value, low, high in zip(rows[measure], rows[f"{measure}_low"], rows[f"{measure}_high"], strict=True)
        ]
    added = [f"{g['split']}: {g['without']} -> {g['with']}: R2 {gain_text(g)}" for g in result["gains"]]
    return "\n".join([shown.to_string(index=False), *added, verdict(result["champion"])])


def verdict(best: dict[str, Any]) -> str:
    """Whether all inputs together beat the best set without spectra, in one sentence."""
    gain = f"R2 over trials changes by {gain_text(best)}"
    if best["beats_rival"]:
        return f"All inputs beat {best['rival']!r}, the best set without spectra: {gain}. Champion."
    return f"All inputs do not beat {best['rival']!r}, the best set without spectra: {gain}. No champion."


def gain_text(gain: dict[str, Any]) -> str:
    """A difference in R2 with its interval."""
    if gain["gain_r2_low"] is None:
        return "an amount that these trials do not define"
    return f"{gain['gain_r2']:+.3f} (95 % interval {gain['gain_r2_low']:+.3f} to {gain['gain_r2_high']:+.3f})"


def evidence(predictions: pd.DataFrame, settings: PredictorSettings, seed: int) -> list[dict[str, Any]]:
    """The table: a row a split and set of inputs, each measure with its 95 % interval by bootstrap over trials.

    Measures: r2, spearman and mae (mean absolute error) of the expected score; auc, brier and accuracy of the
    probability of success. A measure that the data do not define is None.
    """
    return [
        {
            "split": split,
            "features": features,
            "trials": len(rows),
            **_with_intervals(rows, settings.bootstrap, seed),
            "by_group": {group: _by_group(part) for group, part in rows.groupby("group")} if split != SPLITS[0] else {},
            "models": sorted({*rows["score_model"], *rows["success_model"]}),
        }
        for split in SPLITS
        for features in SETS
        if len(rows := predictions[(predictions["split"] == split) & (predictions["features"] == features)])
    ]


def champion(
    predictions: pd.DataFrame, table: Sequence[dict[str, Any]], settings: PredictorSettings, seed: int
) -> dict[str, Any]:
    """Whether "all" beats the best set without spectra: the interval of the difference in R2, over trials, is above 0."""
    known = {row["features"]: row["r2"] for row in table if row["split"] == SPLITS[0] and row["r2"] is not None}
    rival = max(WITHOUT_SPECTRA, key=lambda features: known.get(features, -np.inf))
    gain = _gain(predictions, SPLITS[0], rival, "all", settings, seed)
    return {"rival": rival} | gain | {"beats_rival": (gain["gain_r2_low"] or 0.0) > 0}


def gains(predictions: pd.DataFrame, settings: PredictorSettings, seed: int) -> list[dict[str, Any]]:
    """What the spectrum adds to what else is known: the difference in R2 with its interval, by split and by PAIRS."""
    return [
        {"split": split, "without": without, "with": with_} | _gain(predictions, split, without, with_, settings, seed)
        for split in SPLITS
        if (predictions["split"] == split).any()
        for without, with_ in PAIRS
    ]


def _gain(
    predictions: pd.DataFrame, split: str, without: str, with_: str, settings: PredictorSettings, seed: int
) -> dict[str, float | None]:
    """Difference in R2 between two sets, trial by trial on the same bootstrap samples."""
    rows = predictions[predictions["split"] == split]
    more, less = (_columns(rows[rows["features"] == f].sort_values("trial")) for f in (with_, without))
    once, samples = np.arange(len(more[0]))[None], _samples(len(more[0]), settings.bootstrap, seed)
    with np.errstate(invalid="ignore"):  # scores that are all alike give -inf - -inf
        spread = _r2(more, samples) - _r2(less, samples)
        gain = (_r2(more, once) - _r2(less, once))[0]
    low, high = np.percentile(spread[np.isfinite(spread)], [2.5, 97.5]) if np.isfinite(spread).any() else (np.nan, np.nan)
    return {"gain_r2": _number(gain), "gain_r2_low": _number(low), "gain_r2_high": _number(high)}


def looks_at(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """What "all" looks at: fall of R2 on held-out trials when a family of inputs is shuffled, mean and spread over folds."""
    rows = predictions[(predictions["split"] == SPLITS[0]) & (predictions["features"] == "all")]
    folds_ = rows.groupby("group").first()
    return [
        {
            "family": family,
            "drop_r2": float(folds_[f"drop {family}"].mean()),
            "spread": float(folds_[f"drop {family}"].std(ddof=0)),
        }
        for family in FAMILIES
    ]


def _groups(split: str, inputs: pd.DataFrame, settings: PredictorSettings, seed: int) -> Iterator[tuple[str, pd.Series]]:
    """Name and rows (a mask) of each part that is held out."""
    if split == SPLITS[0]:
        # strata: task and success, so that every fold has both
        strata = inputs["task"] + inputs["success"].astype(str)
        count = min(settings.outer_folds, len(inputs) // 2)
        shuffled = StratifiedKFold(count, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(shuffled.split(inputs, _merged(strata, count))):
            yield f"fold {number + 1}", pd.Series(np.isin(np.arange(len(inputs)), held), index=inputs.index)
        return
    column = "cell" if "cell" in split else "task"
    names = sorted(inputs[column].unique())
    if len(names) > 1:
        yield from ((n, inputs[column] == n) for n in names)


def _merged(strata: pd.Series, count: int) -> pd.Series:
    """Strata too small to be dealt to all folds become one, or all become one."""
    sizes = strata.map(strata.value_counts())
    merged = strata.where(sizes >= count, "few")
    return merged if (merged.value_counts() >= count).all() else pd.Series("all", index=strata.index)


def _seen(rows: pd.DataFrame, features: str) -> pd.DataFrame:
    return rows[list(dict.fromkeys([*SETS[features], "trial", "task", "cell", "score", "success"]))]


def _drops(model: Any, fold: Fold) -> dict[str, float]:
    """Fall of R2 on the held-out rows when a family's columns are shuffled together, mean of SHUFFLES."""
    x, y = fold.test[list(SETS["all"])], fold.test["score"]
    random = np.random.default_rng(fold.seed)
    whole = model.score(x, y)
    drops = {}
    for family, members in FAMILIES.items():
        orders = np.concatenate([random.permutation(len(x)) for _ in range(SHUFFLES)])
        shuffled = pd.concat([x] * SHUFFLES, ignore_index=True)
        shuffled[list(members)] = x.iloc[orders][list(members)].reset_index(drop=True)
        answers = model.predict(shuffled).reshape(SHUFFLES, len(x))
        drops[family] = whole - float(np.mean([r2_score(y, found) for found in answers]))
    return drops


def _columns(rows: pd.DataFrame) -> tuple[Values, Values, Values, Values]:
    return tuple(rows[c].to_numpy(float) for c in ("score", "expected_score", "success", "probability"))  # type: ignore[return-value]


def _samples(size: int, count: int, seed: int) -> NDArray[np.int64]:
    """Places of bootstrap samples (count, N)."""
    return np.random.default_rng(seed).integers(0, size, (count, size))


def _with_intervals(rows: pd.DataFrame, count: int, seed: int) -> dict[str, float | None]:
    data = _columns(rows)
    once, samples = np.arange(len(rows))[None], _samples(len(rows), count, seed)
    found: dict[str, float | None] = {}
    for measure, function in MEASURES.items():
        spread = function(data, samples)
        spread = spread[np.isfinite(spread)]
        found[measure] = _number(function(data, once)[0])
        low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (np.nan, np.nan)
        found[f"{measure}_low"], found[f"{measure}_high"] = _number(low), _number(high)
    return found


def _by_group(rows: pd.DataFrame) -> dict[str, float | None]:
    once = np.arange(len(rows))[None]
    return {measure: _number(function(_columns(rows), once)[0]) for measure, function in MEASURES.items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _r2(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    true, found = data[0][samples], data[1][samples]
    spread = ((true - true.mean(1, keepdims=True)) ** 2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - ((true - found) ** 2).sum(1) / spread


def _spearman(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    true, found = (rankdata(d[samples], axis=1) for d in data[:2])
    true, found = (d - d.mean(1, keepdims=True) for d in (true, found))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (true * found).sum(1) / np.sqrt((true**2).sum(1) * (found**2).sum(1))


def _auc(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    """Area under the ROC curve by the rank sum (Mann and Whitney 1947)."""
    success, ranks = data[2][samples], rankdata(data[3][samples], axis=1)
    positive = success.sum(1)
    negative = samples.shape[1] - positive
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((ranks * success).sum(1) - positive * (positive + 1) / 2) / (positive * negative)


def _mae(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    return np.abs(data[0] - data[1])[samples].mean(1)


def _brier(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    return ((data[2] - data[3]) ** 2)[samples].mean(1)


def _accuracy(data: tuple[Values, ...], samples: NDArray[np.int64]) -> Values:
    return ((data[3] >= 0.5) == (data[2] > 0.5))[samples].mean(1)


MEASURES: dict[str, Callable[[tuple[Values, ...], NDArray[np.int64]], Values]] = {
    "r2": _r2,
    "spearman": _spearman,
    "mae": _mae,
    "auc": _auc,
    "brier": _brier,
    "accuracy": _accuracy,
}
