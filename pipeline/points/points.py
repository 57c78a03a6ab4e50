"""What a search for points gives, and which of the points it keeps."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FixedPoints:
    """N fixed or slow points h* and the linear maps near them: h' - F(h*) = recurrent (h - h*) + driven (x - at).

    F is the map under the constant input `at`. Of a fixed point F(h*) is h*; a slow one drifts by F(h*) - h*.

    Attributes:
        states: (N, S), the smallest q first.
        q: (N,) |F(h) - h|^2 / 2 under the input `at`.
        at: (I,) the constant input.
        recurrent: (N, S, S) Jacobian by the state.
        driven: (N, S, I) Jacobian by the input.
        eigenvalues: (N, S) of `recurrent`, complex, the largest modulus first.
        right: (N, S, S) right eigenvectors in the columns, of length 1.
        left: (N, S, S) left eigenvectors in the rows: the inverse of `right`; huge or NaN if those do not span the space.
        seeds: states that the search began from.
        found: those of them that led to a point; many lead to the same one, or to outliers.
        outliers: distinct points, of all rounds of the search, that were left out for being far from all states that the model
            visited.
        index: sum of sign det(1 - recurrent) over the points; of exact points only, for slow ones it means nothing. Where the
            map leads a ball into itself, as those of bounded cells do, it is 1 if no point was missed (Lefschetz 1926); another
            number says that some were missed, or are outliers.
        natural_q: median of |h' - h|^2 / 2 along the trajectories, with their own inputs: what q is to be compared with.
        visited_q: median q of the states that the model visited, under the input `at`.
    """

    states: Tensor
    q: Tensor
    at: Tensor
    recurrent: Tensor
    driven: Tensor
    eigenvalues: Tensor
    right: Tensor
    left: Tensor
    seeds: int
    found: int
    outliers: int
    index: int
    natural_q: float
    visited_q: float

    def __len__(self) -> int:
        """N."""
        return len(self.states)

    @property
    def unstable(self) -> Tensor:
        """(N,) number of directions that grow, |eigenvalue| > 1; 0 is a stable point."""
        return (self.eigenvalues.abs() > 1).sum(-1)

    @property
    def time_constants(self) -> Tensor:
        """(N, S) steps in which each mode grows or decays by e, |1 / ln |eigenvalue||; inf for a mode that keeps its size."""
        return self.eigenvalues.abs().log().reciprocal().abs()

    @property
    def signature(self) -> tuple[int, ...]:
        """Number of points with 0, 1, 2, ... unstable directions, up to the most that there are."""
        return tuple(torch.bincount(self.unstable).tolist())


def eigen(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (N, S), right eigenvectors in columns and left ones in rows (N, S, S), the largest modulus first."""
    values, right = torch.linalg.eig(matrices)
    order = values.abs().argsort(dim=-1, descending=True, stable=True)
    right = right.gather(-1, order[:, None].expand_as(right))
    left, failed = torch.linalg.inv_ex(right)
    return values.gather(-1, order), right, torch.where((failed == 0)[:, None, None], left, torch.nan)


def index(matrices: Tensor) -> int:
    """Sum of sign det(1 - A) over matrices (N, S, S): + for an even number of real eigenvalues above 1, - for an odd one."""
    unit = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return int(torch.linalg.slogdet(unit - matrices).sign.sum())


def distinct(states: Tensor, q: Tensor, distance: float) -> Tensor:
    """Places (N',) of states (N, S) no two of which are within `distance`, the smallest q first and preferred."""
    near = _distances(states, states) <= distance
    free = torch.ones(len(states), dtype=torch.bool)
    kept = []
    for place in q.argsort(stable=True).tolist():
        if free[place]:
            kept.append(place)
            free &= ~near[place].cpu()
    return torch.tensor(kept, dtype=torch.long, device=states.device)


def nearest(states: Tensor, others: Tensor) -> Tensor:
    """(N,) distance from each of states (N, S) to the nearest of others (N', S)."""
    return _distances(states, others).amin(-1) if len(states) else states.new_zeros(0)


def _distances(states: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(states, others, compute_mode="donot_use_mm_for_euclid_dist")  # the other way errs by 1e-8
