"""A network's phase space: its trajectories and fixed points in two principal components."""

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ..core.records import CONSTANT_INPUTS, PointCounts, TrialFixedPoints
from ..core.tables import number
from .figures import below, key, note, panels, styled

# Stable points, then those with 1, 2, 3 and more unstable directions.
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#CC79A7")
MARKERS = ("o", "D", "^", "s")
LABELS = ("stable", "1 unstable", "2 unstable", "3 or more unstable")  # directions


@styled
def phase_portrait(result: TrialFixedPoints) -> Figure:
    """Trajectories on validation data, and the fixed points under each constant input."""
    trial = result.trial
    title = f"Best {trial.cell} network on {trial.task} ({trial.hyper_parameters.hidden_size} units)"
    figure, grid = panels(1, 2, 3.6, title, width=6.2, sharex=True, sharey=True)  # two stand side by side on the page
    mean, directions, shares = components(result.trajectories)
    lines = (result.trajectories.astype(float) - mean) @ directions
    projected = {name: (points - mean) @ directions for name, points in result.points.items()}
    for axes, name in zip(grid[0], CONSTANT_INPUTS, strict=True):
        axes.add_collection(LineCollection(list(lines.swapaxes(0, 1)), colors="#777777", linewidths=0.5, alpha=0.35))
        scatter(axes, projected[name], result.unstable(name))
        axes.set_title(f"constant input: {name}")
        note(axes, _summary(result.counts[name]))
        axes.set_xlabel(f"first component ({100 * shares[0]:.0f} % of variance)")
    grid[0, 0].set_ylabel(f"second ({100 * shares[1]:.0f} %)")
    (left, right), (low, high) = (_span(lines[..., i], *(p[:, i] for p in projected.values())) for i in (0, 1))
    grid[0, 0].set(xlim=(left, right), ylim=(low, high + 0.2 * (high - low)))  # room for the note
    below(figure, "", [key(label, COLOURS[n], marker=MARKERS[n], linestyle="") for n, label in enumerate(LABELS)])
    return figure


def components(
    trajectories: NDArray[Any], count: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (S,), first principal axes (S, count) and their shares of the variance of the states (..., S) that are finite.

    Axes beyond the size of the state are 0.
    """
    states = trajectories.reshape(-1, trajectories.shape[-1]).astype(float)
    states = states[np.isfinite(states).all(axis=1)]
    with np.errstate(invalid="ignore"):  # states that are all alike have no variance to share
        pca = PCA(min(count, *states.shape), svd_solver="covariance_eigh").fit(states)
    missing = count - pca.n_components_
    axes = np.pad(pca.components_, ((0, missing), (0, 0))).T
    return pca.mean_, axes, np.pad(np.nan_to_num(pca.explained_variance_ratio_), (0, missing))


def scatter(axes: Any, points: NDArray[np.float64], unstable: NDArray[np.int64]) -> None:
    """Plot points (N, 2 or 3), marked by their number of unstable directions, the stable ones on top."""
    for place in reversed(range(len(COLOURS))):
        own = points[np.minimum(unstable, len(COLOURS) - 1) == place]
        look: dict[str, Any] = {"color": COLOURS[place], "marker": MARKERS[place], "edgecolor": "white", "linewidth": 0.7}
        axes.scatter(*own.T, s=46, zorder=5 - place / 10, **look)


def slowest(counts: PointCounts) -> str:
    """The slowest time constant in words."""
    steps = counts.slowest_time_constant
    if steps is None:
        return "infinite" if counts.fixed_points else "none"
    return f"{number(steps, 0 if steps >= 10 else 1)} steps"


def complete(counts: PointCounts) -> bool | None:
    """Whether the index of the points is that of a complete set, 1; None if it is not known.

    Another index shows that a search of a network with bounded states has missed points.
    """
    return None if counts.index is None else counts.index == 1


def _summary(counts: PointCounts) -> str:
    missed = "\nsearch incomplete" if complete(counts) is False else ""
    if not counts.fixed_points:
        return f"no fixed point found{missed}"
    points = f"{counts.fixed_points} fixed point{'s' if counts.fixed_points > 1 else ''}"
    return f"{points}, {counts.stable} stable\nslowest time constant: {slowest(counts)}{missed}"


def _span(*values: NDArray[np.float64]) -> tuple[float, float]:
    """Limits that hold all finite values, with a margin."""
    every = np.concatenate([np.ravel(v) for v in values])
    every = every[np.isfinite(every)]
    margin = 0.08 * (float(np.ptp(every)) or 1.0)
    return float(every.min()) - margin, float(every.max()) + margin
