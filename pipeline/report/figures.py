"""What all figures share - fonts, colours that colour-blind people can tell apart, panels, axes - and one trial's spectra.

The stage that measures spectra draws with this file alone.
"""

import io
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from ..artefacts import CHECKPOINTS, TrialResult, TrialSpectra

# Okabe and Ito (2008) and Tol (2021). A colour means one thing on the whole page.
SUCCESS, FAILURE = "#0072B2", "#D55E00"
WITH, WITHOUT = "#332288", "#8C8C8C"
CELLS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#000000")
MARKERS = ("o", "^", "s", "D", "v")  # the next one when the colours of cells are used up
INK = "#222222"
MANY = 6  # more tasks or cells than this have no panel for each pair
WIDTH = 8.0  # inches; at the page's full width a point is then about 1.5 pixels

LINEAR = 0.1  # nats per step: exponents are drawn linearly within, logarithmically beyond
DEEPEST = -20.0  # nats per step; lower exponents, and -inf, leave the panel at the bottom
TICKS = (1.0, 0.1, 0.0, -0.1, -1.0, -10.0)
_STAGES = {"initial": "#777777", "early": "#D98200", "final": "#0072B2"}
_WORD: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 10.5, "fontweight": "bold"}
_LOW, _HIGH = -20.0, 3.0  # nats per step, the same for all trials, so that their pictures can be compared

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


def wrapped(count: int, columns: int, height: float, title: str, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels laid out row by row, each row of this height, and its axes."""
    figure, grid = panels(-(-count // columns), columns, 1.0 + height * -(-count // columns), title, **options)
    every = list(grid.flat)
    for axes in every[count:]:
        axes.remove()
    for axes in every[max(count - columns, 0) : count]:  # with a common axis, only those of the last row have numbers
        axes.tick_params(labelbottom=True)
    return figure, every[:count]


def columns_for(count: int) -> int:
    """How many panels stand side by side."""
    return count if count <= 3 else 2 if count == 4 else 3 if count <= 9 else 5


def below(figure: Figure, label: str, handles: Sequence[Line2D]) -> None:
    """What stands below all panels: the name of their common horizontal axis, if any, and under it one legend."""
    columns = len(handles) if len(handles) < 6 else -(-len(handles) // 2) if len(handles) < 11 else 4
    keys = (0.12 + 0.2 * -(-len(handles) // columns)) / figure.get_figheight()
    strip = keys + (0.24 / figure.get_figheight() if label else 0)
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))  # type: ignore[union-attr, call-arg]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=columns, handlelength=1.6, borderaxespad=0.2
    )
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
    return dict(zip(cells, cycle(CELLS)))


def cell_marks(cells: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each cell: no two cells share both before there are 35."""
    return {
        cell: {"color": colour, "marker": MARKERS[place // len(CELLS) % len(MARKERS)]}
        for place, (cell, colour) in enumerate(cell_colours(cells).items())
    }


def number(value: float, digits: int = 2) -> str:
    """A number for a label: a true minus sign, no minus before zero."""
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def cell_keys(cells: Sequence[str]) -> list[Line2D]:
    """The legend of dots in the colours of cells."""
    return [key(cell, mark["color"], marker=mark["marker"], linestyle="") for cell, mark in cell_marks(cells).items()]


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
    return encoded(canvas, Image.Quantize.MAXCOVERAGE)


def encoded(canvas: FigureCanvasAgg, method: Image.Quantize) -> bytes:
    """What is drawn as a PNG of 256 colours: a third of the size, and no difference that can be seen."""
    file = io.BytesIO()
    size = canvas.get_width_height(physical=True)
    image = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
    image.quantize(256, method=method, dither=Image.Dither.NONE).save(file, "png")
    return file.getvalue()


def exponent_axis(axes: Axes, values: NDArray[np.float64]) -> None:
    """A vertical axis of exponents that shows both what is near 0 and what is far below it."""
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.6)
    ticks(axes.yaxis, TICKS)
    axes.set_ylim(*span(values))


def span(values: Any) -> tuple[float, float]:
    """Limits for exponents: 0 and its surroundings always, DEEPEST at the lowest."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return float(max(min(low * 1.3, -0.3), DEEPEST)), float(np.clip(high * 1.5, 0.15, -DEEPEST))


def ticks(axis: Any, places: Iterable[float]) -> None:
    """Ticks at these places only, as plain numbers."""
    axis.set_ticks(list(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    axis.set_minor_formatter(NullFormatter())


@styled
def trial_spectrum(result: TrialResult, spectra: TrialSpectra) -> bytes:
    """A trial's spectra at its checkpoints, with bands of two standard errors, as a PNG.

    The axes are drawn once and kept as pixels, which takes a third of the time of a new figure. Not for threads.
    """
    canvas, axes, background = _canvas()
    canvas.restore_region(background)
    drawn: list[Artist] = [axes.text(0.0, 1.03, _title(result), transform=axes.transAxes, fontsize=10.5)]
    for place, name in enumerate(CHECKPOINTS):
        mean = spectra.mean(name)
        drawn += _curve(axes, mean, spectra.standard_error[place], _STAGES[name])
        where = (0.98, 0.96 - 0.085 * place)  # a word in the line's colour: half the time of a legend
        drawn.append(axes.text(*where, _label(result, name, mean), transform=axes.transAxes, color=_STAGES[name], **_WORD))
    for artist in drawn:
        axes.draw_artist(artist)
        artist.remove()
    return encoded(canvas, Image.Quantize.FASTOCTREE)  # 20 ms faster; its white is 254


@cache
def _canvas() -> tuple[FigureCanvasAgg, Axes, Any]:
    """What all trials' pictures share, and its pixels."""
    figure = Figure(figsize=(6.4, 3.8), dpi=90)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.12, 0.14, 0.86, 0.77))
    axes.axhline(0, color=INK, linewidth=1)
    exponent_axis(axes, np.array([_LOW, _HIGH]))
    axes.set(xlim=(0, 1.01), ylim=(_LOW, _HIGH), xlabel="index of the exponent, i / S", ylabel="exponent (nats per step)")
    canvas.draw()
    return canvas, axes, canvas.copy_from_bbox(figure.bbox)


def _curve(axes: Axes, mean: NDArray[np.float64], error: NDArray[np.float64], colour: str) -> list[Artist]:
    """Line and band; -inf leaves the panel at the bottom, NaN is not drawn."""
    share = np.arange(1, len(mean) + 1) / len(mean)
    shown = np.maximum(mean, 4 * _LOW)
    band = 2 * np.where(np.isfinite(error), error, 0.0)
    filled = axes.fill_between(share, shown - band, shown + band, color=colour, alpha=0.3, linewidth=0)
    return [filled, *axes.plot(share, shown, color=colour, linewidth=1.8)]


def _label(result: TrialResult, checkpoint: str, mean: NDArray[np.float64]) -> str:
    epoch = result.epoch_of(checkpoint)
    lost = int(np.isneginf(mean).sum())
    remark = ", state not finite" if np.isnan(mean).any() else f", {lost} of {len(mean)} at \N{MINUS SIGN}inf" if lost else ""
    return f"{'before training' if epoch == 0 else f'after epoch {epoch}'}{remark}"


def _title(result: TrialResult) -> str:
    trial = result.trial
    name = f"{trial['task']}, {trial['cell']}, p {trial['init_scale']:.3g}, learning rate {trial['learning_rate']:.2g}"
    return f"{name}{', diverged' if result.outcome['diverged'] else ''}"
