"""What the numbers say: numbers and cases, for which findings.j2 holds the sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.records import Evidence, Gain, Judgement
from ..predictor.folds import SPLITS
from ..predictor.inputs import PAIRS

CASES = ("above", "below", "around")  # where an interval lies, seen from 0
CODES = ("early spectrum", "principal components of the early spectrum", "learned code of the early spectrum")


@dataclass(frozen=True)
class Addition:
    """What spectra add to a set of inputs under a split, where the data define it.

    Attributes:
        gain: the difference in R2.
        groups: part that was left out -> the difference within it.
    """

    gain: Gain
    groups: dict[str, float]


@dataclass(frozen=True)
class Ranking:
    """What spectra do to the AUC of success.

    Attributes:
        ahead: number of comparisons in which the set with spectra has the larger AUC.
        comparisons: number of all.
        change, without, split: the largest difference, the set without spectra, and the split.
    """

    ahead: int
    comparisons: int
    change: float
    without: str
    split: str


@dataclass(frozen=True)
class Extreme:
    """Cells and tasks whose trials all ended alike.

    Attributes:
        word: "No" or "Every", before "trial succeeded".
        cells: those of which this holds on every task.
        tasks: titles of those on which it holds for every cell.
        pairs: title of a task -> cells, of what is left.
    """

    word: str
    cells: list[str]
    tasks: list[str]
    pairs: dict[str, list[str]]


def case(gain: Gain) -> str:
    """Where the interval of a gain lies, a word of CASES, or "unknown"."""
    if gain.r2.value is None or gain.r2.low is None or gain.r2.high is None:
        return "unknown"
    return "above" if gain.r2.low > 0 else "below" if gain.r2.high < 0 else "around"


def headline(judgement: Judgement) -> str:
    """The case of the main finding: over trials, what spectra add to everything else."""
    without, with_ = PAIRS[-1]
    (gain,) = [g for g in judgement.gains if (g.split, g.without, g.with_) == (SPLITS[0], without, with_)]
    return case(gain)


def additions(judgement: Judgement) -> list[Addition]:
    """What spectra add, the fullest pair of sets first; gains that are undefined are left out."""
    return [
        Addition(gain, _by_group(judgement, gain))
        for without, _ in reversed(PAIRS)
        for gain in judgement.gains
        if gain.without == without and case(gain) in CASES
    ]


def by_set(added: Iterable[Addition]) -> dict[str, dict[str, list[Gain]]]:
    """Set of inputs without spectra -> case -> gains."""
    sets: dict[str, dict[str, list[Gain]]] = {}
    for addition in added:
        cases = sets.setdefault(addition.gain.without, {name: [] for name in CASES})
        cases[case(addition.gain)].append(addition.gain)
    return sets


def consistency(added: Iterable[Addition]) -> list[Addition]:
    """The additions for cells and tasks that were left out, whose parts deserve a look one by one."""
    return [addition for addition in added if addition.groups and addition.gain.without != PAIRS[0][0]]


def ranking(judgement: Judgement) -> Ranking | None:
    """What spectra do to the AUC of success over all splits and pairs; None if no comparison is defined."""
    pairs = []
    for without, with_ in PAIRS:
        for split in SPLITS:
            less, more = (_value(judgement.of(split, name), "auc") for name in (without, with_))
            if less is not None and more is not None:
                pairs.append((more - less, without, split))
    if not pairs:
        return None
    ahead = sum(change > 0 for change, _, _ in pairs)
    return Ranking(ahead, len(pairs), *max(pairs, key=lambda pair: abs(pair[0])))


def strongest(judgement: Judgement) -> list[Evidence]:
    """The set of inputs with the highest R2 of each split, where one is defined."""
    own = [by_r2(e for e in judgement.evidence if e.split == split) for split in SPLITS]
    return [rows[0] for rows in own if rows and rows[0].measures["r2"].value is not None]


def codes(judgement: Judgement) -> dict[str, list[float]]:
    """Split -> R2 of each set in CODES, where all are defined."""
    values = {split: [_value(judgement.of(split, name), "r2") for name in CODES] for split in SPLITS}
    return {split: [v for v in row if v is not None] for split, row in values.items() if None not in row}


def extremes(outcomes: pd.DataFrame, titles: Mapping[str, str]) -> list[Extreme]:
    """Where no trial succeeded, and where every one did: whole cells and tasks first, then the remaining pairs."""
    alike = []
    for word, mask in (("No", outcomes["successes"] == 0), ("Every", outcomes["successes"] == outcomes["trials"])):
        cells, tasks = _whole(outcomes, mask, "cell", "task"), _whole(outcomes, mask, "task", "cell")
        rest = outcomes[mask & ~outcomes["cell"].isin(cells) & ~outcomes["task"].isin(tasks)]
        pairs = {titles[str(task)]: list(own["cell"]) for task, own in rest.groupby("task", sort=False)}
        alike.append(Extreme(word, cells, [titles[task] for task in tasks], pairs))
    return alike


def by_r2(rows: Iterable[Evidence]) -> list[Evidence]:
    """Sets of inputs by falling R2, the undefined last."""
    return sorted(rows, key=lambda row: (row.measures["r2"].value is None, -(row.measures["r2"].value or 0.0)))


def calibrated(bins: pd.DataFrame) -> int:
    """How many bins of a reliability diagram agree with the diagonal."""
    return int(np.count_nonzero((bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])))


def _whole(outcomes: pd.DataFrame, mask: "pd.Series[bool]", name: str, other: str) -> list[str]:
    """Cells (or tasks) for which the mask holds everywhere; none if there is one task (or cell) only."""
    held = mask.groupby(outcomes[name], sort=False).all()
    return list(held.index[held]) if outcomes[other].nunique() > 1 else []


def _by_group(judgement: Judgement, gain: Gain) -> dict[str, float]:
    less, more = (judgement.of(gain.split, name) for name in (gain.without, gain.with_))
    if less is None or more is None:
        return {}
    pairs = {name: (measures["r2"], less.by_group[name]["r2"]) for name, measures in more.by_group.items()}
    return {name: mine - theirs for name, (mine, theirs) in pairs.items() if mine is not None and theirs is not None}


def _value(evidence: Evidence | None, measure: str) -> float | None:
    return None if evidence is None else evidence.measures[measure].value
