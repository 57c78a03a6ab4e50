"""From the growth of deviations to exponents with their standard errors."""

import math
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents of a driven map, nats per step, largest first.

    Attributes:
        per_sequence: (B, k) each sequence's own, in the order of `exponents`; -inf for a direction that the map
            annihilates or shrinks below the rounding of one step, NaN for a sequence whose state was not finite.
        standard_error: (k,) of `exponents`; NaN where those are not finite.
        history: (T', k) running estimate of `exponents` after each interval between two reorthonormalisations.
    """

    per_sequence: Tensor
    standard_error: Tensor
    history: Tensor = field(repr=False)

    @classmethod
    def from_growth(cls, growth: Tensor, *, every: int) -> Self:
        """The spectrum of log growth (T', B, k) over intervals of `every` steps."""
        growth = growth / every
        per_sequence = growth.mean(0)
        order = _mean(per_sequence, per_sequence).argsort(descending=True, stable=True)
        growth, per_sequence = growth[..., order], per_sequence[:, order]
        counts = torch.arange(1, len(growth) + 1, dtype=growth.dtype, device=growth.device)
        running = _mean(growth.movedim(1, 0), per_sequence).cumsum(0) / counts[:, None]
        return cls(per_sequence, _standard_error(growth, per_sequence), running)

    @property
    def exponents(self) -> Tensor:
        """(k,) mean over the sequences that stayed finite, largest first; NaN if none did."""
        return _mean(self.per_sequence, self.per_sequence)

    @property
    def diverged(self) -> Tensor:
        """(B,) whether a sequence's state was not finite."""
        return self.per_sequence.isnan().any(-1)

    @property
    def lost(self) -> int:
        """Number of exponents that are -inf."""
        return int(self.exponents.isneginf().sum())

    @property
    def entropy_rate(self) -> float:
        """Sum of the positive exponents, an upper bound of the entropy rate (Ruelle 1978; Pesin 1977)."""
        return float(self.exponents.clamp(min=0).sum())

    @property
    def kaplan_yorke_dimension(self) -> float:
        """Kaplan and Yorke 1979; 0 if all exponents are negative, k if their sum is not, NaN if they are."""
        return kaplan_yorke_dimension(self.exponents.tolist())


def kaplan_yorke_dimension(exponents: list[float]) -> float:
    """J + (sum of the first j) / -(the next), j the most exponents whose sum is not negative; largest first."""
    if any(math.isnan(e) for e in exponents):
        return math.nan
    total = 0.0
    for count, exponent in enumerate(exponents):
        if total + exponent < 0:
            return count + total / -exponent
        total += exponent
    return float(len(exponents))


def _mean(values: Tensor, per_sequence: Tensor) -> Tensor:
    """Mean over the sequences (first axis of `values`) whose exponents are not NaN."""
    whole = ~per_sequence.isnan().any(-1)
    return values[whole].mean(0)


def _standard_error(growth: Tensor, per_sequence: Tensor) -> Tensor:
    """Of the mean over sequences: the larger of what their spread and what batch means along time give.

    Batch means (Flegal and Jones 2010) cut each sequence into about sqrt(T') stretches, longer than the growth
    rates stay correlated; the spread over sequences sees what differs between them for good.
    """
    whole = ~per_sequence.isnan().any(-1)
    growth, rows = growth[:, whole], per_sequence[whole]
    if not len(rows):
        return torch.full_like(per_sequence[0], torch.nan)
    batches = max(2, math.isqrt(len(growth)))
    length = len(growth) // batches
    if length == 0:
        return torch.full_like(per_sequence[0], torch.nan)
    means = growth[: batches * length].unflatten(0, (batches, length)).mean(1)
    error = (means.var(0).mean(0) / (batches * len(rows))).sqrt()
    if len(rows) > 1:
        error = torch.maximum(error, rows.std(0) / len(rows) ** 0.5)
    return torch.where(rows.isfinite().all(0), error, torch.nan)
