"""Studies replayed as searches: costs and regrets by hand, Optuna's pruners in known cases, fronts against brute force."""

import numpy as np
import optuna
import pandas as pd
import pytest

from pipeline.predictor import search
from pipeline.predictor.inputs import BEFORE, EPOCH, SETS
from pipeline.predictor.search import Pool, Ranking, front, hypervolume, regret_at

SCORES = np.array([0.2, 0.9, 0.5, 0.7])
LOSSES = np.array([[1, 0.9, 0.8, 0.8, 0.8], [1, 0.95, 0.5, 0.3, 0.1], [1, 0.6, 0.55, 0.5, 0.5], [1, 0.7, 0.6, 0.4, 0.3]])
FIRST = np.array([0.1, 0.2, 0.9, 0.3])  # before training the third is expected to be best, then the fourth
LATER = np.array([0.3, 0.8, 0.1, 0.2])  # after one epoch the second
TOP = np.array([False, True, False, True])


def pool(scores=SCORES, losses=LOSSES, before=None, top=TOP, early=1):
    """Four candidates of four epochs; the second starts slowly and ends best."""
    before = {"x": Ranking(FIRST, 0.01, 0.0)} if before is None else before
    later = {"x": Ranking(LATER, 0.01, 0.02), "y": Ranking(LATER, 0.0, 0.0)}
    return Pool("task", scores, np.array(losses, float), before, later, top, early)


def found(of=None):
    """Strategy and setting -> cost, regret and share killed."""
    searched = list(search.searches(of or pool()))
    assert len({(f.strategy, f.setting) for f in searched}) == len(searched)
    return {(f.strategy, f.setting): (f.cost, f.regret, f.killed) for f in searched}


# Searches


@pytest.mark.parametrize(
    ("strategy", "setting", "cost", "regret", "killed"),
    [
        ("random", "K 1", 1, 0.7, 1),  # the first
        ("random", "K 2", 2, 0, 0.5),
        ("random", "K 4", 4, 0, 0),
        ("i-Epoch, i = 1", "n 2, K 1", (2 * 1 + 1 * 3) / 4, 0.7, 1),  # of the first two the first, .9 against .95
        ("i-Epoch, i = 1", "n 4, K 1", (4 * 1 + 1 * 3) / 4, 0.4, 1),  # the third, .6
        ("i-Epoch, i = 1", "n 4, K 2", (4 * 1 + 2 * 3) / 4, 0.2, 0.5),  # and the fourth, .7
        ("i-Epoch, i = 2", "n 4, K 1", (4 * 2 + 1 * 2) / 4, 0, 0.5),  # the second, .5
        ("i-Epoch, i = 3", "n 2, K 2", (2 * 3 + 2 * 1) / 4, 0, 0.5),
        ("before training: x", "K 1", 1 + 4 * 0.01, 0.4, 1),
        ("before training: x", "K 2", 2 + 4 * 0.01, 0.2, 0.5),
        ("before training: x", "K 3", 3 + 4 * 0.01, 0, 0),
        ("one epoch: x", "K 1", (4 * 1 + 1 * 3) / 4 + 4 * 0.03, 0, 0.5),
        ("one epoch: y", "K 3", (4 * 1 + 3 * 3) / 4, 0, 0),
        ("both: x, then loss", "n 2, K 1", (2 * 1 + 1 * 3) / 4 + 4 * 0.01, 0.4, 1),  # third and fourth; the third by its loss
        ("both: x, then loss", "n 4, K 2", (4 * 1 + 2 * 3) / 4 + 4 * 0.01, 0.2, 0.5),
        (
            "both: x, then again",
            "n 2, K 1",
            (2 * 1 + 1 * 3) / 4 + 4 * 0.01 + 2 * 0.02,
            0.2,
            0.5,
        ),  # the fourth; two are measured again
        ("both: x, then again", "n 4, K 1", (4 * 1 + 1 * 3) / 4 + 4 * 0.03, 0, 0.5),
    ],
)
def test_costs_regrets_and_what_is_killed_by_hand(strategy, setting, cost, regret, killed):
    assert found()[strategy, setting] == pytest.approx((cost, regret, killed), abs=1e-12)


