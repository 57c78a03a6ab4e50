"""Separation and generalisation (Legenstein and Maass 2007), which distinguish frozen networks from chaotic ones."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..core.columns import Column
from .base.measurement import Measurement, effective_rank

if TYPE_CHECKING:
    from .base.probe import Probe

NOISE = 0.1  # of the copies, as a share of the inputs' standard deviation


class Separation(Measurement):
    """Effective rank of the last states of m sequences, and of m noisy copies of one sequence; each / min(m, H)."""

    columns: ClassVar = {
        "separation": Column("", "effective rank of the last states of different sequences / the largest possible rank", 0, 1),
        "generalisation": Column("", "the same for noisy copies of one sequence; small is good", 0, 1),
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """The effective rank is exp of the entropy of the singular values' shares; m is the smaller of the two numbers."""
        different, noisy = probe.states[0][-1], probe.noisy_states(NOISE)
        different, noisy = different[: len(noisy)], noisy[: len(different)]
        largest = min(noisy.shape)
        ranks = [
            effective_rank(np.linalg.svd(s, compute_uv=False)) if np.isfinite(s).all() else np.nan for s in (different, noisy)
        ]
        return {"separation": ranks[0] / largest, "generalisation": ranks[1] / largest}
