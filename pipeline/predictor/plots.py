"""What `dvc plots diff` compares: medians over the trials of a task and cell, from the feature table."""

import pandas as pd

from .features import RANKS, WHOLE


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """Learning curves, one row per task, cell and epoch: the median of validation loss / loss by chance.

    Trials count until they diverge.
    """
    rows = table.loc[table["checkpoint"] == "final", ["task", "cell", "validation_losses"]]
    rows = rows.rename(columns={"validation_losses": "relative_loss"}).explode("relative_loss")
    rows["epoch"] = rows.groupby(level=0).cumcount()
    rows["relative_loss"] = rows["relative_loss"].astype(float)
    return rows.groupby(["task", "cell", "epoch"])[["relative_loss"]].median().reset_index()


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Spectra, one row per task, cell and relative rank of an exponent (0 is the largest): medians at each checkpoint."""
    medians = table.groupby(["task", "cell", "checkpoint"])[list(WHOLE)].median()
    medians.columns = pd.Index([place / (RANKS - 1) for place in range(RANKS)], name="rank")
    return medians.stack().unstack("checkpoint")[["initial", "early", "final"]].reset_index()
