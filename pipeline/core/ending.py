"""How the process of a stage ends: by a signal or with DVC, within seconds, in one sentence, and without leaving a worker."""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

PATIENCE = 3.0  # seconds that the stage has to clean up after a signal
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """A signal asked the stage to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def sentence(self) -> str:
        """What to say."""
        return f"{SIGNALS[signal.Signals(self.number)]}; what had finished is kept, run the same command again to go on"

    @property
    def code(self) -> int:
        """The exit code, as shells have it."""
        return 128 + self.number


def listen(name: str) -> None:
    """From now on signals raise Stopped in the main thread.

    Python runs handlers between its own instructions: a main thread that waits in C, for a locked database for instance,
    does not see the signal. So the process ends after PATIENCE seconds in any case.

    Args:
        name: of the stage, for the sentence.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _raise)
    sys.unraisablehook = _without_stopped(sys.unraisablehook)

    def end_in_any_case() -> None:
        stopped = Stopped(reader.recv(1)[0])
        time.sleep(PATIENCE)
        end(f"ERROR: {name}: {stopped.sentence}", stopped.code)

    _LISTENING.append(writer)
    threading.Thread(target=end_in_any_case, daemon=True).start()


def follow_dvc() -> None:
    """End as by SIGTERM when the DVC that started this process ends, or has ended."""
    if "DVC_STAGE" in os.environ and hasattr(os, "pidfd_open"):
        threading.Thread(target=_end_with, args=(_dvc(),), daemon=True).start()


def end(sentence: str = "", code: int = 0) -> NoReturn:
    """Say a sentence and end at once; workers end with this process."""
    for number in SIGNALS:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # nobody listens any more
        sys.stdout.flush()
        if sentence:
            sys.stderr.write(f"{sentence}\n")
            sys.stderr.flush()
    os._exit(code)


_LISTENING: list[socket.socket] = []  # kept open


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _without_stopped(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A hook that says nothing of a Stopped that was raised where Python can only ignore it, such as in a destructor."""
    return lambda ignored: None if isinstance(ignored.exc_value, Stopped) else hook(ignored)


def _dvc() -> int | None:
    """The process of DVC that started this one, through a shell or not: the nearest ancestor that DVC did not start itself.

    None if it has ended.
    """
    process = os.getppid()
    try:
        while b"DVC_STAGE=" in Path(f"/proc/{process}/environ").read_bytes():
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        adopted = process == 1 and b"dvc" not in Path("/proc/1/cmdline").read_bytes()
    except FileNotFoundError:
        return None
    except PermissionError:  # another user's process
        return process
    return None if adopted else process


def _end_with(process: int | None) -> None:
    """Wait for the end of a process, if it has not ended, then end as by SIGTERM."""
    if process is not None:
        try:
            poll = select.poll()
            poll.register(os.pidfd_open(process), select.POLLIN)
            poll.poll()
        except ProcessLookupError:
            pass
        except OSError:  # the system cannot tell
            return
    os.kill(os.getpid(), signal.SIGTERM)
