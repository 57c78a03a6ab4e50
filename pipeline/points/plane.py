"""The kinds of fixed points, and their picture in the plane of their first two principal components."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..spectrum.shown import BLUE, GREEN, ORANGE, PURPLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .points import FixedPoints

SLOW = 1e-12 / 2  # q from which a point counts as slow and not as fixed: it moves by 1e-6 per step
MARKS: dict[str, dict[str, Any]] = {
    "stable": {"marker": "o", "color": BLUE},
    "saddle": {"marker": "x", "color": ORANGE},
    "source": {"marker": "^", "color": PURPLE},
    "slow": {"marker": "s", "color": GREEN, "facecolor": "none"},
}


def kinds(points: "FixedPoints") -> list[str]:
    """Of each point "slow" if it moves by more than 1e-6 per step, or else "stable", "saddle" or "source"."""
    size = points.states.shape[1]
    return [
        "slow" if q > SLOW else "stable" if growing == 0 else "source" if growing == size else "saddle"
        for q, growing in zip(points.q.tolist(), points.unstable.tolist(), strict=True)
    ]


def principal(states: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, 2) of states (N, S) along their first two principal components, and the shares (2,) of the variance.

    Zeros where there are fewer components; the shares are NaN if all states are equal.
    """
    centred = states - states.mean(0) if len(states) else states
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    coordinates, shares = states.new_zeros(len(states), 2), states.new_zeros(2)
    number = min(2, len(values))
    coordinates[:, :number] = (left * values)[:, :number]
    shares[:number] = (values.square() / values.square().sum())[:number]
    return coordinates, shares


def points_on(ax: "Axes", points: "FixedPoints") -> None:
    """Draw the points, each kind with a marker of its own."""
    coordinates, shares = (values.detach().cpu().numpy() for values in principal(points.states))
    found = kinds(points)
    for kind, mark in MARKS.items():
        rows = [place for place, own in enumerate(found) if own == kind]
        if rows:
            label = f"{kind} ({len(rows)})"
            ax.scatter(coordinates[rows, 0], coordinates[rows, 1], s=36, label=label, **mark)
    names = [
        f"principal component {place}" + (f" ({100 * share:.0f} %)" if math.isfinite(share) and len(found) > 1 else "")
        for place, share in enumerate(shares, 1)
    ]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    if found:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, fontsize="small", borderaxespad=0.2)
    else:
        ax.text(0.5, 0.5, "no points were found", transform=ax.transAxes, ha="center", va="center")
