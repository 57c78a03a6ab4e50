"""Pieces of work for worker processes, which import them from here by name."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core import execution, layout
from pipeline.core.errors import DataError
from pipeline.core.stored import ArrayRecord


def square(number):
    return number**2


def process(_):
    time.sleep(0.05)
    return os.getpid()


def threads(_):
    return os.environ.get("OMP_NUM_THREADS")


def refuse(number):
    if number == 2:
        raise DataError("two is not allowed; take three")
    return number


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep_after_noting(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


@dataclass(frozen=True)
class Numbers(ArrayRecord):
    x: np.ndarray


@dataclass(frozen=True)
class Make:
    """A job that makes a record and leaves a mark that it did."""

    path: Path
    marks: Path
    reads = ()

    def run(self):
        (self.marks / self.path.name).touch()
        return Numbers(np.arange(100.0))


def make_all(jobs):
    """Make the records of jobs at once, which leaves one mark."""
    (jobs[0].marks / " and ".join(job.path.stem for job in jobs)).touch()
    return [Numbers(np.arange(100.0)) for _ in jobs]


class MakeUntilThird(Make):
    def run(self):
        if self.path.stem == "2":
            raise DataError("the third cannot be made")
        return super().run()


def run(job):
    job.run()
    return job.path


def node(mark):
    """The node of a cluster that this runs on, and its folder, noted in a file of the name."""
    import ray

    name = ray.get_runtime_context().get_node_id()
    time.sleep(0.5)
    Path(mark).write_text(name)
    return name, os.getcwd()


def die_once(mark):
    """End the process the first time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def slow(marks, number):
    """Half a second of work, which leaves a mark when it begins and when it ends."""
    import ray

    name = ray.get_runtime_context().get_node_id()
    (Path(marks) / f"{number}-begins-{os.getpid()}-{name}").touch()
    time.sleep(0.5)
    (Path(marks) / f"{number}-ends-{os.getpid()}-{name}").touch()
    return number


@dataclass(frozen=True)
class Double:
    """A job that doubles the numbers of the file that it reads."""

    source: Path
    path: Path

    @property
    def reads(self):
        return (self.source,)

    def run(self):
        return Numbers(2 * Numbers.load(self.source).x)


@dataclass(frozen=True)
class Count(Double):
    """A job that counts to five, keeps how far it is, and is killed at three the first time; `marks` shows what it counted."""

    marks: Path

    def run(self):
        unfinished = layout.unfinished(self.path)
        begin = int(Numbers.load(unfinished).x[0]) if unfinished.exists() else 0
        for number in range(begin + 1, 6):
            Numbers(np.array([float(number)])).save(unfinished)
            execution.was_kept(unfinished)
            (self.marks / f"{number}-{os.getpid()}").touch()
            if number == 3 and begin == 0:
                time.sleep(1)  # until what was kept has arrived
                os.kill(os.getpid(), signal.SIGKILL)
        return Numbers(np.array([5.0]))


def gone(process):
    """Whether a process has ended, as a zombie or for good."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
