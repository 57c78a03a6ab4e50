"""The result of a search for points, and helpers that describe, merge and measure points."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..spectrum import shown
from . import plane
from .linear import inverse, sign_of_determinant

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMED = 6  # largest number of entries of the signature that are printed


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoints:
    """N fixed or slow points h*, with the linear map near each: h' - F(h*) = recurrent (h - h*) + driven (x - at).

    F is the map under the constant input `at`. F(h*) = h* at a fixed point; a slow point drifts by F(h*) - h*.

    Attributes:
        states: (N, S), sorted from the smallest q.
        q: (N,) |F(h) - h|^2 / 2 under the input `at`.
        at: (I,) the constant input.
        recurrent: (N, S, S) Jacobian with respect to the state.
        driven: (N, S, I) Jacobian with respect to the input.
        eigenvalues: (N, S) eigenvalues of `recurrent`, complex, sorted from the largest modulus.
        right: (N, S, S) right eigenvectors of length 1, as columns.
        left: (N, S, S) left eigenvectors as rows, the inverse of `right`; huge or NaN if the right ones do not span the space.
        seeds: number of states that the search started from.
        found: number of seeds that led to a point; several may lead to the same point, or to outliers.
        outliers: number of distinct points, over all rounds of the search, that were omitted because they are far from all
            states that the model visited.
        index: sum of sign det(1 - recurrent) over the points; meaningful for fixed points only. If the map sends a ball into
            itself, as the maps of bounded cells do, the index is 1 if no point was missed (Lefschetz 1926); any other number
            means that points were missed or are outliers.
        natural_q: median of |h' - h|^2 / 2 along the trajectories with their own inputs, a scale to compare q with.
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
        """The number of points, N."""
        return len(self.states)

    def __repr__(self) -> str:
        """Number and kinds of the points, in one line."""
        number, size = self.states.shape
        signature = f"({', '.join([*map(str, self.signature[:NAMED]), *(['...'] if len(self.signature) > NAMED else [])])})"
        return (
            f"FixedPoints({number} point{'s' * (number != 1)} of {size} number{'s' * (size != 1)}, signature {signature}, "
            f"index {self.index}, found by {self.found} of {self.seeds} seeds, {self.outliers} outliers)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The points as plain numbers and lists, for JSON; None for a number that is NaN or infinite.

        The eigenvalues are split into `eigenvalues_real` and `eigenvalues_imag`; the Jacobians and eigenvectors are left out.
        """
        return {
            "states": shown.plain(self.states),
            "q": shown.plain(self.q),
            "at": shown.plain(self.at),
            "eigenvalues_real": shown.plain(self.eigenvalues.real),
            "eigenvalues_imag": shown.plain(self.eigenvalues.imag),
            "unstable": self.unstable.tolist(),
            "kind": plane.kinds(self),
            "signature": list(self.signature),
            "index": self.index,
            "seeds": self.seeds,
            "found": self.found,
            "outliers": self.outliers,
            "natural_q": shown.plain(self.natural_q),
            "visited_q": shown.plain(self.visited_q),
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per point: kind, q, unstable, modulus, time_constant and the state as state_0, state_1, ...

        `kind` is stable, saddle, source (all directions grow) or slow (not fixed: it moves by more than 1e-6 per step);
        `modulus` is that of the largest eigenvalue, and `time_constant` the steps in which its mode grows or decays by e.

        Raises:
            ModuleError: pandas is not installed.
        """
        table = shown.frame(
            {
                "q": self.q,
                "unstable": self.unstable,
                "modulus": self.eigenvalues.abs()[:, 0],
                "time_constant": self.time_constants[:, 0],
                **{f"state_{place}": values for place, values in enumerate(self.states.unbind(-1))},
            }
        )
        table.insert(0, "kind", plane.kinds(self))
        return table

    def plot(self, ax: "Axes | None" = None, path: str | Path | None = None) -> "Axes":
        """Draw the points in their first two principal components, by kind as in `to_frame`.

        The labels of the axes say which share of the variance between points each component holds.

        Args:
            ax: where to draw; by default in a new figure, which `pyplot` does not know (show or save it as `.figure`).
            path: where to save the figure, such as "points.png".

        Returns:
            The axes.

        Raises:
            ModuleError: matplotlib is not installed, an argument is not as above, or the file cannot be written.
        """
        ax = shown.axes_for(ax, width=5.4)
        plane.points_on(ax, self)
        return shown.save(ax, path)

    @property
    def unstable(self) -> Tensor:
        """(N,) number of growing directions, |eigenvalue| > 1; it is 0 for a stable point."""
        return (self.eigenvalues.abs() > 1).sum(-1)

    @property
    def time_constants(self) -> Tensor:
        """(N, S) steps in which each mode grows or decays by a factor e, |1 / ln |eigenvalue||; inf for a neutral mode."""
        return self.eigenvalues.abs().log().reciprocal().abs()

    @property
    def signature(self) -> tuple[int, ...]:
        """Number of points with 0, 1, 2, ... unstable directions, up to the largest number that occurs."""
        return tuple(torch.bincount(self.unstable).tolist())


def eigen(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (N, S), right eigenvectors as columns and left ones as rows (N, S, S), sorted from the largest modulus."""
    values, right = torch.linalg.eig(matrices)
    order = values.abs().argsort(dim=-1, descending=True, stable=True)
    right = right.gather(-1, order[:, None].expand_as(right))
    return values.gather(-1, order), right, inverse(right)


def index(matrices: Tensor) -> int:
    """Sum of sign det(1 - A) over matrices (N, S, S); +1 for an even number of real eigenvalues above 1, -1 for an odd one."""
    unit = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return int(sign_of_determinant(unit - matrices).sum())


def distinct(states: Tensor, q: Tensor, distance: float) -> Tensor:
    """Indices (N',) of states (N, S) such that no two are within `distance`, sorted from the smallest q, which is preferred."""
    near = _distances(states, states) <= distance
    free = torch.ones(len(states), dtype=torch.bool, device="cpu")
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
    return torch.cdist(
        states, others, compute_mode="donot_use_mm_for_euclid_dist"
    )  # the matrix product would have errors of 1e-8
