"""How much of a mini-batch's gradient is signal (McCandlish et al. 2018)."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..core.columns import Column
from .base.measurement import Measurement, log10, squared_norms

if TYPE_CHECKING:
    from .base.probe import Probe


class GradientSignal(Measurement):
    """log10(B |G|^2 / tr V): the squared norm of the true gradient over the variance of that of a mini-batch of B sequences."""

    columns: ClassVar = {
        "signal": Column(
            "decades", "log10 of the squared norm of the true gradient / the variance of the gradient over mini-batches"
        ),
        "signal_recurrent": Column("decades", "the same for the parameters of the recurrent part"),
        "signal_rest": Column("decades", "the same for all other parameters"),
        "probe_gradient_norm": Column("", "log10 of the norm of the gradient of a batch"),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """Unbiased estimates of |G|^2 and tr V from the norms of gradients of two batch sizes."""
        small = np.mean([squared_norms(g) for g in probe.gradients], axis=0)
        large, own = squared_norms(probe.gradient), np.array(probe.in_recurrence)
        ratios = {
            name: signal(float(small[which].sum()), float(large[which].sum()), probe.micro_batch, probe.whole_batch)
            for name, which in (("signal", own | ~own), ("signal_recurrent", own), ("signal_rest", ~own))
        }
        numbers = {name: log10(probe.batch_size * ratio) for name, ratio in ratios.items()}
        return numbers | {"probe_gradient_norm": 0.5 * log10(float(large.sum()))}


def signal(small: float, large: float, b: int, B: int) -> float:
    """|G|^2 / tr V of one sequence from the mean squared norms of gradients of b and of B sequences; NaN if both are 0.

    E|g_b|^2 = |G|^2 + tr V / b. The uncertainty of |G|^2 is tr V / B; an estimate below a hundredth of it counts as that
    hundredth.
    """
    if not (np.isfinite(small) and np.isfinite(large)) or small <= 0:
        return float("nan")
    squared = (B * large - b * small) / (B - b)
    variance = max((small - large) / (1 / b - 1 / B), 1e-12 * small)
    return max(squared, 0.01 * variance / B) / variance
