"""What a run shows of a trial: its parameters, curves, outcome and spectra. Nothing here talks to a store."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..artefacts import CHECKPOINTS, CURVES, TrialResult, TrialSpectra
from ..predictor.features import FLOOR, spectrum_features

Point = tuple[str, float, int]  # metric, value, step
_TAGGED = ("id", "data_hash", "code_hash")  # of a trial's description; the rest are parameters
OUTCOMES = ("seconds", "test_loss", "test_metric", "parameter_count")
# Name in MLflow -> name in the feature table; one value a checkpoint.
SUMMARIES = {
    "largest_exponent": "exponent_1",
    "second_exponent": "exponent_2",
    "mean_exponent": "exponents_mean",
    "positive_sum": "positive_sum",
    "kaplan_yorke_dimension": "kaplan_yorke_dimension",
    "lost_exponents": "lost_count",
}


@dataclass(frozen=True)
class Part:
    """A part of a trial's run.

    Attributes:
        points: metric, value and step; all values are finite.
        parameters: as text.
        tags: as text.
    """

    points: list[Point]
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def name(trial: Mapping[str, Any]) -> str:
    """A trial's name for people."""
    return f"{trial['task']} {trial['cell']} {trial['index']:02d}"


def trained(result: TrialResult, digest: str) -> Part:
    """Parameters, curves by epoch and outcome of a trial; what was not measured or is not finite is left out."""
    trial, outcome = result.trial, result.outcome
    points = [(curve, float(value), epoch) for curve in CURVES for epoch, value in enumerate(result.curves[curve])]
    points += [(key, float(outcome[key]), 0) for key in OUTCOMES if outcome[key] is not None]
    points.append(("diverged", float(outcome["diverged"]), 0))
    parameters = {k: str(v) for k, v in trial.items() if k not in _TAGGED}
    tags = {
        "trial.id": trial["id"],
        "digest": digest,
        "task": trial["task"],
        "cell": trial["cell"],
        "diverged": "yes" if outcome["diverged"] else "no",
        "parameters.hash": hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12],
        "data.hash": trial["data_hash"],
        "code.hash": trial["code_hash"],
        "mlflow.note.content": _trained_note(result),
    }
    return Part(finite(points), parameters, tags)


def measured(result: TrialResult, spectra: TrialSpectra, digest: str) -> Part:
    """Whole spectra by the exponent's number, and summaries by epoch; -inf is FLOOR, and counted."""
    points: list[Point] = []
    for place, checkpoint in enumerate(CHECKPOINTS):
        exponents = spectra.mean(checkpoint, floor=FLOOR)
        points += [(f"spectrum/{checkpoint}", float(x), number) for number, x in enumerate(exponents, start=1)]
        summary = spectrum_features(spectra.exponents[place], float(spectra.standard_error[place, 0]), spectra.trial["steps"])
        points += [
            (ours, summary[theirs], result.epoch_of(checkpoint)) for ours, theirs in SUMMARIES.items() if theirs in summary
        ]
    points.append(("spectrum_seconds", spectra.settings["seconds"], 0))
    points.append(("spectrum_rounding_error", float(np.median(spectra.rounding_error)), 0))
    note = f"{_trained_note(result)}\n\n{_measured_note(result, spectra)}"
    return Part(finite(points), tags={"mlflow.note.content": note, "spectra.digest": digest})


def figures(result: TrialResult) -> dict[str, float]:
    """What a sweep sums up of a trial."""
    diverged = result.outcome["diverged"]
    return {"diverged": float(diverged), "validation_loss": math.nan if diverged else float(result.curves["validation_loss"][-1])}


def figures_of_spectra(spectra: TrialSpectra) -> dict[str, float]:
    """What a sweep sums up of a trial's spectra."""
    largest = {f"largest_exponent_{c}": float(spectra.mean(c, floor=FLOOR).max()) for c in CHECKPOINTS}
    return {"diverged": float(spectra.diverged), **largest}


def finite(points: Iterable[Point]) -> list[Point]:
    """The points whose value is a finite number, since a store holds no other."""
    return [point for point in points if math.isfinite(point[1])]


def _trained_note(result: TrialResult) -> str:
    trial, outcome = result.trial, result.outcome
    clip = f"gradients clipped at {trial['clip_norm']:g}" if trial["clip_norm"] else "no clipping"
    made = (
        f"{trial['cell']} with {trial['hidden_size']} units on {trial['task']}; weights within +-{trial['init_scale']:.3g}, "
        f"Adam at {trial['learning_rate']:.3g}, {clip}, {trial['epochs']} epochs."
    )
    if outcome["diverged"]:
        return f"{made}\n\n**Diverged**: a loss or gradient was not finite."
    loss = result.curves["validation_loss"][-1]
    return f"{made}\n\nValidation loss at the end **{loss:.4g}**, {loss / trial['chance']:.0%} of chance ({trial['chance']:.4g})."


def _measured_note(result: TrialResult, spectra: TrialSpectra) -> str:
    """One line, since the UI folds the fourth."""
    means = [spectra.mean(checkpoint) for checkpoint in CHECKPOINTS]
    largest = ", ".join("not finite" if np.isnan(x).any() else f"**{x.max():.4f}**" for x in means)
    above = ", ".join(str(int((x > 0).sum())) for x in means)
    epochs = ", ".join(str(result.epoch_of(checkpoint)) for checkpoint in CHECKPOINTS)
    return f"Largest of {len(means[0])} exponents after epochs {epochs}: {largest} nats per step; above 0: {above}."
