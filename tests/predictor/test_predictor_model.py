"""Models of score and success: what is chosen on constructed truths, how it is calibrated, and what it answers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.core.cards import Recipe
from pipeline.predictor import model
from pipeline.predictor.inputs import CATEGORIES, FALLING, RELATIVE_LOSS

PLAIN = (0.0, 1.0)  # a calibration that changes nothing


def made(score, success=None, **columns):
    score = np.asarray(score, float)
    return pd.DataFrame({"score": score, "success": score > 0.5 if success is None else success, **columns})


def noise(size=160, seed=0, columns=3):
    return np.random.default_rng(seed).normal(0, 1, (columns, size))


def groups_of(size, number=16):
    return [f"group {i % number}" for i in range(size)]


def line(size=160, seed=0):
    """Scores on a line in one column, with noise."""
    a, b, rest = noise(size, seed)
    return made(0.5 + 0.12 * a + 0.02 * rest, a=a, b=b)


def interaction(size=240, seed=1):
    """Scores that hang on whether two signs agree, which no line sees."""
    a, b, rest = noise(size, seed)
    return made(0.5 + 0.3 * np.sign(a * b) + 0.03 * rest, a=a, b=b)


def answers(rows, asked, kind, calibration=PLAIN):
    columns = tuple(c for c in rows if c not in ("score", "success"))
    return model.fit(rows, Recipe(columns, kind, kind, calibration)).answer(asked)


def logit(p):
    return np.log(p / (1 - p))


# How groups are dealt to folds


@pytest.mark.parametrize("number", [2, 3, 5, 30])
def test_a_group_is_never_split_between_folds_and_each_row_is_held_out_once(number):
    groups = np.random.default_rng(number).integers(0, number, 200)
    deal = model._deal(groups.tolist(), seed=0)
    assert len(deal) == min(number, model.FOLDS)
    np.testing.assert_array_equal(np.sum(deal, axis=0), 1)
    for held in deal:
        assert not set(groups[held]) & set(groups[~held])
    sizes = [held.sum() for held in deal]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()  # largest first, each to the smallest fold


def test_the_deal_depends_on_the_seed_alone():
    groups = groups_of(160)
    one, two, three = (np.array(model._deal(groups, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


# What is chosen


def held_out(rows, kind, deal):
    """Answers by models that saw no trial of the group, from `fit` alone."""
    expected, logits = np.zeros(len(rows)), np.zeros(len(rows))
    for held in deal:
        found = answers(rows[~held], rows[held], kind)
        expected[held], logits[held] = found[0], logit(found[1])
    return expected, logits


@pytest.mark.parametrize("truth", [line, interaction])
def test_the_kinds_with_the_least_loss_on_groups_left_out_are_chosen_and_calibrated_there(truth):
    rows = truth()
    groups = groups_of(len(rows))
    deal = model._deal(groups, 5)
    found = {kind: held_out(rows, kind, deal) for kind in model.KINDS}
    errors = {kind: ((rows["score"] - expected) ** 2).mean() for kind, (expected, _) in found.items()}
    losses = {kind: np.log1p(np.exp(np.where(rows["success"], -1, 1) * logits)).mean() for kind, (_, logits) in found.items()}
    recipe = model.choose(rows, ["a", "b"], groups, seed=5)
    assert recipe.columns == ("a", "b")
    assert (recipe.score_kind, recipe.success_kind) == (min(errors, key=errors.get), min(losses, key=losses.get))
    platt = LogisticRegression(C=10).fit(found[recipe.success_kind][1][:, None], rows["success"])
    assert recipe.calibration == pytest.approx((platt.intercept_[0], platt.coef_[0, 0]), abs=1e-3)  # the optimiser's tolerance


def test_a_line_is_left_to_the_linear_model_and_an_interaction_to_trees():
    one, two = (model.choose(rows, ["a", "b"], groups_of(len(rows)), seed=0) for rows in (line(), interaction()))
    assert "linear" in model._parts(one.score_kind)  # or the mean of both, whose errors partly cancel
    assert (two.score_kind, two.success_kind) == ("trees", "trees")


def test_the_third_kind_is_the_mean_of_the_others():
    rows = line()
    linear, trees, both = (answers(rows, rows, kind) for kind in model.KINDS)
    inside = (linear[0] > 0) & (linear[0] < 1)  # expected scores are cut after the mean
    np.testing.assert_allclose(both[0][inside], ((linear[0] + trees[0]) / 2)[inside], rtol=0, atol=1e-12)
    np.testing.assert_allclose(logit(both[1]), (logit(linear[1]) + logit(trees[1])) / 2, rtol=0, atol=1e-9)


# Calibration


def test_models_that_are_too_sure_get_a_slope_below_one():
    """Each group has a place of its own and an outcome of its own: what is learned of the others says nothing."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(24), 12)
    outcome, place = random.permutation(24) % 2 == 0, random.normal(0, 1, 24)
    success = outcome[group]
    rows = made(np.where(success, 0.9, 0.1), a=place[group] + random.normal(0, 1e-3, len(group)))
    assert model.choose(rows, ["a"], group.tolist(), seed=0).calibration[1] < 0.5
    seen = model.choose(rows, ["a"], list(range(len(group))), seed=0)  # trials of the same group tell its outcome
    assert seen.calibration[1] > 1


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_calibration_finds_how_much_too_large_logits_are(factor):
    random = np.random.default_rng(1)
    true = random.normal(0, 1.5, 4000)
    success = random.uniform(0, 1, 4000) < model.sigmoid(true + 0.4)
    level, slope = model._platt(true * factor, success)
    # the penalty is that of 1 / 20 of a trial; standard errors are those of a slope and level of 4,000 trials with information
    # E[q (1 - q)] = .15 and E[q (1 - q) x^2] = .2
    assert slope * factor == pytest.approx(1, abs=4 * (1 / (4000 * 0.2)) ** 0.5)
    assert level == pytest.approx(0.4, abs=4 * (1 / (4000 * 0.15)) ** 0.5)


