"""A few networks and sequences with their deviations, moved through time block by block."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .estimate import BATCHES
from .reorthonormalise import reorthonormalise, reorthonormalise_fast
from .tangent import Tangent

BLOCK = 16  # steps at most that are done again, at a shorter interval, if rounding errs too far in them
FIRST = 4  # steps of the very first block, in which the interval is still 1
# How far rows may be from orthonormal: a little is paid back at the next reorthonormalisation, more adds up.
SKEW = 0.1
# Share of sequences left to Householder's from which a shorter interval is faster.
MENDED = 1 / 8
# Random vectors of rounding errors that are followed through a reorthonormalisation.
PROBES = 2
# Units roundoff in a deviation after an interval: so the error comes out as measured against `every=1` on LSTM, GRU and RNN.
ROUNDED = 3


@dataclass(frozen=True)
class Growth:
    """Growth of deviations, axes as `growth` says.

    Attributes:
        per_step: (T, M, B, k) log growth, nats per step.
        rounding_error: (M, B, k) what rounding may have added to the mean of it, nats per step.
    """

    per_step: Tensor
    rounding_error: Tensor


@dataclass(frozen=True)
class Done:
    """A block's growth (T, M, B, k), the sum of its intervals' rounding errors (M, B, k), the new basis, the share mended."""

    log: Tensor
    error: Tensor
    basis: Tensor
    mended: float


class Piece:
    """Some networks, some sequences: state (M, B, S), an orthonormal basis (M, B, k, S)."""

    def __init__(
        self, tangent: Tangent, state: Tensor, basis: Tensor, every: int | None, accuracy: float, longest: int = BLOCK
    ) -> None:
        self.tangent, self.state, self.accuracy = tangent, state, accuracy
        self.alive = torch.ones_like(state[..., 0], dtype=torch.bool)
        self.bases = [basis.repeat(*state.shape[:2], 1, 1)]  # a copy in any case: what others begin with must not change
        self.adaptive, self.every, self.most, self.longest = every is None, every or 1, longest, longest
        self.looks = state.device.type == "cpu"  # elsewhere looking at a number waits for the device
        self.signs = _signs(self.bases[0].flatten(0, 1))
        self.rest, self.patience = 0, 1  # blocks before a longer interval is tried again: now, and after the last failure

    @torch.no_grad()
    def advance(self, inputs: Tensor) -> Growth:
        """Growth over inputs (T, B, I), block by block."""
        if self.adaptive:
            lengths: int | list[int] = _blocks(len(inputs), FIRST if self.every == 1 else 0)
        else:
            lengths = self.every * max(1, BLOCK // self.every)
        self.bases += [torch.empty_like(self.bases[0]) for _ in range(2)]  # only while the piece is worked on
        done = [self._block(part) for part in inputs.split(lengths)]
        per_step = torch.cat([log for log, _ in done])
        per_step[-1] += self._settle()
        del self.bases[1:]
        error = torch.stack([error for _, error in done]).sum(0) / len(inputs)
        return Growth(per_step, error)

    def _block(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Growth (T, M, B, k) and the sum of the intervals' rounding errors (M, B, k)."""
        states = self.tangent.trajectory(self.state, inputs)
        alive = self.alive & ((~states.isfinite().all(-1)).cumsum(0) == 0)
        states = torch.where(alive[..., None], states, 0.0)
        done = self._attempts(self.tangent.linearise(states, inputs), alive[-1])
        self.state, self.alive = states[-1], alive[-1]
        self.bases = [done.basis] + [basis for basis in self.bases if basis is not done.basis]
        return torch.where(alive[1:, ..., None], done.log, torch.nan), done.error

    def _attempts(self, linear: list[Any], alive: Tensor) -> Done:
        """What `_attempt` gives at the longest interval that is accurate for what is `alive` (M, B); sets the next block's."""
        while True:
            done = self._attempt(linear, mend=self.looks) or self._attempt(linear, mend=True)
            assert done is not None  # what is mended never fails
            error = torch.where(alive[..., None], done.error, 0.0).mean(1).max().item() / len(linear)  # for each network
            good = error <= self.accuracy or self.every == 1 or not self.adaptive
            if self.adaptive and (not good or (done.mended > MENDED and self.every > 1)):
                self._shorten(error)
            elif self.adaptive:
                self._lengthen(error)
            if good:
                return done

    def _shorten(self, error: float) -> None:
        """Set an interval shorter than this one, which is tried again after ever more blocks."""
        self.every = self.most = min(self._fitting(error) if math.isfinite(error) else BLOCK, max(1, self.every * 2 // 3))
        self.patience *= 2
        self.rest = self.patience

    def _lengthen(self, error: float) -> None:
        """Set the interval for the next block from this one's error."""
        self.rest -= 1
        if self.rest < 0:
            self.most = min(self.longest, self.most + 1)
        self.every = self._fitting(error)

    def _fitting(self, error: float) -> int:
        """The interval at which the error (nats per step, at the present interval) would be just below `accuracy`.

        What a deviation outgrows its own direction by, and so the logarithm of the error, grows with the interval.
        """
        unit = ROUNDED * torch.finfo(self.state.dtype).eps * self.state.shape[-1] ** -0.5
        excess, allowed = (math.log(max(e * self.every / unit, 2.0)) for e in (error, self.accuracy / 2))
        return max(1, min(int(self.every * allowed / excess), 4 * self.every, self.most))

    def _attempt(self, linear: list[Any], *, mend: bool) -> Done | None:
        """The deviations through a block; None if that failed.

        What does not `mend` looks at the numbers once, at the end.
        """
        source, target, spare = self.bases
        logs, errors, well = [], [], []  # well: (N,) whether the fast way did it
        for begin, end in pairwise(_ends(len(linear), self.every)):
            for step in linear[begin:end]:
                self.tangent.push(step, source, target)
                source, target = target, spare if source is self.bases[0] else source
            log, error, fine = _grown(source, self.signs, target if mend else None)
            logs += [log / (end - begin)] * (end - begin)
            exact = end - begin == 1 and log.dtype == torch.float64  # else a direction may be lost to rounding
            errors.append(error if exact else error.masked_fill(~log.isfinite(), torch.inf))
            well.append(fine)
        failed = 1 - torch.stack(well).double().mean().item()
        return None if failed and not mend else Done(torch.stack(logs), torch.stack(errors).sum(0), source, failed)

    def _settle(self) -> Tensor:
        """What the next reorthonormalisation would add to the growth so far, (M, B, k)."""
        return _grown(self.bases[0], self.signs, self.bases[1])[0]


def _grown(deviations: Tensor, signs: Tensor, copy: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Make deviations (M, B, k, S) orthonormal in place; log growth, its rounding error (M, B, k), and which (N,) went well.

    A deviation's rounding error is of its length's order and points anywhere, so the part of it that is along any one
    direction is sqrt(S) times smaller; random `signs` (P, k) stand for it. Given room for a copy, what does not go well the
    fast way is done by Householder's.
    """
    rows = deviations.flatten(0, 1)
    lengths = torch.linalg.vector_norm(rows, dim=-1)
    if copy is not None:
        copy.copy_(deviations)
    unit, size = torch.finfo(rows.dtype).eps, rows.shape[-1]
    errors = lengths[:, None] * (ROUNDED * unit * (size * PROBES) ** -0.5 * signs)
    probe = errors.clone()
    grown, fine = reorthonormalise_fast(rows, probe)
    skew = torch.hypot(*(torch.bmm(torch.bmm(signs, rows), rows.mT) - signs).unbind(1))  # of Q Q^T - 1, row by row
    fine = fine & (skew < SKEW).all(-1) & (lengths / grown < 1 / (size * unit)).all(-1)
    log = grown.log()
    if copy is not None and not fine.all():
        rows[~fine], log[~fine], probe[~fine] = _mended(copy.flatten(0, 1)[~fine], errors[~fine])
    shape = deviations.shape[:3]
    return log.view(shape), torch.hypot(*probe.unbind(1)).view(shape), fine


def _mended(deviations: Tensor, probe: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Householder's basis (N, k, S) and growth (N, k) of deviations, and what comes of the probe (N, P, k); 0 where lost."""
    basis, log = reorthonormalise(deviations)
    triangle = (deviations @ basis.mT).tril()
    known = log.isfinite()
    alone = torch.eye(triangle.shape[-1], dtype=triangle.dtype, device=triangle.device)
    triangle = torch.where(known[..., None], triangle, alone)
    probe = torch.linalg.solve_triangular(triangle.mT, torch.where(known[:, None], probe, 0.0), upper=True, left=False)
    return basis, log, probe.nan_to_num(torch.inf)


def _signs(deviations: Tensor) -> Tensor:
    """Random signs (N, P, k) for deviations (N, k, S), the same for every sequence and at every call."""
    generator = torch.Generator().manual_seed(0)
    signs = 2 * torch.randint(2, (PROBES, deviations.shape[1]), generator=generator) - 1
    return signs.to(deviations).expand(len(deviations), -1, -1).contiguous()


def _blocks(steps: int, first: int) -> list[int]:
    """Lengths of blocks that end where the stretches do from which standard errors come, and after the `first` steps.

    Growth is spread evenly over an interval: one across two stretches would make them more alike than they are.
    """
    stretch = max(1, steps // BATCHES)
    marks = sorted({0, min(first, steps), *range(steps, 0, -stretch)})
    return [b - a for begin, end in pairwise(marks) for a, b in pairwise(_ends(end - begin, BLOCK))]


def _ends(steps: int, every: int) -> list[int]:
    """Where intervals of at most `every` steps, as even as may be, begin and end."""
    pieces = math.ceil(steps / every)
    return [round(piece * steps / pieces) for piece in range(pieces + 1)]
