"""How far back a task needs a network to remember."""

from typing import TYPE_CHECKING, ClassVar

from ..core.columns import Column
from .base.lags import needed
from .base.measurement import Measurement

if TYPE_CHECKING:
    from .base.probe import Probe


class Lags(Measurement):
    """The lag within which 95 % of the dependence of the target on single inputs lies."""

    columns: ClassVar = {
        "lag_needed": Column("steps", "tau*, the lag within which 95 % of the target's dependence on single inputs lies", 0)
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """The lag that w(tau) of the task gives."""
        return {"lag_needed": float(needed(probe.task.lags))}
