"""What all figures share: fonts, colours that colour-blind readers can tell apart, panels, axes."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from ..core.tables import MINUS
from ..predictor.features import FLOOR

# Okabe and Ito (2008) and Tol (2021). A colour means one thing on the whole page.
SUCCESS, FAILURE = "#0072B2", "#D55E00"
WITH, WITHOUT = "#332288", "#8C8C8C"  # spectra
CELLS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#000000")
MARKERS = ("o", "^", "s", "D", "v")  # the next one when the colours of cells are used up
INK = "#222222"
MANY = 6  # if there are more tasks or cells than this, pairs have no panels of their own
WIDTH = 8.0  # inches; a point is about 1.5 pixels when the page has its full width

LINEAR = 0.1  # nats per step: the axis of exponents is linear within, logarithmic beyond
TICKS = (1.0, 0.1, 0.0, -0.1, -1.0, -10.0)

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


def panels(
    rows: int, columns: int, height: float, title: str, *, width: float = WIDTH, **options: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure with a title that says what it shows, and its axes (rows, columns); height and width in inches."""
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.suptitle(title, x=0.008, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def wrapped(count: int, columns: int, height: float, title: str, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, laid out row by row with rows of this height, and its axes."""
    figure, grid = panels(-(-count // columns), columns, 1.0 + height * -(-count // columns), title, **options)
    every = list(grid.flat)
    for axes in every[count:]:
        axes.remove()
    for axes in every[max(count - columns, 0) : count]:  # matplotlib labels the last row alone when axes are shared
        axes.tick_params(labelbottom=True)
    return figure, every[:count]


def columns_for(count: int) -> int:
    """Number of panels side by side."""
    return count if count <= 3 else 2 if count == 4 else 3 if count <= 9 else 5


def below(figure: Figure, label: str, handles: Sequence[Line2D], *, most: int = 5) -> None:
    """Put the label of the common horizontal axis, if any, and one legend with up to `most` keys per row below all panels."""
    columns = (
        most
        if most < 5 and len(handles) > most
        else len(handles)
        if len(handles) < 6
        else -(-len(handles) // 2)
        if len(handles) < 11
        else 4
    )
    keys = (0.12 + 0.2 * -(-len(handles) // columns)) / figure.get_figheight()
    strip = keys + (0.24 / figure.get_figheight() if label else 0)
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))  # type: ignore[union-attr, call-arg]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=columns, handlelength=1.6, borderaxespad=0.2
    )
    if label:
        figure.supxlabel(label, y=keys + 0.02 / figure.get_figheight(), fontsize=10.5)


def key(label: str, colour: str, **options: Any) -> Line2D:
    """An entry of a legend: a line, or a marker if `marker` is given."""
    return Line2D([], [], color=colour, label=label, **({"linewidth": 2.2} | options))


def outcome_keys() -> list[Line2D]:
    """The legend of successes and failures."""
    return [key("success", SUCCESS), key("failure", FAILURE)]


def cell_marks(cells: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each cell by its place in the study; up to 35 cells all differ."""
    return {
        cell: {"color": CELLS[place % len(CELLS)], "marker": MARKERS[place // len(CELLS) % len(MARKERS)]}
        for place, cell in enumerate(cells)
    }


def cell_keys(cells: Sequence[str]) -> list[Line2D]:
    """The legend of the cells' dots."""
    return [key(cell, mark["color"], marker=mark["marker"], linestyle="") for cell, mark in cell_marks(cells).items()]


def folded(text: str, width: int) -> str:
    """A text in lines of about this many characters, in which no word is broken."""
    return fill(text, width, break_long_words=False, break_on_hyphens=False)


def note(axes: Axes, text: str, x: float = 0.97, y: float = 0.95) -> None:
    """Write a remark into the corner of a panel; x and y are shares of its width and height."""
    place: dict[str, Any] = {"ha": "right" if x > 0.5 else "left", "va": "top" if y > 0.5 else "bottom"}
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    axes.text(x, y, text, transform=axes.transAxes, fontsize=9, color="#444444", bbox=box, **place)


@dataclass(frozen=True)
class Drawn:
    """A figure as it is written to a file, and as a page shows it.

    Attributes:
        png: the whole figure.
        panels: a PNG of its panels alone; the page prints title and legend as text, which wraps where the screen is narrow.
        title: what the figure shows.
        keys: of the legend.
    """

    png: bytes
    panels: bytes
    title: str
    keys: Sequence[Line2D]


@styled
def drawn(figure: Figure) -> Drawn:
    """Draw a figure, in 256 colours: a third of the size, with no visible difference."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height(physical=True)
    image = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
    title = next((text for text in figure.texts if text.get_text() == figure.get_suptitle()), None)
    top = 0 if title is None else size[1] - int(title.get_window_extent().y0)
    bottom = max((int(legend.get_window_extent().y1) for legend in figure.legends), default=0)
    keys = [handle for legend in figure.legends for handle in legend.legend_handles if isinstance(handle, Line2D)]
    return Drawn(_png(image), _png(image.crop((0, top, size[0], size[1] - bottom))), figure.get_suptitle(), keys)


def png(figure: Figure) -> bytes:
    """A figure as a PNG."""
    return drawn(figure).png


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "png")
    return file.getvalue()


def exponent_axis(axes: Axes, values: NDArray[np.float64]) -> None:
    """Make the vertical axis show both the exponents near 0 and those far below."""
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.6)
    ticks(axes.yaxis, TICKS)
    axes.set_ylim(*span(values))


def span(values: Any) -> tuple[float, float]:
    """Limits of an axis of exponents; they contain the surroundings of 0 and go down to FLOOR at most."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return float(max(min(low * 1.3, -0.3), FLOOR)), float(np.clip(high * 1.5, 0.15, -FLOOR))


def ticks(axis: Any, places: Iterable[float]) -> None:
    """Set ticks at these places only, as plain numbers."""
    axis.set_ticks(list(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS)))
    axis.set_minor_formatter(NullFormatter())
