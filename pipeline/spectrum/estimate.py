"""Exponents from the growth of deviations, with their errors, confidence intervals, dimension and entropy rate."""

import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ..core.dimension import kaplan_yorke_dimension
from ..core.errors import ModuleError
from ..core.numbers import count
from . import shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BATCHES = 6  # batches of time steps: few and long, so that correlated growth does not extend across several of them
# The squared ratio of two components of a random direction is below this in two of three cases (F, 1 and 1 degrees of freedom),
# so that the alignment error is, like a standard error, one that is not exceeded in about two of three cases.
RATIO = 3.0
LOWEST = -1e3  # nats per step, below the log of any float64; stands for -inf where exponents are subtracted
# An alignment error is worth a warning above this many nats per step, this share of the exponent, and the standard error.
NOTICED, NOTICED_SHARE = 1e-3, 0.02


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """Lyapunov exponents of a driven map, nats per step, largest first.

    Attributes:
        per_sequence: (B, k) exponents of each sequence, in the order of `exponents`; -inf for a direction that the map
            annihilates or shrinks below the rounding of one step, NaN for a sequence whose state was not finite.
        standard_error: (k,) sampling error of `exponents`; NaN where those are not finite.
        degrees_of_freedom: (k,) degrees of freedom of `standard_error`, for Student's t; NaN where that is NaN.
        history: (T, k) running estimate of `exponents` after each counted step.
        rounding_error: (k,) estimate of the error that rounding added to `exponents`; inf where the computation may have
            lost a direction that the map keeps; NaN if unknown. The estimate follows an error through the next
            reorthonormalisation. Two effects are not included: later steps may amplify the rotation that an error causes
            among directions that grow alike, or temporarily against their order (the trailing exponents of short runs
            may then change more, within their standard errors); and the Jacobian itself may have lost digits, as where a
            unit is saturated beyond 1 - tanh = eps.
        alignment_error: (k,) estimate of the error of `exponents` because their directions still turned while growth was
            counted, see `alignment_error`; NaN where those are not finite, and if the transient is not known.
        state_size: S; with fewer exponents than that the spectrum is truncated.
        converged: whether the standard error and the alignment error of the largest exponent fell below the requested
            tolerance (False if the inputs ended first); None if no tolerance was requested.
        local: (T', B, k) finite-time exponents along the trajectory, if requested.
        vectors: (T', B, k, S) covariant vectors along the trajectory, if requested.
        transient: number of steps before the counted ones; None if not known.
    """

    per_sequence: Tensor
    standard_error: Tensor
    degrees_of_freedom: Tensor
    history: Tensor
    rounding_error: Tensor
    alignment_error: Tensor
    state_size: int
    converged: bool | None = None
    local: Tensor | None = None
    vectors: Tensor | None = None
    transient: int | None = None

    @classmethod
    def from_growth(
        cls,
        growth: Tensor,
        *,
        transient: int | None = None,
        lengths: Tensor | None = None,
        state_size: int | None = None,
        rounding_error: Tensor | None = None,
        converged: bool | None = None,
        local: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Self:
        """The spectrum from log growth (T, B, k) in nats per step, with one row per counted step.

        The deviations may be in any order; everything with an axis k is sorted together with the exponents. `transient` is
        the number of steps for which they had followed the map before, from a random start; without it, the alignment error
        is NaN. With `lengths` (B,), only so many steps of each sequence are counted, and `local` is NaN after them. The
        state's size defaults to k, a complete spectrum.
        """
        counted = torch.arange(len(growth), device=growth.device)[:, None] < (len(growth) if lengths is None else lengths)
        if lengths is not None:
            growth = torch.where(counted[..., None], growth, 0.0)
            local = None if local is None else torch.where(counted[..., None], local, torch.nan)
        counts = counted.cumsum(0).to(growth)[..., None]  # (T, B or 1, 1) steps counted so far
        per_sequence = growth.sum(0) / counts[-1]
        order = _mean(per_sequence, per_sequence).argsort(descending=True, stable=True)
        growth, per_sequence = growth[..., order], per_sequence[:, order]
        error, freedom = _standard_error(growth[: int(counts[-1].min())], per_sequence)
        size = len(order) if state_size is None else state_size
        aligning = torch.full_like(error, torch.nan)
        if transient is not None:
            steps = 1 / float(counts[-1].reciprocal().mean())  # the mean error of sequences of unequal length
            aligning = alignment_error(_mean(per_sequence, per_sequence), size, transient, steps)
        return cls(
            per_sequence=per_sequence,
            standard_error=error,
            degrees_of_freedom=freedom,
            history=_mean((growth.cumsum(0) / counts).movedim(1, 0), per_sequence),
            rounding_error=torch.full_like(error, torch.nan) if rounding_error is None else rounding_error[order],
            alignment_error=aligning,
            state_size=size,
            converged=converged,
            local=None if local is None else local[..., order],
            vectors=None if vectors is None else vectors[..., order, :],
            transient=transient,
        )

    def __repr__(self) -> str:
        """Number and largest of the exponents with its 95 % interval, steps, sequences and what went wrong, in one line."""
        (low, high), largest = self.confidence_interval()[:, 0].tolist(), float(self.exponents[0])
        interval = "error unknown" if math.isnan(low) else f"{low:.4g} to {high:.4g}"
        number, sequences = self.per_sequence.shape[1], len(self.per_sequence)
        diverged, turning = int(self.diverged.sum()), int((~self.aligned).sum())
        parts = [
            (f"{number} of " if number < self.state_size else "") + f"{self.state_size} exponent{'s' * (self.state_size != 1)}",
            f"largest {largest:.4g} ({interval})",
            f"{self.steps} step{'s' * (self.steps != 1)} of {sequences} sequence{'s' * (sequences != 1)}",
            *([f"{diverged} diverged"] if diverged else []),
            *([f"{turning} not aligned"] if turning else []),
        ]
        return f"Spectrum({'; '.join(parts)})"

    @property
    def exponents(self) -> Tensor:
        """(k,) means over the sequences that stayed finite, largest first; NaN if none did."""
        return _mean(self.per_sequence, self.per_sequence)

    @property
    def steps(self) -> int:
        """Number of counted steps, T."""
        return len(self.history)

    @property
    def diverged(self) -> Tensor:
        """(B,) whether a sequence's state was not finite."""
        return self.per_sequence.isnan().any(-1)

    @property
    def lost(self) -> int:
        """Number of exponents that are -inf."""
        return int(self.exponents.isneginf().sum())

    @property
    def aligned(self) -> Tensor:
        """(k,) False where the alignment error exceeds the standard error, 1e-3 nats per step and 2 % of the exponent.

        True where the alignment error is NaN, or the upper bound next to a single exponent of several.
        """
        if len(self.alignment_error) == 1 < self.state_size:
            return torch.ones_like(self.alignment_error, dtype=torch.bool)
        return _aligned(self.alignment_error, self.standard_error, self.exponents)

    def confidence_interval(self, level: float = 0.95) -> Tensor:
        """Lower and upper ends (2, k) of the exponents' confidence intervals; NaN where not finite.

        The half width is the root of the sum of two squares: the standard error times a quantile of Student's t, and the
        alignment error, if known, times one of the normal distribution.

        In simulations of 80 to 2,000 steps and 1 to 15 sequences, 95 % intervals cover the true value in 92 to 99 % of
        the runs: for independent growth, for growth with a correlation of -0.5, 0.5 or 0.9 from step to step, and for
        sequences that share most of their fluctuations. Where the deviations have not aligned, as in state space models
        and slow networks, they cover it in 93 to 100 %; the standard error alone would cover some first exponents in less
        than 10 % (`docs/coverage.md`).

        They are too narrow for a single sequence shorter than about 15 times the time in which the correlation falls to
        1 / e (with a correlation of 0.9, they cover 83 % at 80 steps and 89 % at 120), and where the state is not yet typical:
        for leaky networks of gain 2 and 1 / leak = 100 steps that start at 0, they cover 30 % of the first exponents after
        300 steps. They are about three times too wide if growth is compensated later, as for the logistic map at 4, where
        the mean converges faster than batches can show. Rounding is not included.

        Raises:
            ModuleError: if level is not between 0 and 1.
        """
        from scipy.special import ndtri, stdtrit  # imported here because it takes 0.17 s and measuring does not need it

        if not isinstance(level, Real) or not 0 < level < 1:
            raise ModuleError(f"level is {level!r}; it should be between 0 and 1")
        quantiles = stdtrit(self.degrees_of_freedom.cpu().numpy(), (1 + level) / 2)
        sampling = torch.from_numpy(quantiles).to(self.standard_error) * self.standard_error
        half = torch.hypot(sampling, float(ndtri((1 + level) / 2)) * self.alignment_error.nan_to_num(0.0))
        return torch.stack([self.exponents - half, self.exponents + half])

    def to_dict(self) -> dict[str, Any]:
        """The spectrum as plain numbers and lists, for JSON; None for a number that is NaN or infinite (`lost` counts -inf).

        `low` and `high` are the ends of the 95 % intervals, `diverged` is a list of truth values, one per sequence. `history`,
        `local` and `vectors` are left out.
        """
        columns = {name: shown.plain(values) for name, values in self._columns().items()}
        return (
            {"exponents": columns.pop("exponent")}
            | columns
            | {
                "per_sequence": shown.plain(self.per_sequence),
                "state_size": self.state_size,
                "steps": self.steps,
                "transient": self.transient,
                "diverged": self.diverged.tolist(),
                "lost": self.lost,
                "converged": self.converged,
                "entropy_rate": shown.plain(self.entropy_rate),
                "kaplan_yorke_dimension": shown.plain(self.kaplan_yorke_dimension),
            }
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per exponent, largest first: exponent, standard_error, low, high, rounding_error, alignment_error.

        All are in nats per step; `low` and `high` are the ends of the 95 % interval.

        Raises:
            ModuleError: pandas is not installed.
        """
        return shown.frame(self._columns())

    def _columns(self) -> dict[str, Tensor]:
        low, high = self.confidence_interval()
        return {
            "exponent": self.exponents,
            "standard_error": self.standard_error,
            "low": low,
            "high": high,
            "rounding_error": self.rounding_error,
            "alignment_error": self.alignment_error,
        }

    def plot(self, ax: "Axes | None" = None, path: str | Path | None = None, *, length: int | None = None) -> "Axes":
        """Draw the exponents against their rank, with 95 % intervals and lines at 0 and at -1 / length.

        A direction above -1 / length shrinks by less than a factor e in a sequence of `length` steps: it remembers the sequence.
        The vertical axis is linear around 0 and logarithmic beyond. Exponents of -inf are counted in the figure, not drawn.

        Args:
            ax: where to draw; by default in a new figure, which `pyplot` does not know (show or save it as `.figure`).
            path: where to save the figure, such as "spectrum.png".
            length: steps of a sequence; by default those that were measured, with the transient.

        Returns:
            The axes.

        Raises:
            ModuleError: matplotlib is not installed, an argument is not as above, or the file cannot be written.
        """
        steps = self.steps + (self.transient or 0) if length is None else count("length", length)
        ax = shown.axes_for(ax)
        shown.spectrum_on(ax, self, steps)
        return shown.save(ax, path)

    @property
    def entropy_rate(self) -> float:
        """Sum of the positive exponents, an upper bound of the entropy rate (Ruelle 1978; Pesin 1977).

        NaN for a truncated spectrum whose last exponent is positive, since further positive ones may follow.
        """
        exponents = self.exponents
        if len(exponents) < self.state_size and exponents[-1] > 0:
            return math.nan
        return float(exponents.clamp(min=0).sum())

    @property
    def kaplan_yorke_dimension(self) -> float:
        """The dimension of Kaplan and Yorke (1979): 0 if all exponents are negative, S if their sum is not negative.

        NaN if an exponent is NaN, and for a truncated spectrum whose sum is not negative: then the dimension is only known
        to be at least k.
        """
        return kaplan_yorke_dimension(self.exponents.tolist(), self.state_size)


def largest_standard_error(growth: Tensor) -> float:
    """Standard error of the largest exponent of log growth (T, B, k), as `Spectrum.from_growth` computes it.

    It is an estimate, so the more often it is checked, the sooner it is small by chance. With a check at 60 lengths, 95 %
    intervals of single sequences covered the true value in 85 % of simulated runs; with checks at doubled lengths only,
    in 90 %. With four or more sequences nothing is lost (96 %).
    """
    per_sequence = growth.mean(0)
    largest = _mean(per_sequence, per_sequence).argmax()[None]
    whole = ~per_sequence.isnan().any(-1)
    return float(_standard_error(growth[:, whole][..., largest], per_sequence[whole][:, largest])[0])


def largest_alignment_error(growth: Tensor, size: int, transient: int) -> float:
    """Alignment error of the largest exponent of log growth (T, B, k), as `Spectrum.from_growth` computes it."""
    per_sequence = growth.mean(0)
    exponents = _mean(per_sequence, per_sequence).sort(descending=True).values
    return float(alignment_error(exponents, size, transient, len(growth))[0])


def alignment_error(exponents: Tensor, size: int, transient: int, steps: float) -> Tensor:
    """(k,) estimate of the error of exponents, nats per step, because their directions still turned during the counted steps.

    A deviation with components v_j along the directions of a map with exponents l_j has the length

        log |v(t)| = l_1 t + log |v_1| + c(t),  c(t) = log(1 + sum_j (v_j / v_1)^2 exp(-2 (l_1 - l_j) t)) / 2,

    if the directions are orthogonal and the rates constant, so that its mean growth over T steps after a transient of t is
    too small by (c(t) - c(t + T)) / T. The estimate is this difference for every exponent i, with |l_i - l_j| in place of
    l_1 - l_j and, as the start is random, `RATIO` in place of the squared ratios. Equal exponents add nothing: growth is
    right whatever the mixture of their directions.

    The exponents that a truncated spectrum lacks are taken to continue at the mean distance of those that it has. Next to a
    single exponent nothing is known of them: they then count fully at the beginning and not at all at the end, which is an
    upper bound.

    The distances are the measured ones, which misalignment makes smaller; oblique directions align later than orthogonal ones,
    and directions that each step turns at random, as in chaos, sooner. `docs/coverage.md` shows how the intervals fare.

    Args:
        exponents: (k,) largest first.
        size: S, the number of all exponents.
        transient: number of steps from a random start to the first counted one.
        steps: number of counted steps.

    Returns:
        The errors; NaN where an exponent is not finite.
    """
    count = len(exponents)
    finite = exponents.clamp(min=LOWEST)
    apart, beyond = (finite[:, None] - finite).abs(), finite - finite[-1]
    nearest, farthest = (float(beyond[0]) / (count - 1),) * 2 if count > 1 else (0.0, math.inf)
    following = torch.arange(1, size - count + 1, dtype=exponents.dtype, device=exponents.device)

    def lead(time: float, distance: float) -> Tensor:
        others = (-2 * time * apart).exp().sum(1) - 1
        others = others + (-2 * time * beyond).exp() * (-2 * time * distance * following).exp().sum()
        return (RATIO * others).log1p() / 2

    turned = lead(transient, nearest) - lead(transient + steps, farthest)
    error = turned.clamp(min=0) / steps  # below 0 by rounding at most
    return torch.where(exponents.isfinite(), error, torch.nan)


def aligning_steps(spectrum: Spectrum) -> tuple[int, int] | None:
    """Transient and total steps with which all exponents of a spectrum would be `aligned`, if they are as measured.

    The first that suffices of 3 and 4 tenths of the steps that were measured, of twice as many and so on to the thousandfold;
    None if none does.
    """
    measured = (spectrum.transient or 0) + spectrum.steps
    exponents = spectrum.exponents
    for steps in (measured * 2**doublings for doublings in range(11)):
        for transient in (3 * steps // 10, 4 * steps // 10):
            counted = steps - transient
            error = alignment_error(exponents, spectrum.state_size, transient, counted)
            sampling = spectrum.standard_error * (spectrum.steps / counted) ** 0.5
            if _aligned(error, sampling, exponents).all():
                return transient, steps
    return None


def _aligned(error: Tensor, sampling: Tensor, exponents: Tensor) -> Tensor:
    """(k,) whether an alignment error is below the sampling error or too small to be noticed; True where it is NaN."""
    limit = torch.maximum(sampling.nan_to_num(0.0), NOTICED_SHARE * exponents.abs()).clamp(min=NOTICED)
    return ~(error > limit)


def _mean(values: Tensor, per_sequence: Tensor) -> Tensor:
    """Mean over the sequences (first axis of `values`) whose exponents are not NaN."""
    whole = ~per_sequence.isnan().any(-1)
    return values[whole].mean(0)


def _standard_error(growth: Tensor, per_sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Standard error of the mean over sequences, and its degrees of freedom, (k,) each: the larger of two estimates.

    One estimate is from batches of time steps, averaged over all sequences; it is valid even if the sequences share their
    driving input (batch means, Schmeiser 1982). The other is from the sequences, averaged over all time; it is valid even
    if the sequences differ systematically, or if growth stays correlated for as long as they last. Of sequences of unequal
    length, the batches hold the steps that all have.
    """
    whole = ~per_sequence.isnan().any(-1)
    rows = per_sequence[whole]
    samples = [s for s in (_batch_means(growth[:, whole].mean(1)), rows) if len(s) > 1]
    if not samples:
        unknown = torch.full_like(per_sequence[0], torch.nan)
        return unknown, unknown
    error, larger = torch.stack([s.std(0) / len(s) ** 0.5 for s in samples]).max(0)
    freedom = torch.tensor([len(s) - 1 for s in samples], dtype=error.dtype, device=error.device)[larger]
    known = rows.mean(0).isfinite()
    return torch.where(known, error, torch.nan), torch.where(known, freedom, torch.nan)


def _batch_means(growth: Tensor) -> Tensor:
    """Means (BATCHES, k) over equal batches of the last steps of growth (T, k); each step is a batch if T < BATCHES."""
    batches = min(BATCHES, len(growth))
    length = len(growth) // batches
    return growth[-batches * length :].unflatten(0, (batches, length)).mean(1)
