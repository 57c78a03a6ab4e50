"""What may be asked of the predictor: one check of numbers and names for all ways of asking."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import registry
from ..core.errors import ModuleError
from ..core.hyper_parameters import CHOICES, DECLARED, NUMBERS, Value
from ..core.numbers import number, shown
from .inputs import CATEGORIES, DIVERGED, IDENTITY, LIMITS
from .rows import Rows, absent, columns_of, count, missing, objects

OWN = "another"  # a task, cell or head of one's own
_ALIKE = 0.85  # similarity from which a name that is not known counts as a misspelt one


def hyper_parameter(name: str, value: Any) -> Value:
    """The value of a hyper-parameter; ModuleError if params.yaml could not hold it."""
    declared = DECLARED[name]
    if declared.scale == "category":
        if not isinstance(value, str) or (declared.among and value not in (*declared.among, OWN)):
            right = f"one of {', '.join(declared.among)}" if declared.among else "a name"
            raise ModuleError(f"{name} is {shown(value)}; it should be {right}")
        return value
    value = number(name, value)
    value = int(value) if float(value).is_integer() and not declared.interval else value
    if wrong := declared.wrong(value):
        raise ModuleError(f"{name} is {value!r}; {wrong}")
    return value


def known(kind: str, name: Any, names: Sequence[str], *, others: str = "") -> None:
    """Refuse a name that is not among those there are: ModuleError with the one that may be meant, or with all and `others`."""
    if name in names:
        return
    near = difflib.get_close_matches(str(name).lower(), names, 1)
    right = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}{others}"
    raise ModuleError(f"there is no {kind} {name!r}; {right}")


def rows(inputs: Any, names: Mapping[str, Collection[str]]) -> Rows:
    """Inputs of the predictor with numbers, names and truth values as they should be.

    Args:
        inputs: a table for `columns_of`: any columns of LIMITS, CATEGORIES, IDENTITY and `already_diverged`; others are left
            out.
        names: "task" and "cell" -> those of the trials that the predictor learned from.

    Returns:
        The columns that are there, and `already_diverged`, False by default. NaN is a value that was not measured.

    Raises:
        ModuleError: a value is infinite, out of its range, of a wrong type or an unknown name, or a column that is unknown
            resembles one of the inputs.
    """
    table = columns_of(inputs)
    _check_columns(table)
    checked: Rows = {}
    for column in (*IDENTITY, *CATEGORIES):
        if column in table:
            checked[column] = _names(column, table[column], names.get(column, ()))
    checked |= {column: _numbers(column, table[column]) for column in LIMITS if column in table}
    checked[DIVERGED] = _truths(DIVERGED, table[DIVERGED]) if DIVERGED in table else np.zeros(count(inputs), bool)
    return checked


def outcomes(trials: Rows, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of finished trials, and whether each is a success: a score of at least `threshold` where that is not said.

    Raises:
        ModuleError: a task or score is missing, or a value is not what it should be.
    """
    if not trials:
        raise ModuleError("there are no own trials; give one or more")
    for column in ("task", "score"):
        if column not in trials or missing(trials[column]).any():
            raise ModuleError(f"own trials need the column {column!r} in every row")
    score = np.array([number(f"score in row {row}", value) for row, value in enumerate(trials["score"])], float)
    if not ((score >= 0) & (score <= 1)).all():
        raise ModuleError("the scores of own trials should lie within 0 and 1")
    if "success" not in trials:
        return score, score >= threshold
    said = _truths("success", trials["success"])
    return score, np.where(missing(trials["success"]), score >= threshold, said)


def _check_columns(columns: Iterable[str]) -> None:
    inputs = (*LIMITS, *CATEGORIES, *IDENTITY, DIVERGED)
    about = ("trial", "study", "index", "draw", "score", "success", "validation_losses", "early_epoch")
    for column in set(columns) - {*inputs, *about}:
        logarithm = [name for name in (f"log_{column}", f"early_log_{column}") if name in inputs]
        near = logarithm or difflib.get_close_matches(str(column).lower(), inputs, 1, 0.9)
        if near and not str(column).endswith("_seconds"):
            raise ModuleError(f"there is no input {column!r}; did you mean {near[0]!r}?")


def _numbers(column: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind in "iuf":
        found = values.astype(float)
    else:
        given = [None if absent(value) else value for value in values.tolist()]
        found = np.array([np.nan if v is None else number(f"{column} in row {row}", v) for row, v in enumerate(given)], float)
    least, most = LIMITS[column]
    slack = 1e-6 * max(1.0, *(abs(b) for b in (least, most) if np.isfinite(b)), 1.0)
    wrong = np.flatnonzero(np.isinf(found) | (found < least - slack) | (found > most + slack))
    if len(wrong):
        bounds = [f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if np.isfinite(bound)]
        right = ", ".join(["finite", *bounds])
        raise ModuleError(f"{column} in row {wrong[0]} is {found[wrong[0]]:g}; it should be {right}, or NaN if not measured")
    if column in NUMBERS:
        for value in np.unique(found[~np.isnan(found)]):
            hyper_parameter(column, value)
    return found


def _names(column: str, values: NDArray[Any], learned: Collection[str]) -> NDArray[Any]:
    """Names as they should be; a task or cell may have any name that does not look like a misspelt one."""
    names = [None if absent(value) else value for value in values.tolist()]
    for name in names:
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise ModuleError(f"{column} is {shown(name)}; it should be a name")
    there = [*sorted({*learned, *(CHOICES.get(column) or registry.names(f"{column}s"))} - {OWN}), OWN]
    for name in dict.fromkeys(name for name in names if name is not None and name not in there):
        if column not in IDENTITY or difflib.get_close_matches(name.lower(), there, 1, _ALIKE):
            known(column, name, there, others=" for one of your own" if column == "head" else "")
    return objects(names)


def _truths(column: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    for row, value in enumerate(values.tolist()):
        if not (absent(value) or isinstance(value, bool | np.bool_)):
            raise ModuleError(f"{column} in row {row} is {shown(value)}; it should be True or False")
    return np.array([not absent(value) and bool(value) for value in values], bool)
