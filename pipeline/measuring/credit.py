"""How much of the gradient reaches the inputs that the target depends on."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.columns import Column
from .base.lags import needed
from .base.measurement import TINY, Measurement

if TYPE_CHECKING:
    from .base.probe import Probe


class Credit(Measurement):
    """Growth of the gradient from the last step back to the lags of the task, in nats."""

    columns: ClassVar = {
        "credit_mean": Column(
            "nats",
            "log growth of the gradient from the last input back to the input tau steps before it; mean over tau up to tau*, "
            "weighted by w(tau), how much the target depends on that input",
        ),
        "credit_least": Column("nats", "the same, smallest value over tau up to tau* with w(tau) > 0"),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """Gamma(tau) = 1/2 log(E|dl_T/dx_{T - tau}|^2 / E|dl_T/dx_T|^2) at the lags within tau* where w is not 0."""
        growth, weights = profile(probe.input_gradient), probe.task.lags
        count = min(len(growth), len(weights))
        growth, weights = growth[:count], weights[:count]
        counts = (weights > 0) & (np.arange(count) <= needed(probe.task.lags))
        if not counts.any():
            return {"credit_mean": float("nan"), "credit_least": float("nan")}
        return {
            "credit_mean": float((weights * growth)[counts].sum() / weights[counts].sum()),
            "credit_least": float(growth[counts].min()),
        }


def profile(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gamma(tau), (T,), nats, of gradients (T, B, I) with respect to the inputs; 0 at tau = 0, clipped to +-1/2 log TINY.

    If the last input has no influence, the largest gradient is the reference instead of the last; NaN if no input has any.
    Each step is scaled by its own largest number, since squares of what grows or decays over many steps leave the range of
    float64.
    """
    steps = gradient[::-1]
    largest = np.abs(steps).max((1, 2)).clip(min=np.finfo(float).tiny)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(largest) + 0.5 * np.log(np.square(steps / largest[:, None, None]).sum(-1).mean(-1))
        return (logs - (logs[0] if logs[0] > -np.inf else logs.max())).clip(0.5 * np.log(TINY), -0.5 * np.log(TINY))
