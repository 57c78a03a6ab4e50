"""Which set of inputs answers for a network, and on what evidence."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ModuleError
from .folds import SPLITS
from .inputs import DIVERGED, SETS, UNDEFINED

DIVERGENCE = "divergence"  # what an answer is based on if the network has diverged


def splits(rows: pd.DataFrame, about: Mapping[str, Any]) -> pd.Series:
    """The split whose evidence counts, by row: the one without the task or, if the study has that, without the cell."""
    task, cell = (rows[c].isin(about[f"{c}s"]) if c in rows else pd.Series(False, rows.index) for c in ("task", "cell"))
    return pd.Series(np.where(~task, SPLITS[2], np.where(~cell, SPLITS[1], SPLITS[0])), rows.index)


def sets(rows: pd.DataFrame, names: Collection[str], about: Mapping[str, Any]) -> pd.Series:
    """The set with the best evidence among those that are complete, or "divergence", by row.

    Args:
        rows: from `checks.rows`.
        names: of the sets.
        about: of the predictor.

    Raises:
        ModuleError: a row suffices for no set.
    """
    chosen, split = pd.Series(np.where(rows[DIVERGED], DIVERGENCE, ""), rows.index, dtype=object), splits(rows, about)
    for place in SPLITS:
        for name in sorted(names, key=lambda name: -_strength(name, place, about)):
            chosen[(chosen == "") & (split == place) & ~_lacking(rows, name).any(axis=1)] = name
    if (chosen == "").any():
        raise ModuleError(_too_little(rows[chosen == ""].iloc[:1], names))
    return chosen


def _too_little(row: pd.DataFrame, names: Collection[str]) -> str:
    lacking = {name: [column for column, absent in _lacking(row, name).iloc[0].items() if absent] for name in names}
    name, columns = min(lacking.items(), key=lambda item: len(item[1]))
    more = f" and {len(columns) - 1} more" if len(columns) > 1 else ""
    return (
        f"too little is known to predict from row {row.index[0]}: {name!r}, the set of inputs that it comes nearest to, also "
        f"needs {columns[0]}{more}; `trial_inputs` and `network_inputs` make whole sets"
    )


def _lacking(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Which columns of a set are absent or NaN, by row."""
    return rows.reindex(columns=[c for c in SETS[name] if c not in UNDEFINED]).isna()


def _strength(name: str, split: str, about: Mapping[str, Any]) -> float:
    """R2 of a set under a split, or over trials if the study has none under that."""
    found = about["evidence"].get(name, {})
    r2 = found.get(split, found.get(SPLITS[0], {})).get("r2", {}).get("value")
    return -np.inf if r2 is None else float(r2)
