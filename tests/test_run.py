"""What `make run` shows of what DVC and the stages say, and how it ends; `make` alone."""

import io
import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT
from work import gone, wait_until

from pipeline.core import config, layout
from pipeline.core.execution import PASSING
from pipeline.core.records import StageRecord
from pipeline.report import run, times

NAMES = ["prepare@a", "prepare@b", "train@a", "train@b", "report"]
DVC = """Running stage 'prepare@a':
> python -m stages.prepare a
a: 3 sequences
Generating lock file 'dvc.lock'
Updating lock file 'dvc.lock'

Stage 'prepare@b' didn't change, skipping
Running stage 'train@a':
> python -m stages.train a
WARNING: the store is down
Updating lock file 'dvc.lock'

Stage 'train@b' is cached - skipping run, checking out outputs
Updating lock file 'dvc.lock'

Running stage 'report':
> python -m stages.report
Updating lock file 'dvc.lock'

To track the changes with git, run:

\tgit add dvc.lock data/.gitignore

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Seconds that pass only when a test says so."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(run, "time", made)
    return made


def course(to, expected=(), names=NAMES):
    return run.Course(names, dict(expected), run.Screen(to), io.StringIO())


def shown(course, lines, to):
    """What is added to a screen by lines."""
    before = len(to.getvalue())
    for line in lines:
        course.take(line)
    return to.getvalue()[before:]


def test_stages_are_counted_with_those_that_do_not_run_and_hints_of_dvc_are_in_the_log_alone():
    to, log = io.StringIO(), io.StringIO()
    seen = run.Course(NAMES, {}, run.Screen(to), log)
    for line in DVC.splitlines():
        seen.take(line)
    assert to.getvalue().splitlines() == [
        "stage 1 of 5: prepare a",
        "a: 3 sequences",
        "stage 3 of 5: train a",
        "WARNING: the store is down",
        "stage 5 of 5: report",
    ]
    assert log.getvalue() == DVC
    seen.end()
    assert list(seen.ran) == ["prepare", "train", "report"]


def test_the_time_left_is_what_the_stages_took_the_last_time(clock):
    to = io.StringIO()
    seen = course(to, {name: 60.0 for name in NAMES})
    assert shown(seen, ["Running stage 'prepare@a':"], to) == "stage 1 of 5: prepare a, about 5.0 min left\n"
    clock.now = 20.0
    assert seen.left() == ", about 4.7 min left"
    clock.now = 1000.0  # a stage that takes longer than the last time
    assert shown(seen, ["Stage 'prepare@b' didn't change, skipping", "Running stage 'train@a':"], to) == (
        "stage 3 of 5: train a, about 3.0 min left\n"
    )


def test_the_time_left_counts_what_is_like_a_stage_that_ran_and_is_a_lower_bound_where_another_is_unknown(clock):
    to = io.StringIO()
    seen = course(to)
    assert shown(seen, ["Running stage 'prepare@a':"], to) == "stage 1 of 5: prepare a\n"  # nothing is known
    clock.now = 30.0
    assert shown(seen, ["Running stage 'prepare@b':"], to) == "stage 2 of 5: prepare b, at least 30.0 s left\n"


def test_a_passing_line_is_replaced_on_a_terminal_and_says_what_is_left_in_all(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    to = Terminal()
    seen = course(to, {"report": 60.0}, ["train@a", "train@b", "report"])
    seen.take("Running stage 'train@a':")
    clock.now = 30.0
    text = "train a: 1/3 trials, 0 failed, 60.0 s left"
    # what is left of this one, of its sibling, which is expected to take 30 + 60 s, and of the report
    assert shown(seen, [f"{PASSING}60{PASSING}{text}"], to) == f"\r\x1b[Kstage 1 of 3, about 3.5 min left: {text}"
    assert shown(seen, ["train a: took 90 s"], to) == "\r\x1b[Ktrain a: took 90 s\n"


def test_a_passing_line_is_not_longer_than_the_terminal_is_wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    to = Terminal()
    line = shown(course(to), [f"{PASSING}60{PASSING}{'x' * 99}"], to)
    assert len(line.removeprefix("\r\x1b[K")) == 39


def test_elsewhere_and_in_the_log_there_is_no_passing_line():
    to, log = io.StringIO(), io.StringIO()
    run.Course(NAMES, {}, run.Screen(to), log).take(f"{PASSING}60{PASSING}train a: 1/3 trials")
    assert (to.getvalue(), log.getvalue()) == ("", "")


def test_of_the_bar_of_another_program_the_last_state_is_shown():
    to = io.StringIO()
    assert shown(course(to), ["\r  0%|    | 0/2\r100%|####| 2/2"], to) == "100%|####| 2/2\n"
    assert shown(course(to), ["\r 7 of 9"], to) == " 7 of 9\n"


def test_a_run_ends_with_five_lines(monkeypatch):
    monkeypatch.setattr(run, "result", lambda: "It works.")
    ran = {"prepare": [1.0, 2.0], "train": [100.0, 80.0], "measure": [40.0], "report": [9.0]}
    assert run.closing(ran, "4.0 min") == [
        "Result: It works.",
        "Report: report/index.html",
        "Trials: make ui",
        "Log:    runs/make_run.log",
        "Time:   4.0 min; train 3.0 min, measure 40.0 s, report 9.0 s",
    ]
    assert run.closing({}, "3.0 s")[-1] == "Time:   3.0 s; everything was up to date"


def test_the_last_lines_are_broken_between_words_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    terminal, file = Terminal(), io.StringIO()
    lines = ["Result: a network as good for half the training", "Time:   3.0 s"]
    for to in (terminal, file):
        run.Screen(to).close(lines)
    assert terminal.getvalue().replace("\r\x1b[K", "").splitlines() == [
        "Result: a network as good for",
        "        half the training",
        "Time:   3.0 s",
    ]
    assert file.getvalue().splitlines() == lines


def test_the_instances_are_those_of_dvc_yaml(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = run.instances(["a", "b"])
    assert names[:4] == ["prepare@a", "prepare@b", "train@a", "train@b"]
    assert names[-3:] == ["features", "predictor", "report"]
    assert len(names) == 4 * 2 + 3


def test_a_stage_is_expected_to_take_as_long_as_with_the_same_settings(tmp_path, monkeypatch):
    settings = config.load(path=ROOT / "params.yaml")
    now = settings.model_dump(mode="json")
    monkeypatch.chdir(tmp_path)
    for stage, words, seconds, own in (
        ("train", [settings.tasks[0]], 60.0, {"seed": now["seed"], "train": now["train"]}),
        ("train", [settings.tasks[1]], 60.0, {"seed": now["seed"], "train": now["train"] | {"trials": 1}}),
        ("measure", [settings.tasks[0]], 0.0, {}),  # interrupted
        ("report", [], 9.0, {}),
    ):
        record = StageRecord(stage, words, began=0.0, seconds=seconds, tracking_seconds=0.0, settings=own, origin={})
        record.save(layout.record(stage, *words))
    assert times.expected(settings) == {f"train@{settings.tasks[0]}": 60.0, "report": 9.0}


HEAD = """
import os, signal, subprocess, sys, time
from pipeline.report import run
def take(line):
    print("took", line, flush=True)
