"""The feature table, one row per trial and checkpoint, from the results of all stages; its summary and its page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ArtefactError
from ..core.hyper_parameters import DECLARED, Value
from ..core.records import CHECKPOINTS, MOMENTS, TrialMeasurements, TrialResult, TrialSpectra
from ..core.tables import Table
from ..measuring.base.curve import curve, eighth_of
from .features import FLOOR, GROUPS, MEASURED, MEASUREMENT, RANKS, spectrum_features, whole_spectrum
from .success import final_losses, scores


def table(
    trials: Sequence[TrialResult],
    spectra: Sequence[TrialSpectra],
    measurements: Sequence[TrialMeasurements],
    threshold: float,
) -> pd.DataFrame:
    """The table of all trials, columns in the order of GROUPS, rows sorted by task, cell, index and checkpoint.

    Raises:
        ArtefactError: a trial lacks its spectra or measurements, or they lack their trial.
    """
    measured = {s.trial.id: s for s in spectra}
    early = {m.trial.id: m for m in measurements}
    outcomes = _outcomes(trials, threshold)
    rows = []
    for result in trials:
        trial = result.trial
        if trial.id not in measured:
            raise ArtefactError(f"trial {trial.id} ({trial.name}) has no spectra; run `dvc repro` to measure them")
        if trial.id not in early:
            raise ArtefactError(f"trial {trial.id} ({trial.name}) has no early measurements; run `dvc repro` to take them")
        rows += _rows(result, measured[trial.id], early[trial.id], outcomes[trial.id])
    for name in (measured.keys() | early.keys()) - outcomes.keys():
        raise ArtefactError(f"trial {name} is missing, whose spectra or measurements are there; run `dvc repro` to train it")
    columns = [name for group in GROUPS.values() for name in group]
    return pd.DataFrame(rows)[columns].sort_values(["task", "cell", "index", "epoch"], kind="stable", ignore_index=True)


def summary(table: pd.DataFrame) -> str:
    """Trials, divergences and successes by task and cell, for a terminal."""
    final = table[table["checkpoint"] == "final"]
    rows = [
        [
            task,
            cell,
            len(own),
            int(own["diverged"].sum()),
            int(own["success"].sum()),
            own["final_loss"].min(),
            own["score"].median(),
        ]
        for (task, cell), own in final.groupby(["task", "cell"])
    ]
    columns = ["task", "cell", "trials", "diverged", "successes", "best loss", "median score"]
    return Table(columns, rows, text_columns=2).text()


def documentation() -> str:
    """docs/features.md: every column with its unit and meaning."""
    lines = [
        "# The feature table",
        "",
        "`features/features.parquet` and `features/features.csv` hold one row per trial and checkpoint.",
        f"Exponents are in nats per step. Those of a driving sequence below {FLOOR:g}, -inf included, count as {FLOOR:g} when",
        "the mean over sequences is taken. If no driving sequence stayed finite, the features of the spectrum are empty. The",
        f"columns `rank_01` to `rank_{RANKS}` hold the whole spectrum, largest exponent first: the exponent with i of the S",
        "exponents above it has the relative rank i / (S - 1), and linear interpolation gives its values on a grid that",
        "networks of all sizes share.",
        "",
        "This page is written by `make docs` from `pipeline/predictor/features.py`.",
    ]
    for title, columns in GROUPS.items():
        rows = [[f"`{name}`", column.unit, column.meaning] for name, column in columns.items()]
        lines += ["", f"## {title}", "", Table(["column", "unit", "meaning"], rows).markdown()]
    inputs = Table(["column", "meaning"], [list(row) for row in _inputs().items()]).markdown()
    return "\n".join([*lines, "", "## Inputs of the predictor", "", *_ABOUT_INPUTS, "", inputs]) + "\n"


_ABOUT_INPUTS = (
    "`rnn_stability.trial_inputs(table)` turns this table into one row per trial with the columns that the predictor and the",
    "registered model take; `rnn_stability.network_inputs(...)` gives the same columns for a network of your own. NAME stands",
    "for a column above. The predictor can be asked before training, after an eighth of an epoch and after one epoch. For each",
    "row, it uses the set of inputs with the best evidence among those whose columns are all given, at the moment for which",
    "this evidence is best. An empty cell (NaN) means that something was not measured, or is not defined.",
)


def _inputs() -> dict[str, str]:
    """Columns of the predictor's inputs, as they are written on the page -> what they hold."""

    def written(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names)

    scales = {scale: [n for n, d in DECLARED.items() if d.scale == scale] for scale in ("category", "log", "linear")}
    return {
        written(["task", "cell"]): "not used as inputs; they decide which evidence and which own trials apply",
        written(scales["category"]): "as above",
        "`log_NAME`": f"decimal logarithm of {written([*scales['log'], 'parameter_count', 'steps', 'updates'])}",
        written(scales["linear"]): "as above",
        "`early_log_relative_loss`": "decimal logarithm of `relative_loss` at the early checkpoint",
        "`initial_NAME`": "a column of the spectrum or of the early measurements at initialisation",
        "`early_NAME`": "the same at the early checkpoint",
        "`change_NAME`": "as above, at the early checkpoint; `change_step_ratio` is the change of `step_ratio`",
        "`eighth_NAME`, `epoch_NAME`": "as above",
        written(MEASUREMENT): "as above, at the early checkpoint; optional, named in the reasons of a verdict",
        "`already_diverged`": (
            "whether the network has diverged so far: in no driving sequence did the state stay finite, before training or now, "
            "or a loss or gradient norm is not finite; the answer is then a failure, whatever the other columns hold. Absent "
            "means that it has not"
        ),
    }


