"""A network's phase space: its trajectories and its fixed points in their first two principal components."""

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ..artefacts import CONSTANT_INPUTS, TrialFixedPoints
from .figures import below, key, note, number, panels, png, styled

# Stable points, then those with 1, 2, 3 and more unstable directions.
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#CC79A7")
MARKERS = ("o", "D", "^", "s")
LABELS = ("stable", "1 unstable direction", "2 unstable", "3 or more")
_INPUTS = {"zero": "under the input 0", "mean": "under the mean input"}


@styled
def phase_portrait(found: TrialFixedPoints) -> bytes:
    """Trajectories on validation data, and the fixed points under each constant input, as a PNG."""
    trial = found.trial
    title = f"{trial['task']}, {trial['cell']}, {trial['hidden_size']} units: where the best network stands still"
    figure, grid = panels(1, 2, 4.3, title, sharex=True, sharey=True)
    mean, axes_of_space, shares = components(found.trajectories)
    lines = (found.trajectories.astype(float) - mean) @ axes_of_space
    for axes, held in zip(grid[0], CONSTANT_INPUTS, strict=True):
        axes.add_collection(LineCollection(list(lines.swapaxes(0, 1)), colors="#777777", linewidths=0.5, alpha=0.35))
        points = (found.points[held] - mean) @ axes_of_space
        scatter(axes, points, found.unstable(held))
        axes.set_title(_INPUTS[held])
        note(axes, _summary(found.figures[held]))
        axes.set_xlabel(f"first principal component ({100 * shares[0]:.0f} % of variance)")
    grid[0, 0].set_ylabel(f"second ({100 * shares[1]:.0f} %)")
    grid[0, 0].set_xlim(*_span(lines[..., 0], *(((p - mean) @ axes_of_space)[:, 0] for p in found.points.values())))
    low, high = _span(lines[..., 1], *(((p - mean) @ axes_of_space)[:, 1] for p in found.points.values()))
    grid[0, 0].set_ylim(low, high + 0.2 * (high - low))  # room for the note
    marks = [key(label, COLOURS[n], marker=MARKERS[n], linestyle="") for n, label in enumerate(LABELS)]
    below(figure, "", [key("trajectories", "#777777", linewidth=1), *marks])
    return png(figure)


def components(
    trajectories: NDArray[Any], count: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (S,), first principal axes (S, count) and their shares of the variance of the states (..., S) that are finite."""
    states = trajectories.reshape(-1, trajectories.shape[-1]).astype(float)
    states = states[np.isfinite(states).all(axis=1)]
    mean = states.mean(axis=0)
    _, values, rows = np.linalg.svd(np.vstack([states - mean, np.zeros((count, states.shape[1]))]), full_matrices=False)
    rows = np.vstack([rows, np.zeros_like(rows)])[:count]  # a state of one number has one component
    shares = np.append(values**2, np.zeros(count))[:count] / max(float((values**2).sum()), np.finfo(float).tiny)
    return mean, rows.T, shares


def scatter(axes: Any, points: NDArray[np.float64], unstable: NDArray[np.int64]) -> None:
    """Points (N, 2 or 3), their mark and colour by the number of unstable directions; the stable ones on top."""
    for place in reversed(range(len(COLOURS))):
        own = points[np.minimum(unstable, len(COLOURS) - 1) == place]
        look: dict[str, Any] = {"color": COLOURS[place], "marker": MARKERS[place], "edgecolor": "white", "linewidth": 0.7}
        axes.scatter(*own.T, s=46, zorder=5 - place / 10, **look)


def _summary(figures: dict[str, Any]) -> str:
    count, slowest = figures["fixed_points"], figures["slowest_time_constant"]
    if not count:
        return "no fixed point found"
    time = "without end" if slowest is None else f"{number(slowest, 0 if slowest >= 10 else 1)} steps"
    return f"{count} fixed point{'s' if count > 1 else ''}, {figures['stable']} stable\nslowest time constant {time}"


def _span(*values: NDArray[np.float64]) -> tuple[float, float]:
    """Limits that hold all finite values, with a margin."""
    every = np.concatenate([np.ravel(v) for v in values])
    every = every[np.isfinite(every)]
    margin = 0.08 * (float(np.ptp(every)) or 1.0)
    return float(every.min()) - margin, float(every.max()) + margin
