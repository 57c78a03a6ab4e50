"""What a kill of DVC leaves is removed; what DVC can read is not touched."""

from pathlib import Path

import pytest

from pipeline.core import locks

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
    monkeypatch.setattr(locks, "WAIT", 0.0)
    Path(".dvc/tmp").mkdir(parents=True)


def test_whole_files_stay():
    Path("dvc.lock").write_text(LOCK)
    Path(".dvc/tmp/rwlock").write_text('{"read": {}}')
    assert list(locks.mend()) == []
    assert Path("dvc.lock").read_text() == LOCK
    assert Path(".dvc/tmp/rwlock").exists()


def test_no_files_are_no_problem():
    assert list(locks.mend()) == []


@pytest.mark.parametrize("rest", ["", "{", '{"read": {"a'])
def test_a_half_written_rwlock_is_removed(rest):
    Path(".dvc/tmp/rwlock").write_text(rest)
    assert list(locks.mend()) == ["removed .dvc/tmp/rwlock, which a process that was killed left half-written"]
    assert not Path(".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("end", ["schema", "stages:\n", "train@adding:\n", "      hash: md5\n      md5", "trials/adding\n"])
def test_a_half_written_lock_is_removed(end):
    Path("dvc.lock").write_text(LOCK[: LOCK.index(end) + len(end)])
    assert list(locks.mend()) == ["removed dvc.lock, which a process that was killed left half-written"]
    assert not Path("dvc.lock").exists()


def test_a_lock_that_is_just_being_written_stays(monkeypatch):
    Path("dvc.lock").write_text("schema: '2.0'\n")
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: Path("dvc.lock").write_text(LOCK))
    assert list(locks.mend()) == []
    assert Path("dvc.lock").read_text() == LOCK
