"""The trials that come with the library: what their file contains, with what precision, and which of them are learned from."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from study import study

from pipeline.core.errors import ArtefactError
from pipeline.core.files import load_table
from pipeline.predictor import feature_table, packaged, trials
from pipeline.predictor.inputs import SETS
from pipeline.predictor.rows import columns_of
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


# The file of the trials, which may come from anywhere


def archive(path, **members):
    """A zip archive with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array, **options):
    """The bytes of an array's file."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


class Trap:
    """Says when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_what_is_pickled_in_a_predictors_file_is_refused_and_not_executed(tmp_path):
    path = archive(tmp_path / "trials.npz", score=npy(np.array([Trap()], object), allow_pickle=True))
    with pytest.raises(ArtefactError, match=r"trials\.npz is damaged"):
        packaged.load(path)
    assert not Trap.sprung


def test_a_predictors_file_that_would_fill_the_memory_is_refused(tmp_path):
    header = npy(np.zeros(1))[:128]
    huge = header.replace(b"(1,), }" + b" " * 13, b"(10000000000000,), }")
    assert len(huge) == len(header)
    zeros = b"\0" * (packaged.MOST // 4 + 1)
    with pytest.raises(ArtefactError, match="damaged"):
        packaged.load(archive(tmp_path / "claims.npz", score=huge))
    bomb = archive(tmp_path / "bomb.npz", **{f"x{i}": header + zeros for i in range(4)})
    assert bomb.stat().st_size < packaged.MOST / 100
    with pytest.raises(ArtefactError, match="holds more than 256 MiB"):
        packaged.load(bomb)


@pytest.mark.parametrize(
    "members",
    [
        {"score": npy(np.zeros(2)), "success": npy(np.zeros(3, bool))},
        {"score": npy(np.zeros((2, 2)))},
        {"score": b"no array"},
        {},
    ],
)
def test_a_predictors_file_that_is_no_table_is_refused(tmp_path, members):
    with pytest.raises(ArtefactError, match="damaged"):
        packaged.load(archive(tmp_path / "trials.npz", **members))


def test_trials_are_read_as_they_were_written(tmp_path):
    rows = columns_of(trials.learned_from(trials.kept()).head(9))
    rows["cell"][3] = None
    packaged.save(tmp_path / "trials.npz", rows)
    read = packaged.load(tmp_path / "trials.npz")
    assert set(read) == set(packaged.COLUMNS)
    for name, values in read.items():
        np.testing.assert_array_equal(values, packaged.rounded(rows[name]))


def test_a_flipped_bit_or_a_lost_end_is_refused_or_changes_nothing(tmp_path):
    path, random = tmp_path / "trials.npz", np.random.default_rng(0)
    packaged.save(path, columns_of(trials.learned_from(trials.kept()).head(200)))
    whole, before = path.read_bytes(), packaged.load(path)
    refused = 0
    for number in range(120):
        place = int(random.integers(len(whole)))
        flipped = whole[:place] + bytes([whole[place] ^ 1 << number % 8]) + whole[place + 1 :]
        path.write_bytes(flipped if number % 4 else whole[:place])
        try:
            found = packaged.load(path)
        except ArtefactError:
            refused += 1
            continue
        assert set(found) <= set(before)  # a name in the archive's list may have changed; the checksums cover the values
        for name, values in found.items():
            np.testing.assert_array_equal(values, before[name])
    assert refused > 100
