"""The distribution of each cell's spectra."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..core.tables import number
from ..predictor.features import WHOLE
from .figures import INK, below, columns_for, exponent_axis, key, note, styled, wrapped

BEGIN, END = "#777777", "#AA3377"  # checkpoints initial and final


@styled
def spectra_by_cell(table: pd.DataFrame, cells: Sequence[str]) -> Figure:
    """Median and interquartile range of each exponent over a cell's trials, before and after training; one panel per cell.

    Cells are sorted by their median largest exponent after training. Spectra that are not finite are left out and counted.
    """
    largest = table[table["checkpoint"] == "final"].groupby("cell")["exponent_1"].median().reindex(list(cells))
    order = list(largest.sort_values(ascending=False, kind="stable").index)
    figure, panels = wrapped(len(order), columns_for(len(order)), 1.75, _title(largest), sharex=True, sharey=True)
    for axes, cell in zip(panels, order, strict=True):
        own = table[table["cell"] == cell]
        axes.axhline(0, color=INK, linewidth=0.8)
        blank = sum(_band(axes, own[own["checkpoint"] == name], colour) for name, colour in (("initial", BEGIN), ("final", END)))
        if blank:
            note(axes, f"{blank} not finite", 0.03, 0.05)
        axes.set_title(cell, fontweight="bold", fontsize=9.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    exponent_axis(panels[0], _limits(table))
    figure.supylabel("exponent (nats per step)", fontsize=10.5)
    below(figure, "relative rank of the exponent (0 is the largest)", [key("before training", BEGIN), key("after training", END)])
    return figure


def _title(largest: pd.Series) -> str:
    """The range of the median largest exponent over the cells, in words."""
    known = largest.dropna().sort_values()
    if not len(known):
        return "Spectra by cell: no trial has a finite spectrum"
    ends = [f"{number(value)} ({cell})" for cell, value in (next(iter(known.items())), list(known.items())[-1])]
    return f"Median largest exponent after training: {' to '.join(ends if len(known) > 1 else ends[:1])}"


def _band(axes: Axes, rows: pd.DataFrame, colour: str) -> int:
    """Draw one checkpoint, and return the number of its spectra that are not finite."""
    values = rows[list(WHOLE)].to_numpy(float)
    finite = values[~np.isnan(values).any(axis=1)]
    if len(finite):
        low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75], axis=0)
        places = np.linspace(0, 1, len(WHOLE))
        axes.fill_between(places, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(places, middle, color=colour, linewidth=1.8)
    return len(values) - len(finite)


def _limits(table: pd.DataFrame) -> NDArray[np.float64]:
    """Quartiles over all cells and both checkpoints."""
    shown = table[table["checkpoint"].isin(["initial", "final"])].groupby(["cell", "checkpoint"])[list(WHOLE)]
    return np.concatenate([shown.quantile(q).to_numpy(float).ravel() for q in (0.25, 0.75)])
