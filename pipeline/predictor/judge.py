"""Judges the trials of this repository: `python -m pipeline.predictor.judge` writes the packaged predictor, and its evidence."""

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when NumPy loads; workers inherit it

import pandas as pd

from ..core import execution
from ..core.cards import Card, Recipe
from ..core.errors import PipelineError
from ..core.files import digest
from ..core.provenance import git_state
from . import evidence, model, packaged, trials
from .folds import Key, own_parts, parts, scale_part
from .inputs import BEFORE, EPOCH, SETS
from .predictor import StabilityPredictor
from .rows import columns_of
from .splits import SCALE

SEED, SAMPLES, THRESHOLD = 2026, 500, 0.8
OWN_SETS = {
    BEFORE: ["hyper-parameters", "hyper-parameters, measurements", "all"],
    EPOCH: ["loss", "loss, hyper-parameters", "all"],
}


def judge(rows: pd.DataFrame, on: execution.Executor, *, samples: int = SAMPLES) -> Card:
    """The card of trials with their studies: all sets of inputs under all splits, and what is fitted to all of them."""
    own = trials.learned_from(rows)
    table, weights = _answers(own, trials.shifted(rows), on)
    judgement = evidence.judgement(table, rows, count=samples, seed=SEED, on=on)
    chosen = dict(execution.run(_choose, [(own, moment, name) for moment in SETS for name in SETS[moment]], on))
    commit, changed = git_state()
    return Card(
        studies=trials.studies(rows),
        tasks=sorted(own["task"].unique()),
        cells=sorted(own["cell"].unique()),
        threshold=THRESHOLD,
        recipes={moment: {name: chosen[moment, name] for name in SETS[moment]} for moment in SETS},
        own_weights=weights,
        quantiles=packaged.quantiles(own),
        judgement=judgement,
        origin={
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "commit": commit + (" with changes" if changed else ""),
            "table": digest(trials.TABLE),
            "seed": SEED,
            "samples": samples,
        },
    )


def _answers(own: pd.DataFrame, shifts: pd.DataFrame, on: execution.Executor) -> tuple[pd.DataFrame, dict[str, float]]:
    """The answers under all splits, and the weight of own trials by their number."""
    every = {moment: list(sets) for moment, sets in SETS.items()}
    left_out = [*parts(own, own.iloc[:0], SEED), *([scale_part(own, shifts)] if len(shifts) else [])]
    found, recipes = evidence.answers([fold for part in left_out for fold in part.folds(every, SEED)], on)
    shift = found["split"] == SCALE
    found.loc[shift, "group"] = found.loc[shift, "trial"].map(dict(zip(shifts["trial"], shifts["study"], strict=True)))
    with_own, _ = evidence.answers(evidence.own_folds(own_parts(own, SEED), recipes, OWN_SETS, SEED), on)
    table = evidence.best_weights(pd.concat([found, with_own], ignore_index=True))
    return table, evidence.chosen_weights(with_own)


def _choose(job: tuple[pd.DataFrame, str, str]) -> tuple[Key, Recipe]:
    rows, moment, name = job
    return (moment, name), model.choose(rows, SETS[moment][name], rows["task"].tolist(), seed=SEED)


def pack(card: Card) -> None:
    """Write the files of the predictor that comes with the library."""
    predictor = StabilityPredictor(columns_of(trials.learned_from(trials.kept())), replace(card, judgement=card.judgement.brief))
    predictor.save(packaged.FOLDER)


def main() -> None:
    """Write the packaged predictor and its evidence, and print the evidence."""
    with execution.executor(execution.process_count("auto")) as on:
        card = judge(trials.kept(), on)
    card.judgement.save(trials.JUDGEMENT)
    pack(card)
    sys.stdout.write(evidence.text(card.judgement) + "\n")


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
