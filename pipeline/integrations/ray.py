"""A stopper for Ray Tune, which ends trials that are unlikely to succeed; and functions that run on a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..core.errors import ModuleError
from ..core.numbers import number, shown

try:
    from ray.tune import Stopper
except ModuleNotFoundError:
    raise ModuleNotFoundError("Ray Tune is not installed: pip install 'rnn-stability[ray]'") from None
from ..core.cluster import Cluster

R = TypeVar("R")


@contextmanager
def on_cluster(
    function: Callable[..., R], *, address: str = "auto", cpus: int = 1, gpus: float = 0.0
) -> Iterator[Callable[..., R]]:
    """A function that runs on a Ray cluster, once for each thread that calls it.

    An Optuna search runs its trainings there if its objective calls it: `study.optimize(objective, n_trials=100, n_jobs=64)`.

    Args:
        function: training, say; what it imports is installed on the nodes. Its arguments and results are pickled; its errors
            come back as they are. It is called again on another node if its own is lost.
        address: of the cluster, "host:port"; "auto" is the one of RAY_ADDRESS or of `ray.init`, or one on this machine.
        cpus: CPUs, and threads, of one call.
        gpus: share of a GPU of one call.

    Raises:
        ExecutionError: there is no cluster, or the function or its arguments cannot be sent there.
        ModuleError: an argument is not as above.
    """
    if not callable(function):
        raise ModuleError(f"function is {shown(function)}; it should be a function")
    with Cluster(address=address, cpus=cpus, gpus=gpus) as on:
        yield lambda *args, **kwargs: on.submit(function, *args, **kwargs).result()


class StabilityStopper(Stopper):  # type: ignore[misc] # an optional library
    """Stops a trial that reports a probability of success below a bound; a result without one stops nothing.

    A trial reports it with `ray.tune.report({"loss": loss, **verdict.to_dict("stability_")})`.
    """

    def __init__(self, below: float = 0.05, *, metric: str = "stability_probability") -> None:
        """Store the options.

        Args:
            below: the bound.
            metric: name of the probability in results.
        """
        self._below, self._metric = number("below", below), metric

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported this result should stop; ModuleError if the probability is not one."""
        if self._metric not in result:
            return False
        probability = number(self._metric, result[self._metric])
        if not 0 <= probability <= 1:
            raise ModuleError(f"{self._metric} of trial {trial_id} is {probability:g}; it should be a probability")
        return probability < self._below

    def stop_all(self) -> bool:
        """Whether all trials should stop: no."""
        return False
