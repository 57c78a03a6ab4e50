"""Shared behaviour of all stage scripts: arguments, settings, one-line error messages, threads, signals, tracking."""

import argparse
import errno
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

if multiprocessing.current_process().name == "MainProcess":  # a worker imports this too, and has the threads of `execution.cpus`
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when torch and NumPy load
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")  # its lines after an interrupted sweep

from . import config, ending, execution, layout, provenance
from .errors import PipelineError, TrackingError
from .records import StageRecord

LIVE = 180.0  # seconds between two updates of MLflow while a study runs, at least
SHARE = 0.05  # of the time of a stage, at most, that these updates take: one reads the results of all trials so far
MARKER = layout.RECORDS / ".tracked"  # its time is that of the last update


class Run:
    """One run of a stage instance.

    Attributes:
        stage, words: which instance.
        settings: the sections of params.yaml that the stage declares, and `execution`, which no result depends on.
        most: processes on this machine that `execution.workers: auto` means at most.
    """

    most = sys.maxsize

    def __init__(self, stage: str, words: tuple[str, ...], settings: config.Config, resources: ExitStack) -> None:
        self.stage, self.words, self.settings, self._resources = stage, words, settings, resources
        self._began = time.time()
        self._tracking_seconds = self._last_update = 0.0

    @cached_property
    def executor(self) -> execution.Executor:
        """Where jobs run, as long as the stage does."""
        return self._resources.enter_context(execution.engine(self.settings.execution, self.most))

    def complete(
        self, jobs: Sequence[execution.Job | execution.Group], failed: Callable[[Path], bool] = lambda path: False
    ) -> None:
        """Run the jobs whose file is not there yet; meanwhile MLflow is brought up to date every LIVE seconds."""
        label = " ".join((self.stage, *self.words))
        replace(self._record(), seconds=0.0).save(layout.record(self.stage, *self.words))  # it has not ended
        execution.complete(jobs, self.executor, label=label, failed=failed, after_each=self._track_live)

    def close(self) -> None:
        """Write the record of this run and bring MLflow up to date, if this is due; the last stage of a study always does."""
        self._resources.close()
        self._record().save(layout.record(self.stage, *self.words))
        if self.stage == layout.STAGES[-1] or _due():
            self._track()
            self._record().save(layout.record(self.stage, *self.words))  # with the time that this took

    def _record(self) -> StageRecord:
        return StageRecord(
            stage=self.stage,
            words=list(self.words),
            began=self._began,
            seconds=time.time() - self._began,
            tracking_seconds=self._tracking_seconds,
            settings=self.settings.model_dump(mode="json", exclude={"execution"}),
            origin=provenance.origin(),
        )

    def _track_live(self) -> None:
        if _due(max(LIVE, self._last_update / SHARE)):
            self._track()

    def _track(self) -> None:
        """Bring MLflow up to date; a store that cannot be used costs no result and stops no study."""
        from .. import tracking  # a second to import; nothing else in this room knows of it

        begin = time.time()
        try:
            print(tracking.sync(self.stage, *self.words), flush=True)
        except TrackingError as error:
            print(f"WARNING: {error}. No result is lost; run `make track` when the store is back.", file=sys.stderr, flush=True)
        MARKER.touch()
        self._last_update = time.time() - begin
        self._tracking_seconds += self._last_update


def _due(seconds: float = LIVE) -> bool:
    """Whether so many seconds have passed since the last update, or since the first stage ended."""
    if not MARKER.exists():
        MARKER.touch()
    return time.time() - MARKER.stat().st_mtime > seconds


def main(stage: Callable[..., None], *, sections: tuple[str, ...], words: tuple[str, ...] = ()) -> None:
    """Run a stage with the words of the command line.

    Exit codes: 1 for wrong input, 2 for a wrong command line, 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        stage: called with a `Run` and the words.
        sections: top-level keys of params.yaml that the stage reads; its `params` in dvc.yaml.
        words: names of the words, such as "task".
    """
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=sys.modules["__main__"].__doc__)
    for word in words:
        parser.add_argument(word)
    given = tuple(vars(parser.parse_args()).values())
    try:
        ending.listen(name)
        with ExitStack() as resources:
            run = Run(name, given, config.load(*sections, "execution"), resources)
            stage(run, *given)
            run.close()
        ending.end()
    except PipelineError as error:
        ending.end(f"ERROR: {name}: {error}", 1)
    except ending.Stopped as stopped:
        ending.end(f"ERROR: {name}: {stopped.sentence}", stopped.code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        sentence = f"{error.strerror}: {error.filename or 'writing'}; make room or allow it, then run again"
        ending.end(f"ERROR: {name}: {sentence}", 1)
