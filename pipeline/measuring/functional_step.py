"""How far one step of the optimiser moves the answers (after Zucchet and Orvieto 2024)."""

from typing import TYPE_CHECKING, ClassVar

from ..core.columns import Column
from .base.measurement import Measurement, log10

if TYPE_CHECKING:
    from .base.probe import Probe


class FunctionalStep(Measurement):
    """log10 of E|f(theta + eta u) - f(theta)|^2 / Var f: the longer the memory, the more sensitive the answers to a step."""

    columns: ClassVar = {
        "functional_step": Column(
            "decades",
            "log10 of the mean squared change of the answers in one step of the optimiser / their variance over sequences",
        )
    }

    def measure(self, probe: "Probe") -> dict[str, float]:
        """The variance is taken over sequences, and over steps if there is an answer at each, and summed over outputs."""
        before, after = probe.answers_after(0.0), probe.answers_after(probe.learning_rate)
        moved = float((after - before).square().sum(-1).mean())
        variance = float(before.reshape(-1, before.shape[-1]).var(0, correction=0).sum())
        return {"functional_step": log10(moved / max(variance, 1e-30))}
