"""The predictor of a study: what it is evaluated on, what it learns from, and with which recipes and weights."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from study import card, study

from pipeline.core.cards import Judgement
from pipeline.core.errors import ArtefactError
from pipeline.core.execution import Here
from pipeline.predictor import decision, feature_table, folds, model, trials
from pipeline.predictor import study as studied
from pipeline.predictor.inputs import BEFORE, DIVERGED, EIGHTH, EPOCH, SETS
from pipeline.predictor.splits import CELLS, TASKS, TRIALS
from pipeline.predictor.trials import trial_inputs

SMALL = {BEFORE: ["hyper-parameters", "all"], EIGHTH: ["loss"], EPOCH: ["loss", "loss, measurements", "all"]}
WEIGHTS = {"5": 16.0, "10": 4.0, "40": 3.0}  # that of most own trials counts


def rows_of(trials, seed, tasks=("counting", "recalling"), cells=("elman", "gru")):
    return trial_inputs(feature_table.table(*study(trials=trials, tasks=tasks, cells=cells, seed=seed), 0.8))


@cache
def packaged():
    """Made trials and their card, of three tasks and cells, whose recipes are chosen from them."""
    known = trials.compact(rows_of(8, 1, ("counting", "recalling", "sorting"), ("elman", "gru", "lstm")))
    known = known.assign(study="evidence")
    groups = known["task"].tolist()
    recipes = {m: {n: model.choose(known, SETS[m][n], groups, seed=0) for n in names} for m, names in SMALL.items()}
    return known, replace(card(known), recipes=recipes, own_weights=WEIGHTS)


@cache
def own():
    """Trials of a study, of which the last two of each task and cell repeat the first draw."""
    rows = rows_of(10, 2)
    return rows.assign(draw=rows["index"].where(rows["index"] < 8, 0))


@pytest.fixture(scope="module")
def judged():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studied, "JUDGED", SMALL)
        patch.setattr(decision, "DRAWS", 3)
        patch.setattr(decision, "PRUNER_DRAWS", 1)
        return studied.judge(own(), *packaged(), 100, 0, Here())


def test_each_trial_without_repetitions_is_held_out_once_per_split_moment_and_set(judged):
    table, _ = judged
    first = own().loc[own()["index"] < 8, "trial"]
    made = table.groupby(["split", "moment", "inputs"])["trial"].apply(sorted)
    assert set(made.index) == {(s, m, n) for s in (TRIALS, CELLS, TASKS) for m, names in SMALL.items() for n in names}
    assert all(trials == sorted(first) for trials in made)


@pytest.mark.parametrize(("split", "column", "group"), [(TASKS, "task", "counting"), (CELLS, "cell", "gru")])
@pytest.mark.parametrize(("moment", "name"), [(BEFORE, "all"), (EPOCH, "loss")])
def test_answers_are_those_of_models_fitted_to_the_packaged_trials_and_to_three_times_the_own(
    judged, split, column, group, moment, name
):
    table, _ = judged
    mine = own()[own()["index"] < 8]
    train = pd.concat([*[mine[mine[column] != group]] * 3, packaged()[0][packaged()[0][column] != group]])
    asked = mine[mine[column] == group]
    expected, probability = model.fit(train, packaged()[1].recipes[moment][name]).answer(asked)
    found = table[(table["split"] == split) & (table["group"] == group) & (table["moment"] == moment) & (table["inputs"] == name)]
    found = found.set_index("trial").loc[asked["trial"]]
    assert not asked[DIVERGED].any()
    np.testing.assert_array_equal(found["expected_score"], expected)
    np.testing.assert_array_equal(found["probability_of_success"], probability)


def test_recipes_are_those_of_the_card(judged):
    for (moment, name), rows in judged[0].groupby(["moment", "inputs"]):
        recipe = packaged()[1].recipes[moment][name]
        assert (set(rows["score_kind"]), set(rows["success_kind"])) == ({recipe.score_kind}, {recipe.success_kind})


def test_what_decides_is_found_where_the_spectrum_is_known(judged):
    """The artificial score is linear in the early exponent."""
    _, shown = judged
    for split in (TRIALS, CELLS, TASKS):
        all_inputs, loss = (shown.of(split, EPOCH, name).measures["spearman"].value for name in ("all", "loss"))
        assert all_inputs > 0.5 > loss
    assert shown.champion.with_ == "all"


def test_repetitions_give_the_noise_ceiling_alone(judged):
    table, shown = judged
    assert set(shown.ceiling) == {"auc", "brier", "spearman", "r2"}
    assert shown.of(TRIALS, EPOCH, "all").trials == table["trial"].nunique() == 32
    assert [d.tasks for d in shown.decisions] == [2, 2]


def test_the_judgement_can_be_written(judged, tmp_path):
    judged[1].save(tmp_path / "judgement.json")
    assert Judgement.load(tmp_path / "judgement.json") == judged[1]


def test_what_a_study_judges_are_sets_of_the_packaged_predictor():
    assert all(name in SETS[moment] for moment, names in studied.JUDGED.items() for name in names)


def judged_small(rows, monkeypatch, sets):
    monkeypatch.setattr(studied, "JUDGED", sets)
    monkeypatch.setattr(decision, "DRAWS", 2)
    return studied.judge(rows, *packaged(), 20, 0, Here())


def test_a_study_of_one_task_and_cell_is_judged_beside_the_packaged_trials(monkeypatch):
    table, shown = judged_small(rows_of(6, 3, ("adding",), ("irnn",)), monkeypatch, {BEFORE: ["hyper-parameters"]})
    assert set(table["split"]) == {TRIALS, CELLS, TASKS}
    assert len(shown.decisions) == 2


def test_a_study_that_repeats_packaged_trials_does_not_learn_from_what_it_is_asked(monkeypatch):
    seen = []
    answer = folds.answer
    monkeypatch.setattr("pipeline.predictor.evidence.answer", lambda fold: seen.append(fold) or answer(fold))
    judged_small(trials.learned_from(packaged()[0]).drop(columns="study"), monkeypatch, {EPOCH: ["loss"]})
    assert len(seen) > 10
    assert all(not set(fold.train["trial"]) & set(fold.test["trial"]) for fold in seen)


def test_the_least_study_has_four_trials(monkeypatch):
    """One trial of each task and cell: they are too few to search, but they are evaluated nevertheless."""
    rows = rows_of(1, 4)
    _, shown = judged_small(rows, monkeypatch, {BEFORE: ["hyper-parameters"], EPOCH: ["loss"]})
    assert shown.of(TRIALS, EPOCH, "loss").trials == 4
    assert (shown.decisions, shown.volume) == ([], None)
    with pytest.raises(ArtefactError, match="the study has 3 trials; a predictor needs at least 4"):
        studied.judge(rows.iloc[:3], *packaged(), 20, 0, Here())
    repeated = pd.concat([rows.iloc[:3], rows.iloc[:1].assign(index=1, draw=0)])
    with pytest.raises(ArtefactError, match="the study has 3 trials"):
        studied.judge(repeated, *packaged(), 20, 0, Here())
