"""How deviations grow along the trajectories of many networks: the engine of all spectra."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .. import execution
from .piece import BLOCK, Growth, Piece
from .tangent import Map, Tangent

ACCURACY = 1e-5  # nats per step; statistics of some hundred steps leave ten times that uncertain at best
# Bytes of the deviations that a thread works on at a time; 2**20 to 2**23 came out alike, and less means less memory.
PIECE = 2**22
# Numbers in all deviations, times S, below which a second thread costs more than it brings.
SERIAL = 2**23

_lock = threading.Lock()
_before: list[int] = []  # torch's number of threads before each of the blocks that run now


@torch.no_grad()
def growth(
    map: Map | Any,
    params: Any,
    state: Tensor,
    inputs: Tensor,
    count: int,
    *,
    transient: int,
    every: int | None = None,
    accuracy: float = ACCURACY,
) -> Growth:
    """Log growth of the deviations of M networks driven by the same inputs, over the steps after the transient.

    Args:
        map: with a method step(params, state (B, S), x (B, I)) -> state (B, S) for one network, or such a function itself;
            sequences must not mix. If it says `by_hand`, its `linearise` and `push` (see `tangent.Map`)
            are the derivative.
        params: tensors, or dicts and lists of tensors, with M in front.
        state: (M, B, S); its dtype is that of the computation.
        inputs: (T, B, I).
        count: k.
        transient: steps that are not counted.
        every: steps between reorthonormalisations; None takes as many as keep the rounding error below `accuracy`, up to 16.
        accuracy: nats per step.

    Returns:
        Growth of T - transient steps; that of an interval is spread over its steps. -inf where a direction is lost,
        NaN from the step on at which a state is not finite, and over intervals in which a deviation is not.
    """
    ensemble = Ensemble(Tangent(map, params), state, count, every=every, accuracy=accuracy)
    with ensemble.threads():
        if transient:
            ensemble.advance(inputs[:transient])
        return ensemble.advance(inputs[transient:])


class Ensemble:
    """M networks with their states and deviations, in pieces that fit the cache; `advance` moves them through inputs."""

    def __init__(
        self, tangent: Tangent, state: Tensor, count: int, *, every: int | None, accuracy: float, longest: int = BLOCK
    ) -> None:
        """Arguments as those of `growth`; an interval that is chosen is at most the `longest`."""
        models, sequences, size = state.shape
        basis = random_basis(size, count, state)
        apart = tangent.by_hand and state.device.type == "cpu"
        numbers = basis.numel() * models * sequences
        self._shape = (models, sequences, count)
        self._threads = (torch.get_num_threads() if numbers * size > SERIAL else 1) if apart else 0
        rows = max(1, PIECE // (basis.numel() * basis.element_size())) if apart else models * sequences
        rows = min(rows, math.ceil(models * sequences / max(1, self._threads)))
        self._pieces = [
            (m, b, Piece(tangent.of(m), state[m, b], basis, every, accuracy, longest)) for m, b in _cut(models, sequences, rows)
        ]

    def advance(self, inputs: Tensor) -> Growth:
        """Growth over the inputs (T, B, I); the next call goes on from there."""

        def work(piece: tuple[slice, slice, Piece]) -> Growth:
            return piece[2].advance(inputs[:, piece[1]])

        if self._threads > 1:
            parts = execution.threads(work, self._pieces, self._threads, start=lambda: torch.set_num_threads(1))
        else:
            parts = [work(piece) for piece in self._pieces]
        per_step = parts[0].per_step.new_empty(len(inputs), *self._shape)
        error = per_step.new_empty(self._shape)
        for (m, b, _), part in zip(self._pieces, parts, strict=True):
            per_step[:, m, b], error[m, b] = part.per_step, part.rounding_error
        return Growth(per_step, error)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """A block in which torch's operations use one thread each, if pieces of work go to threads instead.

        Products of these sizes gain little from more; and a thread that waits for its share keeps a core from the others.
        """
        if not self._threads:
            yield
            return
        with _lock:
            _before.append(torch.get_num_threads())
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with _lock:  # the number is one for all of the process: the last block to end restores what the first one found
                last = _before.pop()
                if not _before:
                    torch.set_num_threads(last)


def _cut(models: int, sequences: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Networks and sequences in pieces of about `rows` of them, whole networks if possible."""
    if rows >= sequences:
        across = rows // sequences
        yield from ((slice(m, m + across), slice(0, sequences)) for m in range(0, models, across))
        return
    along = math.ceil(sequences / math.ceil(sequences / rows))
    for m in range(models):
        yield from ((slice(m, m + 1), slice(b, b + along)) for b in range(0, sequences, along))


def random_basis(size: int, count: int, like: Tensor) -> Tensor:
    """Random orthonormal rows (k, S), always the same: the unit vectors would follow the layers of a stack."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(size, size, generator=generator, dtype=torch.float64, device="cpu")[:count]
    return torch.linalg.qr(random.T)[0].T.to(like)  # drawn whole, so that the first rows do not depend on how many are asked
