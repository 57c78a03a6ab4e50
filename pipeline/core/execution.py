"""Runs independent jobs on any `concurrent.futures.Executor`; the local ones are here."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from tqdm import tqdm

from .errors import ExecutionError
from .files import damage, keep_only

T = TypeVar("T")
R = TypeVar("R")


class Job(Protocol):
    """A piece of work that makes one file; it is sent to other processes, so it has to be picklable."""

    @property
    def path(self) -> Path:
        """The file."""

    def run(self) -> None:
        """Make it."""


class Here(Executor):
    """Computes in this process, when a job is submitted."""

    window = 1  # jobs that are submitted ahead of their results

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """The future of `fn(*args)`, already done."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def process_count(setting: Literal["auto"] | int) -> int:
    """The number of processes that `processes` in params.yaml means on this machine."""
    if setting != "auto":
        return setting
    from joblib import cpu_count  # which knows of affinity and of containers' limits

    return int(cpu_count())


@contextmanager
def executor(processes: int) -> Iterator[Executor]:
    """An executor of this many local processes; one means this process.

    Workers are spawned, compute on one thread each, ignore Ctrl-C (the parent ends them) and end with the parent,
    however it dies. Jobs that have not begun when the block ends never will.
    """
    if processes == 1:
        yield Here()
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run(function: Callable[[T], R], items: Iterable[T], on: Executor) -> Iterator[R]:
    """Results of `function(item)`, in the order in which they are done.

    Raises:
        ExecutionError: a worker was killed, for instance by the system for want of memory.
    """
    rest, pending = iter(items), set[Future[R]]()
    try:
        while True:
            pending |= {on.submit(function, item) for item in islice(rest, getattr(on, "window", sys.maxsize) - len(pending))}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenExecutor:
        raise ExecutionError(
            "a worker process was killed (out of memory?); what had finished is kept, run the same command again"
        ) from None
    finally:
        for future in pending:
            future.cancel()


def complete(
    jobs: Sequence[Job],
    on: Executor,
    *,
    label: str,
    failed: Callable[[Path], bool] = lambda path: False,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Run the jobs whose file is not there yet, in their order, and show the progress.

    Files of the jobs' folders that belong to no job are removed. A damaged file is named and made again.

    Args:
        jobs: all that should be there in the end.
        on: the executor.
        label: for the progress.
        failed: whether what a file holds is a failure, which is counted.
        after_each: called after each job.
    """
    for folder in {job.path.parent for job in jobs}:
        keep_only(folder, [job.path for job in jobs])
    progress = Progress(label, len(jobs))
    try:
        todo = [job for job in jobs if not _is_done(job, progress, failed)]
        for path in run(_run, todo, on):
            progress.advance(failed=failed(path))
            after_each()
    finally:
        progress.close()


def _is_done(job: Job, progress: "Progress", failed: Callable[[Path], bool]) -> bool:
    if not job.path.exists():
        return False
    wrong = damage(job.path)
    if wrong:
        progress.say(f"{wrong.partition(';')[0]}; it is made again")
        return False
    progress.skip(failed=failed(job.path))
    return True


def _run(job: Job) -> Path:
    job.run()
    return job.path


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a spawned worker has one

    def end_with_the_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_the_parent, daemon=True).start()


class Progress:
    """Shows how many jobs are done, how many of them failed, and the time left.

    A bar on a terminal; elsewhere a line at every tenth of the work.
    """

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._done, self._skipped, self._failures = label, total, 0, 0, 0
        self._begin = time.monotonic()
        self._bar: Any = tqdm(total=total, desc=label, unit=" trials") if sys.stderr.isatty() else None

    def skip(self, *, failed: bool) -> None:
        """Count a job that was done before."""
        self._done += 1
        self._skipped += 1
        self._failures += failed
        if self._bar is not None:
            self._bar.initial = self._bar.n = self._done
            self._bar.refresh()
        elif self._done == self._total:
            self._line("nothing to do")

    def advance(self, *, failed: bool) -> None:
        """Count a job that was done now."""
        self._done += 1
        self._failures += failed
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._failures} failed", refresh=False)
            self._bar.update()
        elif self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            spent = time.monotonic() - self._begin
            left = spent / (self._done - self._skipped) * (self._total - self._done)
            self._line(f"{left:.0f} s left" if left else f"took {spent:.0f} s")

    def say(self, sentence: str) -> None:
        """Show a sentence beside the progress."""
        tqdm.write(sentence)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, rest: str) -> None:
        again = f" ({self._skipped} from before)" if self._skipped else ""
        print(f"{self._label}: {self._done}/{self._total} trials{again}, {self._failures} failed, {rest}", flush=True)
