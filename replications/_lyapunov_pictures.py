"""Pictures of lyapunov_paper.py, as PNGs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from pipeline.core.files import save_bytes
from pipeline.report.figures import png

from ._harness import PICTURES
from ._lyapunov_networks import BOTH, EARLY, EPOCHS, Measured, Values

MARKS = {16: "o", 32: "s", 64: "^"}
DOTTED = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}


def draw(text: Sequence[Measured], parts: Sequence[Measured], images: Sequence[Measured]) -> None:
    """Write all pictures."""
    figures = {"epochs": _by_epoch(text, parts), "losses": _against_loss(text), "ways": _ways([*text, *images])}
    for name, figure in figures.items():
        save_bytes(PICTURES / f"lyapunov_paper_{name}.png", png(figure))


def _by_epoch(text: Sequence[Measured], parts: Sequence[Measured]) -> Figure:
    """Spectra while networks learn, one panel per network in two rows; axes are shared along a row."""
    figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
    grid = figure.subplots(2, len(parts) // 2, squeeze=False, sharey="row")
    for axes, part in zip(grid.flat, parts, strict=True):
        whole = next(n for n in text if n.point == replace(part.point, epochs=EPOCHS, early_epoch=EARLY))
        spectra = {0: whole.spectra["initial"], EARLY: whole.spectra["early"], EPOCHS: whole.spectra["final"]}
        spectra |= {part.point.early_epoch: part.spectra["early"], part.point.epochs: part.spectra["final"]}
        for epoch, spectrum in sorted(spectra.items()):
            colour = colormaps["viridis"](0.9 * epoch / EPOCHS)
            axes.plot(np.arange(1, len(spectrum) + 1), spectrum, color=colour, label=f"{epoch}")
        axes.axhline(0, **DOTTED)
        axes.set_title(f"{part.point.cell}, {part.point.hidden_size} units, p = {part.point.init_scale:g}", fontsize=10)
        axes.set_ylim(-6.5, 0.4)
    for row in grid:
        row[0].set_ylabel("exponent, nats per step")
    for axes in grid[-1]:
        axes.set_xlabel("number of the exponent")
    grid[0, -1].legend(title="after epoch", fontsize=8, title_fontsize=8)
    return figure


def _against_loss(text: Sequence[Measured]) -> Figure:
    """Largest and mean exponent after training against the final loss: rows are cells, colour is p, marks are widths."""
    figure = Figure(figsize=(9, 6.2), dpi=100, layout="constrained")
    grid = figure.subplots(len(BOTH), 2, squeeze=False, sharey="row")
    scales = [n.point.init_scale for n in text]
    norm = LogNorm(min(scales), max(scales))
    readings: list[tuple[str, Callable[[Values], float]]] = [("largest exponent", np.max), ("mean exponent", np.mean)]
    for row, cell in zip(grid, BOTH, strict=True):
        for axes, (label, read) in zip(row, readings, strict=True):
            for size, mark in MARKS.items():
                own = [n for n in text if (n.point.cell, n.point.hidden_size) == (cell, size)]
                colours, across = [n.point.init_scale for n in own], [read(n.spectra["final"]) for n in own]
                look = {"norm": norm, "marker": mark, "s": 26, "cmap": "plasma"}
                dots = axes.scatter(across, [n.loss for n in own], c=colours, **look)
            axes.set_xlabel(f"{label}, nats per step")
            axes.locator_params(axis="x", nbins=6)
        row[0].set_ylabel(f"{cell}: final loss, nats")
        row[0].axvline(0, **DOTTED)
    handles = [grid[0, 1].scatter([], [], marker=mark, color="0.4", s=22) for mark in MARKS.values()]
    grid[0, 1].legend(handles, [f"H = {size}" for size in MARKS], fontsize=8)
    figure.colorbar(dots, ax=grid, label="p of the initial uniform(-p, p)", ticks=sorted(set(scales)), format="%g")
    return figure


def _ways(networks: Sequence[Measured]) -> Figure:
    """The largest exponent in the ways of earlier code against that of the full state in the right order."""
    figure = Figure(figsize=(9, 4.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, way, cells, title in (
        (left, "h alone", ("lstm",), "LSTM: h alone, without c"),
        (right, "reversed", ("lstm", "gru", "elman"), "product in the reverse order"),
    ):
        for cell in cells:
            pairs = [(n.largest, n.other[way][0]) for n in networks if n.point.cell == cell]
            axes.scatter(*zip(*pairs, strict=True), s=14, label=cell)
        axes.axline((0, 0), slope=1, **DOTTED)
        axes.set_xlabel("largest exponent, full state, right order")
        axes.locator_params(nbins=6)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
    left.set_ylabel("the same, the other way; nats per step")
    return figure
