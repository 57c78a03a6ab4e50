"""Files between stages: they come back as they were written, and damage is reported in one sentence."""

import errno
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import study
from safetensors.numpy import save_file

from pipeline.core import cards, files, numbers, records
from pipeline.core.config import SpectrumSettings
from pipeline.core.errors import ArtefactError
from pipeline.core.records import (
    CHECKPOINTS,
    CURVES,
    UPDATES,
    Outcome,
    TaskData,
    TrialFixedPoints,
    TrialMeasurements,
    TrialResult,
    TrialSpectra,
)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def task_data():
    arrays = {
        f"{s}_inputs": random(4, n, 2, seed=n).astype(np.float32) for n, s in enumerate(("train", "validation", "test"), start=3)
    }
    arrays |= {f"{s}_targets": np.arange(n, dtype=np.uint8) for n, s in enumerate(("train", "validation", "test"), start=3)}
    return TaskData(arrays, study.info(source="here, ünïcode", chance=math.log(5)))


def trial_result(index=0):
    weights = {
        c: {"cell.weight_ih": random(3, 2, seed=i).astype(np.float32), "head.bias": np.float32([i])}
        for i, c in enumerate(CHECKPOINTS)
    }
    curves = {n: random(4, seed=i) for i, n in enumerate(CURVES)}
    curves["train_loss"][0] = np.nan
    outcome = Outcome(diverged=False, seconds=1.0, test_loss=None, test_metric=0.5, parameter_count=7)
    updates = {n: random(6, seed=i).astype(np.float32) for i, n in enumerate(UPDATES)}
    state = {"head.bias": {"step": np.float32([3]), "exp_avg": np.float32([0.1])}}
    own = study.trial(index, options={"leak": 0.5, "rank": 3, "kind": "x"})
    return TrialResult(own, outcome, curves, updates, weights, state)


def trial_spectra(index=0):
    exponents = random(3, 4, 5)
    exponents[1, 2] = np.nan
    exponents[2, 0, 4] = -np.inf
    settings = SpectrumSettings(sequences=4, transient=0, steps=8)
    return TrialSpectra(study.trial(index), settings, 2.5, exponents, random(3, 5), random(3, 5), random(3, 8))


MAKERS = {
    TaskData: task_data,
    TrialResult: trial_result,
    TrialSpectra: trial_spectra,
    TrialMeasurements: study.measurements,
    TrialFixedPoints: study.fixed_points,
}


def same(one, two):
    if isinstance(one, Mapping):
        assert one.keys() == two.keys()
        for key in one:
            same(one[key], two[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    else:
        assert one == two
        assert type(one) is type(two)


def damage(path):
    """What is wrong with an array file, or None."""
    try:
        files.check(path)
    except ArtefactError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", MAKERS)
def test_artefact_comes_back_as_it_was(kind, tmp_path):
    made, path = MAKERS[kind](), tmp_path / "new folder" / "a.safetensors"
    made.save(path)
    same(vars(kind.load(path)), vars(made))
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_arrays_in_any_order_in_memory_come_back(tmp_path):
    made = replace(trial_spectra(), exponents=random(5, 4, 3).T, history=random(3, 16)[:, ::2])
    made.save(tmp_path / "a.safetensors")
    same(vars(TrialSpectra.load(tmp_path / "a.safetensors")), vars(made))


@pytest.mark.parametrize("kind", MAKERS)
def test_missing_file_is_one_sentence(kind, tmp_path):
    with pytest.raises(ArtefactError, match=r"cannot read .*a\.safetensors: .+; run `dvc repro`") as raised:
        kind.load(tmp_path / "a.safetensors")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 60, -1])
