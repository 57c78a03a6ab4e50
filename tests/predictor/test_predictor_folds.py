"""What is held out: each trial once, and never with trials of its cell or task to learn from; own trials and their weights."""

from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest
from study import study

from pipeline.core.cards import Recipe
from pipeline.predictor import feature_table, folds, model
from pipeline.predictor.folds import REPEATS, WEIGHTS
from pipeline.predictor.inputs import BEFORE, DIVERGED, EIGHTH, EPOCH, SETS
from pipeline.predictor.splits import CELLS, OWN, SCALE, TASKS, TRIALS
from pipeline.predictor.trials import trial_inputs

NAMES = ("counting", "recalling", "adding")


@cache
def rows_of(trials=6, tasks=NAMES, cells=("elman", "gru", "lstm"), seed=0):
    return trial_inputs(feature_table.table(*study(trials=trials, tasks=tasks, cells=cells, seed=seed), 0.8))


def base():
    """Trials of the same cells and tasks, and of others, that are not among the rows."""
    return rows_of(trials=4, tasks=(*NAMES, "sorting"), cells=("elman", "gru", "irnn"), seed=1)


def none():
    return rows_of().iloc[:0]


@pytest.mark.parametrize("base_of", [none, base])
def test_every_trial_is_held_out_once_per_split_and_no_model_has_seen_it(base_of):
    rows = rows_of()
    for weight in (1, 3):
        made = list(folds.parts(rows, base_of(), seed=0, weight=weight))
        for split, number in ((TRIALS, 5), (CELLS, 3), (TASKS, 3)):
            own = [part for part in made if part.split == split]
            assert len({part.group for part in own}) == len(own) == number
            assert sorted(t for part in own for t in part.test["trial"]) == sorted(rows["trial"])
            for part in own:
                assert not set(part.train["trial"]) & set(part.test["trial"])
        assert {part.split for part in made} == {TRIALS, CELLS, TASKS}


@pytest.mark.parametrize("base_of", [none, base])
@pytest.mark.parametrize(("split", "column"), [(CELLS, "cell"), (TASKS, "task")])
def test_nothing_is_learned_from_a_cell_or_task_that_is_left_out(split, column, base_of):
    rows = rows_of()
    for part in (part for part in folds.parts(rows, base_of(), seed=0) if part.split == split):
        assert set(part.test[column]) == {part.group}
        assert part.group not in set(part.train[column])
        others = pd.concat([rows, base_of()])
        assert sorted(part.train["trial"]) == sorted(others.loc[others[column] != part.group, "trial"])  # all else is used
        assert part.groups.tolist() == part.train[column].tolist()


def test_over_trials_all_of_the_base_is_learned_from_and_trials_are_left_out_together():
    for part in (part for part in folds.parts(rows_of(), base(), seed=0, weight=2) if part.split == TRIALS):
        assert set(base()["trial"]) <= set(part.train["trial"])
        assert part.groups.tolist() == part.train["trial"].tolist()


def test_trials_of_the_base_that_are_among_the_rows_are_not_learned_from_twice():
    """Otherwise, a study that repeats packaged trials would be evaluated on trials that it has learned from."""
    rows = rows_of()
    for part in folds.parts(rows, pd.concat([base(), rows.iloc[::2]]), seed=0):
        assert not set(part.train["trial"]) & set(part.test["trial"])
        assert part.train["trial"].is_unique


def test_rows_of_the_study_count_as_often_as_their_weight_beside_the_base():
    for part in folds.parts(rows_of(), base(), seed=0, weight=3):
        times, own = Counter(part.train["trial"]), set(rows_of()["trial"])
        assert {times[t] for t in times if t in own} == {3}
        assert {times[t] for t in times if t not in own} == {1}
        assert part.test["trial"].is_unique


def test_folds_over_trials_have_the_same_share_of_each_tasks_successes():
    rows = rows_of(trials=20)
    found = [part.test.groupby("task")["success"].sum() for part in folds.parts(rows, none(), seed=3) if part.split == TRIALS]
    for task in NAMES:
        successes = [counts[task] for counts in found]
        assert sum(successes) == rows.loc[rows["task"] == task, "success"].sum() > 5
        assert max(successes) - min(successes) <= 1  # those of a task are consecutive, and dealt in turn


def test_folds_over_trials_depend_on_the_seed_alone():
    one, two, three = ([part.test["trial"].tolist() for part in folds.parts(rows_of(), none(), seed)] for seed in (0, 0, 1))
    assert one == two
    assert one[:5] != three[:5]
    assert one[5:] == three[5:]  # cells and tasks are not dealt


def test_one_cell_or_task_alone_is_left_out_only_if_there_are_others_to_learn_from():
    rows = rows_of(tasks=("counting",), cells=("elman",))
    assert {part.split for part in folds.parts(rows, none(), seed=0)} == {TRIALS}
    assert {part.split for part in folds.parts(rows, base(), seed=0)} == {TRIALS, CELLS, TASKS}


# Own trials


