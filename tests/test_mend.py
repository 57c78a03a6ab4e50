"""What a kill of DVC leaves is removed; what DVC can read is not touched."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest
import study

from pipeline.core import files, layout, mend
from pipeline.core.files import save_table
from pipeline.core.records import StageRecord

LOCK = """schema: '2.0'
stages:
  train@adding:
    cmd: python -m stages.train adding
    deps:
    - path: constraints.txt
      hash: md5
      md5: 0123456789abcdef
      size: 10
    outs:
    - path: trials/adding
      hash: md5
      md5: 0123456789abcdef.dir
      nfiles: 3
  report:
    cmd: python -m stages.report
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mend, "WAIT", 0.0)
    Path(".dvc/tmp").mkdir(parents=True)


def test_whole_files_stay():
    Path("dvc.lock").write_text(LOCK)
    Path(".dvc/tmp/rwlock").write_text('{"read": {}}')
    assert list(mend.mend()) == []
    assert Path("dvc.lock").read_text() == LOCK
    assert Path(".dvc/tmp/rwlock").exists()


def test_no_files_are_no_problem():
    assert list(mend.mend()) == []


@pytest.mark.parametrize("rest", ["", "{", '{"read": {"a'])
def test_a_half_written_rwlock_is_removed(rest):
    Path(".dvc/tmp/rwlock").write_text(rest)
    assert list(mend.mend()) == ["removed .dvc/tmp/rwlock, which a process that was killed left half-written"]
    assert not Path(".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("end", ["schema", "stages:\n", "train@adding:\n", "      hash: md5\n      md5", "trials/adding\n"])
def test_a_half_written_lock_is_removed(end):
    Path("dvc.lock").write_text(LOCK[: LOCK.index(end) + len(end)])
    assert list(mend.mend()) == ["removed dvc.lock, which a process that was killed left half-written"]
    assert not Path("dvc.lock").exists()


def test_a_lock_that_is_just_being_written_stays(monkeypatch):
    Path("dvc.lock").write_text("schema: '2.0'\n")
    monkeypatch.setattr(mend.time, "sleep", lambda seconds: Path("dvc.lock").write_text(LOCK))
    assert list(mend.mend()) == []
    assert Path("dvc.lock").read_text() == LOCK


def flip(path, place):
    """Flip a bit, and keep the time of the file, by which DVC knows it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_damaged_results_are_named_and_removed_and_others_stay():
    results = [study.result(index=n) for n in range(3)]
    paths = [result.trial.path(layout.trials(result.trial.task)) for result in results]
    for result, path in zip(results, paths, strict=True):
        result.save(path)
    Path("runs").mkdir()
    record = Path("runs/train-adding.json")
    StageRecord("train", ["adding"], 1.0, 2.0, 0.0, {"seed": 1}, {}).save(record)
    save_table(layout.FEATURES, pd.DataFrame({"x": [1.0, 2.0, 3.0]}))
    assert list(mend.mend()) == []
    flip(paths[1], -8)
    paths[0].replace(paths[2])  # one trial in the place of another
    flip(record, record.read_bytes().index(b"adding"))
    flip(layout.FEATURES, 40)
    said = list(mend.mend())
    assert len(said) == 4
    assert all(" is damaged (" in sentence and sentence.endswith("; removed") for sentence in said)
    assert {Path(sentence.partition(" ")[0]) for sentence in said} == {*paths[1:], record, layout.FEATURES}
    assert not any(path.exists() for path in (*paths, record, layout.FEATURES))
    assert list(mend.mend()) == []


def test_what_the_system_does_not_let_read_stays(monkeypatch):
    path = Path("trials/adding/elman-1.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"perhaps right")

    def refused(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(files, "regular_size", refused)
    assert list(mend.mend()) == [f"cannot read {path}: Input/output error; it is left as it is"]
    assert path.read_bytes() == b"perhaps right"
