"""How results are handed on: as plain numbers, as a table, as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import ModuleError, first_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from .estimate import Spectrum

# Okabe and Ito (2008), which colour-blind readers can tell apart.
INK, BLUE, ORANGE, GREEN, PURPLE = "#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7"
STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": "#777777",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#ECECEC",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}
MINUS = "\N{MINUS SIGN}"
MARKED = 16  # largest number of exponents that are marked one by one
LINEAR = 0.1  # nats per step; up to here, and up to 1 / T, the axis of exponents is linear, and beyond logarithmic
APART = 3.0  # least ratio of two ticks


def plain(values: Tensor | float | None) -> Any:
    """Numbers as Python's own, in nested lists for a tensor with dimensions; None where not finite."""
    if values is None:
        return None
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return np.where(np.isfinite(array), array, np.asarray(None)).tolist()


def frame(columns: Mapping[str, Tensor]) -> "pd.DataFrame":
    """A table of columns (N,); ModuleError if pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise ModuleError("to_frame needs pandas, which is not installed: pip install pandas") from None
    return pd.DataFrame({name: values.detach().cpu().numpy() for name, values in columns.items()})


def axes_for(ax: Any = None, *, width: float = 6.4, height: float = 4.0) -> "Axes":
    """The given axes, or those of a new figure of this width and height in inches, which pyplot does not know.

    Raises:
        ModuleError: matplotlib is not installed, or `ax` is something else.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError:
        raise ModuleError("plot needs matplotlib, which is not installed: pip install 'rnn-stability[plot]'") from None
    if ax is None:
        with rc_context(STYLE):
            return Figure(figsize=(width, height), dpi=160, layout="constrained").add_subplot()
    if not isinstance(ax, Axes):
        raise ModuleError(f"ax is a {type(ax).__name__}; it should be Axes of matplotlib")
    return ax


def save(ax: "Axes", path: str | Path | None) -> "Axes":
    """The axes, whose figure is written to the path, if there is one; ModuleError if it cannot be written."""
    figure = ax.get_figure(root=True)
    if path is not None and figure is not None:
        try:
            figure.savefig(path)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModuleError(f"the figure cannot be written to {path}: {first_line(error)}") from error
    return ax


def spectrum_on(ax: "Axes", spectrum: "Spectrum", length: int) -> None:
    """Draw exponents against their rank with 95 % intervals, and lines at 0 and -1 / length, for sequences of `length` steps."""
    exponents = spectrum.exponents.detach().cpu().double().numpy()
    low, high = spectrum.confidence_interval().detach().cpu().double().numpy()
    drawn = np.where(np.isfinite(exponents), exponents, np.nan)
    ranks = np.arange(1, len(exponents) + 1)
    ax.axhline(0.0, color=INK, linewidth=1.0)
    ax.axhline(-1 / length, color=ORANGE, linewidth=1.2, linestyle="--")
    if len(exponents) > MARKED:
        ax.fill_between(ranks, low, high, color=BLUE, alpha=0.3, linewidth=0)
        ax.plot(ranks, drawn, color=BLUE, linewidth=1.4)
    else:
        style: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4, "linewidth": 1.0, "capsize": 3}
        ax.errorbar(ranks, drawn, np.stack([drawn - low, high - drawn]), **style)
        ax.set_xticks(ranks)
    ax.set_xlim(0.5, len(exponents) + 0.5)
    _scale(ax, np.concatenate([drawn, low, high]), length)
    _remark(ax, exponents)
    place: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "xytext": (-3, 2), "textcoords": "offset points"}
    ax.annotate("\u2191 remembers the sequence", (1.0, -1 / length), ha="right", fontsize="small", color=ORANGE, **place)
    ax.set_xlabel("rank of the exponent" + (f" (of {spectrum.state_size})" if len(exponents) < spectrum.state_size else ""))
    ax.set_ylabel("exponent, 95 % interval (nats/step)")


def _scale(ax: "Axes", values: NDArray[Any], length: int) -> None:
    """Make the vertical axis linear up to 1 / length and logarithmic beyond, with ticks at powers of ten and at -1 / length."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    finite = values[np.isfinite(values)]
    linear = min(1 / length, LINEAR)
    ax.set_yscale("symlog", linthresh=linear, linscale=0.5)
    ax.set_ylim(1.3 * min([*finite, -2 / length, -linear]), 1.3 * max([*finite, linear]))
    powers = 10.0 ** np.arange(np.ceil(np.log10(linear)), 4)
    below = [-power for power in powers if not 1 / APART < power * length < APART]
    ax.yaxis.set_major_locator(FixedLocator([*below, -1 / length, 0.0, *powers]))
    names = [f"{value:g}".replace("-", MINUS) for value in (*below, 0.0, *powers)]
    ax.yaxis.set_major_formatter(FixedFormatter([*names[: len(below)], f"{MINUS}1/{length}", *names[len(below) :]]))
    ax.yaxis.set_minor_locator(NullLocator())


def _remark(ax: "Axes", exponents: NDArray[Any]) -> None:
    """Say in the figure which exponents cannot be drawn."""
    lost = int(np.isneginf(exponents).sum())
    text = "no sequence stayed finite" if np.isnan(exponents).all() else f"{lost} of {len(exponents)} exponents are {MINUS}\u221e"
    if lost or np.isnan(exponents).all():
        ax.text(0.97, 0.5, text, transform=ax.transAxes, ha="right", va="center", fontsize="small", color=INK)
