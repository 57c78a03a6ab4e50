"""What each input adds: `python -m benchmarks.ablation > docs/ablation.md` leaves them out one by one.

The predictor with all inputs is compared with one that lacks the numbers of one measurement, of the spectrum, or the
hyper-parameters, on the packaged trials: with cells or tasks left out, and on trials of other settings.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when NumPy loads; workers inherit it

import pandas as pd

from pipeline import measuring
from pipeline.core import execution
from pipeline.core.tables import Table, signed, with_interval
from pipeline.predictor import evidence, trials
from pipeline.predictor.folds import Fold, parts, scale_part
from pipeline.predictor.inputs import BEFORE, EARLY_SPECTRAL, EPOCH, HYPER_PARAMETERS, SETS, SPECTRAL
from pipeline.predictor.splits import CELLS, SCALE, TASKS

SEED, SAMPLES, ALL = 2026, 500, "all"
MEASURES = {"auc": "AUC", "brier": "Brier score", "spearman": "rank correlation"}


def families(columns: Sequence[str]) -> dict[str, set[str]]:
    """Name of what can be left out of a set -> its columns there."""
    found = {name: set(measuring.get(name).columns) for name in measuring.names()}
    named = {name: {c for c in columns if c.partition("_")[2] in own} for name, own in found.items()}
    named |= {"spectrum": {*SPECTRAL, *EARLY_SPECTRAL} & {*columns}, "hyper-parameters": {*HYPER_PARAMETERS} & {*columns}}
    return {name: own for name, own in named.items() if own}


def folds(rows: pd.DataFrame) -> list[Fold]:
    """The fits with all inputs, and without each family."""
    own, shifts = trials.learned_from(rows), trials.shifted(rows)
    held = [part for part in parts(own, own.iloc[:0], SEED) if part.split in (CELLS, TASKS)]
    made = []
    for part in [*held, *([scale_part(own, shifts)] if len(shifts) else [])]:
        for fold in part.folds({moment: [ALL] for moment in (BEFORE, EPOCH)}, SEED):
            made.append(fold)
            for name, gone in families(fold.columns).items():
                made.append(replace(fold, inputs=name, columns=tuple(c for c in fold.columns if c not in gone)))
    return made


def table(answers: Mapping[tuple[str, str, str], pd.DataFrame], moment: str, split: str) -> Table:
    """What each family adds to all others."""
    lines = []
    for name in families(SETS[moment][ALL]):
        gain = evidence.gain(answers[split, moment, name], answers[split, moment, ALL], SAMPLES, SEED).measures
        lines.append([name, *(with_interval(gain[measure], 3, signed) for measure in MEASURES)])
    return Table(["input", *MEASURES.values()], lines)


def main() -> None:
    """Print the page."""
    with execution.executor(execution.process_count("auto")) as on:
        answered, _ = evidence.answers(folds(trials.kept()), on)
    answers = {key: own for key, own in answered.groupby(["split", "moment", "inputs"])}
    print("# What each input adds\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}. `python -m benchmarks.ablation` makes this page.\n")
    print("Each number is that of all inputs together minus that without the input in the first column, on trials that were")
    print("held out; above 0, the input improves the predictions. Brackets are 95 % intervals, which resample cells or tasks.")
    print("Inputs that overlap can stand for each other, so that the gains do not add up.\n")
    for moment in (BEFORE, EPOCH):
        for split in (CELLS, TASKS, SCALE):
            if (split, moment, ALL) in answers:
                print(f"## {moment[0].upper()}{moment[1:]}, {split}\n\n{table(answers, moment, split).markdown()}\n")


if __name__ == "__main__":
    main()
