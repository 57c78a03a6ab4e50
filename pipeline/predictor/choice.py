"""Which set of inputs answers for a network, and on what evidence."""

from collections.abc import Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ModuleError
from ..core.records import Card, Evidence
from ..measuring import get as measurement
from .checks import OWN as OWN_KIND
from .features import SPECTRUM
from .folds import CELLS, OWN, SCALE, TASKS, TRIALS
from .inputs import CATEGORIES, DIVERGED, HYPER_PARAMETERS, INPUTS, MOMENTS, RELATIVE_LOSS, SETS

_MOMENTS = ("initial", "early", "change")
_PROXIES = frozenset(measurement("proxies").columns)  # which may be left out where the other measurements are taken
DIVERGENCE = "divergence"  # what an answer is based on if the network has diverged


def splits(rows: pd.DataFrame, card: Card, own: Mapping[str, int], learned: Mapping[str, list[str]]) -> pd.Series:
    """The split whose evidence counts, by row.

    The one of other settings where a hyper-parameter or size is outside of what the predictor learned from. Otherwise the one
    over trials where task and cell are those that it learned from, the one without the cell where only the task is; for a
    task of one's own that with the nearest number of own trials from below, or with none.

    Args:
        rows: from `checks.rows`.
        card: of the predictor.
        own: task of one's own -> number of its trials that the predictor learned from.
        learned: category -> its values in the trials that the predictor learned from.
    """
    elsewhere = other_settings(rows, card, learned) & (SCALE in card.judgement.served)
    tasks, cells = (rows[c] if c in rows else pd.Series(None, rows.index, dtype=object) for c in ("task", "cell"))
    found = []
    for task, cell, differs in zip(tasks, cells, elsewhere, strict=True):
        count = max((n for n in OWN if n <= own.get(task, 0)), default=0)
        if differs:
            found.append(SCALE)
        elif count:
            found.append(f"{TASKS}, {count} own trials")
        else:
            found.append(TASKS if task not in card.tasks else CELLS if cell not in card.cells else TRIALS)
    return pd.Series(found, rows.index, dtype=object)


def other_settings(rows: pd.DataFrame, card: Card, learned: Mapping[str, list[str]]) -> pd.Series:
    """Whether a hyper-parameter or size is outside of what the predictor learned from, by row; the kind "another" is not."""
    found = pd.Series(False, rows.index)
    for column in rows.columns.intersection([*HYPER_PARAMETERS]):
        values = rows[column]
        if column in CATEGORIES:
            found |= values.notna() & ~values.isin([*learned[column], OWN_KIND])
        else:
            found |= values.map(partial(is_outside, card.quantiles[column]))
    return found


def is_outside(known: Sequence[float], value: float) -> bool:
    """Whether a number is outside the range of quantiles, by more than the rounding to 32 bits; NaN is not."""
    slack = 1e-5 * (1 + abs(value))
    return bool(value < known[0] - slack or value > known[-1] + slack)


def sets(rows: pd.DataFrame, card: Card, split: pd.Series) -> pd.DataFrame:
    """The moment and the set of inputs that answer, by row; both are DIVERGENCE for a network that has diverged.

    At each moment that counts the set that is served under the row's split, if its columns are all there, and otherwise the
    one with the least Brier score among those whose columns are; and of the moments that with the least Brier score.

    Raises:
        ModuleError: a row suffices for no set.
    """
    there = known(rows)
    chosen = []
    for gone, where, (row, counts) in zip(rows[DIVERGED], split, there.iterrows(), strict=True):
        chosen.append((DIVERGENCE, DIVERGENCE) if gone else _chosen(row, set(there.columns[counts]), card, where))
    return pd.DataFrame(chosen, columns=["moment", "inputs"], index=rows.index)


def evidence(card: Card, split: str, moment: str, inputs: str) -> Evidence | None:
    """The evidence of a set, under the split without the task if there is none under that with own trials."""
    found = card.judgement.of(split, moment, inputs)
    return found if found is not None else card.judgement.of(TASKS, moment, inputs)


def known(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether each input of the sets counts as known, (rows, inputs).

    A number that is not defined although others of its family were measured, such as the credit of a network without
    gradients, is NaN and counts. Hyper-parameters must all be there.
    """
    there, families = rows.notna(), dict[str, list[str]]()
    for column in there.columns.intersection([column for column in INPUTS if column not in CATEGORIES]):
        families.setdefault(family(column), []).append(column)
    measured = {name: there[columns].any(axis=1) for name, columns in families.items()}
    found = {c: there[c] if c in HYPER_PARAMETERS else measured[family(c)] for c in INPUTS if c in there}
    return pd.DataFrame(found, index=rows.index, dtype=bool).reindex(columns=list(INPUTS), fill_value=False)


def family(column: str) -> str:
    """What is measured together with a column."""
    moment, _, name = column.partition("_")
    if column == RELATIVE_LOSS:
        return column
    if moment in ("eighth", "epoch"):
        return f"{moment} gradients" if name.startswith("gradient") else moment
    if name in _PROXIES:
        return f"{moment} proxies"
    return f"{moment} {'spectrum' if name in SPECTRUM else 'measurements'}" if moment in _MOMENTS else column


def _chosen(row: Any, there: Set[str], card: Card, split: str) -> tuple[str, str]:
    answers = []
    for moment in reversed(MOMENTS):
        complete = [name for name, needed in SETS[moment].items() if needed and there >= {*needed}]
        if complete:
            least, name = min((_brier(evidence(card, split, moment, name)), name) for name in complete)
            served = card.judgement.served.get(split, {}).get(moment)
            answers.append((least, moment, served if served in complete else name))
    if not answers:
        raise ModuleError(_too_little(row, there))
    _, moment, name = min(answers, key=lambda answer: answer[0])  # the latest, if several are alike
    return moment, name


def _brier(found: Evidence | None) -> float:
    value = found.measures["brier"].value if found is not None else None
    return np.inf if value is None else value


def _too_little(row: Any, there: Set[str]) -> str:
    lacking = {name: [c for c in needed if c not in there] for sets in SETS.values() for name, needed in sets.items() if needed}
    name = min(lacking, key=lambda name: len(lacking[name]))
    more = f" and {len(lacking[name]) - 1} more" if len(lacking[name]) > 1 else ""
    return (
        f"too little is known to predict from row {row}: {name!r}, the set of inputs that it comes nearest to, also needs "
        f"{lacking[name][0]}{more}; `trial_inputs` and `network_inputs` make whole sets"
    )
