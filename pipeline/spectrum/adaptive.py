"""Trajectories with their deviations, advanced block by block at reorthonormalisation intervals chosen for accuracy."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..core.graphs import Replayed
from ..core.progress import Advance, ignore
from .estimate import BATCHES
from .reorthonormalise import reorthonormalise, reorthonormalise_fast
from .tangent import Tangent

BLOCK = 16  # largest number of steps in a block, the unit that is repeated at a shorter interval if rounding errs too far
FIRST_BLOCK = 4  # steps in the very first block, where the interval is still 1
# How far rows may be from orthonormal. The next reorthonormalisation makes up for a small deviation; a larger one accumulates.
SKEW = 0.1
# If more than this share of sequences falls back to Householder QR, a shorter interval is faster.
REPAIRED_SHARE = 1 / 8
# Number of random vectors of rounding errors that are followed through a reorthonormalisation.
PROBES = 2
# Unit roundoffs in a deviation after an interval; makes the estimate agree with `every=1` on LSTM, GRU and RNN.
ROUNDED = 3


@dataclass(frozen=True)
class Growth:
    """Growth of deviations, with the axes of `engine.growth`.

    Attributes:
        per_step: (T, M, B, k) log growth, nats per step.
        rounding_error: (M, B, k) how much rounding may have changed its mean over the steps, nats per step.
    """

    per_step: Tensor
    rounding_error: Tensor

    def cpu(self) -> "Growth":
        """The same on the CPU."""
        return Growth(self.per_step.cpu(), self.rounding_error.cpu())


@dataclass(frozen=True)
class BlockResult:
    """What one block of steps gives.

    Attributes:
        log: (T, M, B, k) log growth.
        error: (M, B, k) sum of the rounding errors of the block's intervals.
        basis: (M, B, k, S) the new orthonormal basis.
        repaired: share of the reorthonormalisations that had to be repeated by Householder QR.
        worst: the largest error per step, over networks and exponents, of the mean over the sequences that are alive.
    """

    log: Tensor
    error: Tensor
    basis: Tensor
    repaired: float
    worst: float


class Trajectories:
    """The trajectories of some networks and sequences: state (M, B, S) and orthonormal basis (M, B, k, S)."""

    def __init__(
        self,
        tangent: Tangent,
        state: Tensor,
        basis: Tensor,
        every: int | None,
        accuracy: float,
        longest: int = BLOCK,
        advanced: Advance = ignore,
    ) -> None:
        self.advanced = advanced  # is called with the number of steps of each block that is done
        self.tangent, self.state, self.accuracy = tangent, state, accuracy
        self.alive = torch.ones_like(state[..., 0], dtype=torch.bool)
        self.bases = [basis.repeat(*state.shape[:2], 1, 1)]  # always a copy: the caller's basis must not change
        self.adaptive, self.every, self.most, self.longest = every is None, every or 1, longest, longest
        self.inspects = state.device.type == "cpu"  # on other devices, reading a number waits for the device
        self.repaired = False  # whether the last block had to be repaired, so that the next one will have to be, too
        self.signs = _signs(self.bases[0].flatten(0, 1))
        self.reorthonormalise = Replayed(partial(_reorthonormalise_in_place, signs=self.signs, copy=None), writes=True)
        step = tangent.stepping(state)
        self.step = Replayed(step) if tangent.by_hand else step  # a user's step may do what no graph repeats
        # Blocks to wait until a longer interval is tried again: still to go, and in total after the last failure.
        self.wait, self.patience = 0, 1

    @torch.no_grad()
    def advance(self, inputs: Tensor) -> Growth:
        """Growth over inputs (T, B, I), block by block."""
        if self.adaptive:
            lengths: int | list[int] = _block_lengths(len(inputs), FIRST_BLOCK if self.every == 1 else 0)
        else:
            lengths = self.every * max(1, BLOCK // self.every)
        self.bases += [torch.empty_like(self.bases[0]) for _ in range(2)]  # buffers, held only during this call
        blocks = [self._block(part) for part in inputs.split(lengths)]
        per_step = torch.cat([log for log, _ in blocks])
        per_step[-1] += self._remaining_growth()
        del self.bases[1:]
        error = torch.stack([error for _, error in blocks]).sum(0) / len(inputs)
        return Growth(per_step, error)

    def _block(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Growth (T, M, B, k) over one block, and the sum of its intervals' rounding errors (M, B, k)."""
        states = self.tangent.trajectory(self.state, inputs, self.step)
        alive = self.alive & ((~states.isfinite().all(-1)).cumsum(0) == 0)
        states = torch.where(alive[..., None], states, 0.0)
        result = self._accurate_attempt(self.tangent.linearise(states, inputs), alive[-1])
        self.state, self.alive = states[-1], alive[-1]
        self.bases = [result.basis] + [basis for basis in self.bases if basis is not result.basis]
        self.advanced(len(inputs))
        return torch.where(alive[1:, ..., None], result.log, torch.nan), result.error

    def _accurate_attempt(self, linear: list[Any], alive: Tensor) -> BlockResult:
        """The block at an interval that is accurate for all `alive` (M, B) trajectories; sets the next block's interval."""
        while True:
            result = self._attempt(linear, alive, repair=self.inspects or self.repaired)
            if result is None and self.adaptive and self.every > 1:
                self._shorten(math.inf)  # costs less than Householder QR, which CUDA computes sequence by sequence
                continue
            result = result or self._attempt(linear, alive, repair=True)
            assert result is not None  # an attempt with repair never fails
            self.repaired = result.repaired > 0
            accurate = result.worst <= self.accuracy or self.every == 1 or not self.adaptive
            if self.adaptive and (not accurate or (result.repaired > REPAIRED_SHARE and self.every > 1)):
                self._shorten(result.worst)
            elif self.adaptive:
                self._lengthen(result.worst)
            if accurate:
                return result

    def _shorten(self, error: float) -> None:
        """Set a shorter interval; each time, more blocks pass before a longer one is tried again."""
        self.every = self.most = min(self._fitting(error) if math.isfinite(error) else BLOCK, max(1, self.every * 2 // 3))
        self.patience *= 2
        self.wait = self.patience

    def _lengthen(self, error: float) -> None:
        """Set the next block's interval from the error of this one."""
        self.wait -= 1
        if self.wait < 0:
            self.most = min(self.longest, self.most + 1)
        self.every = self._fitting(error)

    def _fitting(self, error: float) -> int:
        """The interval at which the error, given in nats per step at the present interval, would be just below `accuracy`.

        The error grows with the factor by which a deviation outgrows its own direction, so its logarithm is proportional
        to the interval.
        """
        unit = ROUNDED * torch.finfo(self.state.dtype).eps * self.state.shape[-1] ** -0.5
        excess, allowed = (math.log(max(e * self.every / unit, 2.0)) for e in (error, self.accuracy / 2))
        return max(1, min(int(self.every * allowed / excess), 4 * self.every, self.most))

    def _attempt(self, linear: list[Any], alive: Tensor, *, repair: bool) -> BlockResult | None:
        """The deviations through one block, or None if a reorthonormalisation failed.

        Without `repair` the numbers are inspected only once, at the end of the block.
        """
        source, target, spare = self.bases
        logs, errors, succeeded = [], [], []  # succeeded: (N,) whether the fast reorthonormalisation was accurate
        for begin, end in pairwise(_ends(len(linear), self.every)):
            for step in linear[begin:end]:
                self.tangent.push(step, source, target)
                source, target = target, spare if source is self.bases[0] else source
            if repair:
                log, error, accurate = _reorthonormalise_in_place(source, self.signs, target)
            else:
                log, error, accurate = self.reorthonormalise(source)
            logs += [log / (end - begin)] * (end - begin)
            exact = end - begin == 1 and log.dtype == torch.float64  # otherwise a direction may be lost to rounding
            errors.append(error if exact else error.masked_fill(~log.isfinite(), torch.inf))
            succeeded.append(accurate)
        error, failed = torch.stack(errors).sum(0), 1 - torch.stack(succeeded).double().mean()
        worst = torch.where(alive[..., None], error, 0.0).mean(1).max() / len(linear)
        share, largest = torch.stack([failed, worst.double()]).tolist()
        return None if share and not repair else BlockResult(torch.stack(logs), error, source, share, largest)

    def _remaining_growth(self) -> Tensor:
        """The growth (M, B, k) that the next reorthonormalisation would still find in the nearly orthonormal basis."""
        return _reorthonormalise_in_place(self.bases[0], self.signs, self.bases[1])[0]


def _reorthonormalise_in_place(deviations: Tensor, signs: Tensor, copy: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Make deviations (M, B, k, S) orthonormal in place, and return their log growth.

    The rounding error of a deviation is of the order of its length and points in any direction, so that its component
    along one given direction is sqrt(S) times smaller. Random `signs` (N, P, k), with N = M B, stand for it.

    Args:
        deviations: (M, B, k, S).
        signs: (N, P, k), from `_signs`.
        copy: a buffer shaped like the deviations; with it, sequences for which the fast method is inaccurate are
            repaired by Householder QR.

    Returns:
        Log growth (M, B, k), its rounding error (M, B, k), and (N,) whether the fast method was accurate.
    """
    rows = deviations.flatten(0, 1)
    lengths = torch.linalg.vector_norm(rows, dim=-1)
    if copy is not None:
        copy.copy_(deviations)
    unit, size = torch.finfo(rows.dtype).eps, rows.shape[-1]
    errors = lengths[:, None] * (ROUNDED * unit * (size * PROBES) ** -0.5 * signs)
    probe = errors.clone()
    grown, accurate = reorthonormalise_fast(rows, probe)
    skew = torch.hypot(*(torch.bmm(torch.bmm(signs, rows), rows.mT) - signs).unbind(1))  # of Q Q^T - 1, row by row
    accurate = accurate & (skew < SKEW).all(-1) & (lengths / grown < 1 / (size * unit)).all(-1)
    log = grown.log()
    if copy is not None and not accurate.all():
        rows[~accurate], log[~accurate], probe[~accurate] = _householder(copy.flatten(0, 1)[~accurate], errors[~accurate])
    shape = deviations.shape[:3]
    return log.view(shape), torch.hypot(*probe.unbind(1)).view(shape), accurate


def _householder(deviations: Tensor, probe: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Basis (N, k, S) and log growth (N, k) of deviations by Householder QR, and the new probe (N, P, k), 0 where lost."""
    basis, log = reorthonormalise(deviations)
    triangle = (deviations @ basis.mT).tril()
    known = log.isfinite()
    identity = torch.eye(triangle.shape[-1], dtype=triangle.dtype, device=triangle.device)
    triangle = torch.where(known[..., None], triangle, identity)
    probe = torch.linalg.solve_triangular(triangle.mT, torch.where(known[:, None], probe, 0.0), upper=True, left=False)
    return basis, log, probe.nan_to_num(torch.inf)


def _signs(deviations: Tensor) -> Tensor:
    """Random signs (N, P, k) for deviations (N, k, S), the same for every sequence and at every call."""
    generator = torch.Generator().manual_seed(0)
    signs = 2 * torch.randint(2, (PROBES, deviations.shape[1]), generator=generator, device="cpu") - 1
    return signs.to(deviations).expand(len(deviations), -1, -1).contiguous()


def _block_lengths(steps: int, first: int) -> list[int]:
    """Lengths of blocks that end after the `first` steps and wherever a batch of the standard error's batch means ends.

    Growth is spread evenly over an interval: an interval across two batches would make them more alike than they are.
    """
    batch = max(1, steps // BATCHES)
    marks = sorted({0, min(first, steps), *range(steps, 0, -batch)})
    return [b - a for begin, end in pairwise(marks) for a, b in pairwise(_ends(end - begin, BLOCK))]


def _ends(steps: int, every: int) -> list[int]:
    """Where intervals of at most `every` steps, as equal as possible, begin and end."""
    intervals = math.ceil(steps / every)
    return [round(interval * steps / intervals) for interval in range(intervals + 1)]
