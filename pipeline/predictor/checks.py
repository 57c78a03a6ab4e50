"""What may be asked of the predictor: one check of numbers and names for all ways of asking."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from ..core import registry
from ..core.errors import ModuleError
from ..core.hyper_parameters import CHOICES, DECLARED, NUMBERS, Range, Value
from ..core.numbers import number, shown
from .inputs import CATEGORIES, DIVERGED, IDENTITY, LIMITS

OWN = "another"  # a task, cell or head of one's own
_ALIKE = 0.85  # similarity from which a name that is not known counts as a misspelt one


def hyper_parameter(name: str, value: Any) -> Value:
    """The value of a hyper-parameter; ModuleError if params.yaml could not hold it."""
    declared = DECLARED[name]
    if declared.scale != "category":
        value = number(name, value)
        value = int(value) if float(value).is_integer() and declared.setting is not Range else value
    try:
        _adapter(name).validate_python({"low": value, "high": value} if declared.setting is Range else (value,))
    except ValidationError as error:
        message = error.errors()[0]["msg"].replace("Input should", "it should")
        raise ModuleError(f"{name} is {value!r}; {message}") from None
    return value


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(DECLARED[name].setting)


def known(kind: str, name: Any, names: Sequence[str], *, others: str = "") -> None:
    """Refuse a name that is not among those there are: ModuleError with the one that may be meant, or with all and `others`."""
    if name in names:
        return
    near = difflib.get_close_matches(str(name).lower(), names, 1)
    right = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}{others}"
    raise ModuleError(f"there is no {kind} {name!r}; {right}")


def rows(inputs: pd.DataFrame, names: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Inputs of the predictor with numbers, names and truth values as they should be, numbered from 0.

    Args:
        inputs: any columns of LIMITS, CATEGORIES, IDENTITY and `already_diverged`; others are left out.
        names: "task" and "cell" -> those of the trials that the predictor learned from.

    Returns:
        The columns that are there, and `already_diverged`, False by default. NaN is a value that was not measured.

    Raises:
        ModuleError: a value is infinite, out of its range, of a wrong type or an unknown name, or a column that is unknown
            resembles one of the inputs.
    """
    if not isinstance(inputs, pd.DataFrame):
        raise ModuleError(f"the inputs are a {type(inputs).__name__}; they should be a pandas.DataFrame, one row per network")
    _check_columns(inputs.columns)
    checked: dict[str, Any] = {}
    for column in (*IDENTITY, *CATEGORIES):
        if column in inputs:
            checked[column] = _names(column, inputs[column], names.get(column, ()))
    checked |= {column: _numbers(column, inputs[column]) for column in LIMITS if column in inputs}
    checked[DIVERGED] = _truths(inputs[DIVERGED]) if DIVERGED in inputs else False
    return pd.DataFrame(checked, index=range(len(inputs)))


def outcomes(trials: pd.DataFrame, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of finished trials, and whether each is a success: a score of at least `threshold` where that is not said.

    Raises:
        ModuleError: a task or score is missing, or a value is not what it should be.
    """
    for column in ("task", "score"):
        if column not in trials or trials[column].isna().any():
            raise ModuleError(f"own trials need the column {column!r} in every row")
    score = np.array([number(f"score in row {row}", value) for row, value in enumerate(trials["score"])], float)
    if not ((score >= 0) & (score <= 1)).all():
        raise ModuleError("the scores of own trials should lie within 0 and 1")
    if "success" not in trials:
        return score, score >= threshold
    said = _truths(trials["success"])
    return score, np.where(trials["success"].isna(), score >= threshold, said)


def _check_columns(columns: pd.Index) -> None:
    inputs = (*LIMITS, *CATEGORIES, *IDENTITY, DIVERGED)
    if columns.nlevels > 1:
        raise ModuleError(f"the table has {columns.nlevels} levels of columns; it should have one, a name for each column")
    if columns.has_duplicates:
        raise ModuleError(f"the column {columns[columns.duplicated()][0]!r} is there twice")
    about = ("trial", "study", "index", "draw", "score", "success", "validation_losses", "early_epoch")
    for column in set(columns) - {*inputs, *about}:
        logarithm = [name for name in (f"log_{column}", f"early_log_{column}") if name in inputs]
        near = logarithm or difflib.get_close_matches(str(column).lower(), inputs, 1, 0.9)
        if near and not str(column).endswith("_seconds"):
            raise ModuleError(f"there is no input {column!r}; did you mean {near[0]!r}?")


def _numbers(column: str, values: pd.Series) -> NDArray[np.float64]:
    if values.dtype.kind in "iuf":
        found = values.to_numpy(float, na_value=np.nan)
    else:
        found = np.array([np.nan if _absent(v) else number(f"{column} in row {row}", v) for row, v in enumerate(values)], float)
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


def _names(column: str, values: pd.Series, learned: Collection[str]) -> list[str | None]:
    """Names as they should be; a task or cell may have any name that does not look like a misspelt one."""
    names = [None if _absent(value) else value for value in values]
    for name in names:
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise ModuleError(f"{column} is {shown(name)}; it should be a name")
    there = [*sorted({*learned, *(CHOICES.get(column) or registry.names(f"{column}s"))} - {OWN}), OWN]
    for name in dict.fromkeys(name for name in names if name is not None and name not in there):
        if column not in IDENTITY or difflib.get_close_matches(name.lower(), there, 1, _ALIKE):
            known(column, name, there, others=" for one of your own" if column == "head" else "")
    return names


def _truths(values: pd.Series) -> list[bool]:
    for row, value in enumerate(values):
        if not (_absent(value) or pd.api.types.is_bool(value)):
            raise ModuleError(f"{values.name} in row {row} is {shown(value)}; it should be True or False")
    return [not _absent(value) and bool(value) for value in values]


def _absent(value: Any) -> bool:
    """Whether a value of a table is missing: None, NaN or pandas' NA."""
    return pd.isna(value) is True
