"""Runs the study with DVC and shows where it stands, which is `make run`.

All that DVC and the stages say goes to a log. What the stages say is also shown; of what DVC says, its warnings and errors.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO, NoReturn, TextIO

from ruamel.yaml import YAML

from ..core import config, ending, layout, mend
from ..core.cards import Judgement
from ..core.errors import PipelineError
from ..core.execution import PASSING, WATCHED
from ..core.tables import duration
from . import times

DVC = (sys.executable, "-m", "dvc", "repro")
INDENT = len("Result: ")
LEAST = 10.0  # seconds left that are worth saying
TAIL = 4  # lines of the log that are shown after a failure
# What DVC says of an instance of a stage, exactly once in a run; it runs it, or finds its results there or in its cache.
_INSTANCE = re.compile(r"(Running stage|Stage) '(?P<name>.+?)'(?P<runs>:$)?")
_PASSING = re.compile(rf"{PASSING}(?P<left>\d+){PASSING}(?P<text>[^\r]*)")
_HINT = re.compile(
    r"$|> |\t|(Generating|Updating) lock file|To (track the changes|enable auto staging)|Use `dvc push`|Data and pipelines are up"
    r"|ERROR: failed to reproduce"
)
PR_SET_PDEATHSIG = 1  # of prctl(2)
_LIBC = ctypes.CDLL(None)
_CLEAR = "\r\x1b[K"


def instances(tasks: Sequence[str]) -> list[str]:
    """The instances of the stages of dvc.yaml as DVC names them, such as "train@adding"."""
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text("utf-8"))["stages"]
    return [
        name for stage, about in stages.items() for name in ([f"{stage}@{t}" for t in tasks] if "matrix" in about else [stage])
    ]


class Screen:
    """Shows lines on a terminal or elsewhere; on a terminal, one line may be passing: the next one replaces it."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self.passes = to.isatty()

    def show(self, line: str, *, passing: bool = False) -> None:
        """Show a line; one that is passing is cut to the width of the terminal, and not shown elsewhere."""
        if not passing:
            self._to.write(f"{_CLEAR if self.passes else ''}{line}\n")
        elif self.passes:
            self._to.write(f"{_CLEAR}{line[: shutil.get_terminal_size().columns - 1]}")
        self._to.flush()

    def close(self, lines: Sequence[str]) -> None:
        """Show the last lines; on a terminal they are broken between words, and indented as far as their headings are long."""
        for line in lines:
            width = shutil.get_terminal_size().columns if self.passes else sys.maxsize
            self.show(textwrap.fill(line, width, subsequent_indent=INDENT * " ", break_long_words=False))


class Course:
    """Where a study stands, from the lines of DVC and of its stages.

    Attributes:
        place: the stage that runs, such as "stage 3 of 15: train adding"; empty before the first.
        ran: stages that ran -> seconds of each of their instances.
    """

    def __init__(self, names: Sequence[str], expected: Mapping[str, float], screen: Screen, log: TextIO) -> None:
        self._total, self._waiting, self._expected, self._screen, self._log = len(names), list(names), expected, screen, log
        self._name, self._began = "", 0.0
        self._left: float | None = None
        self.place = ""
        self.ran: dict[str, list[float]] = {}

    def take(self, line: str) -> None:
        """Take the next line."""
        if passing := _PASSING.fullmatch(line):
            self._left = float(passing["left"])
            head, _, _ = self.place.partition(":")
            self._screen.show(f"{head}{self.left()}: {passing['text']}", passing=True)
            return
        line = line.rpartition("\r")[2]  # the last state of another program's bar
        self._log.write(f"{line}\n")
        self._log.flush()
        if found := _INSTANCE.match(line):
            self.end()
            self._begin(found["name"], runs=found["runs"] is not None)
        elif not _HINT.match(line):
            self._screen.show(line)

    def end(self) -> None:
        """The instance that ran has ended."""
        if self._name:
            self.ran.setdefault(_stage(self._name), []).append(time.monotonic() - self._began)
        self._name, self._left = "", None

    def left(self) -> str:
        """The time left, such as ", about 3.1 min left"; empty if nothing is known of it."""
        parts = [self._rest(), *map(self._whole, self._waiting)]
        known = [part for part in parts if part is not None]
        words = "about" if len(known) == len(parts) else "at least"
        return f", {words} {duration(sum(known))} left" if sum(known) >= LEAST else ""

    def _begin(self, name: str, *, runs: bool) -> None:
        if name in self._waiting:
            self._waiting.remove(name)
        if runs:
            self._name, self._began = name, time.monotonic()
            self.place = f"stage {self._total - len(self._waiting)} of {self._total}: {name.replace('@', ' ')}"
            self._screen.show(f"{self.place}{self.left()}")

    def _rest(self) -> float | None:
        """Seconds until the instance that runs will have ended; None if that is unknown."""
        whole = self._whole(self._name)
        known = [self._left, None if whole is None else whole - (time.monotonic() - self._began)]
        return max((max(0.0, part) for part in known if part is not None), default=None)

    def _whole(self, name: str) -> float | None:
        """Seconds of an instance: as the last time, or else the mean of this stage's instances so far; None if unknown."""
        stage = _stage(name)
        alike = self.ran.get(stage, [])
        if self._left is not None and stage == _stage(self._name):
            alike = [*alike, time.monotonic() - self._began + self._left]
        return self._expected.get(name, sum(alike) / len(alike) if alike else None)