def test_logits_that_point_the_wrong_way_are_not_turned_but_dropped():
    success = np.arange(40) % 4 == 0
    level, slope = model._platt(np.where(success, -1.0, 1.0) + noise(40)[0] / 9, success)
    assert slope == 0
    assert model.sigmoid(level) == pytest.approx(0.25)  # the share of successes


def test_an_answer_is_calibrated_by_its_recipe():
    rows = line()
    plain, bent = (answers(rows, rows, "linear", c) for c in (PLAIN, (-0.7, 0.5)))
    np.testing.assert_allclose(logit(bent[1]), -0.7 + 0.5 * logit(plain[1]), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(bent[0], plain[0])


# What it answers


@pytest.mark.parametrize("kind", model.KINDS)
def test_answers_lie_within_zero_and_one_and_are_the_same_each_time(kind):
    rows = line()
    asked = pd.DataFrame({"a": [-9.0, 0.0, 9.0, np.nan], "b": [0.0, np.nan, 9.0, np.nan]})
    found, again = (np.array(answers(rows, asked, kind)) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[:, 0] < 0.4).all()
    assert (found[:, 2] > 0.6).all()


def test_expected_scores_beyond_zero_and_one_are_cut():
    """A slope of a third per normal score, and scores at the ends of all trials, which are 5 standard deviations away."""
    a = noise()[0]
    expected, _ = answers(made((0.5 + 0.3 * a).clip(0, 1), a=a), pd.DataFrame({"a": [-9.0, 9.0]}), "linear")
    assert expected.tolist() == [0, 1]


@pytest.mark.parametrize("columns", [(), ("a",), ("head",), ("a", "head")])
def test_inputs_that_do_not_vary_give_the_means(columns):
    for value in (1.0, np.nan):
        rows = line(40).assign(a=value, head="last")
        recipe = model.choose(rows, columns, groups_of(40), seed=0)
        assert recipe == Recipe(columns, "linear", "linear", PLAIN)
        expected, probability = model.fit(rows, recipe).answer(rows[:3].assign(a=5.0))
        assert expected.tolist() == pytest.approx([rows["score"].mean()] * 3)
        assert probability.tolist() == pytest.approx([rows["success"].mean()] * 3)


@pytest.mark.parametrize("successes", [0, 1, 2, 38, 39, 40])
def test_fewer_than_two_of_one_outcome_give_the_means(successes):
    rows = line(40).assign(success=np.arange(40) < successes)
    assert model.choose(rows, ["a", "b"], groups_of(40), seed=0).columns == ("a", "b")
    found = answers(rows, rows, "linear")
    spread = [values.max() - values.min() for values in found]
    if 2 <= successes <= 38:
        assert min(spread) > 0.01
    else:
        assert found[1] == pytest.approx(np.full(40, successes / 40))
        assert found[0] == pytest.approx(np.full(40, rows["score"].mean()))


@pytest.mark.parametrize("kind", model.KINDS)
def test_columns_that_were_never_measured_change_nothing_beside_others(kind):
    rows = line()
    wider = rows.assign(c=np.nan)
    assert model.choose(wider, ["a", "c"], groups_of(160), seed=0).calibration[1] > 0
    for asked in (rows.assign(c=np.nan), rows.assign(c=3.0)):
        found, exact = answers(wider, asked, kind), answers(rows, rows, kind)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)  # logistic regression stops at 1e-4 of its gradient


