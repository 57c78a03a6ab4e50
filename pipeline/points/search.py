"""Two searches from many states at once: Levenberg-Marquardt for fixed points, Adam for slow points."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..core.progress import Advance, ignore
from ..spectrum.tangent import Push, push_forward
from .linear import solve

Map = Callable[[Tensor], Tensor]  # (N, S) -> (N, S), under one constant input; rows must not mix
# Initial damping, and the damping at which a row is given up; it is added to the diagonal of J'J, whose entries are near 1.
FIRST_DAMPING, GIVE_UP = 1e-2, 1e10
LEARNING_RATE = 0.05


def speed(moves: Tensor) -> Tensor:
    """The speed q = |F(h) - h|^2 / 2, (N,), from the moves F(h) - h, (N, S) (Sussillo and Barak 2013)."""
    return moves.square().sum(-1) / 2


def jacobian(function: Map, at: Tensor, push: Push = push_forward) -> tuple[Tensor, Tensor]:
    """The values (N, S) and Jacobians (N, S, I) of a function at arguments (N, I), row by row."""
    if not len(at):
        return (values := function(at)), values.new_zeros(0, values.shape[-1], at.shape[-1])
    basis = torch.eye(at.shape[-1], dtype=at.dtype, device=at.device).expand(len(at), -1, -1)
    values, pushed = push(lambda a: function(a) + 0 * a.sum(-1, keepdim=True), at, basis)  # a function may ignore its argument
    return values, pushed.mT


def exact(
    step: Map,
    states: Tensor,
    *,
    iterations: int,
    tolerance: float,
    push: Push = push_forward,
    advanced: Advance = ignore,
) -> tuple[Tensor, Tensor]:
    """States (N, S) with F(h) - h close to 0, and their q (N,), by the Levenberg-Marquardt method (Marquardt 1963).

    Each row has its own damping, and leaves the search when its q is below the tolerance or when no step improves it any
    more. A row that does not converge ends at a local minimum of |F(h) - h|; its q shows this. `advanced` is called with the
    numbers of iterations that are done or, in the end, not necessary.
    """
    states = states.clone()
    q = speed(step(states) - states)
    damping = torch.full_like(q, FIRST_DAMPING)
    rows = (q >= tolerance).nonzero()[:, 0]
    for done in range(iterations):
        if not len(rows):
            advanced(iterations - done)
            break
        old = states[rows]
        new = old + _damped_move(step, old, damping[rows], push)
        new_q = speed(step(new) - new)
        better = new_q < q[rows]  # False where new_q is NaN
        states[rows] = torch.where(better[:, None], new, old)
        q[rows] = torch.where(better, new_q, q[rows])
        damping[rows] *= torch.where(better, 0.1, 5.0).to(q)
        rows = rows[(q[rows] >= tolerance) & (damping[rows] < GIVE_UP)]
        advanced(1)
    return states, q


def _damped_move(step: Map, states: Tensor, damping: Tensor, push: Push) -> Tensor:
    """The moves (N, S) that solve (J'J + damping) move = -J'r, with r = F(h) - h and its Jacobian J; 0 where not finite."""
    new, slope = jacobian(step, states, push)
    unit = torch.eye(states.shape[-1], dtype=states.dtype, device=states.device)
    slope = slope - unit
    normal = slope.mT @ slope + damping[:, None, None] * unit
    downhill = -(slope.mT @ (new - states)[..., None])[..., 0]
    return solve(normal, downhill).nan_to_num(0.0, 0.0, 0.0)


def slow(
    step: Map, states: Tensor, *, iterations: int, tolerances: Sequence[float], advanced: Advance = ignore
) -> list[tuple[Tensor, Tensor]]:
    """For each tolerance, the states (N', S) at which the q of a row first fell below it under Adam, and their q (N',).

    Adam minimises the sum of q over the rows. Rows are independent and Adam works element by element, so that each row
    moves as if it were alone.
    """
    states = states.clone()
    levels = torch.tensor(tolerances, dtype=states.dtype, device=states.device)
    kept = states.new_full((len(levels), *states.shape), torch.nan)
    kept_q = states.new_full((len(levels), len(states)), torch.nan)
    descent = torch.optim.Adam([states], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, iterations)
    for _ in range(iterations):
        q, states.grad = _gradient(step, states)
        reached = (q < levels[:, None]) & kept_q.isnan()
        kept, kept_q = torch.where(reached[..., None], states, kept), torch.where(reached, q, kept_q)
        if not kept_q.isnan().any():
            break
        descent.step()
        schedule.step()
        advanced(1)
    return [(s[~q.isnan()], q[~q.isnan()]) for s, q in zip(kept, kept_q, strict=True)]


def _gradient(step: Map, states: Tensor) -> tuple[Tensor, Tensor]:
    """The speed q (N,) and its gradient (N, S), which is 0 where it is not finite."""
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        q = speed(step(states) - states)
        (gradient,) = torch.autograd.grad(q.sum(), states)
    return q.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)
