"""What a stage script says and how it ends, seen from outside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from work import gone, wait_until

HEAD = """
import errno, os, sys, time
from pipeline import tracking
from pipeline.core import stage
from pipeline.core.errors import ConfigError, TrackingError
tracking.sync = lambda *instance: "tracked " + " ".join(instance)
"""


def start(tmp_path, body, *given, words=(), params=None):
    """Start a stage with this main function, which takes `words` and is given others."""
    tail = f"\nif __name__ == '__main__':\n    stage.main(main, sections=('seed', 'success'), words={words!r})\n"
    (tmp_path / "toy.py").write_text(HEAD + body + tail)
    (tmp_path / "params.yaml").write_text(params or (ROOT / "params.yaml").read_text())
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.Popen(
        [sys.executable, "toy.py", *given],
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


def record(tmp_path, name):
    return json.loads((tmp_path / "runs" / name).read_text())


def test_a_stage_that_ends_well_leaves_a_record_of_its_run(tmp_path):
    begin = time.time()
    body = "def main(run, task):\n    print(task, run.settings.seed)\n    time.sleep(.2)"
    code, out, err = outcome(start(tmp_path, body, "a", words=("task",)))
    end = time.time()
    assert (code, out, err) == (0, "a 2026\n", "")
    kept = record(tmp_path, "toy-a.json")
    assert (kept["stage"], kept["words"]) == ("toy", ["a"])
    assert kept["settings"] == {"seed": 2026, "success": {"threshold": 0.8}}
    assert begin <= kept["began"] <= end
    assert 0.2 <= kept["seconds"] <= end - begin
    assert kept["origin"].keys() >= {"mlflow.user"}


def test_a_stage_gets_no_section_that_it_does_not_declare(tmp_path):
    _, _, err = outcome(start(tmp_path, "def main(run):\n    run.settings.device"))
    assert "AttributeError" in err


def test_mlflow_is_brought_up_to_date_from_time_to_time_and_at_the_end_of_a_study(tmp_path):
    assert "tracked" not in outcome(start(tmp_path, "def main(run):\n    pass"))[1]
    long_ago = time.time() - 1000
    os.utime(tmp_path / "runs/.tracked", (long_ago, long_ago))
    assert "tracked toy" in outcome(start(tmp_path, "def main(run):\n    pass"))[1]
    assert "tracked" not in outcome(start(tmp_path, "def main(run):\n    pass"))[1]  # right after it
    assert "tracked report" in outcome(start(tmp_path, "def main(run):\n    run.stage = 'report'"))[1]


def test_a_store_that_cannot_be_used_is_a_warning_and_stops_nothing(tmp_path):
    body = (
        "def sync(*instance):\n    raise TrackingError('the store is down')\ntracking.sync = sync\n"
        "def main(run):\n    run.stage = 'report'"
    )
    code, _, err = outcome(start(tmp_path, body))
    assert code == 0
    assert err == "WARNING: the store is down. No result is lost; run `make track` when the store is back.\n"
    assert record(tmp_path, "report.json")


def test_a_users_mistake_is_one_sentence(tmp_path):
    code, out, err = outcome(
        start(tmp_path, "def main(run):\n    print('begun')\n    raise ConfigError('seed is -1; it should be 0')")
    )
    assert (code, out, err) == (1, "begun\n", "ERROR: toy: seed is -1; it should be 0\n")
    assert not (tmp_path / "runs").exists()


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path):
    code, _, err = outcome(start(tmp_path, "def main(run):\n    raise TypeError('a bug')"))
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("TypeError: a bug\n")


@pytest.mark.parametrize("given", [(), ("a",), ("a", "b", "c")])
def test_wrong_words_show_the_right_ones(tmp_path, given):
    code, out, err = outcome(start(tmp_path, "def main(run, task, cell):\n    print('ran')", *given, words=("task", "cell")))
    assert (code, out) == (2, "")
    assert err.startswith("usage: python -m stages.toy [-h] task cell\n")


@pytest.mark.parametrize("name", ["ENOSPC", "EACCES", "EROFS"])
def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path, name):
    code, _, err = outcome(
        start(tmp_path, f"def main(run):\n    raise OSError(errno.{name}, os.strerror(errno.{name}), 'data/x')")
    )
    assert code == 1
    assert err.startswith("ERROR: toy: ")
    assert "data/x" in err
    assert err.count("\n") == 1


def test_other_system_errors_keep_their_traceback(tmp_path):
    _, _, err = outcome(start(tmp_path, "def main(run):\n    raise OSError(errno.EBADF, 'bad file')"))
    assert "Traceback" in err


def sleeping(tmp_path, workers):
    """A stage at work, and the processes that do it."""
    notes = tmp_path / "notes"
    notes.mkdir()
    call = f"with executor({workers}) as on:\n        list(execute(work.sleep_after_noting, ['notes'] * 2, on))"
    process = start(
        tmp_path, f"from pipeline.core.execution import executor, run as execute\nimport work\ndef main(run):\n    {call}"
    )
    wait_until(lambda: len(list(notes.iterdir())) == workers)
    time.sleep(0.1)
    return process, [int(p.name) for p in notes.iterdir()]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("group", [True, False])  # as a terminal and a batch system do, or a signal to the stage alone
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_a_stage_in_one_sentence_and_leaves_no_worker(tmp_path, workers, group, number, said):
    process, workers = sleeping(tmp_path, workers)
    (os.killpg if group else os.kill)(process.pid, number)
    code, _, err = outcome(process)
    assert code == 128 + number
    assert err == f"ERROR: toy: {said}; what had finished is kept, run the same command again to go on\n"
    assert not (tmp_path / "runs").exists()
    wait_until(lambda: all(gone(p) for p in workers))


def test_a_stage_that_waits_outside_of_python_ends_too(tmp_path):
    body = "import ctypes\ndef main(run):\n    print('waits', flush=True)\n    ctypes.CDLL(None).sleep(60)"
    process = start(tmp_path, body)
    assert process.stdout.readline() == "waits\n"
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = outcome(process)
    assert code == 130
    assert err == "ERROR: toy: interrupted; what had finished is kept, run the same command again to go on\n"
    assert time.monotonic() - begin < 30  # not the 60 seconds of the wait


def test_a_signal_that_python_can_only_ignore_ends_the_stage_without_a_traceback(tmp_path):
    body = (
        "import os, signal\nclass Busy:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        for _ in range(10 ** 6): pass\ndef main(run):\n    Busy()\n    time.sleep(60)"
    )
    code, _, err = outcome(start(tmp_path, body))
    assert code == 143
    assert err == "ERROR: toy: terminated; what had finished is kept, run the same command again to go on\n"


def test_imports_of_a_stage_are_interrupted_without_a_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("print('imports', flush=True)\nimport time\ntime.sleep(60)\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "stages.train", "adding"]
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "imports\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGINT, "")


@pytest.mark.parametrize("shell", ["", "sh -c"])
def test_a_stage_ends_with_the_dvc_that_started_it(tmp_path, shell):
    """DVC starts stages through a shell, which outlives it."""
    (tmp_path / "toy.py").write_text(
        "import stages" + HEAD + "def main(run):\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    stage.main(main, sections=('seed',))\n"
    )
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.py").write_text(
        "import os, subprocess, sys\nos.environ['DVC_STAGE'] = 'toy'\n"
        f"subprocess.run({f'{sys.executable} toy.py; true' if shell else [sys.executable, 'toy.py']!r}, shell={bool(shell)})\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DVC_STAGE"} | {"PYTHONPATH": str(ROOT)}
    dvc = subprocess.Popen([sys.executable, "dvc.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "pid"
    wait_until(lambda: pid.exists() and pid.read_text())
    time.sleep(0.2)
    dvc.kill()
    wait_until(lambda: gone(int(pid.read_text())), seconds=10)
    assert dvc.communicate()[1] == "ERROR: toy: terminated; what had finished is kept, run the same command again to go on\n"


def test_workers_of_a_stage_compute_on_one_thread_each(tmp_path):
    body = (
        "from pipeline.core.execution import run as execute\nimport work\n"
        "def main(run):\n    print(set(execute(work.threads, range(3), run.executor)))"
    )
    assert outcome(start(tmp_path, body))[:2] == (0, "{'1'}\n")


def test_a_job_of_more_threads_has_a_process_of_its_own_even_if_it_is_alone(tmp_path):
    body = (
        "from pipeline.core.execution import run as execute\nimport work\n"
        "def main(run):\n    print(set(execute(work.threads, range(3), run.executor)))\n"
        "    print(os.getpid() in set(execute(work.process, range(3), run.executor)))"
    )
    text = (ROOT / "params.yaml").read_text().replace("workers: auto", "workers: 1").replace("cpus: 1", "cpus: 2")
    assert outcome(start(tmp_path, body, params=text))[:2] == (0, "{'2'}\nFalse\n")