@pytest.mark.parametrize("kind", model.KINDS)
def test_what_is_missing_tells_something_where_it_is_not_missing_at_random(kind):
    rows = line()
    gone = rows["score"] < 0.45
    found = answers(rows.assign(a=0.0, b=np.where(gone, np.nan, 1.0)), pd.DataFrame({"a": 0.0, "b": [np.nan, 1.0]}), kind)
    assert (np.diff(found) > 0.1).all()


@pytest.mark.parametrize("kind", model.KINDS)
def test_names_that_are_missing_or_were_never_seen_are_answered(kind):
    rows = line().assign(head=np.where(np.arange(160) % 5 == 0, np.nan, np.array(["last", "every"] * 80, object)))
    rows = rows.assign(score=rows["score"] * np.where(rows["head"] == "last", 1, 0.6))
    rows = rows.assign(success=rows["score"] > 0.4)
    assert "head" in CATEGORIES
    model.choose(rows, ["a", "head"], groups_of(160), seed=0)
    asked = pd.DataFrame({"a": 0.0, "b": 0.0, "head": ["last", "every", "neuroview", np.nan]})
    found = np.array(answers(rows, asked, kind))
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 1] + 0.05


def test_a_single_group_leaves_nothing_to_choose_by():
    rows = line()
    assert model.choose(rows, ["a", "b"], ["same"] * 160, seed=0) == Recipe(("a", "b"), "linear", "linear", PLAIN)


def test_a_fold_whose_others_all_failed_is_answered_by_their_share():
    """All successes are in one group: the models that are held out from it know no success."""
    rows = made(np.repeat([0.9, 0.1], [30, 90]), a=noise(120)[0])
    recipe = model.choose(rows, ["a"], np.repeat(list("abcd"), 30).tolist(), seed=0)
    assert np.isfinite(recipe.calibration).all()
    x = model.inputs_of(rows, ["a"])
    held = model._held_out("linear", x, rows["success"].to_numpy(), model._deal(list("abcd") * 30, 0))
    assert np.isfinite(held).all()


def test_what_was_measured_in_one_group_alone_is_answered_by_the_means_there():
    rows = line(40).assign(a=np.where(np.arange(40) < 10, np.arange(40.0), np.nan))
    groups = np.repeat(list("abcd"), 10)
    for y in (rows["score"].to_numpy(), rows["success"].to_numpy()):
        held = model._held_out("linear", model.inputs_of(rows, ["a"]), y, [groups == "a"])
        mean = y[10:].mean()
        assert held[:10] == pytest.approx(np.full(10, mean if y.dtype == float else np.log(mean / (1 - mean))))


@pytest.mark.parametrize("column", [RELATIVE_LOSS, "eighth_last", "epoch_forecast"])
def test_a_larger_loss_never_raises_the_answer_of_trees_whatever_the_trials_say(column):
    random = np.random.default_rng(0)
    loss = random.uniform(0, 1, 300)
    wave = (0.5 - 0.3 * loss + 0.4 * np.sin(9 * loss)).clip(0, 1)  # rises twice
    grid = np.linspace(-0.1, 1.1, 200)
    assert column in FALLING
    for rows in (
        made(wave, a=random.normal(size=300), **{column: loss}),
        made(wave, **{column: loss, "head": ["last", "every"] * 150}),
    ):
        asked = pd.DataFrame({column: grid, "a": 0.0, "head": "last"})
        for found in answers(rows, asked, "trees"):
            assert (np.diff(found) <= 0).all()
            assert found[0] > found[-1] + 0.1
    other = answers(made(wave, a=loss), pd.DataFrame({"a": grid}), "trees")
    assert all((np.diff(found) > 0.05).any() for found in other)  # any other column may raise it
