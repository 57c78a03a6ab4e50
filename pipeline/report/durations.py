"""Where the time goes."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import CELLS, INK, below, cell_colours, key, panels, styled

_OTHER = "#BBBBBB"


@styled
def time_spent(timings: pd.DataFrame, cells: Sequence[str]) -> Figure:
    """Wall time of each kind of stage, longest first, split into its instances, in colours where cells are few.

    A dotted line below a bar shows how long the main process spent on tracking, mostly while its workers computed.

    Args:
        timings: a row an instance: kind, cell (empty if the stage is for no cell), seconds, tracking_seconds.
        cells: in the order of their colours.
    """
    totals = timings.groupby("kind")["seconds"].sum().sort_values()
    figure, grid = panels(1, 1, 1.3 + 0.42 * len(totals), f"{_duration(totals.sum())} in all: time by kind of stage")
    axes = grid[0, 0]
    shown = cells if len(cells) <= len(CELLS) else ()
    colours = cell_colours(shown)
    for place, (kind, total) in enumerate(totals.items()):
        _bar(axes, place, timings[timings["kind"] == kind], colours)
        axes.text(total, place, f"  {_duration(total)}, {_percent(total / totals.sum())}", va="center", fontsize=10)
    axes.set_yticks(range(len(totals)), totals.index)
    axes.set_xlim(0, totals.max() * 1.22)
    axes.set_xlabel("seconds of wall time")
    axes.grid(visible=False, axis="y")
    keys = [key(c, colours[c], linewidth=7) for c in shown] + [key("no single cell", _OTHER, linewidth=7)] * bool(shown)
    if timings["tracking_seconds"].sum() > 0:
        keys.append(key("main process tracking, mostly while workers compute", INK, linewidth=2.2, linestyle=":"))
    below(figure, "", keys)
    return figure


def _bar(axes: Axes, place: int, own: pd.DataFrame, colours: dict[str, str]) -> None:
    start, edge = 0.0, 0.8 if colours else 0.2
    for cell, seconds in zip(own["cell"], own["seconds"], strict=True):
        axes.barh(place, seconds, left=start, height=0.62, color=colours.get(cell, _OTHER), edgecolor="white", linewidth=edge)
        start += seconds
    tracking = own["tracking_seconds"].sum()
    if tracking > 0:
        axes.plot([0, tracking], [place - 0.4, place - 0.4], color=INK, linewidth=2.2, linestyle=":")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.1f} s"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"
