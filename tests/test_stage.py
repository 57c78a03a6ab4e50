"""What a stage script says and how it ends, seen from outside."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

HEAD = """
import errno, os, sys, time
from pipeline import stage
from pipeline.errors import ConfigError
"""
TAIL = """
if __name__ == "__main__":
    stage.main(main)
"""


def start(tmp_path, body, *words):
    (tmp_path / "toy.py").write_text(HEAD + body + TAIL)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.Popen(
        [sys.executable, "toy.py", *words],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def outcome(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def timing(tmp_path, name):
    return json.loads((tmp_path / "timings" / name).read_text())


def test_a_stage_that_ends_well_leaves_its_time_and_figures(tmp_path):
    begin = time.time()
    code, out, err = outcome(
        start(tmp_path, "def main(task, cell):\n    print(task, cell)\n    time.sleep(.2)\n    return {'rows': 3}", "a", "b")
    )
    end = time.time()
    assert (code, out, err) == (0, "a b\n", "")
    found = timing(tmp_path, "toy-a-b.json")
    assert found.keys() == {"stage", "began", "seconds", "rows"}
    assert found["stage"] == "toy-a-b"
    assert found["rows"] == 3
    assert begin <= found["began"] <= end
    assert 0.2 <= found["seconds"] <= end - begin


def test_a_stage_without_words_or_figures_leaves_its_time(tmp_path):
    code, _, _ = outcome(start(tmp_path, "def main():\n    sum = 1"))
    assert code == 0
    assert timing(tmp_path, "toy.json").keys() == {"stage", "began", "seconds"}


def test_a_users_mistake_is_one_sentence(tmp_path):
    code, out, err = outcome(
        start(tmp_path, "def main():\n    print('begun')\n    raise ConfigError('seed is -1; it should be 0')")
    )
    assert (code, out, err) == (1, "begun\n", "ERROR: toy: seed is -1; it should be 0\n")
    assert not (tmp_path / "timings").exists()


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path):
    code, _, err = outcome(start(tmp_path, "def main():\n    raise TypeError('a bug')"))
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("TypeError: a bug\n")


@pytest.mark.parametrize("words", [(), ("a",), ("a", "b", "c")])
def test_wrong_words_show_the_right_ones(tmp_path, words):
    code, out, err = outcome(start(tmp_path, "def main(task, cell):\n    local = 1\n    print('ran')", *words))
    assert (code, out, err) == (2, "", "ERROR: usage: python -m stages.toy TASK CELL\n")


def test_words_where_none_are_taken_show_that(tmp_path):
    assert outcome(start(tmp_path, "def main():\n    pass", "a"))[::2] == (2, "ERROR: usage: python -m stages.toy\n")


@pytest.mark.parametrize("name", ["ENOSPC", "EACCES", "EROFS"])
def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path, name):
    code, _, err = outcome(start(tmp_path, f"def main():\n    raise OSError(errno.{name}, os.strerror(errno.{name}), 'data/x')"))
    assert code == 1
    assert err.startswith("ERROR: toy: ")
    assert "data/x" in err
    assert err.count("\n") == 1


def test_other_system_errors_keep_their_traceback(tmp_path):
    _, _, err = outcome(start(tmp_path, "def main():\n    raise OSError(errno.EBADF, 'bad file')"))
    assert "Traceback" in err


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupting_is_one_sentence(tmp_path, workers):
    notes = tmp_path / "notes"
    notes.mkdir()
    call = f"list(run(work.sleep_after_noting, ['notes'] * 2, processes={workers}))"
    body = f"from pipeline.execution import run\nimport work\ndef main():\n    {call}"
    process = start(tmp_path, body)
    end = time.monotonic() + 30
    while len(list(notes.iterdir())) < workers:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    code, _, err = outcome(process)
    assert code == 130
    assert err == "ERROR: toy: interrupted; what had finished is kept, run the same command again to go on\n"
    assert not (tmp_path / "timings").exists()


def test_workers_of_a_stage_compute_on_one_thread_each(tmp_path):
    body = (
        "from pipeline.execution import run\nimport work\ndef main():\n    print(set(run(work.threads, range(3), processes=2)))"
    )
    assert outcome(start(tmp_path, body))[:2] == (0, "{'1'}\n")