def test_own_trials_are_those_of_the_task_as_often_as_their_weight_and_the_same_trials_are_asked():
    rows = rows_of(trials=10)  # 30 trials of a task
    asked = {}
    made = list(folds.own_parts(rows, seed=0))
    counts = [c for c in OWN if c < 26]
    assert len(made) == len(NAMES) * len(counts) * len(WEIGHTS) * REPEATS
    for part in made:
        count = int(part.split.removeprefix(f"{TASKS}, ").removesuffix(" own trials"))
        weight, draw = part.variant.removeprefix("weight ").split(", ")
        own = Counter(part.train.loc[part.train["task"] == part.group, "trial"])
        assert (len(own), set(own.values())) == (count, {int(weight)})
        rest = part.train[part.train["task"] != part.group]
        assert sorted(rest["trial"]) == sorted(rows.loc[rows["task"] != part.group, "trial"])
        assert set(part.test["task"]) == {part.group}
        assert not set(own) & set(part.test["trial"])
        assert asked.setdefault((part.group, draw), part.test["trial"].tolist()) == part.test["trial"].tolist()
        assert len(part.test) == 4  # what the largest number of own trials would leave
    assert asked["counting", "draw 1"] != asked["counting", "draw 2"]


def test_more_own_trials_hold_the_fewer():
    made = [part for part in folds.own_parts(rows_of(trials=10), seed=0) if part.group == "adding"]
    known = {
        part.split: set(part.train.loc[part.train["task"] == "adding", "trial"])
        for part in made
        if part.variant == "weight 1, draw 2"
    }
    sizes = [known[f"{TASKS}, {count} own trials"] for count in (5, 10, 20)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_another_scale_is_asked_of_all_that_is_known():
    part = folds.scale_part(rows_of(), base())
    assert (part.split, part.train["trial"].tolist(), part.test["trial"].tolist()) == (
        SCALE, rows_of()["trial"].tolist(), base()["trial"].tolist(),
    )  # fmt: skip
    assert part.groups.tolist() == rows_of()["task"].tolist()


# Fits


def test_a_part_is_fitted_for_every_set_and_sees_the_columns_of_the_set_and_what_is_asked_about():
    part = next(folds.parts(rows_of(), none(), seed=0))
    made = list(part.folds({BEFORE: ["chance", "step ratio"], EPOCH: ["loss"]}, seed=4))
    assert [(f.moment, f.inputs, f.recipe, f.seed) for f in made] == [
        (BEFORE, "chance", None, 4), (BEFORE, "step ratio", None, 4), (EPOCH, "loss", None, 4),
    ]  # fmt: skip
    for fold in made:
        about = {"trial", "task", "cell", "score", "success", DIVERGED}
        assert set(fold.train) == set(fold.test) == about | set(SETS[fold.moment][fold.inputs])


def test_a_known_recipe_is_fitted_and_its_answers_are_those_of_the_model():
    part = next(p for p in folds.parts(rows_of(trials=10), none(), seed=0) if p.split == CELLS)
    recipe = Recipe(SETS[BEFORE]["spectrum"], "linear", "trees", (0.1, 0.7))
    (fold,) = part.folds({BEFORE: ["spectrum"]}, 0, {(BEFORE, "spectrum"): recipe})
    table, used = folds.answer(fold)
    assert used is recipe
    expected, probability = model.fit(part.train, recipe).answer(part.test)
    np.testing.assert_array_equal(table["expected_score"], expected)
    np.testing.assert_array_equal(table["probability_of_success"], probability)
    assert table["trial"].tolist() == part.test["trial"].tolist()
    about = ["split", "moment", "inputs", "group", "variant", "score_kind", "success_kind"]
    assert [table[c].unique().tolist() for c in about] == [
        [CELLS],
        [BEFORE],
        ["spectrum"],
        ["elman"],
        [""],
        ["linear"],
        ["trees"],
    ]


def test_an_unknown_recipe_is_chosen_from_the_training_rows():
    part = next(p for p in folds.parts(rows_of(trials=10), none(), seed=0) if p.split == TASKS)
    (fold,) = part.folds({EPOCH: ["loss"]}, 7)
    _, used = folds.answer(fold)
    assert used == model.choose(part.train, SETS[EPOCH]["loss"], part.train["task"].tolist(), seed=7)


@pytest.mark.parametrize(("moment", "name"), [(BEFORE, "spectrum"), (EIGHTH, "loss"), (EPOCH, "loss")])
def test_a_training_that_has_diverged_after_one_epoch_has_failed_whatever_the_model_says(moment, name):
    rows = rows_of().assign(**{DIVERGED: np.arange(len(rows_of())) % 3 == 0})
    part = next(folds.parts(rows, none(), seed=0))
    recipe = Recipe(SETS[moment][name], "linear", "linear", (0.0, 1.0))
    (fold,) = part.folds({moment: [name]}, 0, {(moment, name): recipe})
    table, _ = folds.answer(fold)
    expected, probability = model.fit(part.train, recipe).answer(part.test)
    gone = part.test[DIVERGED].to_numpy() & (moment == EPOCH)  # earlier nobody knows it
    assert gone.any() == (moment == EPOCH)
    assert (probability > 0).all()
    np.testing.assert_array_equal(table["probability_of_success"], np.where(gone, 0, probability))
    np.testing.assert_array_equal(table["expected_score"], np.where(gone, 0, expected))
