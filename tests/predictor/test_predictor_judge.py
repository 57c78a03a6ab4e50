"""The card of packaged trials: what is judged, what is fitted, and which trials count where."""

import numpy as np
import pandas as pd
import pytest
from study import study

from pipeline.core.cards import Card, Recipe
from pipeline.core.execution import Here
from pipeline.predictor import StabilityPredictor, decision, feature_table, judge, model, packaged, trials
from pipeline.predictor.inputs import BEFORE, EPOCH, SETS
from pipeline.predictor.splits import CELLS, SCALE, TASKS, TRIALS
from pipeline.predictor.trials import trial_inputs

SMALL = {BEFORE: ["hyper-parameters"], EPOCH: ["loss", "loss, spectrum"]}


def rows_of(name, count, seed, tasks=("counting", "recalling", "sorting")):
    rows = trials.compact(trial_inputs(feature_table.table(*study(trials=count, tasks=tasks, seed=seed), 0.8)))
    return rows.assign(study=name)


@pytest.fixture(scope="module")
def rows():
    """Two studies, each trial of the one repeated once, and two shifts."""
    first = rows_of("evidence", 8, 0)
    again = first.assign(index=first["index"] + 8, trial=first["trial"] + "again", score=first["score"] * 0.9)
    shifts = [rows_of("shift_width", 4, 1), rows_of("shift_sgd", 3, 2)]
    return pd.concat([first, again, rows_of("more", 3, 3), *shifts], ignore_index=True)


@pytest.fixture(scope="module")
def folder(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows.to_parquet(folder / "trials.parquet")
    return folder


@pytest.fixture(scope="module")
def asked():
    """What recipes were chosen from: trials, groups and columns."""
    return []


@pytest.fixture(scope="module")
def card(rows, folder, asked):
    def choose(known, columns, groups, *, seed):
        asked.append((set(known["trial"]), list(groups), tuple(columns)))
        return Recipe(tuple(columns), "linear", "linear", (0.0, 1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SETS", {m: {n: SETS[m][n] for n in names} for m, names in SMALL.items()})
        patch.setattr(judge, "OWN_SETS", {BEFORE: ["hyper-parameters"], EPOCH: ["loss"]})
        patch.setattr(model, "choose", choose)  # which takes a second
        patch.setattr(decision, "DRAWS", 2)
        patch.setattr(decision, "PRUNER_DRAWS", 1)
        patch.setattr(trials, "TABLE", folder / "trials.parquet")
        return judge.judge(rows, Here(), samples=20)


def test_the_card_says_what_it_was_fitted_to(card, rows):
    assert card.studies == {"evidence": 48, "more": 18, "shift_sgd": 18, "shift_width": 24}
    assert (card.tasks, card.cells) == (["counting", "recalling", "sorting"], ["elman", "gru"])
    assert card.quantiles == packaged.quantiles(trials.learned_from(rows))
    assert len(card.origin["table"]) == 12


def test_recipes_are_chosen_on_all_trials_that_are_learned_from_with_tasks_left_out(card, rows, asked):
    known = trials.learned_from(rows)
    assert {m: list(sets) for m, sets in card.recipes.items()} == SMALL
    for moment, names in SMALL.items():
        for name in names:
            assert card.recipes[moment][name].columns == SETS[moment][name]
            assert (set(known["trial"]), known["task"].tolist(), SETS[moment][name]) in asked


def test_with_own_trials_nothing_is_chosen(asked, card):
    """5 folds, 2 cells, 3 tasks and a scale for each of 3 sets, and the sets of the card."""
    assert len(asked) == (5 + 2 + 3 + 1 + 1) * 3


def test_every_set_is_judged_under_every_split_on_trials_without_repetitions(card):
    shown = {(e.split, e.moment, e.inputs): e.trials for e in card.judgement.evidence}
    for moment, names in SMALL.items():
        for name in names:
            assert [shown[split, moment, name] for split in (TRIALS, CELLS, TASKS)] == [48 + 18] * 3
            assert shown[SCALE, moment, name] == 24 + 18
    own = {key: count for key, count in shown.items() if "own trials" in key[0]}
    assert set(own) == {
        (f"{TASKS}, {n} own trials", *s) for n in (5, 10) for s in ((BEFORE, "hyper-parameters"), (EPOCH, "loss"))
    }
    assert set(card.own_weights) == {"5", "10"}  # there are 22 trials of a task
    assert set(card.own_weights.values()) <= {1.0, 4.0, 16.0}


def test_trials_of_another_scale_are_judged_by_study(card):
    found = card.judgement.of(SCALE, EPOCH, "loss, spectrum")
    assert set(found.by_group) == {"shift_width", "shift_sgd"}
    assert [d.title.partition(",")[0] for d in card.judgement.decisions] == [
        "searches on known tasks", "searches on new tasks", "searches on new tasks",
        "searches among networks four to eight times as wide",
    ]  # fmt: skip


def test_repetitions_are_only_the_ceiling(card):
    """Each pair has scores s and .9 s, so that the one misses the other by a tenth of a score."""
    assert card.judgement.ceiling["r2"].value > 0.9


def test_the_spectrum_which_decides_the_made_scores_is_found_and_carries_over(card):
    for split in (TRIALS, CELLS, TASKS, SCALE):
        with_, without = (card.judgement.of(split, EPOCH, n).measures["spearman"].value for n in ("loss, spectrum", "loss"))
        assert with_ > 0.5 > without


def test_the_card_is_written_and_a_predictor_answers_from_it(card, rows, tmp_path):
    card.save(tmp_path / packaged.CARD)
    assert Card.load(tmp_path / packaged.CARD) == card
    known = trials.learned_from(rows)
    found = StabilityPredictor(known, card)._ask(EPOCH, "loss", "", known)
    exact = model.fit(known, card.recipes[EPOCH]["loss"]).answer(known)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)  # numbers are cut at ends in single precision
