"""Pictures of lyapunov_paper.py."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent.parent / "docs" / "replications"
MARKS = {16: "o", 32: "s", 64: "^"}
DOTTED = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}


def save(figure: Figure, name: str) -> None:
    """Write a picture of the page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / name, dpi=100)


def spectra_by_epoch(panels: Sequence[tuple[str, dict[int, np.ndarray]]]) -> Figure:
    """Two rows of panels, each a title and epoch -> spectrum; axes are shared along a row."""
    columns = len(panels) // 2
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False, sharey="row")
    last = max(max(spectra) for _, spectra in panels)
    for axes, (title, spectra) in zip(grid.flat, panels, strict=True):
        for epoch, spectrum in sorted(spectra.items()):
            axes.plot(np.arange(1, len(spectrum) + 1), spectrum, color=colormaps["viridis"](0.9 * epoch / last), label=f"{epoch}")
        axes.axhline(0, **DOTTED)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(-6.5, 0.4)
    for row in grid:
        row[0].set_ylabel("exponent, nats per step")
    for axes in grid[-1]:
        axes.set_xlabel("number of the exponent")
    grid[0, -1].legend(title="after epoch", fontsize=8, title_fontsize=8)
    return figure


def against_loss(networks: Sequence[Any], cells: Sequence[str]) -> Figure:
    """Largest and mean exponent after training against the final loss: a row a cell, colour p, mark the width."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    grid = figure.subplots(len(cells), 2, squeeze=False, sharey="row")
    scales = [n.point.init_scale for n in networks]
    norm, dots = LogNorm(min(scales), max(scales)), None
    readings: list[tuple[str, Callable[[np.ndarray], float]]] = [("largest exponent", np.max), ("mean exponent", np.mean)]
    for row, cell in zip(grid, cells, strict=True):
        for axes, (label, read) in zip(row, readings, strict=True):
            dots = _scatter(axes, [n for n in networks if n.point.cell == cell], read, norm)
            axes.set_xlabel(f"{label}, nats per step")
            axes.locator_params(axis="x", nbins=6)
        row[0].set_ylabel(f"{cell}: final loss, nats")
        row[0].axvline(0, **DOTTED)
    handles = [grid[0, 1].scatter([], [], marker=mark, color="0.4", s=22) for mark in MARKS.values()]
    grid[0, 1].legend(handles, [f"H = {size}" for size in MARKS], fontsize=8)
    figure.colorbar(dots, ax=grid, label="p, width of the initial uniform(-p, p)", ticks=sorted(set(scales)), format="%g")
    return figure


def _scatter(axes: Axes, networks: Sequence[Any], read: Callable[[np.ndarray], float], norm: LogNorm) -> Any:
    dots = None
    for size, mark in MARKS.items():
        chosen = [n for n in networks if n.point.hidden_size == size]
        across, up = [read(n.spectra["final"]) for n in chosen], [n.loss for n in chosen]
        dots = axes.scatter(across, up, c=[n.point.init_scale for n in chosen], norm=norm, marker=mark, s=26, cmap="plasma")
    return dots


def ways(networks: Sequence[Any]) -> Figure:
    """The largest exponent in the earlier code's ways against that of the full state in the right order."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, way, cells, title in (
        (left, "h alone", ("lstm",), "LSTM: h alone, c left out"),
        (right, "reversed", ("lstm", "gru", "elman"), "product in the reverse order"),
    ):
        for cell in cells:
            chosen = [n for n in networks if n.point.cell == cell]
            pairs = [(n.spectra["final"][0], n.other[way][0]) for n in chosen]
            axes.scatter(*zip(*pairs, strict=True), s=14, label=cell)
        axes.axline((0, 0), slope=1, **DOTTED)
        axes.set_xlabel("largest exponent, full state, right order")
        axes.locator_params(nbins=6)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
    left.set_ylabel("the same, the other way; nats per step")
    return figure
