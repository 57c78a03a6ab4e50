"""Pieces of work for worker processes, which import them from here by name."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.files import save_arrays


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
class Make:
    """A job that writes a file and leaves a mark that it did."""

    path: Path
    marks: Path

    def run(self):
        save_arrays(self.path, {"x": np.arange(100.0)}, "{}")
        (self.marks / self.path.name).touch()


class MakeUntilThird(Make):
    def run(self):
        if self.path.stem == "2":
            raise DataError("the third cannot be made")
        super().run()


def run(job):
    job.run()
    return job.path
