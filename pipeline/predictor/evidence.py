"""The evidence: sets of inputs at every moment under every split, out of sample, with cluster-bootstrap intervals."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from ..core import execution
from ..core.cards import Estimate, Evidence, Gain, Judgement, Recipe
from ..core.tables import Table, signed, with_interval
from . import decision
from .folds import Fold, Key, Part, answer
from .inputs import BEFORE, EIGHTH, EPOCH, MOMENTS, SETS, WITH_SPECTRA
from .measures import MEASURES, Answers, Values, estimate, weights
from .outside import outside
from .splits import CELLS, OWN, SLACK, TASKS, TRIALS

# Moment -> the simplest set of inputs, which costs a user nothing: the rival of the others.
RIVALS = {BEFORE: "hyper-parameters", EIGHTH: "loss", EPOCH: "loss"}
# Pairs of sets that differ in one family of inputs.
PAIRS: Mapping[str, Sequence[tuple[str, str]]] = {
    BEFORE: (
        ("hyper-parameters", "hyper-parameters, proxies"),
        ("hyper-parameters", "hyper-parameters, measurements"),
        ("hyper-parameters", "hyper-parameters, spectrum"),
        ("step ratio", "step ratio, spectrum"),
        ("measurements", "measurements, spectrum"),
        ("hyper-parameters, measurements", "all"),
    ),
    EIGHTH: (
        ("loss", "curve"),
        ("curve", "curve, gradients"),
        ("loss", "loss, hyper-parameters"),
        ("loss", "loss, measurements"),
        ("loss, measurements", "loss, measurements, spectrum"),
        ("loss, hyper-parameters, measurements", "all"),
        ("loss", "all"),
    ),
    EPOCH: (
        ("loss", "curve"),
        ("curve", "curve, gradients"),
        ("loss", "loss, hyper-parameters"),
        ("loss", "loss, measurements"),
        ("loss", "loss, spectrum"),
        ("loss, measurements", "loss, measurements, spectrum"),
        ("loss, hyper-parameters", "loss, hyper-parameters, measurements"),
        ("loss, hyper-parameters, measurements", "all"),
        ("loss", "all"),
    ),
}
_DIRECTIONS = {"auc": 1, "brier": -1, "log_loss": -1, "spearman": 1, "r2": 1}  # measures of which gains are taken
_CLUSTERS = {TRIALS: "trial", CELLS: "cell"}  # what is resampled first; tasks elsewhere


def answers(folds: Iterable[Fold], on: Executor) -> tuple[pd.DataFrame, dict[tuple[str, str, str, str], Recipe]]:
    """The answers for all trials that were held out, and the recipes by split, group, moment and set."""
    tables, recipes = [], {}
    for table, recipe in execution.run(answer, folds, on):
        tables.append(table)
        first = table.iloc[0]
        recipes[first["split"], first["group"], first["moment"], first["inputs"]] = recipe
    order = ["split", "moment", "inputs", "variant", "trial"]
    return pd.concat(tables).sort_values(order, ignore_index=True, kind="stable"), recipes


def own_folds(
    parts: Iterable[Part], recipes: Mapping[tuple[str, str, str, str], Recipe], sets: Mapping[str, Sequence[str]], seed: int
) -> list[Fold]:
    """The fits of tasks left out but for some of their trials, with the recipes that the other tasks gave."""
    folds: list[Fold] = []
    for part in parts:
        known: dict[Key, Recipe] = {(m, n): recipes[TASKS, part.group, m, n] for m, names in sets.items() for n in names}
        folds += part.folds(sets, seed, known)
    return folds


def best_weights(table: pd.DataFrame) -> pd.DataFrame:
    """Answers with own trials, of which each task keeps those of the weight with the least Brier score on the other tasks.

    The weight is one for each split and moment; the variant of what is kept is the draw alone.
    """
    own = table[table["variant"] != ""].copy()
    if own.empty:
        return table
    own[["weight", "draw"]] = own["variant"].str.extract(r"weight (\S+), (.*)").to_numpy()
    own["error"] = (own["success"].astype(float) - own["probability_of_success"]) ** 2
    kept = [table[table["variant"] == ""]]
    for (_, _), part in own.groupby(["split", "moment"]):
        mean = part.groupby(["task", "weight"])["error"].mean().unstack()
        for task, rows in part.groupby("task"):
            weight = mean.drop(index=task).mean().idxmin()
            kept.append(rows[rows["weight"] == weight].assign(variant=rows["draw"]))
    return pd.concat(kept, ignore_index=True)[table.columns]


def chosen_weights(table: pd.DataFrame) -> dict[str, float]:
    """Number of own trials -> the weight with the least Brier score over all tasks."""
    own = table[table["variant"].str.startswith("weight")]
    error = (own["success"].astype(float) - own["probability_of_success"]) ** 2
    weight = own["variant"].str.extract(r"weight (\S+),")[0].astype(float)
    mean = error.groupby([own["split"], weight]).mean().unstack()
    best = mean.idxmin(axis=1)
    return {str(count): float(best[split]) for count in OWN if (split := f"{TASKS}, {count} own trials") in best.index}


def judgement(table: pd.DataFrame, trials: pd.DataFrame, *, count: int, seed: int, on: Executor) -> Judgement:
    """What the answers of all folds show.

    Args:
        table: of answers, from `answers`.
        trials: rows of `trial_inputs` whose answers they are, repeated draws included.
        count: number of bootstrap samples.
        seed: of these.
        on: where the measures are computed.
    """
    groups = {key: rows for key, rows in table.groupby(["split", "moment", "inputs"], sort=False)}
    jobs = [_Job(rows, count, seed) for rows in groups.values()]
    places = {key: place for place, key in enumerate(groups)}
    found = sorted(execution.run(_measured, jobs, on), key=lambda e: places[e.split, e.moment, e.inputs])
    compared = [
        _Pair(groups[split, moment, less], groups[split, moment, more], count, seed)
        for split in dict.fromkeys(table["split"])
        for moment in MOMENTS
        for less, more in PAIRS[moment]
        if (split, moment, less) in groups and (split, moment, more) in groups
    ]
    gains = sorted(
        execution.run(_gained, compared, on), key=lambda g: [places[g.split, g.moment, name] for name in (g.with_, g.without)]
    )
    plain, spectral = (_best(found, CELLS, EPOCH, spectra) for spectra in (False, True))
    rivals = None if plain is None or spectral is None else (groups[CELLS, EPOCH, plain], groups[CELLS, EPOCH, spectral])
    replays = decision.replays(table, trials, seed)
    known = replays.get((CELLS, ""))
    return Judgement(
        evidence=found,
        gains=gains,
        served=served_sets(found),
        champion=gain(*rivals, count, seed) if rivals else None,
        volume=None if known is None else decision.volume_gain(known, count=count, seed=seed),
        decisions=[decision.decide(rows, decision.REPLAYED[key], count=count, seed=seed) for key, rows in replays.items()],
        ceiling=ceiling(trials, count, seed),
        outside=outside(table, trials, count=count, seed=seed),
    )


def _best(found: Sequence[Evidence], split: str, moment: str, spectra: bool) -> str | None:
    """The set with, or without, spectra that has the least Brier score."""
    own = [e for e in found if (e.split, e.moment, e.inputs in WITH_SPECTRA) == (split, moment, spectra)]
    return min(own, key=_brier).inputs if own else None


def ceiling(trials: pd.DataFrame, count: int, seed: int) -> dict[str, Estimate]:
    """How well the mean of a trial's repetitions with other seeds predicts it: no predictor can be expected to do better.

    The probability is the share of successes among the others, (successes + 1/2) / (others + 1).
    """
    rows = trials.groupby(["study", "task", "cell", "draw"]).filter(lambda own: len(own) > 1)
    if rows.empty:
        return {}
    groups = rows.groupby(["study", "task", "cell", "draw"])
    others = groups["trial"].transform("size") - 1
    successes = groups["success"].transform("sum") - rows["success"]
    expected = (groups["score"].transform("sum") - rows["score"]) / others
    known = rows.assign(expected_score=expected, probability_of_success=(successes + 0.5) / (others + 1))
    samples, data = weights(known["task"], count, seed), Answers.of(known)
    return {m: estimate(partial(MEASURES[m], data), samples) for m in ("auc", "brier", "spearman", "r2")}


def served_sets(found: Sequence[Evidence]) -> dict[str, dict[str, str]]:
    """Split -> moment -> the smallest set whose Brier score is at most SLACK above that of the best.

    The rule of one standard error would choose sets that are visibly worse: with few tasks or cells these errors are large.
    """
    served: dict[str, dict[str, str]] = {}
    for split in dict.fromkeys(e.split for e in found):
        for moment in MOMENTS:
            own = [e for e in found if (e.split, e.moment) == (split, moment)]
            near = [e for e in own if _brier(e) <= (1 + SLACK) * min(map(_brier, own))]
            if near:
                served.setdefault(split, {})[moment] = min(near, key=lambda e: (len(SETS[e.moment][e.inputs]), _brier(e))).inputs
    return served


def _brier(evidence: Evidence) -> float:
    value = evidence.measures["brier"].value
    return np.inf if value is None else value


@dataclass(frozen=True)
class _Job:
    """The answers of one set of inputs at one moment under one split, to be measured."""

    rows: pd.DataFrame
    count: int
    seed: int


def clusters(rows: pd.DataFrame) -> pd.Series:
    """What is resampled first: trials, cells or tasks."""
    return rows[_CLUSTERS.get(str(rows["split"].iloc[0]), "task")]


def _measured(job: _Job) -> Evidence:
    rows, data = job.rows, Answers.of(job.rows)
    samples = weights(clusters(rows), job.count, job.seed)
    first = rows.iloc[0]
    groups = rows.groupby("group") if first["split"] != TRIALS else ()
    return Evidence(
        split=str(first["split"]),
        moment=str(first["moment"]),
        inputs=str(first["inputs"]),
        trials=int(rows["trial"].nunique()),
        measures={m: estimate(partial(function, data), samples) for m, function in MEASURES.items()},
        by_group={str(group): {m: value(m, part) for m in _DIRECTIONS} for group, part in groups},
        kinds=sorted({*rows["score_kind"], *rows["success_kind"]}),
    )


def value(measure: str, rows: pd.DataFrame) -> float | None:
    """A measure of answers, None where it is undefined."""
    found = float(MEASURES[measure](Answers.of(rows), np.ones((1, len(rows))))[0]) if len(rows) else np.nan
    return found if np.isfinite(found) else None


@dataclass(frozen=True)
class _Pair:
    """The answers of two sets of inputs for the same trials."""

    less: pd.DataFrame
    more: pd.DataFrame
    count: int
    seed: int


def _gained(pair: _Pair) -> Gain:
    return gain(pair.less, pair.more, pair.count, pair.seed)


def gain(without: pd.DataFrame, with_: pd.DataFrame, count: int, seed: int) -> Gain:
    """What one set of inputs does better than another for the same trials, on the same bootstrap samples."""
    less, more = (rows.sort_values(["trial", "variant"], ignore_index=True) for rows in (without, with_))
    samples, a, b = weights(clusters(more), count, seed), Answers.of(less), Answers.of(more)

    def difference(measure: str, w: Values) -> Values:
        return _DIRECTIONS[measure] * (MEASURES[measure](b, w) - MEASURES[measure](a, w))

    differences = {m: estimate(partial(difference, m), samples) for m in _DIRECTIONS}
    first = more.iloc[0]
    return Gain(str(first["split"]), str(first["moment"]), str(less["inputs"].iloc[0]), str(first["inputs"]), differences)


def text(judgement: Judgement) -> str:
    """The evidence of the served sets and their rivals for a terminal."""
    shown = ("auc", "brier", "calibration_error", "spearman")
    rows = []
    for split, moments in judgement.served.items():
        for moment, name in moments.items():
            for inputs in dict.fromkeys((RIVALS[moment], name)):
                e = judgement.of(split, moment, inputs)
                if e is not None:
                    rows.append([split, moment, inputs, e.trials, *(with_interval(e.measures[m]) for m in shown)])
    return Table(["split", "asked", "inputs", "trials", *shown], rows, text_columns=3).text()


def gain_text(estimate: Estimate) -> str:
    """A difference with its interval."""
    if estimate.low is None or estimate.value is None:
        return "an amount that these trials do not define"
    return f"{signed(estimate.value, 3)} (95 % interval {signed(estimate.low, 3)} to {signed(estimate.high, 3)})"


def verdict(judgement: Judgement) -> str:
    """Whether spectra earn their place, in a sentence or two."""
    best, volume = judgement.champion, judgement.volume
    if best is None:
        return "These trials do not show whether spectra earn their place: no cell was left out."
    words = "earn their place" if judgement.is_champion else "do not measurably earn their place"
    searches = f", and that of searches in hypervolume is {gain_text(volume)}" if volume is not None else ""
    return (
        f'On cells left out, after {best.moment}, spectra {words}. Compared with "{best.without}", the best set of inputs '
        f'without them, the gain of "{best.with_}" in Brier score is {gain_text(best.measures["brier"])}{searches}; above 0 is '
        "better."
    )
