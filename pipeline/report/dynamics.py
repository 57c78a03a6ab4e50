"""Figures of what the networks do: their spectra, their training, their largest exponent."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..core.records import CHECKPOINTS, Trial, TrialResult, TrialSpectra
from ..core.tables import number
from ..predictor.features import FLOOR
from .figures import (
    FAILURE,
    INK,
    LINEAR,
    MANY,
    SUCCESS,
    TICKS,
    below,
    cell_keys,
    cell_marks,
    columns_for,
    exponent_axis,
    folded,
    key,
    note,
    outcome_keys,
    panels,
    span,
    styled,
    ticks,
    wrapped,
)

Tasks = Mapping[str, str]  # name -> title, in the order of the panels
WORST = 3.0  # times chance; the axis of losses ends there


@styled
def spectra(
    measured: Sequence[TrialSpectra], success: Mapping[str, bool], checkpoint: str, tasks: Tasks, cells: Sequence[str]
) -> Figure:
    """All spectra at a checkpoint: exponent against i / S, one row per task and one column per cell, or one panel per cell.

    Args:
        measured: the spectra; a trial without finite spectrum has no line and is counted.
        success: trial id -> whether it succeeded.
        checkpoint: a name in CHECKPOINTS.
        tasks: name -> title, in the order of the rows.
        cells: in the order of the columns.
    """
    count = sum(success[s.trial.id] for s in measured)
    title = f"Spectra {_when(measured, checkpoint)}: {count} of {len(measured)} trials succeed"
    figure, facets = _facets(tasks, cells, title, wide="cell", sharex=True, sharey=True)
    for axes, of in facets:
        axes.axhline(0, color=INK, linewidth=1)
        own = [s for s in measured if of(s.trial)]
        outcomes = [success[s.trial.id] for s in own]
        curves = [_spectrum(s.mean(checkpoint)) for s in own]
        _lines(axes, curves, outcomes)
        lost = sum(bool(np.isnan(curve).any()) for curve in curves)
        note(axes, f"{sum(outcomes)} of {len(own)} succeed{f', {lost} not finite' if lost else ''}")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    exponent_axis(facets[0][0], np.concatenate([s.mean(checkpoint) for s in measured]) if measured else np.zeros(1))
    figure.supylabel("exponent (nats per step)", fontsize=10.5)
    below(figure, "index of the exponent, i / S", outcome_keys())
    return figure


@styled
def training_curves(
    trials: Sequence[TrialResult], table: pd.DataFrame, tasks: Tasks, cells: Sequence[str], threshold: float
) -> Figure:
    """Validation loss relative to chance over training: one row per task and one column per cell, or one panel per task."""
    final = table[table["checkpoint"] == "final"].set_index("trial")
    count = int(final["success"].sum())
    title = f"{count} of {len(final)} trials close {100 * threshold:.0f} % of the gap between chance and the best trial"
    figure, facets = _facets(tasks, cells, title, wide="task", sharex=True, sharey="row" if _few(tasks, cells) else False)
    for axes, of in facets:
        own = [t for t in trials if of(t.trial)]
        _lines(axes, [_curve(t) for t in own], [bool(final.loc[t.trial.id, "success"]) for t in own])
        axes.axhline(1, color=INK, linewidth=1)
        shown = {t.trial.task for t in own}
        _success_line(axes, final[final["task"].isin(shown)], threshold)
        diverged = sum(t.outcome.diverged for t in own)
        if diverged:
            note(axes, f"{diverged} diverged")
        axes.set_xlim(0, max([t.trial.epochs for t in own], default=1))
        _loss_axis(axes, [t for t in trials if t.trial.task in shown])
    figure.supylabel("validation loss / chance", fontsize=10.5)
    limits = [key("chance", INK, linewidth=1), key("required for success", INK, linewidth=1, linestyle=":")]
    below(figure, "epochs trained", [*outcome_keys(), *limits])
    return figure


@styled
def largest_exponent(table: pd.DataFrame, tasks: Tasks, cells: Sequence[str]) -> Figure:
    """The largest exponent at all checkpoints, and the score against it at the early one: two panels per task."""
    columns = columns_for(len(tasks))
    rows = -(-len(tasks) // columns)
    figure, grid = panels(2 * rows, columns, 0.6 + 2.6 * 2 * rows if rows == 1 else 0.8 + 1.9 * 2 * rows, _middle_half(table))
    for place, (task, name) in enumerate(tasks.items()):
        upper, lower = (grid[2 * (place // columns) + below_, place % columns] for below_ in (0, 1))
        own = table[table["task"] == task]
        _trajectories(upper, own)
        exponent_axis(upper, table["exponent_1"].to_numpy(float))
        _scores(lower, own, cells, TICKS if len(tasks) < 3 else [t for t in TICKS if abs(t) != LINEAR])
        lower.set_xlim(*span(table["exponent_1"]))
        upper.set_title(folded(name, 96 // columns))
        for axes, label in ((upper, "largest exponent\n(nats per step)"), (lower, "final score")):
            axes.set_ylabel(label if place % columns == 0 else "")
            axes.tick_params(labelleft=place % columns == 0)
    for axes in list(grid[-2:].T.reshape(-1))[2 * (len(tasks) - columns * (rows - 1)) :]:
        axes.remove()
    keys = [*outcome_keys(), *cell_keys(cells)]
    below(figure, "largest exponent at the early checkpoint (nats per step)", keys)
    return figure


def _scores(axes: Axes, table: pd.DataFrame, cells: Sequence[str], places: Sequence[float]) -> None:
    """Plot the score against the largest exponent at the early checkpoint."""
    early = table[table["checkpoint"] == "early"]
    for cell, mark in cell_marks(cells).items():
        points = early[early["cell"] == cell]
        axes.scatter(points["exponent_1"], points["score"], s=20, alpha=0.8, linewidth=0, **mark)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.6)
    ticks(axes.xaxis, places)
    axes.set_ylim(-0.04, 1.04)


def _when(measured: Sequence[TrialSpectra], checkpoint: str) -> str:
    """A checkpoint in words; all trials of a study share its epoch."""
    epoch = measured[0].trial.early_epoch if measured else "?"
    return {"initial": "before training", "early": f"after epoch {epoch}", "final": "after training"}[checkpoint]


def _middle_half(table: pd.DataFrame) -> str:
    """The early interquartile range of the largest exponent over the successes, in words."""
    early = table[table["checkpoint"] == "early"]
    good = early[early["success"]]["exponent_1"].dropna()
    if not len(good):
        return "The largest exponent; no trial succeeded"
    low, high = (number(q) for q in good.quantile([0.25, 0.75]))
    return f"Half of the successes have a largest exponent of {low} to {high} after epoch {early['epoch'].max()}"


def _few(tasks: Tasks, cells: Sequence[str]) -> bool:
    return max(len(tasks), len(cells)) <= MANY


def _facets(
    tasks: Tasks, cells: Sequence[str], title: str, *, wide: str, **options: Any
) -> tuple[Figure, list[tuple[Axes, Callable[[Trial], bool]]]]:
    """A figure and its panels, each with a function that returns whether a trial belongs there.

    One panel per pair of task (rows) and cell (columns); if there are more than MANY of either, one panel per task or
    per cell, as `wide` says.
    """
    if not _few(tasks, cells):
        names = dict(tasks) if wide == "task" else {cell: cell for cell in cells}
        columns = columns_for(len(names))
        figure, axes = wrapped(len(names), columns, 1.95 if columns < 5 else 1.6, title, **options)
        for one, name in zip(axes, names.values(), strict=True):
            one.set_title(folded(name, 96 // columns), fontweight="bold", fontsize=9.5)
        return figure, [(one, partial(_belongs, {wide: name})) for one, name in zip(axes, names, strict=True)]
    figure, grid = panels(len(tasks), len(cells), 1.0 + 1.75 * len(tasks), title, **options)
    for one, cell in zip(grid[0], cells, strict=True):
        one.set_title(cell, fontweight="bold")
    for row, name in zip(grid, tasks.values(), strict=True):
        row[0].set_ylabel(folded(name, 20), fontsize=9.5)
    pairs = [{"task": task, "cell": cell} for task in tasks for cell in cells]
    return figure, [(one, partial(_belongs, pair)) for one, pair in zip(grid.flat, pairs, strict=True)]


def _belongs(wanted: Mapping[str, str], trial: Trial) -> bool:
    return all(getattr(trial, name) == value for name, value in wanted.items())


def _lines(axes: Axes, curves: Sequence[NDArray[np.float64]], outcomes: Sequence[bool]) -> None:
    """Draw curves (n, 2) in the colours of their outcomes, the successes on top; NaN is not drawn."""
    for outcome, colour, alpha in ((False, FAILURE, 0.4), (True, SUCCESS, 0.65)):
        own = [curve for curve, good in zip(curves, outcomes, strict=True) if good == outcome]
        axes.add_collection(LineCollection(own, colors=colour, alpha=alpha, linewidths=1.1, zorder=2 + outcome), autolim=False)


def _spectrum(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (S, 2) of i / S and exponent, those of -inf below the panel."""
    return np.column_stack([np.arange(1, len(mean) + 1) / len(mean), np.maximum(mean, 4 * FLOOR)])