def _outcomes(trials: Sequence[TrialResult], threshold: float) -> dict[str, dict[str, Any]]:
    """The columns OUTCOME of each trial, by id."""
    outcomes = {}
    for task in sorted({t.trial.task for t in trials}):
        own = [t for t in trials if t.trial.task == task]
        chance, losses = own[0].trial.chance, final_losses(own)
        best = float(np.nanmin(losses)) if np.isfinite(losses).any() else math.nan
        for result, loss, score in zip(own, losses, scores(losses, chance), strict=True):
            outcomes[result.trial.id] = {
                "chance": chance,
                "final_loss": float(loss),
                "best_loss": best,
                "score": float(score),
                "success": bool(score >= threshold),
                "diverged": result.outcome.diverged,
                "validation_losses": (result.curves["validation_loss"] / chance).tolist(),
            }
    return outcomes


def _rows(
    result: TrialResult, spectra: TrialSpectra, measurements: TrialMeasurements, outcome: dict[str, Any]
) -> list[dict[str, Any]]:
    trial = result.trial
    early = {moment: measurements.at(moment) for moment in MOMENTS}
    features = [
        spectrum_features(exponents, errors[0], trial.steps, early["initial"]["lag_needed"])
        for exponents, errors in zip(spectra.exponents, spectra.standard_error, strict=True)
    ]
    wholes = [whole_spectrum(exponents) for exponents in spectra.exponents]
    rows = []
    for checkpoint, spectrum, whole in zip(CHECKPOINTS, features, wholes, strict=True):
        epoch = trial.epoch_of(checkpoint)
        rows.append(
            {"trial": trial.id, "task": trial.task, "cell": trial.cell, "index": trial.index, "draw": trial.draw}
            | {"checkpoint": checkpoint, "epoch": epoch, "options": _written(trial.options)}
            | asdict(trial.hyper_parameters)
            | {"parameter_count": result.outcome.parameter_count, "state_size": spectra.exponents.shape[-1]}
            | {"steps": trial.steps, "updates": len(result.updates["loss"]), "epochs": trial.epochs}
            | {"relative_loss": result.curves["validation_loss"][epoch] / trial.chance}
            | {name: result.curves[name][epoch] for name in ("gradient_norm", "gradient_norm_max")}
            | early.get(checkpoint, dict.fromkeys(MEASURED, math.nan))
            | _curves(result)
            | {"sequences": spectra.exponents.shape[1], "counted_steps": spectra.settings.steps}
            | spectrum
            | {f"change_{name}": value - features[0][name] for name, value in spectrum.items()}
            | whole
            | outcome
            | {"training_seconds": result.outcome.seconds, "measuring_seconds": sum(measurements.seconds.values())}
            | {"spectrum_seconds": spectra.seconds / len(CHECKPOINTS)}
        )
    return rows


def _curves(result: TrialResult) -> dict[str, float]:
    """The columns CURVE."""
    trial, losses, norms = result.trial, result.updates["loss"], result.updates["gradient_norm"]
    epoch = len(losses) // trial.epochs
    ends = {"eighth": eighth_of(epoch), "epoch": epoch * trial.early_epoch}
    curves = {stretch: curve(losses[:end], norms[:end], trial.chance, len(losses)) for stretch, end in ends.items()}
    return {f"{stretch}_{name}": value for stretch, found in curves.items() for name, value in found.items()}


def _written(options: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
