"""The trials that the predictor learns from, as tables: the inputs of a study's trials, and those kept in this repository.

`pipeline/data/trials.parquet` holds small networks on many tasks, and trials of other settings. What of them is installed
with the library lies beside it, see `packaged`.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.cards import Card, Judgement
from ..core.errors import ModuleError
from ..core.files import load_table, save_table
from ..core.hyper_parameters import CATEGORIES, DECLARED, NUMBERS
from . import packaged
from .features import CHANGE, CURVE, GROUPS, MEASURED, MEASUREMENT, PROGRESS, SPECTRUM
from .inputs import DIVERGED, IDENTITY, INPUTS, OUTCOME, RELATIVE_LOSS, input_name, log10, scaled

TABLE, JUDGEMENT = packaged.FOLDER / "trials.parquet", packaged.FOLDER / "judgement.json"
_NOT_INPUTS = ("trial", "index", "draw", "validation_losses", "measuring_seconds", "spectrum_seconds", "training_seconds")


def trial_inputs(table: pd.DataFrame) -> pd.DataFrame:
    """The inputs of the predictor from rows of the feature table (`features/features.parquet` of a study).

    Returns:
        One row per trial, in the order of the table: all columns of SETS, task, cell, MEASUREMENT and `already_diverged`, and
        besides, for judging, trial, index, draw, score, success, validation_losses, early_epoch and times.

    Raises:
        ModuleError: a column of the feature table is missing, or the rows of a trial are not all there.
    """
    if not isinstance(table, pd.DataFrame):
        raise ModuleError(f"the feature table is a {type(table).__name__}; it should be a pandas.DataFrame")
    missing = [name for group in GROUPS.values() for name in group if name not in table]
    if missing:
        raise ModuleError(f"the feature table lacks the column {missing[0]!r}; docs/features.md lists all columns")
    initial = table[table["checkpoint"] == "initial"].reset_index(drop=True)
    early = table[table["checkpoint"] == "early"].reset_index(drop=True)
    if not initial["trial"].equals(early["trial"]):
        raise ModuleError("the feature table should hold an initial and an early row of each trial, in the same order")
    columns = {name: initial[name] for name in (*_NOT_INPUTS, *IDENTITY, *CATEGORIES, *OUTCOME, *MEASUREMENT)}
    columns["early_epoch"] = early["epoch"].astype(float)
    columns |= {input_name(name): _scaled(name, initial[name]) for name in NUMBERS}
    columns |= {f"log_{name}": _log10(initial[name]) for name in ("parameter_count", "steps", "updates")}
    columns |= {RELATIVE_LOSS: _log10(early["relative_loss"])}
    moments = (("initial", initial), ("early", early))
    columns |= {f"{when}_{name}": rows[name] for when, rows in moments for name in (*MEASURED, *SPECTRUM)}
    columns |= {name: early[name] for name in (*CHANGE, *CURVE)}
    columns |= {"change_step_ratio": early["step_ratio"] - initial["step_ratio"]}
    finite = np.isfinite(early[list(PROGRESS)].to_numpy(float)).all(axis=1)
    columns[DIVERGED] = ~finite | (initial["diverged_share"] == 1) | (early["diverged_share"] == 1)
    return pd.DataFrame({name: _defined(values) for name, values in columns.items()})


def _defined(values: pd.Series) -> pd.Series:
    """What is infinite is not defined."""
    return values.where(np.isfinite(values)) if values.dtype.kind == "f" else values


def _scaled(hyper_parameter: str, values: pd.Series) -> pd.Series:
    return _log10(values) if DECLARED[hyper_parameter].scale == "log" else values.astype(float)


def _log10(values: pd.Series) -> pd.Series:
    return pd.Series(log10(values), values.index)


@cache
def kept() -> pd.DataFrame:
    """The trials of this repository, as `trial_inputs` gives them, with the name of their study; repeated draws are among them.

    A hyper-parameter that was declared after they were trained has its default.
    """
    rows = load_table(TABLE, needs_checksum=False)
    later = {name: d.default for name, d in DECLARED.items() if input_name(name) not in rows and d.default is not None}
    for name, default in later.items():
        rows[input_name(name)] = default if name in CATEGORIES else scaled(name, float(default))
    return rows


def card() -> Card:
    """The card of the packaged predictor with all of its evidence."""
    return replace(packaged.card(), judgement=Judgement.load(JUDGEMENT))


def learned_from(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials that the predictor learns from: without repeated draws, and without those of other settings."""
    own = rows[~rows["study"].str.startswith("shift_") & (rows["index"] == rows["draw"])]
    return own.reset_index(drop=True)


def shifted(rows: pd.DataFrame) -> pd.DataFrame:
    """Trials of other settings, which are in the studies named "shift_..."."""
    return rows[rows["study"].str.startswith("shift_") & (rows["index"] == rows["draw"])].reset_index(drop=True)


def collect(table: pd.DataFrame, study: str, path: Path = TABLE) -> pd.DataFrame:
    """Put the trials of a study's feature table into the file, in place of earlier ones of the same study."""
    rows = compact(trial_inputs(table)).assign(study=study)
    if path.exists():
        known = load_table(path, needs_checksum=False)
        rows = pd.concat([known[known["study"] != study], rows], ignore_index=True)[list(rows)]
    rows = rows.sort_values(["study", "task", "cell", "index"], ignore_index=True)
    save_table(path, rows)
    return rows


def compact(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that are inputs or needed for judging, as 32-bit numbers."""
    about = ("trial", "task", "cell", "index", "draw", "score", "success", "already_diverged", "validation_losses", "early_epoch")
    times = ("training_seconds", "measuring_seconds", "spectrum_seconds")
    kept = rows[[c for c in rows if c in INPUTS or c in about or c in times or c == "initial_lag_needed"]].copy()
    for column in kept.select_dtypes("float"):
        kept[column] = kept[column].astype(np.float32)
    kept["validation_losses"] = kept["validation_losses"].map(lambda losses: np.asarray(losses, np.float32))
    return kept


def studies(rows: pd.DataFrame) -> dict[str, int]:
    """Name of a study -> number of its trials, without repeated draws."""
    once = rows.loc[rows["index"] == rows["draw"], "study"]
    return {str(name): int(count) for name, count in once.value_counts().sort_index().items()}