@pytest.mark.parametrize("kind", MAKERS)
def test_truncated_file_is_one_sentence(kind, kept, tmp_path):
    path = tmp_path / "a.safetensors"
    MAKERS[kind]().save(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert damage(path)
    with pytest.raises(ArtefactError, match=r"a\.safetensors is damaged .*; delete it") as raised:
        kind.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_garbage_is_one_sentence(kind, tmp_path):
    path = tmp_path / "a.safetensors"
    for content in (b"garbage" * 100, b"\0" * 1000, b"\xff" * 64):
        path.write_bytes(content)
        assert damage(path)
        with pytest.raises(ArtefactError, match=r"a\.safetensors is damaged .*; delete it"):
            kind.load(path)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_of_another_kind_is_refused(kind, tmp_path):
    path = tmp_path / "a.safetensors"
    for other in MAKERS:
        if other is not kind:
            MAKERS[other]().save(path)
            with pytest.raises(ArtefactError, match=r"a\.safetensors"):
                kind.load(path)
    save_file({"x": np.zeros(2)}, path)
    with pytest.raises(ArtefactError, match=r"a\.safetensors"):
        kind.load(path)


def test_result_without_a_curve_or_a_checkpoint_is_refused(tmp_path):
    made, path = trial_result(), tmp_path / "a.safetensors"
    made.save(path)
    file = files.ArrayFile(path)
    for missing in ("curves/gradient_norm", "weights/early/cell.weight_ih"):
        prefix = missing.rpartition("/")[0] if missing.startswith("weights") else missing
        kept = file.read(*(n for n in file.names if not n.startswith(prefix)))
        files.save_arrays(tmp_path / "b.safetensors", kept, file.header)
        with pytest.raises(ArtefactError, match=r"b\.safetensors is not a TrialResult .*lacks curves or checkpoints"):
            TrialResult.load(tmp_path / "b.safetensors")


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    task_data().save(path)
    before = path.read_bytes()

    def fail(arrays, place, metadata):
        place.write_bytes(b"half")
        raise RuntimeError("the writer broke")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(RuntimeError, match="the writer broke"):
        trial_result().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", MAKERS)
def test_full_disk_is_one_sentence_and_leaves_the_old_file(kind, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    made = MAKERS[kind]()
    made.save(path)
    before = path.read_bytes()

    def fail(arrays, place, metadata):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(ArtefactError, match=r"cannot write .*a\.safetensors: No space left on device") as raised:
        made.save(path)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=r"cannot write .*file/a\.json: "):
        files.save_json(tmp_path / "file" / "a.json", {})


def test_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    seen = []
    path = tmp_path / "a.safetensors"
    write = files.save_file

    def watch(arrays, place, metadata):
        write(arrays, place, metadata=metadata)
        seen.append((path.exists(), place.parent == path.parent))

    monkeypatch.setattr(files, "save_file", watch)
    task_data().save(path)
    assert seen == [(False, True)]  # written beside it, on the same disk, under another name
    assert path.exists()


def test_reader_of_the_old_file_is_not_disturbed_by_a_new_one(tmp_path):
    path = tmp_path / "a.safetensors"
    task_data().save(path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        head = reader.read(10)
        trial_result().save(path)
        assert head + reader.read() == before
    assert path.read_bytes() != before


def test_temporary_file_is_no_result(tmp_path, monkeypatch):
    """A writer that was killed leaves its temporary file: no reader may take it for a result."""
    folder = tmp_path / "counting"
    trial_result().save(folder / "a.safetensors")
    names = []

    def watch(arrays, place, metadata):
        names.append(place.name)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "save_file", watch)
    with pytest.raises(ArtefactError):
        trial_result(1).save(folder / "b.safetensors")
    (folder / names[0]).write_bytes(b"half")
    assert [r.trial.index for r in records.trials_in(folder)] == [0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(value, tmp_path):
    path = tmp_path / "a.json"
    files.save_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.save_json(path, {"x": value})
    assert json.loads(path.read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(task_data(), info=study.info(chance=value)).save(tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_json_lacks_become_none():
    assert [numbers.finite_or_none(v) for v in (1.5, np.float32(2), math.nan, math.inf, -math.inf)] == [
        1.5,
        2.0,
        None,
        None,
        None,
    ]


def test_json_comes_back(tmp_path):
    content = {"a": [1, 2.5, None, True], "ü": {"b": "c"}}
    files.save_json(tmp_path / "new" / "a.json", content)
    assert files.load_json(tmp_path / "new" / "a.json") == content


def test_text_comes_back(tmp_path):
    files.save_text(tmp_path / "a.html", "<p>naïve ✓</p>")
    assert (tmp_path / "a.html").read_text() == "<p>naïve ✓</p>"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_broken_json_is_one_sentence(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"a\.json is damaged .*; delete it"):
        files.load_json(tmp_path / "a.json")


def test_missing_json_is_one_sentence(tmp_path):
    with pytest.raises(ArtefactError, match=r"cannot read .*a\.json: No such file or directory; run `dvc repro`"):
        files.load_json(tmp_path / "a.json")


def test_folders_are_read_by_index_not_by_name(tmp_path):
    for name, index in (("c", 0), ("a", 2), ("b", 1)):
        trial_result(index).save(tmp_path / "t" / "counting" / f"{name}.safetensors")
        trial_spectra(index).save(tmp_path / "s" / "counting" / f"{name}.safetensors")
    assert [r.trial.index for r in records.trials_in(tmp_path / "t" / "counting")] == [0, 1, 2]
    assert [r.trial.index for r in records.spectra_in(tmp_path / "s" / "counting")] == [0, 1, 2]


@pytest.mark.parametrize("read", [records.trials_in, records.spectra_in])
def test_empty_folder_is_one_sentence(read, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtefactError, match=f"{folder} holds no results; run `dvc repro`"):
            read(folder)


def test_keep_only_removes_strangers_and_half_written_files(tmp_path):
    for name in ("a.safetensors", "b.safetensors", ".a.safetensors.x7", "notes.txt"):
        (tmp_path / name).write_text(name)
    files.keep_only(tmp_path, [tmp_path / "a.safetensors", tmp_path / "z.safetensors"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_keep_only_makes_the_folder(tmp_path):
    files.keep_only(tmp_path / "new" / "er", [])
    assert (tmp_path / "new" / "er").is_dir()


def test_a_file_that_takes_the_place_of_another_is_noticed(tmp_path):
    one, two = (study.result(index=n) for n in range(2))
    for made in (one, two):
        made.save(made.trial.path(tmp_path))
    one.trial.path(tmp_path).replace(two.trial.path(tmp_path))
    name = one.trial.path(tmp_path).name
    with pytest.raises(ArtefactError, match=f"is damaged .it was written as {name}.; delete it"):
        records.TrialResult.load(two.trial.path(tmp_path))


def test_check_says_whether_a_file_can_be_read(tmp_path):
    path = tmp_path / "a.safetensors"
    assert damage(path)
    trial_result().save(path)
    assert damage(path) is None


def test_digest_is_of_the_contents_in_their_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    inner = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()
    assert files.digest(one, two) == hashlib.sha256(inner[0] + inner[1]).hexdigest()[:12]
    assert files.digest(two, one) == hashlib.sha256(inner[1] + inner[0]).hexdigest()[:12]
    with pytest.raises(ArtefactError, match=r"cannot read .*three"):
        files.digest(one, tmp_path / "three")


def test_split_gives_inputs_and_targets():
    made = task_data()
    inputs, targets = made.split("validation")
    assert inputs is made.arrays["validation_inputs"]
    assert targets is made.arrays["validation_targets"]


def test_epochs_of_the_checkpoints():
    assert [trial_result().trial.epoch_of(c) for c in CHECKPOINTS] == [0, 1, 3]


def test_mean_spectrum_leaves_sequences_out_that_diverged():
    spectra = trial_spectra()
    np.testing.assert_array_equal(spectra.mean("initial"), spectra.exponents[0].mean(0))
    np.testing.assert_array_equal(spectra.mean("early"), spectra.exponents[1][[0, 1, 3]].mean(0))
    assert spectra.mean("final")[4] == -np.inf
    assert not spectra.diverged


def test_spectra_diverged_where_no_sequence_of_a_checkpoint_is_left():
    exponents = random(3, 4, 5)
    exponents[1, :, 2] = np.nan
    spectra = replace(trial_spectra(), exponents=exponents)
    assert spectra.diverged
    assert np.isnan(spectra.mean("early")).all()
    assert np.isfinite(spectra.mean("final")).all()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_flipped_bit_anywhere_is_noticed(kind, tmp_path):
    """Whether it lies in the header, in the names or in the numbers; only padding may change unseen."""
    path = tmp_path / "a.safetensors"
    MAKERS[kind]().save(path)
    content = path.read_bytes()
    random_places = np.random.default_rng(0).integers(8, len(content), 60)
    unseen = []
    for place in {*random_places.tolist(), len(content) - 1}:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if damage(path) is None:
            unseen.append(chr(content[place]))
    assert set(unseen) <= {" "}


def test_damaged_weights_are_named_when_they_are_read_and_not_before(tmp_path):
    path = tmp_path / "a.safetensors"
    trial_result().save(path)
    content = path.read_bytes()
    weight = trial_result().weights["final"]["cell.weight_ih"].tobytes()
    place = content.index(weight)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    result = TrialResult.load(path)
    assert result.weights["initial"]
    with pytest.raises(ArtefactError, match=r"a\.safetensors is damaged \(weights/final/cell.weight_ih\); delete it"):
        result.weights["final"]


def test_a_folder_of_trials_is_read_without_its_weights(tmp_path, monkeypatch):
    trial_result().save(tmp_path / "counting" / "a.safetensors")
    names = []
    read = files.ArrayFile.read
    monkeypatch.setattr(files.ArrayFile, "read", lambda self, *asked: names.extend(asked) or read(self, *asked))
    records.trials_in(tmp_path / "counting")
    assert names
    assert all(name.startswith(("curves/", "updates/")) for name in names)


def test_the_checksum_of_weights_depends_on_the_weights_alone(tmp_path):
    one = trial_result()
    other = replace(one, outcome=replace(one.outcome, seconds=99.0), trial=study.trial(5))
    changed = replace(one, weights=one.weights | {"final": {"cell.weight_ih": np.ones((3, 2), np.float32)}})
    assert one.weights_checksum() == other.weights_checksum() != changed.weights_checksum()
    one.save(tmp_path / "a.safetensors")
    assert TrialResult.load(tmp_path / "a.safetensors").weights_checksum() == one.weights_checksum()


def test_a_record_of_another_version_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "a.safetensors"
    files.save_arrays(path, {"exponents": np.zeros(1)}, json.dumps({"trial": {}, "settings": {}, "seconds": 1.0}))
    with pytest.raises(ArtefactError, match=r"a\.safetensors is not a TrialSpectra of this version; delete it"):
        TrialSpectra.load(path)


def test_a_judgement_a_card_and_the_record_of_a_stage_come_back(tmp_path):
    estimate, place = cards.Estimate(0.5, 0.25, 0.75), ("over trials", "one epoch")
    evidence = cards.Evidence(*place, "all", 9, {"auc": estimate}, {"lstm": {"auc": None}}, ["trees"])
    gain = cards.Gain(*place, "loss", "all", {"brier": cards.Estimate(0.1, 0.05, 0.2), "auc": estimate})
    front = cards.Front("i-Epoch", [1.0, 2.5], [estimate] * 2, {"5": estimate}, estimate, estimate, None)
    decisions = [cards.Decision("searches", 3, 40, [front])]
    served = {place[0]: {place[1]: "all"}}
    made = cards.Judgement([evidence], [gain], served, gain, estimate, decisions, {"auc": estimate}, {})
    made.save(tmp_path / "evidence.json")
    assert cards.Judgement.load(tmp_path / "evidence.json") == made
    assert made.of(*place, "all") == evidence
    assert made.of(*place, "loss") is None
    assert decisions[0].of("i-Epoch") == front
    assert gain.beats("brier")
    recipe = cards.Recipe(("a", "b"), "linear", "both", (0.1, 0.9))
    card = cards.Card(
        {"evidence": 9}, ["t"], ["lstm"], 0.8, {place[1]: {"all": recipe}}, {"5": 4.0}, {"a": [0.0]}, made, {"seed": 1}
    )
    assert str(card).endswith("- over trials, one epoch, from 'all': AUC 0.50 (0.25 to 0.75)")
    assert "learned from 9 trials of 1 tasks and 1 cells" in str(card)
    assert len(repr(card)) < 100
    assert len(repr(made)) < 100
    card.save(tmp_path / "card.json")
    assert cards.Card.load(tmp_path / "card.json") == card


@pytest.mark.parametrize(("brier", "volume", "is_champion"), [(0.01, 0.01, True), (0.0, 0.01, False), (0.01, -0.01, False)])
def test_a_champion_is_better_by_brier_score_and_hypervolume(brier, volume, is_champion):
    gain = cards.Gain("one cell left out", "one epoch", "loss", "all", {"brier": cards.Estimate(0.02, brier, 0.03)})
    made = cards.Judgement([], [], {}, gain, cards.Estimate(0.02, volume, 0.03), [], {}, {})
    assert made.is_champion == is_champion
    assert not cards.Judgement([], [], {}, None, None, [], {}, {}).is_champion


def test_the_record_of_a_stage_comes_back(tmp_path):
    record = records.StageRecord("train", ["adding"], 1.0, 2.0, 0.5, {"seed": 1}, {"mlflow.user": "a"})
    record.save(tmp_path / "record.json")
    assert records.StageRecord.load(tmp_path / "record.json") == record
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"record\.json is not a StageRecord of this version"):
        records.StageRecord.load(tmp_path / "record.json")


def test_a_flipped_bit_in_a_table_is_noticed_or_changes_nothing(tmp_path):
    table = pd.DataFrame({"trial": [f"t{i}" for i in range(50)], "score": np.linspace(0, 1, 50)})
    path = tmp_path / "a.parquet"
    files.save_table(path, table)
    content = path.read_bytes()
    assert files.load_table(path).equals(table)
    silent = 0
    for place in np.random.default_rng(0).integers(4, len(content) - 8, 150).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            silent += not files.load_table(path).equals(table)
        except ArtefactError as error:
            assert f"{path} is damaged" in str(error)  # noqa: PT017
    assert silent <= 4  # names and statistics in the metadata, which have no checksum