def _curve(result: TrialResult) -> NDArray[np.float64]:
    """Points (epochs + 1, 2) of epoch and relative loss; infinite losses lie above the panel, NaN ends the line."""
    losses = np.minimum(result.curves["validation_loss"] / result.trial.chance, 100 * WORST)
    return np.column_stack([np.arange(len(losses)), losses])


def _success_line(axes: Axes, trials: pd.DataFrame, threshold: float) -> None:
    """Draw the relative loss that a success needs, if any trial of the task beat chance."""
    best = (trials["best_loss"] / trials["chance"]).min()
    if best < 1:
        axes.axhline(1 - threshold * (1 - best), color=INK, linewidth=1, linestyle=":")


def _loss_axis(axes: Axes, trials: Sequence[TrialResult]) -> None:
    values = np.concatenate([_curve(t)[:, 1] for t in trials]) if trials else np.ones(1)
    values = values[values > 0]
    low, high = (values.min(), np.quantile(values, 0.99)) if len(values) else (0.5, 1.0)
    axes.set_yscale("log")
    ticks(axes.yaxis, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2))
    axes.set_ylim(max(min(low * 0.85, 0.8), 1e-3), float(np.clip(high * 1.1, 1.3, WORST)))  # set after the ticks, which widen it


def _trajectories(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the largest exponent over the checkpoints, one line per trial."""
    wide = table.pivot(index="trial", columns="checkpoint", values="exponent_1").reindex(columns=CHECKPOINTS)
    success = table.groupby("trial")["success"].first().reindex(wide.index)
    places = np.arange(len(CHECKPOINTS))
    curves = [np.column_stack([places, np.maximum(row, 4 * FLOOR)]) for row in wide.to_numpy(float)]
    _lines(axes, curves, list(success.astype(bool)))
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xlim(-0.1, len(CHECKPOINTS) - 0.9)
    axes.set_xticks(places, CHECKPOINTS)
