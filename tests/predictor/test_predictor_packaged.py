"""The trials that come with the library: what their file contains, with what precision, and which of them are learned from."""

import numpy as np
import pandas as pd
import pytest
from study import study

from pipeline.core.files import load_table
from pipeline.predictor import feature_table, packaged, trials
from pipeline.predictor.inputs import SETS
from pipeline.predictor.trials import trial_inputs


def table(trials=4, seed=0):
    return feature_table.table(*study(trials=trials, seed=seed), 0.8)


def inputs():
    return {c for sets in SETS.values() for columns in sets.values() for c in columns}


def test_a_study_replaces_its_earlier_trials_and_keeps_those_of_others(tmp_path):
    path = tmp_path / "trials.parquet"
    trials.collect(table(4, seed=0), "evidence", path)
    trials.collect(table(3, seed=1), "shift_sgd", path)
    before = load_table(path)
    assert trials.studies(before) == {"evidence": 16, "shift_sgd": 12}
    trials.collect(table(5, seed=2), "evidence", path)
    after = load_table(path)
    assert trials.studies(after) == {"evidence": 20, "shift_sgd": 12}
    assert not set(before.loc[before["study"] == "evidence", "trial"]) & set(after["trial"])
    kept = [rows[rows["study"] == "shift_sgd"].reset_index(drop=True) for rows in (before, after)]
    pd.testing.assert_frame_equal(*kept)


def test_the_file_is_what_was_returned_whatever_the_order_of_the_studies(tmp_path):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for path, order in ((one, ("a", "b")), (two, ("b", "a"))):
        for name in order:
            returned = trials.collect(table(3, seed="ab".index(name)), name, path)
        pd.testing.assert_frame_equal(load_table(path), returned)
    pd.testing.assert_frame_equal(load_table(one), load_table(two))
    places = load_table(one)[["study", "task", "cell", "index"]]
    assert places.equals(places.sort_values(list(places), ignore_index=True))


def test_numbers_are_kept_to_single_precision_and_all_that_is_learned_from_or_judged_is_there(tmp_path):
    trials.collect(table(), "evidence", tmp_path / "trials.parquet")
    kept, whole = load_table(tmp_path / "trials.parquet"), trial_inputs(table())
    whole = whole.sort_values(["task", "cell", "index"], ignore_index=True)
    about = {"trial", "task", "cell", "index", "draw", "score", "success", "already_diverged", "validation_losses", "study"}
    assert inputs() | about <= set(kept)
    for column in kept.columns.drop(["study", "validation_losses"]):
        if pd.api.types.is_float_dtype(whole[column]):
            assert kept[column].dtype == np.float32
            np.testing.assert_array_equal(kept[column], whole[column].astype(np.float32))  # exactly, NaN included
            # half a unit in the last of 24 bits
            np.testing.assert_allclose(kept[column].astype(float), whole[column], rtol=2**-24, atol=0)
        else:
            assert kept[column].tolist() == whole[column].tolist()
    for short, exact in zip(kept["validation_losses"], whole["validation_losses"], strict=True):
        np.testing.assert_array_equal(short, np.asarray(exact, np.float32))


def rows():
    """Draws of a study and of a shift, in which the third trial repeats the second draw."""
    found = pd.DataFrame({"study": ["evidence"] * 4 + ["own"] * 2 + ["shift_width"] * 3})
    return found.assign(index=[0, 1, 2, 3, 0, 1, 0, 1, 2], draw=[0, 1, 1, 3, 0, 0, 0, 1, 1], trial=list("abcdefghi"))


def test_repeated_draws_and_trials_of_other_sizes_are_not_learned_from():
    learned, shifted = trials.learned_from(rows()), trials.shifted(rows())
    assert learned["trial"].tolist() == ["a", "b", "d", "e"]
    assert shifted["trial"].tolist() == ["g", "h"]
    assert learned.index.tolist() == [0, 1, 2, 3]
    assert shifted.index.tolist() == [0, 1]


def test_quantiles_are_those_of_what_is_finite_of_every_number():
    known = trial_inputs(table())
    known["initial_step_ratio"] = np.r_[np.nan, np.linspace(-1, 3, len(known) - 1)]
    known["early_signal"] = np.nan
    found = packaged.quantiles(known)
    assert set(found) == {c for c in inputs() if c not in ("head", "optimiser", "initialisation")}
    assert found["initial_step_ratio"] == pytest.approx(np.linspace(-1, 3, 41))
    assert found["early_signal"] == [0.0]
    rates = known["log_learning_rate"]
    middle = found["log_learning_rate"]
    assert (middle[0], middle[20], middle[-1]) == pytest.approx((rates.min(), rates.median(), rates.max()))


def test_a_hyper_parameter_declared_later_has_its_default_in_the_packaged_trials(tmp_path, monkeypatch):
    trials.collect(table(), "evidence", tmp_path / "trials.parquet")
    kept = load_table(tmp_path / "trials.parquet")
    lacking = kept.drop(columns=["dropout", "log_batch_size", "optimiser", "log_learning_rate"])
    lacking.to_parquet(tmp_path / "trials.parquet")
    monkeypatch.setattr(trials, "TABLE", tmp_path / "trials.parquet")
    rows = trials.kept.__wrapped__()
    assert (rows["dropout"] == 0).all()
    assert (rows["optimiser"] == "adamw").all()
    np.testing.assert_allclose(rows["log_batch_size"], np.log10(50))
    assert "log_learning_rate" not in rows  # it has none
