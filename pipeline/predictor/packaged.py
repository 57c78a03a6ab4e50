"""The trials that come with the library, small networks on many tasks, and the card of the predictor that is fitted to them."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.files import load_table, save_table
from ..core.hyper_parameters import CATEGORIES, DECLARED
from ..core.records import Card
from .inputs import INPUTS, input_name, scaled, trial_inputs

FOLDER = Path(__file__).parent.parent / "data"
TRIALS, CARD = "trials.parquet", "card.json"
GRID = np.linspace(0, 1, 41)  # quantiles that the card keeps


@cache
def trials() -> pd.DataFrame:
    """The trials, as `trial_inputs` gives them, with the name of their study; repeated draws are among them.

    A hyper-parameter that was declared after they were trained has its default.
    """
    rows = load_table(FOLDER / TRIALS)
    later = {name: d.default for name, d in DECLARED.items() if input_name(name) not in rows and d.default is not None}
    for name, default in later.items():
        values = pd.Series(default, rows.index)
        rows[input_name(name)] = values if name in CATEGORIES else scaled(name, values)
    return rows


@cache
def card() -> Card:
    """Their card."""
    return Card.load(FOLDER / CARD)


def learned_from(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials that the predictor learns from: without repeated draws, and without those of other settings."""
    own = rows[~rows["study"].str.startswith("shift_") & (rows["index"] == rows["draw"])]
    return own.reset_index(drop=True)


def shifted(rows: pd.DataFrame) -> pd.DataFrame:
    """Trials of other settings, which are in the studies named "shift_..."."""
    return rows[rows["study"].str.startswith("shift_") & (rows["index"] == rows["draw"])].reset_index(drop=True)


def collect(table: pd.DataFrame, study: str, path: Path = FOLDER / TRIALS) -> pd.DataFrame:
    """Put the trials of a study's feature table into the file, in place of earlier ones of the same study."""
    rows = compact(trial_inputs(table)).assign(study=study)
    if path.exists():
        known = load_table(path)
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


def quantiles(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Quantiles of every numeric input."""
    found = {}
    for column in INPUTS:
        if pd.api.types.is_numeric_dtype(rows[column]):
            finite = rows[column][np.isfinite(rows[column])].to_numpy(float)
            found[column] = [float(q) for q in np.quantile(finite, GRID)] if len(finite) else [0.0]
    return found


def studies(rows: pd.DataFrame) -> dict[str, int]:
    """Name of a study -> number of its trials, without repeated draws."""
    once = rows.loc[rows["index"] == rows["draw"], "study"]
    return {str(name): int(count) for name, count in once.value_counts().sort_index().items()}
