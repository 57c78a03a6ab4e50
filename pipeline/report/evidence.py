"""Figures of how good the predictor is on trials that were held out, compared with all baselines."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..core.cards import Estimate, Evidence, Gain
from ..core.tables import number, signed
from ..predictor.inputs import MOMENTS, WITH_SPECTRA
from ..predictor.splits import SPLITS
from .figures import (
    INK,
    WITH,
    WITHOUT,
    below,
    cell_keys,
    cell_marks,
    columns_for,
    folded,
    key,
    note,
    panels,
    styled,
    ticks,
    wrapped,
)
from .findings import Addition, case

BINS = 5
AUC, BRIER = "#0072B2", "#D55E00"
_WIDEST = 0.3  # larger gains are drawn at the edge, with their number
_LOWEST = 0.3  # the axis of the AUC begins there; lower values are printed all the same
_BLANK = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # behind a number that a line crosses
_GAINS = (("auc", AUC, "o", 0.17), ("brier", BRIER, "s", -0.17))  # measure, colour, marker, height above its row


@styled
def additions(added: Sequence[Addition]) -> Figure:
    """What inputs add to others: gains in AUC and Brier score with 95 % intervals.

    One row per pair of sets, grouped by moment, and one column per split.
    """
    splits = list(dict.fromkeys(a.gain.split for a in added))
    rows = _rows((a.gain.moment, _pair(a.gain)) for a in added)
    gains = [a.gain.measures[measure] for a in added for measure, *_ in _GAINS]
    better, worse = (sum(case(gain) == name for gain in gains) for name in ("above", "below"))
    title = f"Of {len(gains)} comparisons, {better} are measurably better with more inputs and {worse} worse"
    figure, grid = panels(1, len(splits), 1.4 + 0.36 * len(rows), title, sharey=True, sharex=True)
    limit = _limit(added)
    for axes, split in zip(grid[0], splits, strict=True):
        for a in (a for a in added if a.gain.split == split):
            _gain(axes, a.gain, -rows[a.gain.moment, _pair(a.gain)], limit)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_title(folded(split, 18))
        axes.grid(visible=False, axis="y")
    grid[0, 0].set_xlim(-limit, limit)
    end = float(f"{0.7 * limit:.1g}")
    ticks(grid[0, 0].xaxis, [-end, 0, end])
    _name_rows(grid[0], rows)
    keys = [
        key("AUC", AUC, marker="o"),
        key("Brier score", BRIER, marker="s"),
        key("interval includes 0", INK, marker="o", markerfacecolor="white", linewidth=0.8),
    ]
    below(figure, "gain, to the right is better (95 % interval)", keys)
    return figure


@styled
def strength(evidence: Sequence[Evidence]) -> Figure:
    """AUC of each set of inputs with its 95 % interval: one row per set, grouped by moment, and one column per split."""
    splits = [split for split in SPLITS if any(e.split == split for e in evidence)]
    rows = _rows((moment, e.inputs) for moment in MOMENTS for e in evidence if e.moment == moment)
    title = "How well successes are separated from failures, by inputs of the predictor"
    figure, grid = panels(1, len(splits), 1.5 + 0.26 * len(rows), title, sharey=True)
    for axes, split in zip(grid[0], splits, strict=True):
        _strengths(axes, [e for e in evidence if e.split == split], rows)
        axes.set_title(folded(split, 18))
    _name_rows(grid[0], rows)
    keys = [
        key("with spectra", WITH, marker="o"),
        key("without spectra", WITHOUT, marker="s"),
        key("best without spectra", WITHOUT, linestyle="--", linewidth=1.2),
    ]
    below(figure, "AUC, out of sample (95 % interval)", keys)
    return figure


@styled
def predictions(
    answers: pd.DataFrame,
    correlation: Mapping[str, float | None],
    tasks: Mapping[str, str],
    cells: Sequence[str],
    threshold: float,
) -> Figure:
    """True against predicted score of trials that were held out, one panel per task.

    Args:
        answers: task, cell, score, expected_score.
        correlation: task -> rank correlation within it, None if undefined.
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
        value = correlation.get(task)
        note(axes, "rank correlation undefined" if value is None else f"rank correlation {number(value)}", 0.97, 0.04)
        axes.set_title(folded(name, 96 // columns))
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


def _rows(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """(moment, name) -> depth of the row; the moment itself, with the name "", has a row above its own."""
    rows: dict[tuple[str, str], float] = {}
    for moment, name in pairs:
        rows.setdefault((moment, ""), len(rows))
        rows.setdefault((moment, name), len(rows))
    return rows


def _pair(gain: Gain) -> str:
    return f"{gain.without}\n\N{RIGHTWARDS ARROW} {gain.with_}"


def _name_rows(row: Sequence[Axes], rows: Mapping[tuple[str, str], float]) -> None:
    axes = row[0]
    axes.set_yticks([-place for place in rows.values()], [name or moment for moment, name in rows], fontsize=9, color=INK)
    for label, (_, name) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if name else "bold")
    for one in row:
        one.tick_params(axis="y", length=0)
    axes.set_ylim(-len(rows) + 0.4, 0.6)


def _limit(added: Sequence[Addition]) -> float:
    """End of the axis, at most _WIDEST: it holds the intervals of all pairs but those that add to the loss alone."""
    near = [a for a in added if a.gain.without != "loss"] or added
    ends = [abs(end) for a in near for measure, *_ in _GAINS for end in _ends(a.gain.measures[measure])[1:] if np.isfinite(end)]
    return float(np.clip(1.15 * max(ends, default=0.0), 0.02, _WIDEST))


def _gain(axes: Axes, gain: Gain, place: float, limit: float) -> None:
    """Draw the gains of one pair; one beyond the axis is a triangle at its edge."""
    for measure, colour, marker, above in _GAINS:
        value, low, high = _ends(gain.measures[measure])
        beyond = abs(value) > limit
        x, y = float(np.clip(value, -0.93 * limit, 0.93 * limit)) if beyond else value, place + above
        face = colour if case(gain.measures[measure]) != "around" else "white"
        axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
        shape = (">" if value > 0 else "<") if beyond else marker
        axes.plot(x, y, shape, color=colour, markerfacecolor=face, markersize=5, zorder=4)
        if beyond:
            side = -1 if value > 0 else 1
            axes.annotate(
                signed(value), (x, y), (6 * side, 0), textcoords="offset points", fontsize=8, va="center",
                ha="right" if side < 0 else "left", bbox=_BLANK, zorder=5,
            )  # fmt: skip


def _strengths(axes: Axes, evidence: Sequence[Evidence], rows: Mapping[tuple[str, str], float]) -> None:
    """Draw one split's dots, their values at the right, and at each moment a line at the best set without spectra."""
    for spectral, colour, marker in ((True, WITH, "o"), (False, WITHOUT, "s")):
        own = [e for e in evidence if (e.inputs in WITH_SPECTRA) == spectral]
        _dots(axes, [-rows[e.moment, e.inputs] for e in own], [e.measures["auc"] for e in own], colour, marker)
    for moment in MOMENTS:
        own = [e for e in evidence if e.moment == moment and e.measures["auc"].value is not None]
        best = max((e.measures["auc"].value or 0.0 for e in own), default=None)
        rival = max((e.measures["auc"].value or 0.0 for e in own if e.inputs not in WITH_SPECTRA), default=np.nan)
        depths = [rows[e.moment, e.inputs] for e in own]
        if depths:
            span = [-max(depths) - 0.5, -min(depths) + 0.5]
            axes.plot([rival, rival], span, color=WITHOUT, linewidth=1.2, linestyle="--", zorder=1)
        for e in (e for e in evidence if e.moment == moment):
            weight = "bold" if best is not None and e.measures["auc"].value == best else "normal"
            text = number(e.measures["auc"].value)
            axes.text(1.2, -rows[moment, e.inputs], text, ha="right", va="center", fontsize=8.5, fontweight=weight)
    axes.axvline(0.5, color=INK, linewidth=1)
    axes.set_xlim(_LOWEST, 1.22)
    axes.set_xticks([0.5, 0.75, 1], ["0.5", "0.75", "1"])
    axes.grid(visible=False, axis="y")


def _ends(estimate: Estimate) -> NDArray[np.float64]:
    """Value, low and high; NaN where they are undefined."""
    return np.array([estimate.value, estimate.low, estimate.high], float)


def _dots(axes: Axes, places: Iterable[float], estimates: Iterable[Estimate], colour: str, marker: str) -> None:
    """Draw dots with their intervals; what is undefined is not drawn."""
    for place, estimate in zip(places, estimates, strict=True):
        value, low, high = _ends(estimate)
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot(value, place, marker, color=colour, markersize=5.5, zorder=4)