def test_a_later_checkpoint_costs_its_epochs_and_ranks_by_its_losses():
    made = found(pool(early=2))
    assert made["one epoch: y", "K 1"] == pytest.approx(((4 * 2 + 1 * 2) / 4, 0, 0.5))
    # third and fourth start; at epoch 2 the third has .55 and the fourth .6
    assert made["both: x, then loss", "n 2, K 1"] == pytest.approx(((2 * 2 + 1 * 2) / 4 + 4 * 0.01, 0.4, 1))
    assert made["both: x, then loss", "n 4, K 1"] == pytest.approx(((4 * 2 + 1 * 2) / 4 + 4 * 0.01, 0, 0.5))  # the second, .5


@pytest.mark.parametrize(
    ("moment", "name", "before", "after"),
    [
        (BEFORE, "hyper-parameters", 0, 0),
        (BEFORE, "measurements", 0.01, 0),
        (BEFORE, "spectrum", 0.001, 0),
        (BEFORE, "all", 0.011, 0),
        (EPOCH, "loss", 0, 0),
        (EPOCH, "loss, hyper-parameters", 0, 0),
        (EPOCH, "loss, measurements", 0.01, 0.01),  # the change of the step ratio needs both
        (EPOCH, "all", 0.011, 0.011),
    ],
)
def test_a_ranking_costs_what_its_set_needs_measured(moment, name, before, after):
    ranking = Ranking.of(FIRST, SETS[moment][name])
    assert (ranking.before, ranking.after) == pytest.approx((before, after))


def test_the_searches_are_all_strategies_in_all_settings_that_candidates_suffice_for():
    made = found()
    starts = [(n, k) for n in (2, 4) for k in (1, 2, 3, 4) if k <= n]
    both = {f"n {n}, K {k}" for n, k in starts}
    kept = {f"K {k}" for k in (1, 2, 3, 4)}
    names = {strategy for strategy, _ in made}
    assert names == {
        "random", *(f"i-Epoch, i = {i}" for i in (1, 2, 3)), "before training: x", "one epoch: x", "one epoch: y",
        "both: x, then loss", "both: x, then again",
    }  # fmt: skip
    for name in names:
        assert {s for n, s in made if n == name} == (both if name.startswith(("i-Epoch", "both")) else kept)


def test_a_search_that_starts_all_and_keeps_all_costs_a_full_training_each():
    made = found()
    assert all(made[f"i-Epoch, i = {i}", "n 4, K 4"] == pytest.approx((4, 0, 0)) for i in (1, 2, 3))


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_a_candidate_that_has_diverged_is_finished_last(worst):
    """The third is the best by far after one epoch, and then diverges; with a loss that is not finite nothing helps it."""
    losses = LOSSES.copy()
    losses[2, 1:] = worst
    scores = np.array([0.2, 0.3, 1.0, 0.4])
    diverged = pool(scores, losses, before={"x": Ranking(-FIRST, 0.0, 0.0)}, top=scores == 1)
    made = found(diverged)
    for (strategy, setting), (_, regret, killed) in made.items():
        if strategy.startswith("i-Epoch") or strategy.endswith("loss"):
            all_finished = setting == "n 4, K 4"
            assert killed == (0 if all_finished else 1)
            assert (regret == 0) == all_finished


def test_no_share_is_killed_where_there_is_nothing_to_kill():
    assert all(np.isnan(killed) for *_, killed in found(pool(top=np.zeros(4, bool))).values())


def test_an_expectation_that_is_missing_comes_last():
    made = found(pool(before={"x": Ranking(np.array([0.1, np.nan, 0.2, 0.3]), 0.0, 0.0)}))
    assert made["before training: x", "K 3"][1] == pytest.approx(0.2)
    assert made["before training: x", "K 4"][1] == 0


# Pruners of Optuna


