"""What a verdict rests on, in sentences."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..core.cards import Card, Estimate, Evidence
from ..core.tables import with_interval
from . import choice
from .features import MEASUREMENT
from .inputs import (
    CATEGORIES,
    CURVE_EIGHTH,
    CURVE_EPOCH,
    EIGHTH,
    EPOCH,
    HYPER_PARAMETERS,
    MOMENTS,
    RELATIVE_LOSS,
    SETS,
    WITH_SPECTRA,
)
from .packaged import GRID
from .rows import Rows, absent, take
from .splits import CELLS, SCALE, SLACK, TASKS, TRIALS

_LEAST_AUC = 0.6  # below, answers are hardly better than chance, 0.5
_LATER = {EIGHTH: CURVE_EIGHTH, EPOCH: CURVE_EPOCH}
_SHOWN = 3  # columns that are named
_LEAST_EFFECT = 0.005  # on the expected score, which is shown with two digits


def where(split: str) -> str:
    """A split in words."""
    if split.startswith(f"{TASKS}, "):
        return f"on tasks left out, of which {split.removeprefix(f'{TASKS}, ').removesuffix(' own trials')} trials were known"
    return {
        TRIALS: "on other trials of its own tasks and cells",
        CELLS: "on cells that had been left out",
        TASKS: "on tasks that had been left out",
        SCALE: "on trials of other settings, such as another optimiser or larger networks",
    }[split]


def divergence(row: Mapping[str, Any]) -> str:
    """Why a network counts as diverged."""
    for when, said in (("early", "now"), ("initial", "before training")):
        if row.get(f"{when}_diverged_share") == 1:
            return f"it has diverged: in none of the sequences did the state stay finite {said}"
    what = "its loss or gradients are" if "initial_diverged_share" in row else "a loss, gradient or state is"
    return f"it has diverged: {what} not finite"


def too_large_a_step(card: Card, row: Mapping[str, Any], edge: tuple[float, float]) -> str:
    """Why no evidence applies, and what limits the answer: mean score and share of successes of the trials at the edge."""
    said = [_with_range(card, c, row[c]) for c in ("log_learning_rate", "initial_step_ratio") if np.isfinite(row.get(c, np.nan))]
    return (
        f"steps are larger than in all trials ({', '.join(said)}), so that no evidence applies; the answer is at most what the "
        f"trials with the largest steps reached: probability {edge[1]:.2f}, expected score {edge[0]:.2f}"
    )


def far(card: Card, row: Mapping[str, Any]) -> Iterator[str]:
    """What is so far from all trials that the evidence may not apply."""
    if columns := choice.far(card, row):
        said = ", ".join(_with_range(card, c, row[c]) for c in columns)
        yield f"more than ten times beyond the range of all trials, so that the evidence may not apply: {said}"


def evidence(card: Card, split: str, moment: str, inputs: str) -> Iterator[str]:
    """How well a set of inputs separated successes from failures where the question is asked."""
    found = choice.evidence(card, split, moment, inputs)
    auc = found.measures["auc"] if found else Estimate(None)
    if found is None or auc.value is None:
        yield "no evidence says how well this set of inputs separates successes from failures"
        return
    hardly = auc.value < _LEAST_AUC or auc.low is None or auc.low <= 0.5
    error = found.measures["calibration_error"].value or 0.0
    yield (
        f"{where(found.split)}, this set of inputs separated successes from failures with AUC {with_interval(auc)}"
        f"{': hardly better than chance' if hardly else '; chance is 0.50'}; its probabilities were off by {error:.2f} on average"
    )
    if inputs not in WITH_SPECTRA:
        yield from _without_spectrum(card, found)


def _without_spectrum(card: Card, found: Evidence) -> Iterator[str]:
    """Whether a set with spectra answered better than this one, on the same trials."""
    others = [card.judgement.of(found.split, found.moment, name) for name in SETS[found.moment] if name in WITH_SPECTRA]
    errors = [error for other in others if other and (error := other.measures["brier"].value) is not None]
    own = found.measures["brier"].value
    if not errors or own is None:
        return
    if min(errors) >= own / (1 + SLACK):  # a smaller set that is as good is served
        yield "this set contains no spectrum; sets with one were not better there"
    else:
        yield "this set contains no spectrum; a set with one was better there, but not all of its inputs are known"


def unused(row: Mapping[str, Any], moment: str) -> Iterator[str]:
    """What is known from a later moment than the one whose inputs answer."""
    later = MOMENTS[MOMENTS.index(moment) + 1 :]
    if any(not absent(row.get(column)) for place in later for column in _LATER[place]):
        yield "the losses so far were not used: no complete set of inputs with them was better on held-out trials"


def data(card: Card, row: Mapping[str, Any], inputs: str) -> Iterator[str]:
    """How much data the spectrum rests on, and whether there should be more."""
    if inputs not in WITH_SPECTRA:
        return
    sequences, steps = (row.get(column, np.nan) for column in MEASUREMENT)
    if sequences * steps > 0:
        yield f"the spectrum rests on {sequences:.0f} {'sequence' if sequences == 1 else 'sequences'} of {steps:.0f} steps"
    when = "initial" if absent(row.get("early_exponent_1")) else "early"
    diverged = row.get(f"{when}_diverged_share", 0)
    if diverged > 0:
        yield f"in {diverged:.0%} of the sequences the state did not stay finite; the spectrum is that of the others"


def effects(card: Card, columns: tuple[str, ...], row: Rows, score: Callable[[Rows], Any]) -> Iterator[str]:
    """What the expected score would be with one input at a time at its median; the inputs that matter most.

    Args:
        card: of the predictor.
        columns: of the set of inputs.
        row: one network's inputs.
        score: rows of that set -> expected scores.
    """
    numbers = [c for c in columns if c not in CATEGORIES and np.isfinite(row[c][0])]
    changed = take(row, np.zeros(1 + len(numbers), int))
    for place, column in enumerate(numbers, 1):
        changed[column][place] = card.quantiles[column][len(card.quantiles[column]) // 2]
    expected, *others = score(changed)
    turns = {c: float(expected - other) for c, other in zip(numbers, others, strict=True)}
    for column in sorted(turns, key=lambda c: -abs(turns[c]))[:_SHOWN]:
        value, turn = float(row[column][0]), turns[column]
        if abs(turn) < _LEAST_EFFECT:
            return
        yield (
            f"{' is '.join(_plain(column, value))}, {_place(card, column, value)} trials; compared with their "
            f"median, this {'raises' if turn > 0 else 'lowers'} the expected score by {abs(turn):.2f}"
        )


def unseen(card: Card, row: Mapping[str, Any], learned: Mapping[str, list[str]]) -> Iterator[str]:
    """Names that no trial had from which the predictor learned, and numbers outside the range of all of them."""
    for column in CATEGORIES:
        if not absent(row.get(column)) and row[column] not in learned[column]:
            yield f"no trial had {column} {row[column]!r}"
    beyond = [c for c in card.quantiles if c in row and np.isfinite(row[c]) and _place(card, c, row[c]).endswith("all")]
    measured = [c for c in beyond if c not in (*HYPER_PARAMETERS, RELATIVE_LOSS)]
    said = [_with_range(card, c, row[c]) for c in beyond if c not in measured]
    if measured:
        more = ", ..." if len(measured) > _SHOWN else ""
        said.append(f"{len(measured)} that were measured ({', '.join(c.replace('_', ' ') for c in measured[:_SHOWN])}{more})")
    if said:
        yield f"numbers outside the range of all trials, each replaced by the nearest in the range: {', '.join(said)}"


def _with_range(card: Card, column: str, value: float) -> str:
    """A column, its value and the range of the trials, as a user gives them."""
    ends = (card.quantiles[column][0], card.quantiles[column][-1])
    (name, own), (_, low), (_, high) = (_plain(column, v) for v in (value, *ends))
    return f"{name} {own} ({low if low == high else f'{low} to {high}'})"


def _place(card: Card, column: str, value: float) -> str:
    """Where a value lies among those of the trials."""
    known = card.quantiles[column]
    if choice.is_outside(known, value):
        return "below all" if value < known[0] else "above all"
    return f"above {float(np.interp(value, known, GRID[: len(known)])):.0%} of the"


def _plain(column: str, value: float) -> tuple[str, str]:
    """The name and value of a column as a user gives them, without the logarithm."""
    before, log, name = column.rpartition("log_")
    if log and before in ("", "early_"):
        column, value = name, 10**value
    return column.replace("_", " "), f"{value:.3g}"
