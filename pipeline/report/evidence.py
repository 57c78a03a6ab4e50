"""What the predictor can do: its answers on trials that were held out, beside all baselines."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .figures import INK, WITH, WITHOUT, below, cell_keys, cell_marks, columns_for, key, note, number, panels, styled, wrapped

_LOWEST = -0.35  # R2 below leaves the panel; it is printed all the same
BINS = 5
_BLANK = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # behind a number that a line crosses


@styled
def additions(gains: pd.DataFrame) -> Figure:
    """What spectra add to R2: dots with 95 % intervals, a row a comparison, a column a split.

    Args:
        gains: split, base (set of inputs without spectra), gain, low, high.
    """
    splits, bases = list(gains["split"].unique()), list(gains["base"].unique())
    raised, lowered = int((gains["low"] > 0).sum()), int((gains["high"] < 0).sum())
    title = f"Adding spectra raises R2 measurably in {raised} of {len(gains)} comparisons, lowers it in {lowered}"
    figure, grid = panels(1, len(splits), 1.35 + 0.42 * len(bases), title, sharey=True, sharex=True)
    for axes, split in zip(grid[0], splits, strict=True):
        own = gains[gains["split"] == split]
        places = [len(bases) - 1 - bases.index(base) for base in own["base"]]
        clear = (own["low"] > 0) | (own["high"] < 0)
        _dots(axes, places, own[["gain", "low", "high"]], clear.map({True: WITH, False: WITHOUT}))
        axes.axvline(0, color=INK, linewidth=1)
        for place, gain in zip(places, own["gain"], strict=True):
            text = f"{'+' if gain >= 0.005 else ''}{number(gain)}"
            axes.text(gain, place + 0.2, text, ha="center", va="bottom", fontsize=9.5, bbox=_BLANK)
        axes.set_title(split)
        axes.grid(visible=False, axis="y")
    low, high = min(gains["low"].min(), -0.05), max(gains["high"].max(), 0.05)
    grid[0, 0].set_xlim(max(low, -1) - 0.03, min(high, 1) + 0.03)
    grid[0, 0].set_yticks(np.arange(len(bases))[::-1], [f"to {b}" for b in bases], fontsize=10, color=INK)
    grid[0, 0].set_ylim(-0.5, len(bases) - 0.2)
    keys = [key("interval without 0", WITH, marker="o"), key("interval with 0", WITHOUT, marker="o")]
    below(figure, "change of R2 (95 % interval)", keys)
    return figure


@styled
def strength(table: pd.DataFrame) -> Figure:
    """R2 of each set of inputs with its 95 % interval, a column a split; sets without spectra apart from those with.

    Args:
        table: split, features, with_spectra, r2, r2_low, r2_high; NaN where a figure is undefined.
    """
    splits = list(table["split"].unique())
    first = table[table["split"] == splits[0]].sort_values("r2", ascending=False, na_position="last")
    names = [*first[first["with_spectra"]]["features"], *first[~first["with_spectra"]]["features"]]
    gap = int(first["with_spectra"].sum())
    places = {name: -(i + (i >= gap)) for i, name in enumerate(names)}
    title = "How well the score is predicted, by what the predictor sees"
    figure, grid = panels(1, len(splits), 1.5 + 0.3 * (len(names) + 1), title, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        _strengths(axes, table[table["split"] == split], places)
        axes.set_title(split)
    grid[0, 0].set_yticks(list(places.values()), names, fontsize=10, color=INK)
    grid[0, 0].set_ylim(min(places.values()) - 0.7, 0.7)
    keys = [
        key("sees spectra", WITH, marker="o"),
        key("sees none", WITHOUT, marker="s"),
        key("best that sees none", WITHOUT, linestyle="--", linewidth=1.2),
    ]
    below(figure, "R2 of the score, out of sample (95 % interval)", keys)
    return figure


@styled
def predictions(
    answers: pd.DataFrame, r2: Mapping[str, float | None], tasks: Mapping[str, str], cells: Sequence[str], threshold: float
) -> Figure:
    """True against predicted score of trials that were held out, a panel a task, a colour and marker a cell.

    Args:
        answers: task, cell, score, expected_score.
        r2: task -> R2 within it, None if undefined.
        tasks: name -> title, in the order of the panels.
        cells: in the order of their colours.
        threshold: of success.
    """
    title = "True against predicted score of trials that were held out"
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
    below(figure, "predicted score", [*cell_keys(cells), key("needed for success", INK, linewidth=1, linestyle=":")])
    return figure


@styled
def calibration(answers: pd.DataFrame) -> Figure:
    """Share of successes against the predicted probability, with Wilson intervals, a column a split.

    Args:
        answers: split, probability, success.
    """
    splits = list(answers["split"].unique())
    title = "Share of successes against the predicted probability of success"
    figure, grid = panels(1, len(splits), 1.3 + min(8.3 / len(splits), 5), title, sharex=True, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        own = answers[answers["split"] == split]
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1)
        for row in reliability(own["probability"].to_numpy(float), own["success"].to_numpy(bool)).itertuples():
            axes.plot([row.predicted, row.predicted], [row.low, row.high], color=WITH, linewidth=1.8)
            axes.plot(row.predicted, row.share, "o", color=WITH, markersize=6.5)
            axes.text(row.predicted, -0.115, f"{row.count}", ha="center", va="center", fontsize=9, color="#444444")
        axes.set_title(split)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.19, 1.03), aspect="equal")
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        axes.axhline(-0.05, color="#AAAAAA", linewidth=0.8)
    grid[0, 0].set_ylabel("share that succeeded")
    keys = [key("trials, with 95 % interval", WITH, marker="o"), key("perfectly calibrated", INK, linewidth=1)]
    below(figure, "predicted probability of success (numbers: trials in each dot)", keys)
    return figure


def reliability(probability: NDArray[np.float64], success: NDArray[np.bool_], bins: int = BINS) -> pd.DataFrame:
    """Trials by predicted probability in bins of equal width: predicted (mean), share, low, high, count; no empty bins."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for bin_ in np.unique(place):
        mine = place == bin_
        share, count = float(success[mine].mean()), int(mine.sum())
        low, high = wilson(share, count)
        rows.append({"predicted": float(probability[mine].mean()), "share": share, "low": low, "high": high, "count": count})
    return pd.DataFrame(rows, columns=["predicted", "share", "low", "high", "count"])


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of `count` cases (Wilson 1927)."""
    middle = share + z**2 / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return float((middle - half) / scale), float((middle + half) / scale)


@styled
def looks_at(drops: Sequence[Mapping[str, Any]], with_spectra: Sequence[str]) -> Figure:
    """Fall of R2 when a family of inputs is shuffled, mean and standard deviation over the folds; largest first.

    Args:
        drops: family, drop_r2, spread.
        with_spectra: the families made of spectra.
    """
    rows = pd.DataFrame(drops).sort_values("drop_r2", ignore_index=True)
    rows = rows.assign(low=rows["drop_r2"] - rows["spread"], high=rows["drop_r2"] + rows["spread"])
    title = f"What the predictor relies on: most of all the {rows['family'].iloc[-1]}"
    figure, grid = panels(1, 1, 1.3 + 0.38 * len(rows), title)
    axes = grid[0, 0]
    colours = rows["family"].isin(with_spectra).map({True: WITH, False: WITHOUT})
    _dots(axes, rows.index, rows[["drop_r2", "low", "high"]], colours)
    for place, (mean, end) in enumerate(rows[["drop_r2", "high"]].to_numpy(float)):
        axes.text(end, place, f"  {number(mean)}", va="center", fontsize=10)
    axes.set_xlim(min(0.0, rows["low"].min()) - 0.03, max(rows["high"].max(), 0.05) * 1.12)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(rows.index, rows["family"], fontsize=10, color=INK)
    axes.set_ylim(-0.5, len(rows) - 0.3)
    axes.set_xlabel("fall of R2 on held-out trials when shuffled (mean and spread over folds)")
    below(figure, "", [key("spectra", WITH, marker="o"), key("other", WITHOUT, marker="o")])
    return figure


def _strengths(axes: Axes, rows: pd.DataFrame, places: Mapping[str, int]) -> None:
    """One split's dots, their values printed at the right, and a line at the best set without spectra."""
    for spectral, colour, marker in ((True, WITH, "o"), (False, WITHOUT, "s")):
        own = rows[rows["with_spectra"] == spectral]
        _dots(axes, own["features"].map(places), own[["r2", "r2_low", "r2_high"]], [colour] * len(own), marker)
    axes.axvline(rows[~rows["with_spectra"]]["r2"].max(), color=WITHOUT, linewidth=1.2, linestyle="--", zorder=1)
    axes.axvline(0, color=INK, linewidth=1)
    best = rows["r2"].max()
    for name, value in zip(rows["features"], rows["r2"], strict=True):
        weight = "bold" if value == best else "normal"
        text = "none" if np.isnan(value) else number(value)
        axes.text(1.34, places[name], text, ha="right", va="center", fontsize=9, fontweight=weight)
    axes.set_xlim(_LOWEST, 1.36)
    axes.set_xticks([0, 0.5, 1])
    axes.grid(visible=False, axis="y")


def _dots(axes: Axes, places: Iterable[int], rows: pd.DataFrame, colours: Iterable[str], marker: str = "o") -> None:
    """Dots with intervals from three columns: value, low, high; what is undefined is not drawn."""
    for place, (value, low, high), colour in zip(places, rows.to_numpy(float), colours, strict=True):
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot(value, place, marker, color=colour, markersize=6, zorder=4)
