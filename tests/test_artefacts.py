"""Files between stages: what goes in comes out, and what is broken is said in one sentence."""

import errno
import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline import artefacts
from pipeline.artefacts import CHECKPOINTS, CURVES, TaskData, TrialResult, TrialSpectra
from pipeline.errors import ArtefactError


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def task_data():
    arrays = {
        f"{s}_inputs": random(4, n, 2, seed=n).astype(np.float32) for n, s in enumerate(("train", "validation", "test"), start=3)
    }
    arrays |= {f"{s}_targets": np.arange(n, dtype=np.uint8) for n, s in enumerate(("train", "validation", "test"), start=3)}
    about = {
        "task": "toy",
        "size": "packaged",
        "steps": 4,
        "sequences": {"train": 3, "validation": 4, "test": 5},
        "input_size": 2,
    }
    return TaskData(
        arrays, about | {"output_size": 5, "chance": math.log(5), "source": "here, ünïcode", "licence": "MIT", "hash": "ab" * 32}
    )


def trial_result(index=0):
    weights = {
        c: {"cell.weight_ih": random(3, 2, seed=i).astype(np.float32), "head.bias": np.float32([i])}
        for i, c in enumerate(CHECKPOINTS)
    }
    curves = {n: random(4, seed=i) for i, n in enumerate(CURVES)}
    curves["train_loss"][0] = np.nan
    return TrialResult(
        {"id": f"t{index}", "index": index, "epochs": 3, "early_epoch": 1},
        {"diverged": False, "test_loss": None},
        curves,
        weights,
    )


def trial_spectra(index=0):
    exponents = random(3, 4, 5)
    exponents[1, 2] = np.nan
    exponents[2, 0, 4] = -np.inf
    return TrialSpectra({"id": f"t{index}", "index": index}, {"steps": 6}, exponents, random(3, 5), random(3, 5), random(3, 6))


MAKERS = {TaskData: task_data, TrialResult: trial_result, TrialSpectra: trial_spectra}


