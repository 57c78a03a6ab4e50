"""The distance to the training trials, worked out by hand, and how well it recognises wrong answers."""

import numpy as np
import pandas as pd
import pytest

from pipeline.predictor import outside as module
from pipeline.predictor.inputs import BEFORE, MOMENTS, SETS
from pipeline.predictor.outside import distances, outside
from pipeline.predictor.splits import TASKS


def test_distances_are_those_to_the_nearest_of_other_groups(monkeypatch):
    monkeypatch.setattr(module, "NEIGHBOURS", 2)
    # values 0 to 4: the quartiles are 1 and 3, so that one unit is half an interquartile range
    rows = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, 4.0], "constant": 1.0, "group": ["x", "x", "y", "y", "y"]})
    expected = [(2 + 3) / 2 / 2, (1 + 2) / 2 / 2, (1 + 2) / 2 / 2, (2 + 3) / 2 / 2, (3 + 4) / 2 / 2]
    assert distances(rows, ["a", "constant"], "group") == pytest.approx(expected)


@pytest.mark.parametrize(("far", "auc"), [(True, 1.0), (False, 0.0)])
def test_the_auc_is_that_of_wrong_answers_by_their_distance(far, auc):
    """Four tasks at the same place and a far one: answers for it are wrong, or all others are."""
    tasks = np.repeat([f"task{i}" for i in range(5)], 8)
    alone = tasks == "task4"
    random = np.random.default_rng(0)
    columns = {
        c: random.normal(0, 0.1, 40) + 3.0 * alone for c in SETS[BEFORE]["all"] if not c.startswith(("opt", "init", "head"))
    }
    columns |= {c: random.normal(0, 0.1, 40) + 3.0 * alone for c in SETS[BEFORE]["all"] if c.startswith("initial_")}
    names = [f"t{i:02d}" for i in range(40)]
    text = {"head": "last", "optimiser": "adamw", "initialisation": "torch"}
    trials = pd.DataFrame({"trial": names, "task": tasks, "cell": "elman"} | columns | text)
    wrong = alone if far else ~alone
    answers = pd.DataFrame({"trial": names, "split": TASKS, "moment": BEFORE, "inputs": "all", "success": True})
    answers["probability_of_success"] = np.where(wrong, 0.1, 0.9)
    found = outside(answers, trials, count=100, seed=0)
    assert list(found) == [f"{TASKS}, {MOMENTS[0]}"]
    assert found[f"{TASKS}, {BEFORE}"].value == auc
