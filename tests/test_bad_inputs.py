"""Every wrong setting and every damaged file that docs/bad_inputs.md lists is refused in one sentence that names it."""

import errno
import json

import pytest

from benchmarks import bad_files, bad_settings
from pipeline.core import files
from pipeline.core.errors import ArtefactError

SETTINGS = [setting for settings in bad_settings.SETTINGS.values() for setting in settings]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return bad_files.study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s.reason], ids=lambda s: s.name[:40])
def test_a_wrong_setting_is_refused_with_its_key(setting):
    answer, _ = bad_settings.timed(lambda: bad_settings.said(setting))  # which fails where it hangs
    assert answer is not None
    first, *others = answer.split("\n")
    assert setting.named in first
    assert len(first) < 500
    assert not (others and setting.changes)  # one wrong key gets one sentence


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.reason], ids=lambda s: s.name[:40])
def test_a_setting_that_looks_wrong_is_accepted_for_a_reason(setting):
    assert bad_settings.said(setting) is None


def test_the_settings_from_which_the_wrong_ones_differ_are_right():
    assert bad_settings.said(bad_settings.Setting({"seed": "2026"})) is None


@pytest.mark.parametrize("damage", bad_files.DAMAGES, ids=lambda d: f"{d.of}-{d.what}")
def test_a_damaged_file_is_refused_in_one_sentence_that_says_what_to_do(study, damage):
    answer, _ = bad_settings.timed(lambda: bad_files.said(damage, study[damage.of]))
    assert answer is not None
    assert "\n" not in answer
    assert damage.says in answer


def test_no_single_bit_changes_a_value_unnoticed(study):
    for name, artefact in study.items():
        noticed, as_before = bad_files.flips(artefact, 15, seed=1)
        assert as_before == 0 or name in ("features", "predictor's trials")  # which hold what nobody reads
        assert noticed + as_before == 15


def test_a_changed_value_is_seen_by_these_tests(study):
    record = json.loads(study["stage record"].path.read_text()) | {"seconds": 7.25}
    del record["checksum"]  # as if written by hand
    change = bad_files.Damage("stage record", "another value", lambda path: path.write_text(json.dumps(record)))
    with pytest.raises(RuntimeError, match="other values were read"):
        bad_files.said(change, study["stage record"])


def test_a_file_that_replaces_another_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    path, order = tmp_path / "a.json", []
    fsync, replace = files.os.fsync, files.Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(files.Path, "replace", lambda self, target: order.append("replace") or replace(self, target))
    files.save_json(path, {})
    assert order == ["fsync", "replace", "fsync"]  # the file, its name, the folder with the name


@pytest.mark.parametrize("make", ["mkdir", "pipe"])
def test_what_is_no_file_has_no_size_and_is_not_opened(tmp_path, make):
    path = tmp_path / "a"
    path.mkdir() if make == "mkdir" else files.os.mkfifo(path)
    with pytest.raises(OSError, match="directory" if make == "mkdir" else "Not a regular file"):
        files.regular_size(path)
    with pytest.raises(ArtefactError, match="delete it and run"):
        files.digest(path)


def test_a_file_that_may_not_be_read_is_named_with_the_reason(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(files, "regular_size", refuse)  # root may read every file
    with pytest.raises(
        ArtefactError, match=r"^cannot read .*a\.json: Permission denied; mend that, or delete it and run `dvc repro`"
    ):
        files.load_json(tmp_path / "a.json")


def test_a_folder_in_the_place_of_a_file_that_is_written_is_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ArtefactError, match=r"^cannot write .*a\.json: Is a directory; remove the folder that is in its place$"):
        files.save_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
