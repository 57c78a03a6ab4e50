"""Figures of what the predictor can do on trials that were held out, beside all baselines."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..core.records import Estimate, Evidence, Reliance
from ..core.tables import number, signed
from ..predictor.inputs import WITHOUT_SPECTRA
from .figures import INK, WITH, WITHOUT, below, cell_keys, cell_marks, columns_for, key, note, panels, styled, wrapped
from .findings import Addition, by_r2, case

BINS = 5
_LOWEST = -0.35  # the axis of R2 begins there; lower values are printed all the same
_BLANK = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # behind a number that a line crosses


@styled
def additions(added: Sequence[Addition]) -> Figure:
    """What spectra add to R2: dots with 95 % intervals, one row per set of inputs, one column per split."""
    gains = [addition.gain for addition in added]
    splits, sets = list(dict.fromkeys(g.split for g in gains)), list(dict.fromkeys(g.without for g in gains))
    raised, lowered = (sum(case(g) == name for g in gains) for name in ("above", "below"))
    title = f"Spectra raise R2 measurably in {raised} of {len(gains)} comparisons and lower it in {lowered}"
    figure, grid = panels(1, len(splits), 1.35 + 0.42 * len(sets), title, sharey=True, sharex=True)
    for axes, split in zip(grid[0], splits, strict=True):
        own = [g for g in gains if g.split == split]
        places = [len(sets) - 1 - sets.index(g.without) for g in own]
        _dots(axes, places, [g.r2 for g in own], [WITHOUT if case(g) == "around" else WITH for g in own])
        axes.axvline(0, color=INK, linewidth=1)
        for place, gain in zip(places, own, strict=True):
            axes.text(_ends(gain.r2)[0], place + 0.2, signed(gain.r2.value), ha="center", va="bottom", fontsize=9.5, bbox=_BLANK)
        axes.set_title(split)
        axes.grid(visible=False, axis="y")
    low, high = (choose(end) for choose, end in zip((min, max), np.transpose([_ends(g.r2)[1:] for g in gains]), strict=True))
    grid[0, 0].set_xlim(max(min(low, -0.05), -1) - 0.03, min(max(high, 0.05), 1) + 0.03)
    grid[0, 0].set_yticks(np.arange(len(sets))[::-1], [f"to {name}" for name in sets], fontsize=10, color=INK)
    grid[0, 0].set_ylim(-0.5, len(sets) - 0.2)
    keys = [key("interval excludes 0", WITH, marker="o"), key("interval includes 0", WITHOUT, marker="o")]
    below(figure, "change of R2 (95 % interval)", keys)
    return figure


@styled
def strength(evidence: Sequence[Evidence]) -> Figure:
    """R2 of each set of inputs with its 95 % interval, one column per split; sets with spectra above those without."""
    splits = list(dict.fromkeys(e.split for e in evidence))
    first = by_r2(e for e in evidence if e.split == splits[0])
    blocks = [[e.inputs for e in first if _sees_spectra(e) == spectral] for spectral in (True, False)]
    places = {name: -i - (i >= len(blocks[0])) for i, name in enumerate([*blocks[0], *blocks[1]])}
    title = "Quality of the predicted score by inputs of the predictor"
    figure, grid = panels(1, len(splits), 1.5 + 0.3 * (len(places) + 1), title, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        _strengths(axes, [e for e in evidence if e.split == split], places)
        axes.set_title(split)
    grid[0, 0].set_yticks(list(places.values()), list(places), fontsize=10, color=INK)
    grid[0, 0].set_ylim(min(places.values()) - 0.7, 0.7)
    keys = [
        key("with spectra", WITH, marker="o"),
        key("without spectra", WITHOUT, marker="s"),
        key("best without spectra", WITHOUT, linestyle="--", linewidth=1.2),
    ]
    below(figure, "R2 of the score, out of sample (95 % interval)", keys)
    return figure


@styled
def predictions(
    answers: pd.DataFrame, r2: Mapping[str, float | None], tasks: Mapping[str, str], cells: Sequence[str], threshold: float
) -> Figure:
    """True against predicted score of trials that were held out, one panel per task.

    Args:
        answers: task, cell, score, expected_score.
        r2: task -> R2 within it, None if undefined.
        tasks: name -> title, in the order of the panels.
        cells: in the order of their colours.
        threshold: of success.
    """
    title = "True against predicted score of held-out trials"
    columns = columns_for(len(tasks))
    figure, grid = wrapped(len(tasks), columns, 0.3 + min(7.4 / columns, 5), title, sharex=True, sharey=True)
    marks = cell_marks(cells)
    for axes, (task, name) in zip(grid, tasks.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1)
        axes.axhline(threshold, color=INK, linewidth=1, linestyle=":")
        for cell in cells:
            own = answers[(answers["task"] == task) & (answers["cell"] == cell)]
            axes.scatter(own["expected_score"], own["score"], s=22, alpha=0.8, linewidth=0, **marks[cell])
        value = r2.get(task)
        note(axes, "R2 undefined" if value is None else f"R2 {number(value)}", 0.97, 0.04)
        axes.set_title(fill(name, 96 // columns))
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
        axes.set_xticks([0, 0.5, 1])
    figure.supylabel("true score", fontsize=10.5)
    below(figure, "predicted score", [*cell_keys(cells), key("required for success", INK, linewidth=1, linestyle=":")])
    return figure


@styled
def calibration(answers: pd.DataFrame) -> Figure:
    """Share of successes against their predicted probability, with Wilson intervals, one column per split.

    Args:
        answers: split, probability_of_success, success.
    """
    splits = list(answers["split"].unique())
    title = "Share of successes against their predicted probability"
    figure, grid = panels(1, len(splits), 1.3 + min(8.3 / len(splits), 5), title, sharex=True, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1)
        for row in reliability(answers[answers["split"] == split]).itertuples():
            axes.plot([row.predicted, row.predicted], [row.low, row.high], color=WITH, linewidth=1.8)
            axes.plot(row.predicted, row.share, "o", color=WITH, markersize=6.5)
            axes.text(row.predicted, -0.115, f"{row.count}", ha="center", va="center", fontsize=9, color="#444444")
        axes.set_title(split)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.19, 1.03), aspect="equal")
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        axes.axhline(-0.05, color="#AAAAAA", linewidth=0.8)
    grid[0, 0].set_ylabel("share of successes")
    keys = [key("trials, with 95 % interval", WITH, marker="o"), key("perfectly calibrated", INK, linewidth=1)]
    below(figure, "predicted probability of success (number of trials below each dot)", keys)
    return figure


def reliability(answers: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """Trials in bins of equal width of the predicted probability, without empty bins.

    Args:
        answers: probability_of_success, success.
        bins: number of them.

    Returns:
        predicted (mean), share of successes, low and high (its 95 % Wilson interval), count.
    """
    place = np.minimum((answers["probability_of_success"] * bins).astype(int), bins - 1)
    rows = []
    for _, own in answers.groupby(place):
        successes, count = int(own["success"].sum()), len(own)
        interval = binomtest(successes, count).proportion_ci(method="wilson")
        rows.append((own["probability_of_success"].mean(), successes / count, interval.low, interval.high, count))
    return pd.DataFrame(rows, columns=["predicted", "share", "low", "high", "count"])


@styled
def reliance(relies_on: Sequence[Reliance]) -> Figure:
    """Fall of R2 when a family of inputs is shuffled, mean and standard deviation over the folds, largest first."""
    rows = sorted(relies_on, key=lambda r: r.drop)
    estimates = [Estimate(r.drop, r.drop - r.spread, r.drop + r.spread) for r in rows]
    title = f"The predictor relies most on: {rows[-1].family}"
    figure, grid = panels(1, 1, 1.3 + 0.38 * len(rows), title)
    axes = grid[0, 0]
    _dots(axes, range(len(rows)), estimates, [WITH if "spectrum" in r.family else WITHOUT for r in rows])
    for place, row in enumerate(rows):
        axes.text(row.drop + row.spread, place, f"  {number(row.drop)}", va="center", fontsize=10)
    _, lows, highs = np.transpose([_ends(e) for e in estimates])
    axes.set_xlim(min(0.0, lows.min()) - 0.03, max(highs.max(), 0.05) * 1.12)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(rows)), [r.family for r in rows], fontsize=10, color=INK)
    axes.set_ylim(-0.5, len(rows) - 0.3)
    axes.set_xlabel("fall of R2 on held-out trials after shuffling (mean and standard deviation over folds)")
    below(figure, "", [key("spectra", WITH, marker="o"), key("other inputs", WITHOUT, marker="o")])
    return figure


def _strengths(axes: Axes, rows: Sequence[Evidence], places: Mapping[str, int]) -> None:
    """Draw one split's dots, their values at the right, and a line at the best set without spectra."""
    for spectral, colour, marker in ((True, WITH, "o"), (False, WITHOUT, "s")):
        own = [row for row in rows if _sees_spectra(row) == spectral]
        _dots(axes, [places[e.inputs] for e in own], [e.measures["r2"] for e in own], [colour] * len(own), marker)
    values = {row.inputs: row.measures["r2"].value for row in rows}
    best = max((v for v in values.values() if v is not None), default=None)
    rival = max((v for name, v in values.items() if v is not None and name in WITHOUT_SPECTRA), default=np.nan)
    axes.axvline(rival, color=WITHOUT, linewidth=1.2, linestyle="--", zorder=1)
    axes.axvline(0, color=INK, linewidth=1)
    for name, value in values.items():
        weight = "bold" if value == best else "normal"
        axes.text(1.34, places[name], number(value), ha="right", va="center", fontsize=9, fontweight=weight)
    axes.set_xlim(_LOWEST, 1.36)
    axes.set_xticks([0, 0.5, 1])
    axes.grid(visible=False, axis="y")


def _sees_spectra(evidence: Evidence) -> bool:
    return evidence.inputs not in WITHOUT_SPECTRA


def _ends(estimate: Estimate) -> NDArray[np.float64]:
    """Value, low and high; NaN where they are undefined."""
    return np.array([estimate.value, estimate.low, estimate.high], float)


def _dots(axes: Axes, places: Iterable[int], estimates: Iterable[Estimate], colours: Iterable[str], marker: str = "o") -> None:
    """Draw dots with their intervals; what is undefined is not drawn."""
    for place, estimate, colour in zip(places, estimates, colours, strict=True):
        value, low, high = _ends(estimate)
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot(value, place, marker, color=colour, markersize=6, zorder=4)
