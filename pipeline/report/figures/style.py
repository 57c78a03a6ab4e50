"""What all figures share: fonts, colours that colour-blind people can tell apart, the grid of panels."""

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

# Okabe and Ito (2008) and Tol (2021). A colour means one thing on the whole page.
SUCCESS, FAILURE = "#0072B2", "#D55E00"
WITH, WITHOUT = "#332288", "#8C8C8C"
CELLS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#000000")
INK, FAINT = "#222222", "#D9D9D9"
WIDTH = 8.0  # inches; at the page's full width a point is then about 1.5 pixels

styled = rc_context(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
        "font.size": 10.5,
        "text.color": INK,
        "axes.edgecolor": "#777777",
        "axes.labelcolor": INK,
        "axes.labelsize": 10.5,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.unicode_minus": True,
        "grid.color": "#ECECEC",
        "grid.linewidth": 0.8,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "legend.frameon": False,
        "legend.fontsize": 10,
        "figure.titlesize": 12.5,
        "figure.titleweight": "bold",
    }
)


def panels(rows: int, columns: int, height: float, title: str, **options: Any) -> tuple[Figure, NDArray[Any]]:
    """A figure of the page's width with a title that says what is seen, and its axes (rows, columns)."""
    figure = Figure(figsize=(WIDTH, height), dpi=160, layout="constrained")
    figure.suptitle(title, x=0.008, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def below(figure: Figure, label: str, handles: Sequence[Line2D]) -> None:
    """What stands below all panels: the name of their common horizontal axis, if any, and under it one legend."""
    columns = len(handles) if len(handles) < 6 else -(-len(handles) // 2)
    keys = 0.32 * -(-len(handles) // columns) / figure.get_figheight()
    strip = keys + (0.24 / figure.get_figheight() if label else 0)
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))  # type: ignore[union-attr]
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=columns, handlelength=1.6, borderaxespad=0.2)
    if label:
        figure.supxlabel(label, y=keys + 0.02 / figure.get_figheight(), fontsize=10.5)


def key(label: str, colour: str, **options: Any) -> Line2D:
    """An entry of a legend: a line, or a marker where `marker` is given."""
    return Line2D([], [], color=colour, label=label, **({"linewidth": 2.2} | options))


def outcome_keys() -> list[Line2D]:
    """The legend of successes and failures."""
    return [key("success", SUCCESS), key("failure", FAILURE)]


def cell_colours(cells: Sequence[str]) -> dict[str, str]:
    """A colour for each cell, fixed by its place among the study's cells."""
    return dict(zip(cells, cycle(CELLS)))  # noqa: B905 - cycle has no end


def number(value: float, digits: int = 2) -> str:
    """A number for a label: a true minus sign, no minus before zero."""
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def note(axes: Axes, text: str, x: float = 0.97, y: float = 0.95) -> None:
    """A remark in a panel's corner, in shares of its width and height."""
    axes.text(
        x, y, text, transform=axes.transAxes, ha="right" if x > 0.5 else "left", va="top" if y > 0.5 else "bottom",
        fontsize=9, color="#444444", bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


@styled
def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return encoded(canvas)


def encoded(canvas: FigureCanvasAgg) -> bytes:
    """What is drawn as a PNG of 256 colours: a third of the size, and no difference that can be seen."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "png")
    return file.getvalue()
