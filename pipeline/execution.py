"""Runs independent pieces of work, in this process or in several; the only file that imports an engine."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from tqdm import tqdm

from .artefacts import is_whole, keep_only
from .errors import ExecutionError

T = TypeVar("T")
R = TypeVar("R")


def process_count(setting: Literal["auto"] | int) -> int:
    """The number of processes that `processes` in params.yaml means here."""
    return len(os.sched_getaffinity(0)) if setting == "auto" else setting


def run(function: Callable[[T], R], work: Iterable[T], *, processes: int) -> Iterator[R]:
    """Results of `function(item)` as they come, in any order; see `working`."""
    with working(function, work, processes=processes) as results:
        yield from results


@contextmanager
def working(function: Callable[[T], R], work: Iterable[T], *, processes: int) -> Iterator[Iterator[R]]:
    """A block during which `function(item)` is computed; gives the results as they come, in any order.

    One process means this one, which computes when a result is asked for. Workers are spawned at once, compute on one
    thread each, ignore Ctrl-C (the parent ends them) and end with the parent, however it dies. What has not begun when
    the block ends never will.

    Raises:
        ExecutionError: a worker was killed, by the system for want of memory, for instance.
    """
    items = list(work)
    if processes == 1 or len(items) < 2:
        yield map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(items)), mp_context=context, initializer=_start_worker)
    futures = [pool.submit(function, item) for item in items]
    try:
        yield (future.result() for future in as_completed(futures))
    except BrokenProcessPool:
        raise ExecutionError(
            "a worker process was killed (out of memory?); what had finished is kept, run the same command again"
        ) from None
    finally:
        for future in futures:
            future.cancel()  # the pool's own cancel_futures is lost if the pool is collected first
        pool.shutdown(wait=False, cancel_futures=True)


def threads(function: Callable[[T], R], work: Iterable[T], number: int, *, start: Callable[[], None]) -> list[R]:
    """Results of `function(item)` in order, computed in so many threads, each of which begins with `start()`."""
    with ThreadPoolExecutor(number, initializer=start) as pool:
        return list(pool.map(function, work))


@contextmanager
def completing(
    function: Callable[[T], Path], work: Mapping[Path, T], *, label: str, processes: int
) -> Iterator[Callable[[Callable[[Path], bool]], None]]:
    """A block during which every file of `work` that is not there yet is made.

    Args:
        function: makes one file and returns its path.
        work: file to make -> argument for `function`. Other files of their folders are removed.
        label: for the progress.
        processes: as for `working`.

    Gives a function that follows the work to its end and shows the progress. It takes what is to be called with each
    file, those that were there first, and to return whether what the file holds is a failure.
    """
    for folder in {path.parent for path in work}:
        keep_only(folder, work)
    there = {path for path in work if is_whole(path)}
    with working(function, [item for path, item in work.items() if path not in there], processes=processes) as results:

        def follow(on_file: Callable[[Path], bool]) -> None:
            progress = Progress(label, len(work))
            try:
                for path in work:
                    if path in there:
                        progress.skip(failed=on_file(path))
                for path in results:
                    progress.advance(failed=on_file(path))
            finally:
                progress.close()

        yield follow


def _start_worker() -> None:
    gc.enable()  # stages/__init__.py
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a spawned worker has one

    def end_with_the_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_the_parent, daemon=True).start()


class Progress:
    """Shows how many pieces of work are done, how many of them failed, and the time left.

    A bar on a terminal; elsewhere a line at every tenth of the work.
    """

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._done, self._skipped, self._failures = label, total, 0, 0, 0
        self._begin = time.monotonic()
        self._bar: Any = tqdm(total=total, desc=label, unit=" trials") if sys.stderr.isatty() else None

    def skip(self, *, failed: bool) -> None:
        """Count a piece that was done before."""
        self._done += 1
        self._skipped += 1
        self._failures += failed
        if self._bar is not None:
            self._bar.initial = self._bar.n = self._done
            self._bar.refresh()
        elif self._done == self._total:
            self._line("nothing to do")

    def advance(self, *, failed: bool) -> None:
        """Count a piece that was done now."""
        self._done += 1
        self._failures += failed
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._failures} failed", refresh=False)
            self._bar.update()
        elif self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            spent = time.monotonic() - self._begin
            left = spent / (self._done - self._skipped) * (self._total - self._done)
            self._line(f"{left:.0f} s left" if left else f"took {spent:.0f} s")

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, rest: str) -> None:
        again = f" ({self._skipped} from before)" if self._skipped else ""
        print(f"{self._label}: {self._done}/{self._total} trials{again}, {self._failures} failed, {rest}", flush=True)
