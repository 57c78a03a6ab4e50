"""The tables that `dvc plots diff` compares, by hand on made feature tables."""

import math

import pandas as pd
import pytest

from pipeline.predictor import plots
from pipeline.predictor.features import WHOLE


def table():
    """Three trials of one task and cell, and one of another cell, which diverged after an epoch."""
    trials = [
        ("gru", [2.0, 1.0, 0.5]),
        ("gru", [1.0, 0.8, 0.3]),
        ("gru", [4.0, 2.0, math.nan]),
        ("lstm", [1.0, math.nan, math.nan]),
    ]
    rows = []
    for number, (cell, losses) in enumerate(trials):
        for place, checkpoint in enumerate(("initial", "early", "final")):
            exponents = {name: 10 * place + number - rank for rank, name in enumerate(WHOLE)}
            rows.append({"task": "a", "cell": cell, "checkpoint": checkpoint, "validation_losses": losses} | exponents)
    return pd.DataFrame(rows)


def test_a_curve_is_the_median_over_the_trials_that_have_not_diverged():
    found = plots.curves(table())
    assert list(found.columns) == ["task", "cell", "epoch", "relative_loss"]
    gru = found[found["cell"] == "gru"]
    assert list(gru["epoch"]) == [0, 1, 2]
    assert list(gru["relative_loss"]) == [2.0, 1.0, pytest.approx(0.4)]
    lstm = found[found["cell"] == "lstm"]
    assert lstm["relative_loss"].iloc[0] == 1
    assert lstm["relative_loss"].iloc[1:].isna().all()


def test_a_spectrum_is_the_median_at_each_relative_rank_and_checkpoint():
    found = plots.exponents(table())
    assert list(found.columns) == ["task", "cell", "rank", "initial", "early", "final"]
    gru = found[found["cell"] == "gru"].reset_index(drop=True)
    assert len(gru) == len(WHOLE)
    assert (gru["rank"].iloc[0], gru["rank"].iloc[-1]) == (0, 1)
    assert gru.loc[0, ["initial", "early", "final"]].tolist() == [1, 11, 21]  # the median of trials 0, 1, 2
    assert gru.loc[5, ["initial", "early", "final"]].tolist() == [-4, 6, 16]
