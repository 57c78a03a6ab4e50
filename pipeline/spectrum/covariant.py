"""Covariant Lyapunov vectors, directions that the tangent dynamics map onto one another, by Ginelli's algorithm."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..core.errors import ModuleError
from .engine import random_basis
from .reorthonormalise import triangularise
from .tangent import Push, Step, push_forward, under


@torch.no_grad()
def covariant(
    step: Step,
    state: Tensor,
    inputs: Tensor,
    count: int,
    *,
    transient: int,
    backward_transient: int | None = None,
    push: Push = push_forward,
) -> tuple[Tensor, Tensor]:
    """Covariant Lyapunov vectors in the middle of a trajectory, and the growth of each (Ginelli et al. 2007).

    The first `transient` steps align the bases with the past, and the last `backward_transient` steps align the vectors
    with the future; at each of these steps the misalignment shrinks by the ratio of two neighbouring growth factors. If
    two exponents are equal, the vectors are covariant but not unique. Memory: T' B k S numbers for the vectors and
    (T - transient) B k k for the triangles.

    Args:
        step: (B, S) state, (B, I) input -> (B, S) state; sequences must not mix.
        state: (B, S); its dtype is that of the computation.
        inputs: (T, B, I).
        count: k, 1 <= k <= S.
        transient: number of steps that align the bases.
        backward_transient: number of steps that align the vectors; by default as many as `transient`.
        push: how deviations are pushed through a step, `push_forward` or `push_backward`.

    Returns:
        Vectors (T', B, k, S) and local growth (T', B, k) as `covariant_vectors` returns them, with T' = T - transient -
        backward_transient; the first vectors belong to the state that input number `transient` is applied to. NaN for a
        sequence whose state or deviations are not finite at any of the T steps.

    Raises:
        ModuleError: if the transients leave no step between them.
    """
    backward_transient = transient if backward_transient is None else backward_transient
    window = len(inputs) - transient - backward_transient
    if min(transient, backward_transient) < 0 or window < 1:
        given = f"transients of {transient} and {backward_transient} steps"
        raise ModuleError(f"{given} leave nothing of {len(inputs)}; they should be at least 0 and leave a step between them")
    sequences, size = state.shape
    start = random_basis(size, count, state).expand(sequences, count, size)
    bases, triangles = record(step, state, start, inputs, transient=transient, kept=window, push=push)
    return bases, _make_covariant(bases, triangles)


@torch.no_grad()
def record(
    step: Step,
    state: Tensor,
    deviations: Tensor,
    inputs: Tensor,
    *,
    transient: int = 0,
    kept: int | None = None,
    push: Push = push_forward,
) -> tuple[Tensor, Tensor]:
    """Bases (T + 1, B, k, S) and triangles (T, B, k, k) along a trajectory, reorthonormalised at every step.

    Args:
        step: (B, S) state, (B, I) input -> (B, S) state; sequences must not mix.
        state: (B, S).
        deviations: (B, k, S), orthonormal rows.
        inputs: (transient + T, B, I).
        transient: number of steps that are run first and not recorded.
        kept: number of bases to return, counted from the first; all by default.
        push: as for `covariant`.

    Returns:
        Bases with orthonormal rows, the first one at the beginning of the recording, and upper triangular R_t with
        J_t bases[t]^T = bases[t + 1]^T R_t. The diagonal of R_t is positive, or 0 for a lost direction. R_t is NaN from
        the step on at which a state or deviation is not finite.
    """
    steps = len(inputs) - transient
    kept = steps + 1 if kept is None else kept
    sequences, count, size = deviations.shape
    bases = deviations.new_empty(kept, sequences, count, size)
    triangles = deviations.new_empty(steps, sequences, count, count)
    rows = deviations
    alive = torch.ones(sequences, 1, dtype=torch.bool, device=state.device)
    for t, x in enumerate(inputs, start=-transient):
        if 0 <= t < kept:
            bases[t] = rows
        state, rows, triangle, alive = _advance(partial(push, under(step, x)), state, rows, alive)
        if t >= 0:
            triangles[t] = triangle
    if kept > steps:
        bases[steps] = rows
    return bases, triangles


@torch.no_grad()
def covariant_vectors(bases: Tensor, triangles: Tensor, *, backward_transient: int) -> tuple[Tensor, Tensor]:
    """Covariant Lyapunov vectors from orthonormal bases and the triangles between them.

    Vector i at time t is a combination of the first i + 1 rows of bases[t]. The coefficients C_t solve
    R_t C_t = C_{t+1} D_t with a diagonal D_t, backwards in time from a fixed random upper triangular matrix, whose
    influence fades along the way (Ginelli et al. 2007; Kuptsov and Parlitz 2012, section 4). If the diagonals of R are
    positive, each vector makes an acute angle with its row of the basis, which fixes its sign.

    Args:
        bases: (T + 1, B, k, S), orthonormal rows; only the first T - backward_transient are read, the others may be
            omitted.
        triangles: (T, B, k, k), upper triangular R_t with J_t bases[t]^T = bases[t + 1]^T R_t.
        backward_transient: number of steps at the end, from 0 to T - 1, that align the coefficients and are not part of
            the result.

    Returns:
        Vectors (T', B, k, S) with T' = T - backward_transient and unit rows, where vectors[t] belong to the state of
        bases[t]; and local growth (T', B, k) in nats per step over the step that starts there: J_t vectors[t] =
        exp(local[t]) vectors[t + 1]. If a direction is lost at any of the T steps, R_ii = 0, it and the directions after
        it have NaN vectors and growth -inf at all steps. A sequence that contains NaN is all NaN; the others are not
        affected.

    Raises:
        ModuleError: if backward_transient leaves no step, or if there are too few bases.
    """
    window = len(triangles) - backward_transient
    if backward_transient < 0 or window < 1:
        raise ModuleError(f"backward_transient is {backward_transient}; it should be from 0 to {len(triangles) - 1}")
    if len(bases) < window:
        raise ModuleError(f"there are {len(bases)} bases; there should be one for each of {window} steps")
    vectors = bases[:window].clone()
    return vectors, _make_covariant(vectors, triangles)


def _make_covariant(bases: Tensor, triangles: Tensor) -> Tensor:
    """Turn bases (T', B, k, S) into covariant vectors in place, and return their local growth (T', B, k)."""
    finite = _all_finite(bases) & _all_finite(triangles)  # (B,)
    defined = _never_lost(triangles) & finite[:, None]  # (B, k)
    identity = torch.eye(triangles.shape[-1], dtype=triangles.dtype, device=triangles.device)
    coefficients, _ = _unit_columns(_random(*identity.shape, like=triangles).triu(1) + identity)
    local = bases.new_empty(bases.shape[:-1])
    for t in reversed(range(len(triangles))):
        # the defined directions form a block of their own: the first columns of a triangle do not depend on the others
        triangle = torch.where(defined[:, :, None] & defined[:, None, :], triangles[t], identity)
        coefficients, log = _unit_columns(torch.linalg.solve_triangular(triangle, coefficients, upper=True))
        if t < len(bases):
            bases[t] = coefficients.mT @ bases[t]
            local[t] = -log
    bases.masked_fill_(~defined[..., None], torch.nan)
    return local.masked_fill_(~defined, -torch.inf).masked_fill_(~finite[:, None], torch.nan)


def _advance(
    push: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], state: Tensor, rows: Tensor, alive: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step: the new state, orthonormal rows, triangle (B, k, k), and `alive` (B, 1); the triangle is NaN where not alive."""
    state, pushed = push(state, rows)
    rows, triangle = triangularise(pushed)
    alive = alive & state.isfinite().all(-1, keepdim=True) & ~triangle.isnan().any(-1).any(-1, keepdim=True)
    return torch.where(alive, state, 0.0), rows, torch.where(alive[..., None], triangle, torch.nan), alive


def _never_lost(triangles: Tensor) -> Tensor:
    """(B, k) whether neither the direction nor a preceding one was ever lost; a growth factor of 0 cannot be inverted."""
    diagonal = triangles.diagonal(dim1=-2, dim2=-1).abs()
    kept = (diagonal > torch.finfo(diagonal.dtype).tiny).all(0)
    return kept.cumprod(-1).bool()


def _all_finite(values: Tensor) -> Tensor:
    """(B,) whether all values (T, B, ., .) of a sequence are finite."""
    return torch.stack([v.isfinite().flatten(1).all(-1) for v in values]).all(
        0
    )  # step by step, to avoid a second copy of all values


def _unit_columns(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (..., k, k) scaled to length 1, and the logs (..., k) of their lengths; the squares cannot overflow."""
    largest = columns.abs().amax(-2, keepdim=True)
    scaled = columns / largest
    length = scaled.norm(dim=-2, keepdim=True)
    return scaled / length, (largest.log() + length.log()).squeeze(-2)


def _random(*shape: int, like: Tensor) -> Tensor:
    """Standard normal numbers, the same at every call: a generic starting point for any system."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu").to(like)
