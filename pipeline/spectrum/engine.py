"""The engine of all spectra: how deviations grow along the trajectories of many networks."""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..core.progress import Advance, ignore
from .adaptive import BLOCK, Growth, Trajectories
from .tangent import Map, Tangent

ACCURACY = 1e-5  # nats per step; the sampling error of a few hundred steps is at least ten times larger
# Bytes of deviations that one thread works on at a time. 2**20 to 2**23 were equally fast, and less means less memory.
CHUNK_BYTES = 2**22
# Elements of all deviations, times S, below which a second thread costs more than it saves.
SERIAL_BELOW = 2**23

_lock = threading.Lock()
_usual: list[int] = []  # the number of threads that each `Ensemble.threads` block that is running will restore


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
        map: an object with a method step(params, state (B, S), x (B, I)) -> state (B, S) for one network, or such a
            function itself; sequences must not mix. If its attribute `by_hand` is true, its methods `linearise` and
            `push` are used as the derivative, and on a GPU its step is a graph (see `tangent.Map`).
        params: tensors, or dicts and lists of tensors, with a leading axis M.
        state: (M, B, S); its dtype is that of the computation.
        inputs: (T, B, I).
        count: k, the number of deviations.
        transient: number of steps that are run first and not counted.
        every: steps between reorthonormalisations; None chooses the longest interval, up to 16 steps, that keeps the
            rounding error below `accuracy`.
        accuracy: nats per step.

    Returns:
        Growth over T - transient steps, on the CPU whatever the device; the growth of an interval is spread evenly over its
        steps. It is -inf where a direction is lost, NaN from the step on at which a state is not finite, and NaN over
        intervals in which a deviation is not finite.
    """
    ensemble = Ensemble(Tangent(map, params), state, count, every=every, accuracy=accuracy)
    with ensemble.threads():
        if transient:
            ensemble.advance(inputs[:transient])
        return ensemble.advance(inputs[transient:]).cpu()


class Ensemble:
    """M networks with their states and deviations, cut into chunks that fit the cache; `advance` drives them with inputs."""

    def __init__(
        self,
        tangent: Tangent,
        state: Tensor,
        count: int,
        *,
        every: int | None,
        accuracy: float,
        longest: int = BLOCK,
        advanced: Advance = ignore,
    ) -> None:
        """The arguments are those of `growth`; an interval that is chosen is never longer than `longest`.

        `advanced` is called with each amount of work that is done, in steps of all trajectories.
        """
        models, sequences, size = state.shape
        basis = random_basis(size, count, state)
        separable = tangent.by_hand and state.device.type == "cpu"
        numbers = basis.numel() * models * sequences
        self._shape = (models, sequences, count)
        self._threads = (torch.get_num_threads() if numbers * size > SERIAL_BELOW else 1) if separable else 0
        rows = max(1, CHUNK_BYTES // (basis.numel() * basis.element_size())) if separable else models * sequences
        rows = min(rows, math.ceil(models * sequences / max(1, self._threads)))
        cuts = list(_cut(models, sequences, rows))
        report: Advance = lambda steps: advanced(steps / len(cuts))  # noqa: E731
        self._chunks = [
            (m, b, Trajectories(tangent.of(m), state[m, b], basis, every, accuracy, longest, report)) for m, b in cuts
        ]

    def advance(self, inputs: Tensor) -> Growth:
        """Growth over the inputs (T, B, I); the next call continues from there."""

        def advance_chunk(chunk: tuple[slice, slice, Trajectories]) -> Growth:
            _, sequences, trajectories = chunk
            return trajectories.advance(inputs[:, sequences])

        if self._threads > 1:
            with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                parts = list(pool.map(advance_chunk, self._chunks))
        else:
            parts = [advance_chunk(chunk) for chunk in self._chunks]
        if len(parts) == 1:
            return parts[0]
        per_step = parts[0].per_step.new_empty(len(inputs), *self._shape)
        error = per_step.new_empty(self._shape)
        for (m, b, _), part in zip(self._chunks, parts, strict=True):
            per_step[:, m, b], error[m, b] = part.per_step, part.rounding_error
        return Growth(per_step, error)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """A context in which torch's operations use one thread each, if the chunks are computed in threads of their own.

        Products of these sizes gain little from more threads, and a thread that waits for its share occupies a core that
        the others need.
        """
        if not self._threads:
            yield
            return
        with _lock:
            own = torch.get_num_threads()  # torch keeps a number for each thread of the process
            if own == 1:  # a new thread begins with the number set last: it may have its 1 from blocks that are running
                own = max(_usual, default=1)
            if own > 1:
                _usual.append(own)
                torch.set_num_threads(1)
        try:
            yield
        finally:
            if own > 1:
                with _lock:
                    _usual.remove(own)
                    torch.set_num_threads(own)


def _cut(models: int, sequences: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Chunks of about `rows` trajectories each, as slices of networks and sequences; whole networks where possible."""
    if rows >= sequences:
        across = rows // sequences
        yield from ((slice(m, m + across), slice(0, sequences)) for m in range(0, models, across))
        return
    along = math.ceil(sequences / math.ceil(sequences / rows))
    for m in range(models):
        yield from ((slice(m, m + 1), slice(b, b + along)) for b in range(0, sequences, along))


def random_basis(size: int, count: int, like: Tensor) -> Tensor:
    """Random orthonormal rows (k, S), the same at every call; unit vectors would be aligned with the layers of a stack."""
    return _random_basis(size, count).to(like, copy=True)


@lru_cache(maxsize=4)
def _random_basis(size: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(size, size, generator=generator, dtype=torch.float64, device="cpu")[:count]
    return torch.linalg.qr(random.T)[0].T  # all S rows are drawn, so that the first k do not depend on k
