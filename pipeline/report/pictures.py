"""Pictures that the page draws itself, as SVG in its own colours: every mark knows its trial, which the script shows."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from ..core.hyper_parameters import DECLARED, NUMBERS
from ..core.records import CHECKPOINTS, Trial
from ..core.tables import MINUS, number
from ..predictor.features import FLOOR, WHOLE
from ..predictor.splits import TRIALS
from .figures import LINEAR, TICKS, span
from .findings import NEAR
from .study import Study

_COLOURS = colormaps["cividis"](np.linspace(0, 1, 256), bytes=True)
_GOOD, _BAD, _BLANK = (0, 114, 178, 255), (213, 94, 0, 255), (0, 0, 0, 0)  # of the heat map
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 320, 236, 42, 40  # of a panel
_SHAPES = {  # markers of matplotlib, around 0
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "s": "M-4,-4h8v8h-8z",
    "D": "M0,-5L5,0L0,5L-5,0z",
    "^": "M0,-5L5,4H-5z",
    "v": "M0,5L5,-4H-5z",
}
_DASHES = {"--": "6 3", ":": "2 3", "-.": "6 3 2 3"}


@dataclass(frozen=True)
class Row:
    """One trial as the page shows it.

    Attributes:
        place: its number on the page.
        trial: what was trained.
        values: its numbers by name: the hyper-parameters, "score", "loss" relative to chance, and a checkpoint for each of
            its largest exponents; NaN where not defined.
        success, diverged: what became of it.
        losses: of validation, relative to chance, at each epoch.
        probabilities: moment -> probability of success, over trials.
    """

    place: int
    trial: Trial
    values: Mapping[str, float]
    success: bool
    diverged: bool
    losses: NDArray[np.float64]
    probabilities: Mapping[str, float]

    @property
    def kind(self) -> str:
        """Its class in the style sheet."""
        return "good" if self.success else "bad"

    @property
    def words(self) -> list[str]:
        """What is shown of it where the pointer is."""
        drawn = ", ".join(f"{name.replace('_', ' ')} {self.values[name]:.3g}" for name in NUMBERS if name in self.values)
        places = " to ".join(number(self.values[checkpoint]) for checkpoint in CHECKPOINTS)
        end = "diverged" if self.diverged else f"loss {number(self.values['loss'])} of chance"
        fate = f"score {number(self.values['score'])} ({'success' if self.success else 'failure'}), {end}"
        return [self.trial.name, fate, f"largest exponent {places}", drawn]


@dataclass(frozen=True)
class Axis:
    """A scale from 0 to 1 with its ticks.

    Attributes:
        kind: "linear", "log", or "exponents", which is linear within LINEAR of 0 and logarithmic beyond.
        low, high: its ends, where it is 0 and 1.
        ticks: that lie between these, as value -> label.
    """

    kind: str
    low: float
    high: float
    ticks: Mapping[float, str]

    def at(self, values: Any) -> NDArray[np.float64]:
        """Places of values, from 0 to 1; NaN stays."""
        low, high = (self._stretched(end) for end in (self.low, self.high))
        return (self._stretched(np.clip(np.asarray(values, float), self.low, self.high)) - low) / ((high - low) or 1.0)

    def _stretched(self, value: Any) -> Any:
        if self.kind == "log":
            return np.log10(value)
        if self.kind == "linear":
            return np.asarray(value, float)
        size = np.abs(value)
        beyond = 0.6 + np.log10(np.maximum(size, LINEAR) / LINEAR)
        return np.sign(value) * np.where(size < LINEAR, 0.6 * size / LINEAR, beyond)


def exponent_axis(values: Any) -> Axis:
    """An axis for these exponents."""
    low, high = span(values)
    return Axis("exponents", low, high, {t: f"{t:g}".replace("-", MINUS) for t in TICKS if low <= t <= high})


def number_axis(values: Any, *, log: bool = False) -> Axis:
    """An axis from the least to the largest value, with a tick at each where these are few, or at powers of 10."""
    finite = np.unique(np.asarray(values, float)[np.isfinite(np.asarray(values, float))])
    low, high = (float(finite[0]), float(finite[-1])) if len(finite) else (0.0, 1.0)
    powers = [float(f"1e{power}") for power in range(-12, 13)]
    ticks = list(finite) if len(finite) <= 6 else [p for p in powers if low <= p <= high] if log else [low, high]
    return Axis("log" if log and low > 0 else "linear", low, high, {float(t): f"{t:g}" for t in ticks})


def rows(study: Study) -> list[Row]:
    """All trials, task by task and the best of each first."""
    at = {name: table.set_index("trial") for name, table in study.table.groupby("checkpoint")}
    final, results = at["final"], {result.trial.id: result for result in study.trials}
    order = final.assign(order=final["task"].map(list(study.tasks).index)).sort_values(
        ["order", "score"], ascending=[True, False]
    )
    asked = {moment: _probabilities(study, moment, inputs) for moment, inputs in study.judgement.served.get(TRIALS, {}).items()}
    made = []
    for place, name in enumerate(order.index):
        result, own = results[name], final.loc[name]
        losses = result.curves["validation_loss"] / result.trial.chance
        values = {n: float(own[n]) for n in NUMBERS if n in final and final[n].nunique() > 1}
        values |= {checkpoint: float(at[checkpoint].loc[name, "exponent_1"]) for checkpoint in CHECKPOINTS}
        values |= {"score": float(own["score"]), "loss": float(losses[-1])}
        answers = {moment: known[name] for moment, known in asked.items() if name in known}
        made.append(Row(place, result.trial, values, bool(own["success"]), result.outcome.diverged, losses, answers))
    return made


def _probabilities(study: Study, moment: str, inputs: str) -> dict[str, float]:
    table = study.predictions
    own = table[(table["split"] == TRIALS) & (table["moment"] == moment) & (table["inputs"] == inputs)]
    return dict(zip(own["trial"], own["probability_of_success"].astype(float), strict=True))


def scores(shown: Sequence[Row], every: Sequence[Row], threshold: float) -> Markup:
    """The score of trials against their largest exponent early in training, with the share of successes above."""
    across, up = exponent_axis([row.values["early"] for row in every]), Axis("linear", 0, 1, {0: "0", 0.5: "0.5", 1: "1"})
    left, right = (_x(across, end) for end in (NEAR, 0.0))
    parts = [f'<rect class="near" x="{left:.1f}" y="8" width="{right - left:.1f}" height="{_HEIGHT - 8 - _BOTTOM}"/>']
    for value, label in across.ticks.items():
        parts.append(f'<path class="grid" d="M{_x(across, value):.1f},8V{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{_x(across, value):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{label}</text>')
    centre, middle = (_LEFT + _WIDTH - 8) / 2, (_HEIGHT - _BOTTOM) / 2
    parts.append(f'<text x="{centre}" y="{_HEIGHT - 5}" text-anchor="middle">largest exponent (nats per step)</text>')
    parts.append(f'<text transform="translate(10,{middle})rotate(-90)" text-anchor="middle">final score</text>')
    for value, label in up.ticks.items():
        parts.append(f'<text x="{_LEFT - 6}" y="{_y(up, value) + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<path class="zero" d="M{right:.1f},8V{_HEIGHT - _BOTTOM}"/>')
    parts.append(f'<path class="limit" d="M{_LEFT},{_y(up, threshold):.1f}H{_WIDTH - 8}"/>')
    for row in sorted(shown, key=lambda row: row.success):
        if np.isfinite(row.values["early"]):
            x, y = _x(across, row.values["early"]), _y(up, row.values["score"])
            shape = _SHAPES["o" if row.success else "D"]
            parts.append(
                f'<path class="dot {row.kind}" data-t="{row.place}" transform="translate({x:.1f},{y:.1f})scale(.9)" d="{shape}"/>'
            )
    return _svg(_WIDTH, _HEIGHT, parts, f"Final score against largest early exponent of {len(shown)} trials.")


def parallel(shown: Sequence[Row]) -> Markup:
    """One line per trial across its hyper-parameters, its largest exponent early in training, and its score."""
    names = [name for name in shown[0].values if name in NUMBERS] if shown else []
    axes = {n: number_axis([r.values[n] for r in shown], log=DECLARED[n].scale == "log") for n in names}
    axes["early"] = exponent_axis([row.values["early"] for row in shown])
    axes["score"] = Axis("linear", 0, 1, {0: "0", 0.5: "0.5", 1: "1"})
    labels = {"early": "largest exponent", "score": "score"}
    places = {name: 50 + 620 * index / (len(axes) - 1) for index, name in enumerate(axes)}
    parts, height = [], 260.0
    for row in sorted(shown, key=lambda row: row.success):
        ends = [(places[n], 30 + height * (1 - _or_below(axis, row.values[n]))) for n, axis in axes.items()]
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in ends)
        parts.append(f'<polyline class="line {row.kind}" data-t="{row.place}" points="{points}"/>')
    for name, axis in axes.items():
        x = places[name]
        parts.append(
            f'<text class="head" x="{x:.0f}" y="14" text-anchor="middle">{labels.get(name, name.replace("_", " "))}</text>'
        )
        parts.append(f'<path class="axis" d="M{x:.0f},30v{height:.0f}"/>')
        for value, label in axis.ticks.items():
            y = 30 + height * (1 - float(axis.at(value)))
            parts.append(f'<text class="halo" x="{x - 5:.0f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        parts.append(f'<rect class="brush" data-axis="{name}" x="{x - 14:.0f}" y="24" width="28" height="{height + 12:.0f}"/>')
    return _svg(720, 310, parts, "Parallel coordinates: one line per trial from its hyper-parameters to its score.")


def spark(row: Row, least: float) -> Markup:
    """The validation loss of a trial over its epochs, relative to chance, on a logarithmic axis from `least` to 1.5."""
    axis = Axis("log", least, 1.5, {})
    across, up = np.linspace(1, 79, len(row.losses)), 21 - 20 * axis.at(row.losses)
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, up, strict=True) if np.isfinite(y))
    parts = [f'<path class="limit" d="M1,{21 - 20 * float(axis.at(1)):.1f}H79"/>']
    parts.append(f'<polyline class="line {row.kind}" points="{points}"/>')
    return _svg(80, 22, parts, "Loss over epochs.")


def heat(shown: Sequence[Row], table: pd.DataFrame, axis: Axis) -> str:
    """A picture of the spectra of trials at one checkpoint: a line of pixels per trial, whose colours are its exponents.

    Left of them, two pixels say whether the trial succeeded.

    Args:
        shown: the trials, from the top.
        table: WHOLE at the checkpoint, with the id of the trial as index.
        axis: of the colours.

    Returns:
        A PNG, in base64.
    """
    values = table.loc[[row.trial.id for row in shown], list(WHOLE)].to_numpy(float)
    pixels = _coloured(axis.at(values))
    fates = np.array([[_GOOD if row.success else _BAD] * 2 + [_BLANK] for row in shown], np.uint8)
    return _encoded(np.concatenate([fates, pixels], axis=1))


def colour_bar(axis: Axis) -> tuple[str, dict[str, float]]:
    """The colours of an axis as a PNG in base64, and the places of its ticks in percent."""
    strip = _encoded(_coloured(np.linspace(0, 1, 256)[None]))
    return strip, {label: 100 * float(axis.at(value)) for value, label in axis.ticks.items()}


def whole_axis(table: pd.DataFrame) -> Axis:
    """The axis of all exponents of a table."""
    return exponent_axis(np.maximum(table[list(WHOLE)].to_numpy(float), FLOOR))


def swatch(key: Line2D) -> Markup:
    """What a legend of a figure shows beside a label."""
    colour, style, marker = key.get_color(), str(key.get_linestyle()), str(key.get_marker())
    face = key.get_markerfacecolor()
    parts = []
    if style != "None":
        dash = f' stroke-dasharray="{_DASHES[style]}"' if style in _DASHES else ""
        parts.append(f'<path d="M1,7H25" stroke="{colour}" stroke-width="{key.get_linewidth():.1f}"{dash}/>')
    if marker in _SHAPES:
        parts.append(f'<path transform="translate(13,7)" d="{_SHAPES[marker]}" stroke="{colour}" fill="{face}"/>')
    return Markup(f'<svg class="swatch" viewBox="0 0 26 14" aria-hidden="true">{"".join(parts)}</svg>')


def _coloured(places: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (..., 4) of places from 0 to 1; transparent for NaN."""
    colours = np.asarray(_COLOURS[(np.nan_to_num(places) * 255).astype(int)])
    return np.asarray(np.where(np.isnan(places)[..., None], _BLANK, colours), np.uint8)


def _encoded(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _or_below(axis: Axis, value: float) -> float:
    """A place on an axis; a number that is not defined lies below its end."""
    return float(axis.at(value)) if np.isfinite(value) else -0.04


def _x(axis: Axis, value: float) -> float:
    return _LEFT + (_WIDTH - 8 - _LEFT) * float(axis.at(value))


def _y(axis: Axis, value: float) -> float:
    return 12 + (_HEIGHT - _BOTTOM - 20) * (1 - float(axis.at(value)))


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> Markup:
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>')
