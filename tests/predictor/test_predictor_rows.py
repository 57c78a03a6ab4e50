"""Tables as the predictor takes them: DataFrames, columns and lists of rows say the same; what is none of these is refused."""

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import ModuleError
from pipeline.predictor.rows import absent, columns_of, count, joined, missing, take

ROWS = [{"a": 1.5, "b": "x", "c": True}, {"a": None, "b": None, "c": False}, {"a": -2.0, "b": "y"}]


def plain(columns):
    """Columns as lists, None where a value is missing."""
    return {name: [None if absent(v) else v for v in values.tolist()] for name, values in columns.items()}


def test_a_frame_columns_and_rows_give_the_same_columns():
    expected = {"a": [1.5, None, -2.0], "b": ["x", None, "y"], "c": [True, False, None]}
    frame = pd.DataFrame({"a": [1.5, np.nan, -2.0], "b": ["x", None, "y"], "c": pd.array([True, False, None], "boolean")})
    assert plain(columns_of(ROWS)) == plain(columns_of(expected)) == plain(columns_of(frame)) == expected


@pytest.mark.parametrize("kind", ["int64", "Int64", "float32", "Float64", "bool", "string", "category"])
def test_every_kind_of_column_that_pandas_has_keeps_its_values(kind):
    values = {"b": [True, False], "s": ["one", "two"], "c": ["one", "two"]}.get(kind[0], [1, 2])
    found = columns_of(pd.DataFrame({"x": pd.Series(values).astype(kind)}))["x"]
    assert found.tolist() == values
    assert not missing(found).any()


def test_missing_values_of_pandas_are_missing():
    frame = pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": pd.array(["x", None], "string"), "c": [pd.NaT, pd.NaT]})
    assert [missing(values).tolist() for values in columns_of(frame).values()] == [[False, True], [False, True], [True, True]]


def test_the_number_of_rows_does_not_depend_on_the_columns():
    assert [count(table) for table in (ROWS, [], [{}, {}], pd.DataFrame(index=range(4)), {"a": [1, 2]}, {})] == [3, 0, 2, 4, 2, 0]


def test_rows_are_taken_by_masks_and_places_and_joined_again():
    columns = columns_of(ROWS)
    parts = [take(columns, np.array([True, False, False])), take(columns, [1, 2])]
    assert plain(joined(parts)) == plain(columns)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (3, "the inputs are a int; they should be a pandas.DataFrame, or a list of rows"),
        ("rows", "the inputs are a str"),
        ([1, 2], "the inputs are a list"),
        ({"a": 1.0}, "the inputs are a single row; they should be a list of rows"),
        ({"a": [1, 2], "b": [1]}, "the columns of the table should be of one length"),
        ({"a": np.zeros((2, 2))}, "the columns of the table should be of one length"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the column 'a' is there twice"),
        (pd.DataFrame({("a", "b"): [1]}), "the table has 2 levels of columns"),
    ],
)
def test_what_is_no_table_is_one_sentence(table, sentence):
    with pytest.raises(ModuleError, match=sentence):
        columns_of(table)
