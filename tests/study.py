"""Small made artefacts of a study whose answers are known."""

import numpy as np

from pipeline import measuring
from pipeline.core.cards import Card, Judgement, Recipe
from pipeline.core.config import FixedPointsSettings, SpectrumSettings
from pipeline.core.hyper_parameters import DECLARED, HyperParameters
from pipeline.core.records import (
    CURVES,
    Outcome,
    PointCounts,
    TaskInfo,
    Trial,
    TrialFixedPoints,
    TrialMeasurements,
    TrialResult,
    TrialSpectra,
)

HYPER_PARAMETERS = {name: declared.default for name, declared in DECLARED.items() if declared.default is not None}
HYPER_PARAMETERS |= {"init_scale": 0.1, "learning_rate": 1e-3, "hidden_size": 4, "head": "last", "batch_size": 10}
HYPER_PARAMETERS |= {"initialisation": "uniform"}


def info(task="counting", **changes):
    """A task."""
    fields = {
        "task": task,
        "title": task.capitalize(),
        "description": "A task.",
        "metric": "accuracy",
        "head": "last",
        "batch_size": 10,
        "ordered": False,
        "size": "packaged",
        "input_size": 2,
        "output_size": 1,
        "steps": 10,
        "sequences": {"train": 3, "validation": 2, "test": 1},
        "chance": 2.0,
        "source": "made",
        "licence": "none",
        "hash": "d" * 64,
    }
    return TaskInfo(**fields | changes)


def trial(index=0, task="counting", cell="elman", **changes):
    """A trial; changes of hyper-parameters and of other fields go by their names."""
    hyper = HYPER_PARAMETERS | {name: changes.pop(name) for name in set(changes) & set(DECLARED)}
    fields = {
        "task": task,
        "cell": cell,
        "index": index,
        "draw": index,
        "seed": index,
        "hyper_parameters": HyperParameters(**hyper),
        "options": {},
        "state": "stateless",
        "epochs": 3,
        "early_epoch": 1,
        "input_size": 2,
        "output_size": 1,
        "steps": 10,
        "chance": 2.0,
        "device": "cpu",
        "torch": "2.13.0",
        "data_hash": "d" * 64,
        "code_hash": "c" * 12,
    }
    return Trial(**fields | changes)


def result(losses=(2.0, 1.5, 1.0, 0.5), *, diverged=False, **changes):
    """A trial with given validation losses at epochs 0 to 3."""
    curves = {name: np.full(4, np.nan) for name in CURVES}
    curves["validation_loss"] = np.array(losses, float)
    curves["validation_metric"] = 1 - curves["validation_loss"] / 2
    curves["train_loss"][1:] = curves["validation_loss"][1:]
    curves["gradient_norm"][1:] = [0.1, 0.2, 0.3]
    curves["gradient_norm_max"][1:] = [1.0, 2.0, 3.0]
    weights = {c: {"cell.weight_hh": np.full((4, 4), i, np.float32)} for i, c in enumerate(("initial", "early", "final"))}
    outcome = Outcome(diverged=diverged, seconds=1.0, test_loss=0.6, test_metric=0.7, parameter_count=37)
    updates = {"loss": np.linspace(*losses[:2], 12).astype(np.float32), "gradient_norm": np.full(12, 0.1, np.float32)}
    optimiser = {"cell.weight_hh": {"step": np.ones(1, np.float32)}}
    return TrialResult(trial(**changes), outcome, curves, updates, weights, optimiser)


def measurements(values=0.5, **changes):
    """Early measurements of a trial that are all alike."""
    columns = list(measuring.columns())
    return TrialMeasurements(trial(**changes), {"step_ratio": 0.01}, columns, np.full((2, len(columns)), values))


def spectra(exponents, *, error=0.01, **changes):
    """Spectra of a trial from exponents (3, B, S)."""
    exponents = np.array(exponents, float)
    settings = SpectrumSettings(sequences=exponents.shape[1], transient=2, steps=8)
    errors = np.full((3, exponents.shape[2]), error)
    history = np.repeat(exponents.mean(1)[:, :1], 8, axis=1)
    return TrialSpectra(trial(**changes), settings, 1.0, exponents, errors, 1e-9 * np.ones_like(errors), history)


def fixed_points(**changes):
    """Two points under the input 0, one of them a saddle, and one that keeps its size under the mean input."""
    points = {"zero": np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]), "mean": np.ones((1, 4))}
    moduli = {"zero": np.array([[0.5, 0.1, 0.0, 0.0], [1.5, 0.1, 0.0, 0.0]]), "mean": np.array([[1.0, 0.1, 0.0, 0.0]])}
    shared = {"median_q": 0.1, "natural_q": 0.2, "seeds_that_found": 1.0, "outliers": 0, "index": 1}
    counts = {
        "zero": PointCounts(fixed_points=2, stable=1, by_unstable_directions=[1, 1], slowest_time_constant=2.5, **shared),
        "mean": PointCounts(fixed_points=1, stable=1, by_unstable_directions=[1], slowest_time_constant=None, **shared),
    }
    trajectories = np.random.default_rng(0).normal(size=(9, 3, 4)).astype(np.float32)
    settings = FixedPointsSettings(seeds=4, tolerance=1e-20, iterations=5)
    return TrialFixedPoints(trial(**changes), settings, counts, trajectories, points, moduli)


def card(rows, judgement=None):
    """A card of trials from `trial_inputs` that fits linear models, without evidence unless it is given."""
    from pipeline.predictor import packaged
    from pipeline.predictor.inputs import SETS

    return Card(
        studies={"evidence": len(rows)},
        tasks=sorted(rows["task"].unique()),
        cells=sorted(rows["cell"].unique()),
        threshold=0.8,
        recipes={m: {n: Recipe(tuple(c), "linear", "linear", (0.0, 1.0)) for n, c in sets.items()} for m, sets in SETS.items()},
        own_weights={"5": 16.0, "10": 4.0, "20": 4.0, "40": 1.0},
        quantiles=packaged.quantiles(rows),
        judgement=judgement or Judgement([], [], {}, None, None, [], {}, {}),
        origin={"date": "2026-01-01", "commit": "abc"},
    )


def study(trials=24, tasks=("counting", "recalling"), cells=("elman", "gru"), seed=0):
    """Results, spectra and measurements in which the largest early exponent alone decides the final loss."""
    random = np.random.default_rng(seed)
    results, measured, probed = [], [], []
    for task in tasks:
        for cell in cells:
            for index in range(trials):
                early = random.uniform(-1, 0)
                changes = {
                    "task": task,
                    "cell": cell,
                    "index": index,
                    "init_scale": float(10 ** random.uniform(-2, 0.5)),
                    "learning_rate": float(10 ** random.uniform(-4, -1)),
                    "hidden_size": int(random.choice([16, 32])),
                }
                losses = [2.0, float(random.uniform(1, 2)), 1.5, 2.0 - 1.6 * (1 + early)]
                results.append(result(losses, **changes))
                base = np.linspace(0, -2, 4) + random.normal(0, 0.05, (2, 4))
                measured.append(spectra([base - random.uniform(0, 1), base + early, base], **changes))
                probed.append(measurements(**changes))
    return results, measured, probed
