"""What a verdict rests on, in sentences."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.records import Estimate
from ..core.tables import with_interval
from .features import MEASUREMENT
from .folds import FAMILIES, SPLITS
from .inputs import CATEGORIES, EARLY_LOSS, GRADIENTS, HYPER_PARAMETERS, SETS

WHERE = {
    "over trials": "on other trials of its own tasks and cells",
    "one cell left out": "on cells that the study had left out",
    "one task left out": "on tasks that the study had left out",
}
_GRID = np.linspace(0, 1, 41)  # quantiles of the training trials that are kept
_LEAST_AUC = 0.6  # below, answers are hardly better than chance, 0.5
_LARGE = 0.9  # share of the trials whose standard errors are smaller where one counts as large
_SHOWN = 3  # columns that are named


def quantiles(values: pd.Series) -> list[float]:
    """Quantiles on the grid that the reasons read; [0.0] if no value is finite."""
    finite = values[np.isfinite(values)]
    return [float(q) for q in np.quantile(finite, _GRID)] if len(finite) else [0.0]


def divergence(row: Mapping[str, Any]) -> str:
    """Why a network counts as diverged."""
    for when, said in (("early", "now"), ("initial", "before training")):
        if row.get(f"{when}_diverged_share") == 1:
            return f"it has diverged: in none of the sequences did the state stay finite {said}"
    what = "its loss or gradients are" if "initial_diverged_share" in row else "a loss, gradient or state is"
    return f"it has diverged: {what} not finite"


def evidence(about: Mapping[str, Any], name: str, split: str) -> str:
    """How well a set of inputs separated successes from failures where the question is asked."""
    splits = about["evidence"].get(name, {})
    split = split if split in splits else SPLITS[0]
    auc = Estimate(**splits[split]["auc"]) if split in splits else Estimate(None)
    if auc.value is None:
        return "the study cannot say how well this set of inputs separates successes from failures"
    hardly = auc.value < _LEAST_AUC or auc.low is None or auc.low <= 0.5
    return (
        f"{WHERE[split]}, this set of inputs separated successes from failures with AUC {with_interval(auc)}"
        f"{': hardly better than chance' if hardly else '; chance is 0.50'}"
    )


def unused(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    """What is known beside the spectra and not in the set of inputs."""
    families = [
        f for f, members in FAMILIES.items() if "spectrum" not in f and {*members} <= {*row} and not {*members} & {*SETS[name]}
    ]
    if families:
        yield f"not used, since the evidence is better without: {', '.join(families)}"


def data(about: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """How much data the spectrum rests on, and whether there should be more."""
    sequences, steps = (row.get(column, np.nan) for column in MEASUREMENT)
    if sequences * steps > 0:
        own = f"{sequences:.0f} {'sequence' if sequences == 1 else 'sequences'} of {steps:.0f} steps"
        yield f"the spectrum rests on {own}; those of the study on {' of '.join(str(about['spectra'][c]) for c in MEASUREMENT)}"
    when = "early" if pd.notna(row.get("early_exponent_1")) else "initial"
    error = float(row.get(f"{when}_standard_error", np.nan))
    share = _share_below(about, f"{when}_standard_error", error)
    if share >= _LARGE:
        yield (
            f"the standard error of the largest exponent, {error:.2g} nats per step, is larger than in {share:.0%} of the "
            "study's trials: hand over more sequences or longer ones"
        )
    diverged = row.get(f"{when}_diverged_share", 0)
    if diverged > 0:
        yield f"in {diverged:.0%} of the sequences the state did not stay finite; the spectrum is that of the others"


def effects(about: Mapping[str, Any], name: str, row: pd.DataFrame, score: Callable[[pd.DataFrame], Any]) -> Iterator[str]:
    """What the expected score would be with one input at a time at the study's median; the inputs that matter most.

    Args:
        about: of the predictor.
        name: of the set of inputs.
        row: one network's inputs.
        score: rows of that set -> expected scores.
    """
    row = row.reindex(columns=list(SETS[name]))
    columns = [c for c in SETS[name] if c not in CATEGORIES and np.isfinite(row[c].iloc[0])]
    changed = row.iloc[[0] * (1 + len(columns))].reset_index(drop=True)
    for place, column in enumerate(columns, 1):
        changed.loc[place, column] = about["quantiles"][column][len(about["quantiles"][column]) // 2]
    expected, *others = score(changed)
    turns = {c: float(expected - other) for c, other in zip(columns, others, strict=True)}
    for column in sorted(turns, key=lambda c: -abs(turns[c]))[:_SHOWN]:
        value, turn = float(row[column].iloc[0]), turns[column]
        yield (
            f"{' is '.join(_plain(column, value))}, {_place(about, column, value)} trials of the study; against their median "
            f"this {'raises' if turn > 0 else 'lowers'} the score by {abs(turn):.2f}"
        )


def unseen(about: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """What no trial of the study had: names, and numbers beyond all of theirs."""
    for column in CATEGORIES:
        if pd.notna(row.get(column)) and row[column] not in about[f"{column}s"]:
            yield f"no trial of the study had {column} {row[column]!r}"
    beyond = [c for c in about["quantiles"] if c in row and not np.isnan(row[c]) and _place(about, c, row[c]).endswith("all")]
    spectral = [c for c in beyond if c not in (*HYPER_PARAMETERS, *EARLY_LOSS, *GRADIENTS)]
    said = [_with_range(about, c, row[c]) for c in beyond if c not in spectral]
    if spectral:
        more = ", ..." if len(spectral) > _SHOWN else ""
        said.append(f"{len(spectral)} of the spectrum ({', '.join(c.replace('_', ' ') for c in spectral[:_SHOWN])}{more})")
    if said:
        yield f"numbers beyond those of all trials of the study, each taken as the nearest that a trial had: {', '.join(said)}"


def _with_range(about: Mapping[str, Any], column: str, value: float) -> str:
    """A column, its value and the range of the study's trials, as a user gives them."""
    (name, own), (_, low), (_, high) = (_plain(column, v) for v in (value, *np.array(about["quantiles"][column])[[0, -1]]))
    return f"{name} {own} ({low if low == high else f'{low} to {high}'})"


def _place(about: Mapping[str, Any], column: str, value: float) -> str:
    """Where a value lies among those of the study's trials."""
    least, most = about["quantiles"][column][0], about["quantiles"][column][-1]
    slack = 1e-9 * (1 + abs(value))  # rounding
    if value < least - slack or value > most + slack:
        return "below all" if value < least else "above all"
    return f"above {_share_below(about, column, value):.0%} of the"


def _share_below(about: Mapping[str, Any], column: str, value: float) -> float:
    """Share of the study's trials whose value is smaller."""
    found = about["quantiles"].get(column, [0.0])
    return float(np.interp(value, found, _GRID[: len(found)]))


def _plain(column: str, value: float) -> tuple[str, str]:
    """The name and value of a column as a user gives them, without the logarithm."""
    before, log, name = column.rpartition("log_")
    if log and before in ("", "early_"):
        column, value = name, 10**value
    return column.replace("_", " "), f"{value:.3g}"