def _stage(instance: str) -> str:
    return instance.partition("@")[0]


class Command:
    """A command that is run to its end, whatever signals come.

    Attributes:
        stopped: signals that came.
    """

    def __init__(self) -> None:
        """Listen to signals from now on."""
        self.stopped: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        for number in ending.SIGNALS:
            signal.signal(number, self._note)

    def run(self, words: Sequence[str], take: Callable[[str], None]) -> int:
        """Hand on each line that the command and its children write, and give its exit code, as shells have it."""
        failures: list[Exception] = []
        self._process = process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_end_with_the_parent
        )

        def read(lines: IO[bytes]) -> None:
            try:
                with lines:
                    for line in lines:
                        take(line.decode("utf-8", "replace").rstrip("\r\n"))
            except Exception as error:  # such as a full disk: nobody reads any more, so that the command would wait forever
                failures.append(error)
                process.terminate()

        reader = Thread(target=read, args=[process.stdout], daemon=True)
        reader.start()
        code = process.wait()
        reader.join(2 * ending.PATIENCE)  # a stage ends after its DVC
        if failures:
            raise failures[0]
        return code if code >= 0 else 128 - code

    def _note(self, number: int, frame: FrameType | None) -> None:
        """DVC and its stage get Ctrl-C from the terminal, too; SIGTERM is handed on to DVC, which the stage follows."""
        if self._process is None:
            raise ending.Stopped(number)
        self.stopped.append(number)
        if number == signal.SIGTERM:
            self._process.terminate()


def _end_with_the_parent() -> None:
    """Get SIGTERM when the parent ends, however it does, where the system (Linux) can do that."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def study(profile: str = "") -> int:
    """Run the study with the settings of params.yaml, over which a profile is laid if one is named; returns the exit code."""
    begin, screen, command = time.monotonic(), Screen(sys.stdout), Command()
    config.main([profile] if profile else [])
    settings = config.load()
    layout.LOG.parent.mkdir(exist_ok=True)
    if screen.passes:
        os.environ[WATCHED] = "1"
    os.environ["PYTHONUNBUFFERED"] = "1"  # lines come when they are written
    with layout.LOG.open("w", encoding="utf-8") as log:
        course = Course(instances(settings.tasks), times.expected(settings), screen, log)
        for sentence in mend.mend():
            course.take(sentence)
        code = command.run(DVC, course.take)
        course.end()
        if not code:
            log.write(f"{times.table(times.recorded(settings.tasks)).text()}\n")
    took = duration(time.monotonic() - begin)
    if not code:
        screen.close(closing(course.ran, took))
    elif not command.stopped:  # who stopped it knows, and the stage has said so
        screen.show(f"ERROR: {course.place or 'dvc repro'} failed (exit code {code}) after {took}; {layout.LOG} ends:")
        for line in tail(layout.LOG):
            screen.show(f"  {line}")
    return code


def closing(ran: Mapping[str, Sequence[float]], took: str) -> list[str]:
    """The last lines of a run that ended well: what came out, where it is, and how long it took."""
    longest = sorted(((sum(seconds), stage) for stage, seconds in ran.items()), reverse=True)[:3]
    parts = ", ".join(f"{stage} {duration(seconds)}" for seconds, stage in longest)
    return [
        f"Result: {result()}",
        f"Report: {layout.PAGE}",
        "Trials: make ui",
        f"Log:    {layout.LOG}",
        f"Time:   {took}; {parts or 'everything was up to date'}",
    ]


def result() -> str:
    """The headline of the report."""
    from . import templates  # with pandas, which takes a second to import

    return templates.headline(Judgement.load(layout.EVIDENCE))


def tail(path: Path, count: int = TAIL) -> list[str]:
    """The last lines of a file that are not empty."""
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()][-count:]


def main(profile: str = "") -> NoReturn:
    """Run the study, and end with its exit code, or in one sentence."""
    try:
        sys.exit(study(profile))
    except PipelineError as error:
        sys.exit(f"ERROR: {error}")
    except ending.Stopped as stopped:
        ending.end(f"ERROR: make run: {stopped.sentence}", stopped.code)
    except OSError as error:
        sys.exit(f"ERROR: make run: {error.strerror}: {error.filename or 'writing'}; make room or allow it, then run again")
