"""What every stage script does alike: one sentence for a user's mistake, the time it took, one thread a process."""

import errno
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when torch and NumPy load; workers inherit it
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")  # its lines after an interrupted sweep

from .artefacts import save_json
from .errors import PipelineError

TIMINGS = Path("timings")


def main(stage: Callable[..., dict[str, float] | None], *, timed: bool = True) -> None:
    """Run a stage with the words of the command line and write `timings/<stage>[-<word>...].json`, if it is to be timed.

    The stage may return further figures for that file. Exit codes: 1 for wrong input or a store that cannot be used,
    2 for a wrong command line, 130 for Ctrl-C.
    """
    name = Path(sys.argv[0]).stem
    words = sys.argv[1:]
    expected = stage.__code__.co_varnames[: stage.__code__.co_argcount]
    if len(words) != len(expected):
        _stop(f"usage: python -m stages.{name} {' '.join(w.upper() for w in expected)}".rstrip(), 2)
    begin = time.time()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()  # stages/__init__.py
    try:
        figures = stage(*words) or {}
        instance = "-".join([name, *words])
        seconds = time.time() - begin
        if timed:
            save_json(TIMINGS / f"{instance}.json", {"stage": instance, "began": begin, "seconds": seconds} | figures)
    except PipelineError as error:
        _stop(f"{name}: {error}", 1)
    except KeyboardInterrupt:
        _stop(f"{name}: interrupted; what had finished is kept, run the same command again to go on", 130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOENT):
            raise
        _stop(f"{name}: {error.strerror}: {error.filename or 'writing'}; make room or allow it, then run again", 1)


def _stop(sentence: str, code: int) -> None:
    """Say it and end at once: workers end with this process."""
    print(f"ERROR: {sentence}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
