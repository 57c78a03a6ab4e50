"""Tables as dicts of columns, so that the predictor needs no pandas; a pandas.DataFrame may be handed in all the same."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ModuleError

Rows = dict[str, NDArray[Any]]  # column -> values (N,), all of one length; None is a missing name, NaN a missing number


class Table(Protocol):
    """What has columns by name: `Rows`, or a pandas.DataFrame."""

    def __getitem__(self, column: str, /) -> Any:
        """The values of a column, (N,)."""


def is_frame(table: Any) -> bool:
    """Whether something is a pandas.DataFrame, without importing pandas."""
    return hasattr(table, "columns") and hasattr(table, "iloc")


def columns_of(table: Any) -> Rows:
    """The columns of a DataFrame, of a mapping of columns, or of a sequence of rows, each a mapping.

    What a row lacks is None.

    Raises:
        ModuleError: it is something else, the columns are not of one length, or a column is there twice.
    """
    if is_frame(table):
        return _of_frame(table)
    if isinstance(table, Mapping):
        return _of_columns(table)
    if not isinstance(table, Sequence) or isinstance(table, str | bytes) or not all(isinstance(row, Mapping) for row in table):
        raise ModuleError(
            f"the inputs are a {type(table).__name__}; they should be a pandas.DataFrame, or a list of rows as network_inputs "
            "returns them, one for each network"
        )
    names = dict.fromkeys(name for row in table for name in row)
    return {str(name): objects([row.get(name) for row in table]) for name in names}


def _of_frame(table: Any) -> Rows:
    if table.columns.nlevels > 1:
        raise ModuleError(f"the table has {table.columns.nlevels} levels of columns; it should have one, a name for each column")
    if table.columns.has_duplicates:
        raise ModuleError(f"the column {table.columns[table.columns.duplicated()][0]!r} is there twice")
    return {str(name): _values(table[name]) for name in table.columns}


def _values(series: Any) -> NDArray[Any]:
    """The values of a pandas.Series; what is missing is NaN among numbers, and None among others."""
    if series.dtype.kind in "iuf":
        return np.asarray(series.to_numpy(float, na_value=np.nan) if series.isna().any() else series.to_numpy())
    if series.dtype == bool:
        return np.asarray(series)
    found = np.array(series.to_numpy(object))
    found[series.isna().to_numpy(bool)] = None
    return found


def _of_columns(table: Mapping[str, Any]) -> Rows:
    table = {name: values if isinstance(values, np.ndarray) else _listed(values) for name, values in table.items()}
    if not all(isinstance(values, np.ndarray | list | tuple) for values in table.values()):
        raise ModuleError("the inputs are a single row; they should be a list of rows, one for each network, or columns")
    found = {str(name): v if isinstance(v, np.ndarray) else objects(v) for name, v in table.items()}
    if len({values.shape for values in found.values()}) > 1 or any(values.ndim != 1 for values in found.values()):
        raise ModuleError("the columns of the table should be of one length, with one value for each network")
    return found


def _listed(values: Any) -> Any:
    """The values of a column that has them in order, such as a pandas.Series or a tensor, as a list; others as they are."""
    return values.tolist() if getattr(values, "ndim", 0) == 1 and hasattr(values, "tolist") else values


def objects(values: Sequence[Any]) -> NDArray[Any]:
    """Any values as an array (N,) of objects."""
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # one by one, as lists and tensors would be taken for further axes
        found[place] = value
    return found


def count(table: Any) -> int:
    """N, the number of rows of any table for `columns_of`."""
    return len(next(iter(table.values()), ())) if isinstance(table, Mapping) else len(table)


def take(rows: Mapping[str, NDArray[Any]], places: Any) -> Rows:
    """Some rows: by a mask or by their places."""
    return {name: values[places] for name, values in rows.items()}


def joined(parts: Iterable[Rows]) -> Rows:
    """The rows of several tables with the same columns."""
    tables = list(parts)
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def absent(value: Any) -> bool:
    """Whether a value of a table is missing: None, NaN, or pandas' NA."""
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float | np.floating) and value != value)
    )


def missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a column are missing, (N,)."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([absent(value) for value in values], bool) if values.dtype == object else np.zeros(len(values), bool)
