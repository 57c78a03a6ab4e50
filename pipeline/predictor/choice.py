"""Which set of inputs answers for a network, and on what evidence."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.cards import Card, Evidence
from ..core.errors import ModuleError
from ..measuring import get as measurement
from .checks import OWN as OWN_KIND
from .features import SPECTRUM
from .inputs import CATEGORIES, DIVERGED, HYPER_PARAMETERS, INPUTS, MOMENTS, RELATIVE_LOSS, SETS
from .rows import Rows, count, missing
from .splits import CELLS, OWN, SCALE, TASKS, TRIALS

_MOMENTS = ("initial", "early", "change")
_PROXIES = frozenset(measurement("proxies").columns)  # which may be left out where the other measurements are taken
DIVERGENCE = "divergence"  # what an answer is based on if the network has diverged
_FAR = 1.0  # decades beyond the range of all trials
_RATE, _RATIO = "log_learning_rate", "initial_step_ratio"


def splits(rows: Rows, card: Card, own: Mapping[str, int], learned: Mapping[str, list[str]]) -> list[str]:
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
    tasks, cells = (rows[c] if c in rows else [None] * count(rows) for c in ("task", "cell"))
    found = []
    for task, cell, differs in zip(tasks, cells, elsewhere, strict=True):
        trials = max((n for n in OWN if n <= own.get(task, 0)), default=0)
        if differs:
            found.append(SCALE)
        elif trials:
            found.append(f"{TASKS}, {trials} own trials")
        else:
            found.append(TASKS if task not in card.tasks else CELLS if cell not in card.cells else TRIALS)
    return found


def other_settings(rows: Rows, card: Card, learned: Mapping[str, list[str]]) -> NDArray[np.bool_]:
    """Whether a hyper-parameter or size is outside of what the predictor learned from, by row; the kind "another" is not."""
    found = np.zeros(count(rows), bool)
    for column in (c for c in HYPER_PARAMETERS if c in rows):
        if column in CATEGORIES:
            own = {None, OWN_KIND, *learned[column]}
            found |= np.array([value not in own for value in rows[column]], bool)
        else:
            found |= np.array([is_outside(card.quantiles[column], value) for value in rows[column]], bool)
    return found


def too_large_a_step(rows: Rows, card: Card) -> NDArray[np.bool_]:
    """Whether a step is larger than all that were tried, and the loss is not known to have fallen nevertheless, by row.

    That is where the step ratio is above that of all trials, or the learning rate more than ten times that of all trials and
    one step with it not known to lower the loss. No such training has succeeded.
    """
    rate, ratio, loss, last = (rows.get(c, np.full(count(rows), np.nan)) for c in (_RATE, _RATIO, RELATIVE_LOSS, "epoch_last"))
    above = np.array([is_outside(card.quantiles[_RATIO], value) and value > 0 for value in ratio], bool)
    far = rate > card.quantiles[_RATE][-1] + _FAR
    return (above | (far & ~(ratio <= 0))) & ~(np.fmin(loss, last) < 0)


def far(card: Card, row: Mapping[str, Any]) -> list[str]:
    """Hyper-parameters and sizes on a logarithmic scale that lie more than ten times beyond the range of all trials.

    The number of parameters, which follows from the others, does not count, nor does a learning rate with a step ratio in the
    range of all trials, which such trials with other optimisers had.
    """
    there = [c for c in HYPER_PARAMETERS if c.startswith("log_") and c in row and c != "log_parameter_count"]
    found = [c for c in there if row[c] < card.quantiles[c][0] - _FAR or row[c] > card.quantiles[c][-1] + _FAR]
    return [c for c in found if c != _RATE or not row.get(_RATIO, np.inf) <= 0]


def is_outside(known: Sequence[float], value: float) -> bool:
    """Whether a number is outside the range of quantiles, by more than the rounding to 32 bits; NaN is not."""
    slack = 1e-5 * (1 + abs(value))
    return bool(value < known[0] - slack or value > known[-1] + slack)


def sets(rows: Rows, card: Card, split: Sequence[str]) -> list[tuple[str, str]]:
    """The moment and the set of inputs that answer, by row; both are DIVERGENCE for a network that has diverged.

    At each moment that counts the set that is served under the row's split, if its columns are all there, and otherwise the
    one with the least Brier score among those whose columns are; and of the moments that with the least Brier score.

    Raises:
        ModuleError: a row suffices for no set.
    """
    there, chosen = known(rows), []
    for row, (gone, where) in enumerate(zip(rows[DIVERGED], split, strict=True)):
        columns = {column for column, counts in there.items() if counts[row]}
        chosen.append((DIVERGENCE, DIVERGENCE) if gone else _chosen(row, columns, card, where))
    return chosen


def evidence(card: Card, split: str, moment: str, inputs: str) -> Evidence | None:
    """The evidence of a set, under the split without the task if there is none under that with own trials."""
    found = card.judgement.of(split, moment, inputs)
    return found if found is not None else card.judgement.of(TASKS, moment, inputs)


def known(rows: Rows) -> dict[str, NDArray[np.bool_]]:
    """Whether each input of the sets counts as known, by row; inputs that no row has are left out.

    A number that is not defined although others of its family were measured, such as the credit of a network without
    gradients, is NaN and counts. Hyper-parameters must all be there.
    """
    there = {column: ~missing(rows[column]) for column in INPUTS if column in rows}
    measured: dict[str, NDArray[np.bool_]] = {}
    for column, counts in there.items():
        if column not in CATEGORIES:
            measured[family(column)] = measured.get(family(column), np.zeros(len(counts), bool)) | counts
    return {column: counts if column in HYPER_PARAMETERS else measured[family(column)] for column, counts in there.items()}


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
