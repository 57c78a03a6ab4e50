"""Jobs on a Ray cluster. No node has to share a file system with the process that asks: what jobs read goes along with them."""

import math
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import chdir, suppress
from functools import lru_cache, partial
from pathlib import Path
from pickle import PicklingError
from typing import Any, Literal, TypeVar

from . import execution, layout
from .errors import ExecutionError, ModuleError, first_line
from .files import save_bytes
from .numbers import count, number, shown
from .registry import LIBRARY

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray loads
try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ModuleNotFoundError:
    raise ExecutionError("Ray is not installed: pip install 'rnn-stability[ray]'") from None

R = TypeVar("R")
RETRIES = 5  # times that a job begins again because its process or its node was lost
SHARED = 4  # files that are kept in the object store for the jobs to come: a task's data among them
AHEAD = 4  # jobs that are submitted for each one that can run: autoscalers count those that wait
TIMEOUT = 10.0  # seconds until a cluster has to answer; Ray itself would try for two minutes


class Cluster(Executor):
    """Submits jobs to Ray, as tasks that begin again elsewhere when their node is lost."""

    def __init__(
        self, *, address: str = "auto", workers: Literal["auto"] | int = "auto", cpus: int = 1, gpus: float = 0.0
    ) -> None:
        """Connect.

        Args:
            address: of the cluster; "auto" is the one of RAY_ADDRESS, or one that runs on this machine, or one that is
                started on it. If this process is connected already, that cluster is used, and stays.
            workers: number of jobs at once; "auto" is as many as there are CPUs and GPUs for.
            cpus: CPUs of each job, which are also its threads.
            gpus: share of a GPU of each job.

        Raises:
            ExecutionError: there is no cluster at the address.
            ModuleError: an argument is not as above.
        """
        self._workers = workers if workers == "auto" else count("workers", workers)
        self._cpus, self._gpus = count("cpus", cpus), number("gpus", gpus, least=0)
        if not math.isfinite(self._gpus):
            raise ModuleError(f"gpus is {self._gpus}; it should be a finite number")
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(None if address == "auto" else address, cpus)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._keeper = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=here).remote(Path.cwd())
        self._task = ray.remote(_task).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
        self._content = lru_cache(maxsize=SHARED)(_content)
        self._function: tuple[Any, Any] = (None, None)
        if not self.slots:
            wanted = f"{cpus} CPU" + (f" and {gpus:g} GPU" if gpus else "")
            sys.stderr.write(f"WARNING: no node of the Ray cluster has {wanted}; jobs wait until there is one\n")

    @property
    def slots(self) -> int:
        """Number of jobs that the nodes which are there could run at once."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        by_cpu = (int(node.get("CPU", 0) // self._cpus) for node in nodes)
        by_gpu = (int(node.get("GPU", 0) // self._gpus) if self._gpus else sys.maxsize for node in nodes)
        return sum(map(min, by_cpu, by_gpu))

    @property
    def window(self) -> int:
        """Number of jobs that are submitted ahead of their results."""
        return self._workers if self._workers != "auto" else AHEAD * max(1, self.slots)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """The future of `fn(*args, **kwargs)`; the function, and files that several jobs read, are sent once."""
        names = tuple(dict.fromkeys(name for argument in args for name in getattr(argument, "reads", ())))
        contents = [self._content(name) for name in names]
        future: Future[R] = Future()
        try:
            if self._function[0] is not fn:
                self._function = (fn, ray.put(fn))
            task = self._task.remote(self._function[1], args, kwargs, names, self._keeper, *contents)
        except (TypeError, AttributeError, PicklingError) as error:
            raise ExecutionError(f"the job cannot be sent to the cluster: {first_line(error)}") from None
        task.future().add_done_callback(partial(_settle, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect, which ends all jobs; a cluster that was started by this process ends."""
        if self._connected:
            ray.shutdown()


class _Keeper:
    """Runs beside the process that asks, and keeps there what jobs need to go on after an interruption."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, path: Path) -> bytes | None:
        """The content of a file, if it is there."""
        with suppress(FileNotFoundError):
            return (self._folder / path).read_bytes()
        return None

    def save(self, path: Path, content: bytes) -> None:
        """Write a file."""
        save_bytes(self._folder / path, content)


def _connect(address: str | None, cpus: int) -> None:
    """Connect this process to the cluster at an address; the library goes along, and torch is that of the nodes."""
    if address is not None:
        host, _, port = str(address).rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
        except (ValueError, OverflowError):  # of the port, or of the encoding of the host
            right = "auto, or a host and a port such as 10.0.0.1:6379"
            raise ExecutionError(f"the address of the cluster is {shown(address)}; it should be {right}") from None
        except OSError as error:
            raise ExecutionError(f"no Ray cluster answers at {address} ({first_line(error)}); see docs/cluster.md") from None
    threads = {name: str(cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    along = {"py_modules": [str(LIBRARY)], "excludes": ["__pycache__"], "env_vars": threads}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, runtime_env=along, log_to_driver=False, logging_level="error", include_dashboard=None)
    except (OSError, RuntimeError, ValueError) as error:
        known = os.environ.get("RAY_AUTH_MODE") == "token"
        token = "is its token in ~/.ray/auth_token?" if known else "if it asks for a token, set RAY_AUTH_MODE=token"
        raise ExecutionError(f"no connection to the Ray cluster: {first_line(error)}; {token} (docs/cluster.md)") from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)  # Ray sets one of its own


def _content(path: Path) -> Any:
    """A reference to the content of a file, in the object store."""
    if path.is_absolute():
        raise ValueError(f"{path} should be relative to the working folder: nodes have other folders")
    return ray.put(path.read_bytes())


def _task(
    function: Callable[..., R], args: Sequence[Any], kwargs: dict[str, Any], names: Sequence[Path], keeper: Any, *contents: bytes
) -> R:
    """Call a function on a node, in a folder with the files that its arguments read."""
    if not names:
        return function(*args, **kwargs)
    with tempfile.TemporaryDirectory(prefix="rnn-stability-") as folder, chdir(folder):
        unfinished = [layout.unfinished(path) for job in args for path in execution.paths_of(job)]
        kept = ray.get([keeper.load.remote(path) for path in unfinished])
        for path, content in zip((*names, *unfinished), (*contents, *kept), strict=True):
            if content is not None:
                save_bytes(path, content)
        execution.LISTENERS[:] = [lambda path: ray.get(keeper.save.remote(path, path.read_bytes()))]
        return function(*args, **kwargs)


def _settle(future: Future[Any], task: Future[Any]) -> None:
    """Hand on what became of a task."""
    if not future.set_running_or_notify_cancel():
        return
    error = task.exception()
    if error is None:
        future.set_result(task.result())
    elif isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
        future.set_exception(error.cause)  # what the function raised
    elif isinstance(error, RayTaskError):
        future.set_exception(ExecutionError(f"a node of the cluster cannot run the job: {first_line(error.cause)}"))
    elif isinstance(error, RayError):
        lost = f"a job was lost {RETRIES + 1} times ({type(error).__name__}: {first_line(error)})"
        future.set_exception(ExecutionError(f"{lost}; what had finished is kept, run the same command again"))
    else:
        future.set_exception(error)
