"""Runs independent jobs on any `concurrent.futures.Executor`; the local ones are here, that of a cluster in `cluster`.

A job returns its record, and the process that asked for it writes the file: nothing else needs to share a file system with it.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tqdm import tqdm

from . import layout
from .errors import ArtefactError, ExecutionError, UnreadableError
from .files import check, keep_only
from .tables import duration

if TYPE_CHECKING:
    from .config import ExecutionSettings

T = TypeVar("T")
R = TypeVar("R")
WATCHED = "RNN_STABILITY_WATCHED"  # an environment variable: whoever started the stage shows its passing lines on a terminal
PASSING = "\r"  # how a passing line begins: PASSING, the seconds left, PASSING, what to show until the next line
LISTENERS: list[Callable[[Path], None]] = []  # a worker of a cluster brings the file that was kept to safety


class Record(Protocol):
    """What can be written to a file."""

    def save(self, path: Path) -> None:
        """Write to `path`."""


class Job(Protocol):
    """A piece of work that makes one record; both are sent between processes, so they have to be picklable."""

    @property
    def path(self) -> Path:
        """The file of the record, relative to the working folder, as are all others."""

    @property
    def reads(self) -> Sequence[Path]:
        """The files that the job reads."""

    def run(self) -> Record:
        """Make the record. What a long job needs to go on after an interruption may lie in `layout.unfinished(path)`."""


def one_by_one(jobs: Sequence[Job]) -> list[Record]:
    """Run jobs in their order."""
    return [job.run() for job in jobs]


@dataclass(frozen=True)
class Group:
    """Jobs that one function does at once, which is faster than one by one.

    Attributes:
        jobs: in the order of their records.
        function: of the jobs.
    """

    jobs: tuple[Job, ...]
    function: Callable[[Sequence[Any]], Sequence[Record]] = one_by_one

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the records."""
        return tuple(job.path for job in self.jobs)

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files that the jobs read."""
        return tuple(dict.fromkeys(path for job in self.jobs for path in job.reads))

    def run(self) -> list[tuple[Path, Record]]:
        """Make the records."""
        return list(zip(self.paths, self.function(self.jobs), strict=True))


def paths_of(job: Job | Group) -> tuple[Path, ...]:
    """The files of the records of a job, or of all of a group."""
    return job.paths if isinstance(job, Group) else (job.path,)


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


def process_count(workers: Literal["auto"] | int = "auto", cpus: int = 1, most: int = sys.maxsize) -> int:
    """The number of processes on this machine that `execution.workers` in params.yaml means, with `cpus` threads each.

    `auto` means at most so many as `most`.
    """
    if workers != "auto":
        return workers
    from joblib import cpu_count  # which knows of affinity and of containers' limits

    return min(max(1, int(cpu_count()) // cpus), most)


@contextmanager
def engine(settings: "ExecutionSettings", most: int = sys.maxsize) -> Iterator[Executor]:
    """The executor that the section `execution` of params.yaml asks for; `most` is that of `process_count`."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.cpus)  # workers inherit it
    if settings.engine == "ray":
        from . import cluster  # an optional library

        own = settings.model_dump(exclude={"engine"})
        with cluster.Cluster(**own) as on:
            yield on
    else:
        count = process_count(settings.workers, settings.cpus, most)
        with executor(count) if settings.cpus == 1 else _pool(count) as on:  # this process computes on one thread
            yield on


@contextmanager
def executor(processes: int) -> Iterator[Executor]:
    """An executor of this many local processes; one means this process."""
    if processes == 1:
        yield Here()
        return
    with _pool(processes) as pool:
        yield pool


@contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """An executor of this many other processes.

    Workers are spawned, ignore Ctrl-C (the parent ends them) and end with the parent, however it dies. Jobs that have not
    begun when the block ends never will.
    """
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
            room = max(0, getattr(on, "window", sys.maxsize) - len(pending))  # a cluster that lost a node has less
            pending |= {on.submit(function, item) for item in islice(rest, room)}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenExecutor:
        time.sleep(0.2)  # if a signal to the whole group ended the workers, it ends this process too
        raise ExecutionError(
            "a worker process was killed (out of memory?); what had finished is kept, run the same command again"
        ) from None
    finally:
        for future in pending:
            future.cancel()


def complete(
    jobs: Sequence[Job | Group],
    on: Executor,
    *,
    label: str,
    failed: Callable[[Path], bool] = lambda path: False,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Run the jobs whose file is not there yet, in their order, write their records, and show the progress.

    Files of the jobs' folders that belong to no job are removed. A damaged file is named, removed and made again. Of a
    group, the jobs whose files are missing are run.

    Args:
        jobs: all that should be there in the end.
        on: the executor.
        label: for the progress.
        failed: whether what a file holds is a failure, which is counted.
        after_each: called after each job or group.
    """
    groups = [job if isinstance(job, Group) else Group((job,)) for job in jobs]
    paths = [path for group in groups for path in group.paths]
    for folder in {path.parent for path in paths}:
        keep_only(folder, paths)
    progress = Progress(label, len(paths))
    try:
        missing = {path for path in paths if not _is_done(path, progress, failed)}
        parts = [replace(group, jobs=tuple(job for job in group.jobs if job.path in missing)) for group in groups]
        for made in run(Group.run, [part for part in parts if part.jobs], on):
            for path, record in made:
                record.save(path)
                progress.advance(failed=failed(path))
            after_each()
    finally:
        progress.close()
    for folder in {layout.unfinished(path).parent for path in paths}:
        shutil.rmtree(folder, ignore_errors=True)


def _is_done(path: Path, progress: "Progress", failed: Callable[[Path], bool]) -> bool:
    if not path.exists():
        return False
    try:
        check(path)
        progress.skip(failed=failed(path))
    except UnreadableError:  # what it holds may be right
        raise
    except ArtefactError as error:
        progress.say(f"{str(error).partition(';')[0]}; it is made again")
        path.unlink()
        return False
    return True


def was_kept(path: Path) -> None:
    """Called by a job that has written the file from which it would go on after an interruption."""
    for listener in LISTENERS:
        listener(path)


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

    A bar on a terminal; elsewhere a line at every tenth of the work, or, if a WATCHED stage, a passing line for each job.
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
            return
        spent = time.monotonic() - self._begin
        left = spent / (self._done - self._skipped) * (self._total - self._done)
        if self._done == self._total:
            self._line(f"took {duration(spent)}")
        elif WATCHED in os.environ:
            self._line(f"{duration(left)} left", before=f"{PASSING}{left:.0f}{PASSING}")
        elif self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            self._line(f"{duration(left)} left")

    def say(self, sentence: str) -> None:
        """Show a sentence beside the progress."""
        tqdm.write(sentence)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()

    def _line(self, rest: str, before: str = "") -> None:
        again = f" ({self._skipped} from before)" if self._skipped else ""
        counts = f"{self._done}/{self._total} trials{again}, {self._failures} failed"
        print(f"{before}{self._label}: {counts}, {rest}", flush=True)