class Always(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


def test_a_pruner_that_never_prunes_costs_full_trainings():
    for started, regret in ((2, 0), (1, 0.7), (4, 0)):
        made = search.pruned(pool(), "none", optuna.pruners.NopPruner, started)
        assert (made.strategy, made.setting) == ("none", f"n {started}")
        assert (made.cost, made.regret) == pytest.approx((started, regret))


def test_a_pruner_that_always_prunes_costs_an_epoch_each_and_finds_nothing():
    made = search.pruned(pool(), "all", Always, 4)
    assert (made.cost, made.regret, made.killed) == pytest.approx((4 * 1 / 4, 0.9, 1))


def test_nothing_is_pruned_at_the_last_epoch():
    made = search.pruned(pool(losses=LOSSES[:, :2]), "all", Always, 4)  # which is the first
    assert (made.cost, made.regret) == pytest.approx((4, 0))


def test_the_median_pruner_on_a_known_case():
    """After one full trial: the second, .95 against .9, goes after an epoch; the third and the fourth stay below the medians.

    Epoch 1: the third .6 against the median .925 of (.9, .95), the fourth .7 against .9. Epoch 2: .55 against .8, then .6
    against .675 of (.8, .55). Epoch 3: .5 against .8 and .4 against .65.
    """
    made = search.pruned(pool(), "median", lambda: optuna.pruners.MedianPruner(n_startup_trials=1), 4)
    assert (made.cost, made.regret, made.killed) == pytest.approx(((4 + 1 + 4 + 4) / 4, 0.2, 0.5))


def test_successive_halving_on_a_known_case():
    """Rungs at epochs 1, 2 and 4: a candidate goes on if it is in the better half of those at its rung so far.

    The first goes through. At epoch 1 the second, .95, is the worse of two and stops; the third, .6, is the best of three; the
    fourth, .7, is second of four. At epoch 2 the third, .55, beats .8; the fourth, .6, is second of three, and half of three is
    one: it stops.
    """
    made = search.pruned(pool(), "ASHA", search.pruners(4)["ASHA, eta 2"], 4)
    assert (made.cost, made.regret, made.killed) == pytest.approx(((4 + 1 + 4 + 2) / 4, 0.4, 1))


def test_a_diverged_candidate_is_pruned_first():
    losses = LOSSES.copy()
    losses[1, 1:] = np.nan
    made = search.pruned(pool(losses=losses), "median", lambda: optuna.pruners.MedianPruner(n_startup_trials=1), 2)
    assert made.cost == pytest.approx((4 + 1) / 4)


def random_pool(size=50, seed=0):
    """Losses that fall to 1 - score, and expectations that are near the score."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, size)
    losses = 1 - scores[:, None] * np.linspace(0, 1, 7) + random.normal(0, 0.05, (size, 7))
    ranks = scores + random.normal(0, 0.2, size)
    return Pool(
        "task",
        scores,
        losses,
        {"x": Ranking(ranks, 0.01, 0.0)},
        {"x": Ranking(ranks, 0.01, 0.01)},
        scores >= np.quantile(scores, 0.95),
    )


def test_pruners_do_the_same_each_time():
    """Otherwise, Hyperband would assign candidates by a random name of the study."""
    drawn = random_pool(28)
    one, two = ([search.pruned(drawn, n, pruner, 28) for n, pruner in search.pruners(6).items()] for _ in range(2))
    assert one == two
    assert len({f.strategy for f in one}) == 5
    assert all(3 < f.cost < 28 for f in one)


# Pools and draws


def test_a_draw_takes_forty_candidates_with_all_that_belongs_to_them():
    whole = random_pool(60)
    drawn = whole.draw(np.random.default_rng(0))
    assert len(drawn.scores) == search.CANDIDATES == len(set(drawn.scores))
    places = [whole.scores.tolist().index(score) for score in drawn.scores]
    assert places != sorted(places)
    for one, all_of in (
        (drawn.losses, whole.losses),
        (drawn.before["x"].expected, whole.before["x"].expected),
        (drawn.top, whole.top),
    ):
        np.testing.assert_array_equal(one, all_of[places])
    np.testing.assert_array_equal(drawn.epoch["x"].expected, whole.epoch["x"].expected[places])
    assert sorted(pool().draw(np.random.default_rng(0)).scores) == sorted(SCORES)


def test_a_replay_is_the_mean_over_draws_of_every_search():
    """One of three candidates at random: the mean regret is the best less the mean score."""
    three = Pool("a", SCORES[:3], LOSSES[:3], {}, {}, TOP[:3])
    one, two = (search.replay([three, pool()], 400, 1, seed) for seed in (0, 0))
    pd.testing.assert_frame_equal(one, two)
    assert not one.duplicated(["task", "strategy", "setting"]).any()
    assert set(one["task"]) == {"a", "task"}
    assert one.groupby("task")["candidates"].unique().map(list).to_dict() == {"a": [3], "task": [4]}
    row = one[(one["task"] == "a") & (one["strategy"] == "random")].set_index("setting")
    assert row.loc["K 1", "regret"] == pytest.approx(0.9 - SCORES[:3].mean(), abs=4 * SCORES[:3].std() / 20)
    assert row.loc["K 1", "killed"] == pytest.approx(2 / 3, abs=4 * (2 / 9 / 400) ** 0.5)
    assert row.loc["K 3", ["cost", "regret"]].tolist() == [3, 0]
    assert {"Hyperband", "median pruner", "ASHA, eta 2", "ASHA, eta 3", "ASHA, eta 4"} <= set(one["strategy"])
    assert "Hyperband" not in set(search.replay([pool()], 2, 0, 0)["strategy"])


def test_rankings_and_losses_are_those_of_the_same_trial():
    """Twenty-one trials of one task and two of another; answers with two draws count with their mean."""
    rows = pd.DataFrame(
        {
            "trial": [f"{i:02d}" for i in range(23)][::-1],
            "task": ["a"] * 21 + ["b"] * 2,
            "score": np.arange(23) / 23,
            "validation_losses": [np.array([1, i / 100, 0.1]) for i in range(23)],
            "early_epoch": 1,
        }
    )
    asked = pd.DataFrame({"trial": sorted(rows["trial"])[:-1], "expected_score": np.arange(22) / 22})
    answers = pd.concat(
        [
            asked.assign(moment=BEFORE, inputs="all"),
            asked.assign(moment=EPOCH, inputs="loss"),
            asked.assign(moment=EPOCH, inputs="loss", expected_score=asked["expected_score"] + 0.2),
        ]
    )
    one, two = search.pools(answers, rows, ["all"], ["loss"])
    assert (one.task, two.task, one.epochs) == ("a", "b", 2)
    np.testing.assert_allclose(one.scores, np.arange(21) / 23)
    np.testing.assert_allclose(one.losses[:, 1], np.arange(21) / 100)
    assert np.isnan(one.before["all"].expected[0])  # trial 22 was not asked about
    np.testing.assert_allclose(one.before["all"].expected[1:], np.arange(21, 1, -1) / 22)
    np.testing.assert_allclose(two.before["all"].expected, [1 / 22, 0])
    np.testing.assert_allclose(two.epoch["loss"].expected, [1 / 22 + 0.1, 0.1])
    assert one.top.tolist() == [False] * 19 + [True] * 2  # 5 % of 21, and the one at the quantile


# Fronts


def points(seed, size=30):
    return np.column_stack(
        [
            np.random.default_rng(seed).choice([1, 2, 2.5, 3, 5, 8, 13, 21, 30], size),
            np.random.default_rng(seed + 99).integers(0, 20, size) / 20,
        ]
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_front_holds_the_points_that_no_other_beats(seed):
    of = points(seed)
    beaten = [any((q <= p).all() and (q < p).any() for q in of) for p in of]
    expected = sorted({tuple(p) for p, b in zip(of, beaten, strict=True) if not b})
    assert [tuple(p) for p in front(of)] == expected


@pytest.mark.parametrize("seed", range(8))
def test_the_least_regret_for_a_cost_and_the_area_above_are_those_of_brute_force(seed):
    of = points(seed)
    edge = front(of)
    for cost in (0.5, 1, 2, 2.7, 8, 100):
        assert regret_at(cost, edge) == min([p[1] for p in of if p[0] <= cost], default=1.0)
    grid = 10 ** ((np.arange(4000) + 0.5) / 4000 * np.log10(20 / 2)) * 2
    area = np.mean([1 - regret_at(cost, edge) for cost in grid])
    assert hypervolume(edge, 2, 20) == pytest.approx(area, abs=len(edge) / 4000)  # a step lies somewhere in its cell


def test_areas_above_single_points():
    for cost, share in ((1, 1), (2, 1), (40**0.5, 0.5), (20, 0), (30, 0)):
        assert hypervolume(np.array([[cost, 0.25]]), 2, 20) == pytest.approx(0.75 * share)
