"""The evidence: every set of inputs under every split, out of sample, with bootstrap intervals."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from ..core import execution
from ..core.config import PredictorSettings
from ..core.records import Estimate, Evidence, Gain, Judgement, Reliance
from ..core.tables import Table, signed, with_interval
from .bootstrap import MEASURES, Places, Values, data_of, estimate, r2, value
from .folds import FAMILIES, SPLITS, Fold, answer
from .inputs import PAIRS, SETS, WITHOUT_SPECTRA


def judge(folds: Sequence[Fold], settings: PredictorSettings, seed: int, on: Executor) -> tuple[pd.DataFrame, Judgement]:
    """The answers for all trials that were held out, one row per trial, split and set of inputs, and what they show."""
    answers = pd.concat(execution.run(answer, folds, on)).sort_values(["split", "inputs", "trial"], ignore_index=True)
    return answers, judgement(answers, settings, seed, on)


def judgement(answers: pd.DataFrame, settings: PredictorSettings, seed: int, on: Executor) -> Judgement:
    """What the answers of all folds show."""
    bootstrap = partial(_Bootstrap, count=settings.bootstrap, seed=seed)
    present = [(split, inputs) for split in SPLITS for inputs in SETS if len(_rows(answers, split, inputs))]
    measured = execution.run(_run, [bootstrap(_rows(answers, *pair)) for pair in present], on)
    evidence = sorted(measured, key=lambda e: present.index((e.split, e.inputs)))
    known = {e.inputs: e.measures["r2"].value for e in evidence if e.split == SPLITS[0]}
    rival = max(WITHOUT_SPECTRA, key=lambda inputs: _or_least(known.get(inputs)))
    compared = [(split, *pair) for split in SPLITS if (split, "all") in present for pair in PAIRS]
    champion, *gains = [
        gain(_rows(answers, split, without), _rows(answers, split, with_), settings.bootstrap, seed)
        for split, without, with_ in [(SPLITS[0], rival, "all"), *compared]
    ]
    return Judgement(champion, gains, relies_on(answers), evidence)


@dataclass(frozen=True)
class _Bootstrap:
    """The answers of one set of inputs under one split, to be measured."""

    rows: pd.DataFrame
    count: int
    seed: int


def _run(job: _Bootstrap) -> Evidence:
    rows, data = job.rows, data_of(job.rows)
    split = str(rows["split"].iloc[0])
    groups = rows.groupby("group") if split != SPLITS[0] else ()
    return Evidence(
        split=split,
        inputs=str(rows["inputs"].iloc[0]),
        trials=len(rows),
        measures={m: estimate(partial(function, data), len(rows), job.count, job.seed) for m, function in MEASURES.items()},
        by_group={str(group): {measure: value(measure, part) for measure in MEASURES} for group, part in groups},
        models=sorted({*rows["score_model"], *rows["success_model"]}),
    )


def gain(without: pd.DataFrame, with_: pd.DataFrame, count: int, seed: int) -> Gain:
    """Difference in R2 between the answers of two sets of inputs for the same trials, on the same bootstrap samples."""
    less, more = (data_of(rows.sort_values("trial")) for rows in (without, with_))

    def difference(places: Places) -> Values:
        with np.errstate(invalid="ignore"):  # scores that are all alike give -inf - -inf
            return r2(more, places) - r2(less, places)

    first, second = (str(rows["inputs"].iloc[0]) for rows in (without, with_))
    return Gain(str(with_["split"].iloc[0]), first, second, estimate(difference, len(with_), count, seed))


def relies_on(answers: pd.DataFrame) -> list[Reliance]:
    """What the predictor with all inputs looks at: mean and spread over folds of the fall of R2 by family."""
    folds = _rows(answers, SPLITS[0], "all").groupby("group").first()
    return [
        Reliance(family, float(folds[f"drop {family}"].mean()), float(folds[f"drop {family}"].std(ddof=0))) for family in FAMILIES
    ]


def metrics(judgement: Judgement) -> dict[str, float | None]:
    """The few numbers of metrics/predictor.json: those of all inputs by split, and what they gain over the best rival."""
    numbers = {
        f"{measure}_{e.split.replace(' ', '_')}": e.measures[measure].value
        for e in judgement.evidence
        if e.inputs == "all"
        for measure in ("r2", "auc", "brier")
    }
    return numbers | {"gain_r2": judgement.champion.r2.value}


def text(judgement: Judgement) -> str:
    """The evidence for a terminal."""
    shown = ("r2", "spearman", "auc", "brier")
    rows = [[e.split, e.inputs, e.trials, *(with_interval(e.measures[m]) for m in shown)] for e in judgement.evidence]
    table = Table(["split", "inputs", "trials", *shown], rows, text_columns=2).text()
    gains = [f"{g.split}: {g.without} -> {g.with_}: R2 {gain_text(g.r2)}" for g in judgement.gains]
    return "\n".join([table, *gains, verdict(judgement.champion)])


def verdict(champion: Gain) -> str:
    """Whether all inputs together beat the best set without spectra, in one sentence."""
    change = f"R2 over trials changes by {gain_text(champion.r2)}"
    if champion.beats:
        return f'All inputs beat "{champion.without}", the best set without spectra: {change}. Champion.'
    return f'All inputs do not beat "{champion.without}", the best set without spectra: {change}. No champion.'


def gain_text(r2: Estimate) -> str:
    """A difference in R2 with its interval."""
    if r2.low is None or r2.value is None:
        return "an amount that these trials do not define"
    return f"{signed(r2.value, 3)} (95 % interval {signed(r2.low, 3)} to {signed(r2.high, 3)})"


def _or_least(value: float | None) -> float:
    return -np.inf if value is None else value


def _rows(answers: pd.DataFrame, split: str, inputs: str) -> pd.DataFrame:
    return answers[(answers["split"] == split) & (answers["inputs"] == inputs)]
