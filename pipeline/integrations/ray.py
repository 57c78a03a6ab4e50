"""A stopper for Ray Tune, which ends trials that are unlikely to succeed."""

from typing import Any

from ..core.errors import ModuleError
from ..core.numbers import number

try:
    from ray.tune import Stopper
except ModuleNotFoundError:
    raise ModuleNotFoundError("Ray Tune is not installed: pip install 'rnn-stability[ray]'") from None


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