"""


def start(body):
    """A process that runs a command as `make run` runs DVC, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + body],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


WAITS = "print(os.getpid(), flush=True)\ntime.sleep(60)"


def command(script):
    return f"sys.exit(run.Command().run([sys.executable, '-c', {f'import os, sys, time{chr(10)}{script}'!r}], take))"


def test_both_streams_of_a_command_are_handed_on_line_by_line_and_its_exit_code_is_kept():
    script = "print('one', flush=True)\nprint('two', file=sys.stderr)\nos.write(1, b'\\xff\\rx')\nos._exit(7)"
    out, err = (process := start(command(script))).communicate(timeout=60)
    assert (process.returncode, err) == (7, "")
    assert (
        out == "took one\ntook two\ntook \N{REPLACEMENT CHARACTER}\nx\n"
    )  # this test takes \r for a new line; the command does not


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_command_ends_with_what_runs_it(number, code):
    process = start(command(WAITS))
    child = int(process.stdout.readline().split()[1])
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    wait_until(lambda: gone(child))


def test_ctrl_c_is_left_to_the_command():
    script = "import signal\nsignal.signal(signal.SIGINT, lambda *_: (print('interrupted', flush=True), os._exit(130)))\n" + WAITS
    process = start(command(script))
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "took interrupted\n", "")


def test_a_line_that_cannot_be_handed_on_ends_the_command():
    body = "def take(line):\n    raise OSError(28, 'No space left on device', 'log')\n" + command(WAITS)
    _, err = (process := start(body)).communicate(timeout=30)
    assert process.returncode == 1
    assert err.endswith("OSError: [Errno 28] No space left on device: 'log'\n")


def test_what_is_wrong_in_the_settings_ends_the_run_in_one_sentence(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("seed: 2026", "seed: -1"))
    answer = subprocess.run(
        [sys.executable, "-m", "stages.run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("ERROR: params.yaml: seed is -1;")
    assert answer.stderr.count("\n") == 1


def test_a_run_that_fails_names_the_stage_and_the_log_and_shows_its_end(tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    failing = "Running stage 'train@mnist_rows':\nERROR: train: no room\n\nERROR: failed to reproduce 'train@mnist_rows'"
    monkeypatch.setattr(run, "DVC", [sys.executable, "-c", f"print({failing!r}); raise SystemExit(255)"])
    kept = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert run.study() == 255
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), kept, strict=True):
            signal.signal(number, handler)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["stage 1 of 15: train mnist_rows", "ERROR: train: no room"]
    assert re.match(
        r"ERROR: stage 1 of 15: train mnist_rows failed \(exit code 255\) after .*; runs/make_run.log ends:", lines[2]
    )
    assert lines[3:] == [f"  {line}" for line in failing.splitlines() if line]
    assert layout.LOG.read_text() == f"{failing}\n"


def test_make_alone_lists_every_target_with_what_it_does():
    text = (ROOT / "Makefile").read_text()
    (names,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    helped = {line.split()[1] for line in listed if re.match(r"make \w+  +\w", line)}
    assert helped == {name for name in names.split() if name.isalpha()}
    assert max(map(len, listed)) <= 120
    assert sum(line.strip().startswith("PROFILE=") for line in listed) == 1
