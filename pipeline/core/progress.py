"""The progress bar of measurements that take more than a few seconds."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

DELAY = 5.0  # seconds before the bar appears
FORMAT = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}<{remaining}"

Advance = Callable[[float], object]  # counts an amount of work as done


def ignore(amount: float) -> None:
    """An Advance that shows nothing."""


@contextmanager
def progress(label: str, total: float) -> Iterator[Advance]:
    """A context whose value is called with each amount of work that is done, of `total` in the end.

    A bar appears after 5 seconds, on a terminal and in the main process only, and is removed at the end. The environment
    variable TQDM_DISABLE=1 suppresses it.
    """
    if sys.stderr is None or not sys.stderr.isatty() or multiprocessing.current_process().name != "MainProcess":
        yield ignore
        return
    with tqdm(total=total, desc=label, delay=DELAY, leave=False, miniters=0, bar_format=FORMAT) as bar:
        yield bar.update
