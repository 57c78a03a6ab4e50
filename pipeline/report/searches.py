"""The figure of replayed searches: their regret against their cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..core.cards import Decision, Front, Judgement
from .figures import INK, below, columns_for, folded, key, panels, styled
from .findings import REFERENCE, Saving, drawn, savings

# Plain searches are grey or black; screening has the colours of Okabe and Ito (2008).
LOOKS = {
    "random search": ("#A6A6A6", "-", 1.4),
    "i-Epoch": ("#000000", "-", 2.2),
    "ASHA": ("#7A7A7A", "--", 1.4),
    "Hyperband": ("#7A7A7A", ":", 1.6),
    "median pruner": ("#7A7A7A", "-.", 1.4),
    "before training: hyper-parameters": ("#E69F00", "--", 1.6),
    "both: hyper-parameters": ("#E69F00", "-", 1.8),
    "before training: predictor": ("#0072B2", "--", 1.8),
    "both: predictor": ("#0072B2", "-", 2.6),
}
CHEAPEST, DEAREST = 1.0, 40.0  # full trainings, the ends of the axis


@styled
def regret(judgement: Judgement) -> Figure:
    """Regret against cost of each kind of search, with the 95 % interval over tasks; one panel per replayed study."""
    decisions = judgement.decisions
    fronts = [drawn(decision) for decision in decisions]
    columns = min(columns_for(len(decisions)), 2)
    rows = -(-len(decisions) // columns)
    title = _title(savings(judgement))
    figure, grid = panels(rows, columns, 1.6 + 3.4 * rows, title, sharex=True, sharey=True)
    every = list(grid.flat)
    for axes, decision, lines in zip(every, decisions, fronts, strict=False):
        _panel(axes, decision, lines)
    for axes in every[len(decisions) :]:
        axes.remove()
    for axes in every[max(len(decisions) - columns, 0) : len(decisions)]:
        axes.tick_params(labelbottom=True)
    every[0].set_ylim(0, _top(fronts))
    for axes, lines in zip(every, fronts, strict=False):
        _label(axes, lines)
    figure.supylabel("regret", fontsize=10.5)
    names = [name for name in LOOKS if any(name in lines for lines in fronts)]
    keys = [key(name, LOOKS[name][0], linestyle=LOOKS[name][1], linewidth=LOOKS[name][2]) for name in names]
    below(figure, "cost (full trainings, measuring included)", keys, most=3)
    return figure


def _title(found: Sequence[Saving]) -> str:
    """How much is saved, if all searches show it."""
    if not found or any(one.effect not in ("clear", "small") for one in found):
        return "Regret of searches against their cost"
    least, most = (f"{100 * (1 - share):.0f}" for share in (f(one.share or 1.0 for one in found) for f in (max, min)))
    return f"At equal regret, searches with the predictor cost {least}{f' to {most}' if least != most else ''} % less"


def _panel(axes: Axes, decision: Decision, lines: Mapping[str, Front]) -> None:
    for name, front in lines.items():
        colour, style, width = LOOKS[name]
        places, middle = _steps(front, 0)
        if decision.tasks > 1:
            _, low = _steps(front, 1)
            _, high = _steps(front, 2)
            alpha = 0.16 if name in ("i-Epoch", "both: predictor") else 0.09
            axes.fill_between(places, low, high, step="post", color=colour, alpha=alpha, linewidth=0)
        axes.plot(places, middle, drawstyle="steps-post", color=colour, linestyle=style, linewidth=width)
    axes.axvline(REFERENCE, color=INK, linewidth=0.7, linestyle=(0, (1, 3)), zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(CHEAPEST, DEAREST)
    axes.set_xticks([1, 2, 5, 10, 20, 40])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    count = f"{decision.tasks} {'task' if decision.tasks == 1 else 'tasks'}"
    axes.set_title(folded(f"{decision.title[0].upper()}{decision.title[1:]} ({count})", 52), fontsize=9.5)


def _steps(front: Front, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Costs, up to the end of the axis, and regrets, or the ends of their intervals, from each cost on."""
    ends = np.array([(e.value, e.low, e.high) for e in front.regrets], float)[:, end]
    return np.r_[front.costs, max(DEAREST, front.costs[-1])], np.r_[ends, ends[-1]]


def _top(fronts: Sequence[Mapping[str, Front]]) -> float:
    """The largest regret that a search of at least 2 full trainings leaves, and room above."""
    regrets = [e.value for lines in fronts for f in lines.values() for c, e in zip(f.costs, f.regrets, strict=True) if c >= 2]
    return max(1.25 * max((r for r in regrets if r is not None), default=0.0), 0.05)


def _label(axes: Axes, lines: Mapping[str, Front]) -> None:
    """Name the two lines that the headline compares."""
    for name, text, cost, shift, ends in (
        ("i-Epoch", "i-Epoch", 3.0, (3, 3), ("left", "bottom")),
        ("both: predictor", "predictor", 2.6, (-3, -3), ("right", "top")),
    ):
        if name in lines and lines[name].costs[0] <= cost:
            costs, regrets = _steps(lines[name], 0)
            height = regrets[np.searchsorted(costs, cost, side="right") - 1]
            if height < 0.1 * axes.get_ylim()[1]:  # no room below
                shift, ends = (3, 3), ("left", "bottom")
            style: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": LOOKS[name][0], "ha": ends[0], "va": ends[1]}
            axes.annotate(text, (cost, height), shift, textcoords="offset points", **style)