def same(one, two):
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            same(one[key], two[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    else:
        assert one == two


@pytest.mark.parametrize("kind", MAKERS)
def test_artefact_comes_back_as_it_was(kind, tmp_path):
    made, path = MAKERS[kind](), tmp_path / "new folder" / "a.safetensors"
    made.save(path)
    same(vars(kind.load(path)), vars(made))
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_arrays_in_any_order_in_memory_come_back(tmp_path):
    made = replace(trial_spectra(), exponents=random(5, 4, 3).T, history=random(3, 12)[:, ::2])
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
    assert not artefacts.is_whole(path)
    with pytest.raises(ArtefactError, match=r"a\.safetensors is corrupt; delete it") as raised:
        kind.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_garbage_is_one_sentence(kind, tmp_path):
    path = tmp_path / "a.safetensors"
    for content in (b"garbage" * 100, b"\0" * 1000, b"\xff" * 64):
        path.write_bytes(content)
        assert not artefacts.is_whole(path)
        with pytest.raises(ArtefactError, match=r"a\.safetensors is corrupt; delete it"):
            kind.load(path)


@pytest.mark.parametrize("kind", MAKERS)
def test_other_kinds_of_file_are_told_apart(kind, tmp_path):
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
    for broken in (
        replace(made, curves={n: v for n, v in made.curves.items() if n != "gradient_norm"}),
        replace(made, weights={n: v for n, v in made.weights.items() if n != "early"}),
    ):
        broken.save(path)
        with pytest.raises(ArtefactError, match="lacks curves or checkpoints; delete it"):
            TrialResult.load(path)


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    task_data().save(path)
    before = path.read_bytes()

    def fail(arrays, place, metadata):
        place.write_bytes(b"half")
        raise RuntimeError("the writer broke")

    monkeypatch.setattr(artefacts, "save_file", fail)
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

    monkeypatch.setattr(artefacts, "save_file", fail)
    with pytest.raises(ArtefactError, match=r"cannot write .*a\.safetensors: No space left on device") as raised:
        made.save(path)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=r"cannot write .*file/a\.json: "):
        artefacts.save_json(tmp_path / "file" / "a.json", {})


def test_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    seen = []
    path = tmp_path / "a.safetensors"
    write = artefacts.save_file

    def watch(arrays, place, metadata):
        write(arrays, place, metadata=metadata)
        seen.append((path.exists(), place.parent == path.parent))

    monkeypatch.setattr(artefacts, "save_file", watch)
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
    trial_result().save(tmp_path / "a.safetensors")
    names = []

    def watch(arrays, place, metadata):
        names.append(place.name)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artefacts, "save_file", watch)
    with pytest.raises(ArtefactError):
        trial_result(1).save(tmp_path / "b.safetensors")
    (tmp_path / names[0]).write_bytes(b"half")
    assert [r.trial["id"] for r in artefacts.trials_in(tmp_path)] == ["t0"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(value, tmp_path):
    path = tmp_path / "a.json"
    artefacts.save_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        artefacts.save_json(path, {"x": value})
    assert json.loads(path.read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(task_data(), about={"chance": value}).save(tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_json_lacks_become_none():
    assert [artefacts.finite_or_none(v) for v in (1.5, np.float32(2), math.nan, math.inf, -math.inf)] == [
        1.5,
        2.0,
        None,
        None,
        None,
    ]


def test_json_comes_back(tmp_path):
    content = {"a": [1, 2.5, None, True], "ü": {"b": "c"}}
    artefacts.save_json(tmp_path / "new" / "a.json", content)
    assert artefacts.load_json(tmp_path / "new" / "a.json") == content


def test_text_comes_back(tmp_path):
    artefacts.save_text(tmp_path / "a.html", "<p>naïve ✓</p>")
    assert (tmp_path / "a.html").read_text() == "<p>naïve ✓</p>"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_broken_json_is_one_sentence(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"a\.json is corrupt; delete it"):
        artefacts.load_json(tmp_path / "a.json")


def test_missing_json_is_one_sentence(tmp_path):
    with pytest.raises(ArtefactError, match=r"cannot read .*a\.json: No such file or directory; run `dvc repro`"):
        artefacts.load_json(tmp_path / "a.json")


def test_folders_are_read_by_index_not_by_name(tmp_path):
    for name, index in (("c", 0), ("a", 2), ("b", 1)):
        trial_result(index).save(tmp_path / "t" / f"{name}.safetensors")
        trial_spectra(index).save(tmp_path / "s" / f"{name}.safetensors")
    assert [r.trial["id"] for r in artefacts.trials_in(tmp_path / "t")] == ["t0", "t1", "t2"]
    assert [r.trial["id"] for r in artefacts.spectra_in(tmp_path / "s")] == ["t0", "t1", "t2"]


@pytest.mark.parametrize("read", [artefacts.trials_in, artefacts.spectra_in])
def test_empty_folder_is_one_sentence(read, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtefactError, match=f"{folder} holds no results; run `dvc repro`"):
            read(folder)


def test_keep_only_removes_strangers_and_half_written_files(tmp_path):
    for name in ("a.safetensors", "b.safetensors", ".a.safetensors.x7", "notes.txt"):
        (tmp_path / name).write_text(name)
    artefacts.keep_only(tmp_path, [tmp_path / "a.safetensors", tmp_path / "z.safetensors"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_keep_only_makes_the_folder(tmp_path):
    artefacts.keep_only(tmp_path / "new" / "er", [])
    assert (tmp_path / "new" / "er").is_dir()


def test_is_whole_says_whether_a_file_can_be_read(tmp_path):
    path = tmp_path / "a.safetensors"
    assert not artefacts.is_whole(path)
    trial_result().save(path)
    assert artefacts.is_whole(path)


def test_digest_is_of_the_contents_in_their_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    inner = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()
    assert artefacts.digest(one, two) == hashlib.sha256(inner[0] + inner[1]).hexdigest()[:12]
    assert artefacts.digest(two, one) == hashlib.sha256(inner[1] + inner[0]).hexdigest()[:12]
    with pytest.raises(ArtefactError, match=r"cannot read .*three"):
        artefacts.digest(one, tmp_path / "three")


def test_split_gives_inputs_and_targets():
    made = task_data()
    inputs, targets = made.split("validation")
    assert inputs is made.arrays["validation_inputs"]
    assert targets is made.arrays["validation_targets"]


def test_epochs_of_the_checkpoints():
    assert [trial_result().epoch_of(c) for c in CHECKPOINTS] == [0, 1, 3]


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
