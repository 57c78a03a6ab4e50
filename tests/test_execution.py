"""Work in one process and in several: the same results, whatever happens to a worker."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import work
from conftest import ROOT
from work import gone, wait_until

from pipeline.core import execution, files
from pipeline.core.errors import DataError, ExecutionError, UnreadableError
from pipeline.core.execution import Progress, complete, executor


def run(function, items, *, processes):
    """Results on that many processes."""
    with executor(processes) as on:
        yield from execution.run(function, items, on)


def test_auto_is_one_process_a_core_that_may_be_used():
    allowed = subprocess.run(["nproc"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
    assert execution.process_count("auto") == int(allowed)


def test_a_number_is_that_many_processes():
    assert execution.process_count(7) == execution.process_count(7, most=4) == 7


def test_auto_is_at_most_what_a_stage_allows(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 32)
    assert execution.process_count("auto") == 32
    assert execution.process_count("auto", most=4) == 4
    assert execution.process_count("auto", 16, most=4) == 2


def test_two_processes_give_what_one_gives():
    assert list(run(work.square, range(9), processes=1)) == [n**2 for n in range(9)]
    assert sorted(run(work.square, range(9), processes=2)) == [n**2 for n in range(9)]


def test_work_is_spread_over_other_processes():
    pids = set(run(work.process, range(12), processes=2))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    wait_until(lambda: all(gone(p) for p in pids))


def test_one_process_is_this_one_and_takes_what_cannot_be_sent():
    assert set(run(lambda _: os.getpid(), range(3), processes=1)) == {os.getpid()}


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, execution.Here])
def test_any_executor_of_the_standard_library_will_do(pool, tmp_path):
    with pool() as on:
        assert sorted(execution.run(work.square, range(9), on)) == [n**2 for n in range(9)]
        todo, _ = jobs(tmp_path)
        complete(todo, on, label="toy")
    assert len(list((tmp_path / "results").iterdir())) == 4


def test_a_cluster_that_becomes_smaller_gets_no_more_work_than_it_can_take():
    class Shrinking(ThreadPoolExecutor):
        windows = iter((4, 1, 1, 2, *[3] * 99))

        @property
        def window(self):
            return next(self.windows)

    with Shrinking(1) as on:  # results come one by one
        assert len(list(execution.run(work.process, range(9), on))) == 9


def test_no_work_gives_nothing():
    assert list(run(work.square, [], processes=2)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_users_error_comes_through_as_it_is(processes):
    with pytest.raises(DataError, match=r"^two is not allowed; take three$"):
        list(run(work.refuse, range(4), processes=processes))


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(ExecutionError, match=r"worker process was killed.*run the same command again") as raised:
        list(run(work.die, range(6), processes=2))
    assert "\n" not in str(raised.value)


def test_workers_end_with_their_parent_however_it_dies(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, work\nfrom pipeline.core.execution import executor, run\n"
        "if __name__ == '__main__':\n    with executor(2) as on:\n"
        "        list(run(work.sleep_after_noting, [sys.argv[1]] * 2, on))\n"
    )
    notes = tmp_path / "notes"
    notes.mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    parent = subprocess.Popen([sys.executable, script, notes], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list(notes.iterdir())) == 2)
        workers = [int(p.name) for p in notes.iterdir()]
        assert not any(gone(w) for w in workers)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: all(gone(w) for w in workers))


@pytest.mark.parametrize("attempt", range(3))
def test_abandoned_results_end_the_workers(attempt):
    results = run(work.process, range(400), processes=2)  # 10 s of work
    pid = next(results)
    results.close()
    wait_until(lambda: gone(pid), seconds=4)


# complete


def jobs(tmp_path, count=4, kind=work.Make):
    marks = tmp_path / "marks"
    marks.mkdir(exist_ok=True)
    return [kind(tmp_path / "results" / f"{n}.safetensors", marks) for n in range(count)], marks


def finish(tmp_path, *, kind=work.Make, count=4, processes=1, failed=lambda path: False):
    """Complete jobs and give the names of the files that were made, in order, and how often `after_each` was called."""
    todo, marks = jobs(tmp_path, count, kind)
    calls = []
    try:
        with executor(processes) as on:
            complete(todo, on, label="toy", failed=failed, after_each=lambda: calls.append(1))
    finally:
        made = sorted(p.stem for p in marks.iterdir())
        for mark in marks.iterdir():
            mark.unlink()
    return made, len(calls)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_file_is_made_once(tmp_path, processes):
    assert finish(tmp_path, processes=processes) == (["0", "1", "2", "3"], 4)
    assert sorted(p.stem for p in (tmp_path / "results").iterdir()) == ["0", "1", "2", "3"]


def test_whole_files_are_kept(tmp_path):
    finish(tmp_path, count=2)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").iterdir()}
    assert finish(tmp_path) == (["2", "3"], 2)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


@pytest.mark.parametrize("damage", [lambda whole: whole[:-8], lambda whole: whole[:-1] + bytes([whole[-1] ^ 1])])
def test_damaged_files_are_named_and_made_again(tmp_path, damage, capsys):
    finish(tmp_path)
    path = tmp_path / "results/1.safetensors"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    capsys.readouterr()
    assert finish(tmp_path)[0] == ["1"]
    assert path.read_bytes() == whole
    assert f"{path} is damaged" in capsys.readouterr().out


def test_a_file_that_the_system_does_not_let_read_is_kept_and_ends_the_stage(tmp_path, monkeypatch):
    finish(tmp_path)
    path = tmp_path / "results/1.safetensors"

    def refused(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(files, "regular_size", refused)
    with pytest.raises(UnreadableError, match="Input/output error"):
        finish(tmp_path)
    assert path.exists()


def test_jobs_begin_in_their_order(tmp_path):
    with executor(1) as on:
        made = [p.name for p in execution.run(work.run, jobs(tmp_path, 3)[0], on)]
    assert made == ["0.safetensors", "1.safetensors", "2.safetensors"]


def test_strangers_are_removed(tmp_path):
    finish(tmp_path, count=4)
    (tmp_path / "results/.0.safetensors.abc").write_bytes(b"half")
    assert finish(tmp_path, count=2)[0] == []
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == ["0.safetensors", "1.safetensors"]


def test_of_a_group_what_is_missing_is_made_by_one_call(tmp_path):
    todo, marks = jobs(tmp_path, 3)
    groups = [todo[0], execution.Group(tuple(todo[1:]), work.make_all)]
    calls = []

    def made():
        with executor(1) as on:
            complete(groups, on, label="toy", after_each=lambda: calls.append(1))
        files = sorted(mark.name for mark in marks.iterdir())
        for mark in marks.iterdir():
            mark.unlink()
        return files

    assert made() == ["0.safetensors", "1 and 2"]
    assert len(calls) == 2
    assert made() == []
    todo[1].path.unlink()
    assert made() == ["1"]
    assert todo[1].path.exists()


def test_what_was_finished_before_an_error_is_kept(tmp_path):
    with pytest.raises(DataError, match="third"):
        finish(tmp_path, kind=work.MakeUntilThird)
    assert sorted(p.stem for p in (tmp_path / "results").iterdir()) == ["0", "1"]
    assert finish(tmp_path)[0] == ["2", "3"]


# progress


def lines(capsys):
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_without_a_terminal_there_is_a_line_at_every_tenth(capsys):
    progress = Progress("toy", 40)
    for n in range(40):
        progress.advance(failed=n % 20 == 0)
    progress.close()
    found = lines(capsys)
    assert [line.split()[1] for line in found] == [f"{n}/40" for n in range(4, 41, 4)]
    assert found[0].startswith("toy: 4/40 trials, 1 failed, ")
    assert found[0].endswith(" s left")
    assert found[-1].startswith("toy: 40/40 trials, 2 failed, took ")


def test_few_pieces_give_a_line_each(capsys):
    progress = Progress("toy", 3)
    for _ in range(3):
        progress.advance(failed=False)
    assert [line.split()[1] for line in lines(capsys)] == ["1/3", "2/3", "3/3"]


def test_time_left_counts_only_what_was_done_now(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(execution.time, "monotonic", lambda: now[0])
    progress = Progress("toy", 10)
    for _ in range(4):
        progress.skip(failed=True)
    now[0] += 30
    progress.advance(failed=False)
    assert lines(capsys) == ["toy: 5/10 trials (4 from before), 4 failed, 2.5 min left"]


def test_whoever_watches_a_stage_gets_a_passing_line_for_each_job_with_the_seconds_left(capsys, monkeypatch):
    monkeypatch.setenv(execution.WATCHED, "1")
    now = [100.0]
    monkeypatch.setattr(execution.time, "monotonic", lambda: now[0])
    progress = Progress("toy", 40)
    for _ in range(40):
        now[0] += 4
        progress.advance(failed=False)
    out = capsys.readouterr().out.split("\n")
    assert out[0] == "\r156\rtoy: 1/40 trials, 0 failed, 2.6 min left"
    assert [line.startswith(execution.PASSING) for line in out] == [True] * 39 + [False] * 2
    assert out[-2] == "toy: 40/40 trials, 0 failed, took 2.7 min"


def test_nothing_to_do_is_said(tmp_path, capsys):
    finish(tmp_path)
    lines(capsys)
    finish(tmp_path, failed=lambda path: path.stem == "3")
    assert lines(capsys) == ["toy: 4/4 trials (4 from before), 1 failed, nothing to do"]
