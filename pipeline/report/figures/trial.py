"""One trial's spectra, small and fast: it is drawn for every trial."""

from functools import cache
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...artefacts import CHECKPOINTS, TrialResult, TrialSpectra
from .dynamics import exponent_axis
from .style import INK, encoded, styled

_COLOURS = {"initial": "#8C8C8C", "early": "#E69F00", "final": "#0072B2"}
_LOW, _HIGH = -20.0, 3.0  # nats per step, the same for all trials, so that their pictures can be compared


@styled
def trial_spectrum(result: TrialResult, spectra: TrialSpectra) -> bytes:
    """A trial's spectra at its checkpoints, with bands of two standard errors, as a PNG.

    The axes are drawn once and kept as pixels, which takes a third of the time of a new figure. Not for threads.
    """
    canvas, axes, background = _canvas()
    canvas.restore_region(background)
    drawn: list[Artist] = [axes.text(0.0, 1.03, _title(result), transform=axes.transAxes, fontsize=10.5)]
    for number, name in enumerate(CHECKPOINTS):
        mean = spectra.mean(name)
        drawn += _curve(axes, mean, spectra.standard_error[number], _COLOURS[name], _label(result, name, mean))
    drawn.append(axes.legend(loc="upper right", handlelength=1.2, fontsize=9.5))
    for artist in drawn:
        axes.draw_artist(artist)
        artist.remove()
    return encoded(canvas)


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


def _curve(axes: Axes, mean: NDArray[np.float64], error: NDArray[np.float64], colour: str, label: str) -> list[Artist]:
    """Line and band; -inf leaves the panel at the bottom, NaN is not drawn."""
    share = np.arange(1, len(mean) + 1) / len(mean)
    shown = np.maximum(mean, 4 * _LOW)
    band = 2 * np.where(np.isfinite(error), error, 0.0)
    filled = axes.fill_between(share, shown - band, shown + band, color=colour, alpha=0.3, linewidth=0)
    return [filled, *axes.plot(share, shown, color=colour, linewidth=1.8, label=label)]


def _label(result: TrialResult, checkpoint: str, mean: NDArray[np.float64]) -> str:
    epoch = result.epoch_of(checkpoint)
    lost = int(np.isneginf(mean).sum())
    remark = ", state not finite" if np.isnan(mean).any() else f", {lost} of {len(mean)} at \N{MINUS SIGN}inf" if lost else ""
    return f"{'before training' if epoch == 0 else f'after epoch {epoch}'}{remark}"


def _title(result: TrialResult) -> str:
    trial = result.trial
    name = f"{trial['task']}, {trial['cell']}, p {trial['init_scale']:.3g}, learning rate {trial['learning_rate']:.2g}"
    return f"{name}{', diverged' if result.outcome['diverged'] else ''}"
