"""Pieces of work for worker processes, which import them from here by name."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pipeline.errors import DataError


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


def make(job):
    """Write a whole safetensors file and leave a mark that it was made; a job is its path and the folder of marks."""
    path, marks = job
    save_file({"x": np.arange(100.0)}, path)
    (marks / path.name).touch()
    return path


def make_until_third(job):
    if job[0].stem == "2":
        raise DataError("the third cannot be made")
    return make(job)
