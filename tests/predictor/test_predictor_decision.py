"""What replayed searches show: fronts and gains by hand, intervals that resample tasks, and which trials are replayed."""

import numpy as np
import pandas as pd
import pytest

from pipeline.predictor import decision, search
from pipeline.predictor.inputs import BEFORE, EPOCH
from pipeline.predictor.splits import CELLS, SCALE, TASKS


def replayed(*searches):
    """Searches (strategy, setting, cost, regret of a, regret of b, killed in a, killed in b); None is not made."""
    rows = [
        (task, strategy, setting, cost, regret, killed, 12)
        for strategy, setting, cost, *found in searches
        for task, regret, killed in zip("ab", found[:2], found[2:], strict=True)
        if regret is not None
    ]
    return pd.DataFrame(rows, columns=["task", "strategy", "setting", "cost", "regret", "killed", "candidates"])


SEARCHES = replayed(
    ("i-Epoch, i = 1", "n 4, K 1", 2.0, 0.5, 0.3, 1.0, 0.5),
    ("i-Epoch, i = 1", "n 8, K 1", 4.0, 0.6, 0.4, 0.0, 0.0),  # beaten by the first
    ("i-Epoch, i = 2", "n 8, K 2", 40**0.5, 0.1, 0.1, 0.2, np.nan),
    ("i-Epoch, i = 2", "n 14, K 2", 30.0, 0.0, 0.0, 0.0, 0.0),
    ("both: all, then loss", "n 4, K 1", 2.0, 0.2, 0.2, np.nan, np.nan),
    ("ASHA, eta 2", "n 4", 3.0, 0.4, 0.2, 0.0, 0.0),
    ("ASHA, eta 3", "n 4", 4.0, 0.5, 0.0, 0.0, 0.0),  # better on b alone, and on the mean
    ("random", "K 2", 2.0, 0.8, 0.7, 0.3, 0.5),
    ("random", "K 40", 2.0, None, 0.0, None, 0.0),
)  # fmt: skip


def decided(table=SEARCHES, count=400):
    return decision.decide(table, "made", count=count, seed=0)


def values(estimate):
    return estimate.value, estimate.low, estimate.high


def test_settings_of_a_strategy_make_one_front():
    found = decided()
    assert (found.title, found.tasks, found.candidates) == ("made", 2, 12)
    assert {f.strategy for f in found.fronts} == {"ASHA", "both: all, then loss", "i-Epoch", "random"}
    assert found.of("i-Epoch").costs == pytest.approx([2, 40**0.5, 30])
    assert [e.value for e in found.of("i-Epoch").regrets] == pytest.approx([0.4, 0.1, 0])
    assert found.of("ASHA").costs == pytest.approx([3, 4])
    assert [e.value for e in found.of("ASHA").regrets] == pytest.approx([0.3, 0.25])


def test_intervals_resample_tasks():
    """Of two tasks a quarter of all samples takes one twice, a quarter the other: the interval ends at the tasks' own values."""
    found = decided()
    assert values(found.of("i-Epoch").regrets[0]) == pytest.approx((0.4, 0.3, 0.5))
    assert values(found.of("ASHA").at["3.3"]) == pytest.approx((0.3, 0.2, 0.4))
    assert values(found.of("ASHA").at["5"]) == pytest.approx((0.25, 0.0, 0.4))  # a alone would keep the search of cost 3


def test_regrets_at_a_cost_are_those_of_what_costs_about_as_much_or_less():
    found = decided()
    assert set(found.of("random").at) == {"2", "3.3", "5", "8.3"}
    assert found.of("ASHA").at["2"].value == 1  # nothing is as cheap
    assert found.of("both: all, then loss").at["8.3"].value == pytest.approx(0.2)
    dearer = SEARCHES.assign(cost=SEARCHES["cost"] * 1.01)
    assert decided(dearer).of("i-Epoch").at["2"].value == pytest.approx(0.4)
    assert decided(SEARCHES.assign(cost=SEARCHES["cost"] * 1.03)).of("i-Epoch").at["2"].value == 1


def test_a_setting_that_a_task_lacks_is_left_out():
    assert decided().of("random").costs == [2]
    assert decided().of("random").regrets[0].value == pytest.approx(0.75)


def test_hypervolumes_and_what_they_gain_over_i_epoch_by_hand():
    """From 2 to 20 trainings: i-Epoch has .4 up to the middle and .1 from there, "both" has .2 everywhere."""
    found = decided()
    plain, both = found.of("i-Epoch"), found.of("both: all, then loss")
    assert values(plain.hypervolume) == pytest.approx(tuple((1 - r) / 2 + 0.45 for r in (0.4, 0.5, 0.3)))
    assert values(both.hypervolume) == pytest.approx((0.8, 0.8, 0.8))
    assert values(both.gain) == pytest.approx((0.05, 0.0, 0.1))
    assert values(plain.gain) == (0, 0, 0)


def test_what_is_killed_is_that_of_the_search_that_costs_about_eight_trainings():
    found = decided()
    assert found.of("i-Epoch").killed == pytest.approx(0.2)  # the task that has none of the best does not count
    assert found.of("random").killed == pytest.approx(0.4)
    assert found.of("both: all, then loss").killed is None
    near = replayed(("i-Epoch, i = 1", "n 4", 6.0, 0, 0, 1.0, 1.0), ("i-Epoch, i = 1", "n 8", 11.0, 0, 0, 0.5, 0.5))
    assert decided(near).of("i-Epoch").killed == 0.5  # 8.3 / 6 = 1.38, 11 / 8.3 = 1.33


@pytest.mark.parametrize(
    ("regret", "expected"),
    [(0.3, "all"), (0.205, "all"), (0.203, "hyper-parameters"), (0.1, "hyper-parameters"), (None, "all")],
)
def test_candidates_are_screened_by_the_cheapest_set_that_loses_at_most_two_percent_more(regret, expected):
    """From the cost of 2 on, what is lost of the hypervolume is the regret; it is 0.2 for all inputs."""
    sets = {"all": 0.2, "measurements, spectrum": 0.9, "hyper-parameters": regret}
    both = [
        (f"both: {name}, then loss", "n 4, K 1", 2.0, found, found, 0, 0) for name, found in sets.items() if found is not None
    ]
    assert decision.screened(decided(replayed(("i-Epoch, i = 1", "n 4, K 1", 2.0, 0.5, 0.3, 0, 0), *both))) == expected


def test_searches_without_screening_name_no_set():
    assert decision.screened(decided(SEARCHES[~SEARCHES["strategy"].str.startswith("both")])) is None


# Which trials are replayed


SIZE = 40


def trials(size=SIZE, epochs=5):
    random = np.random.default_rng(0)
    score = random.uniform(0, 1, size)
    losses = [1 - np.linspace(0, 1, epochs + 1) * s + random.normal(0, 0.1, epochs + 1) for s in score]
    tasks = [("a", "b")[i % 2] for i in range(size)]
    return pd.DataFrame(
        {"trial": [f"{i:02d}" for i in range(size)], "task": tasks, "score": score, "validation_losses": losses, "early_epoch": 1}
    )


def answers(rows, expected, split=CELLS, group="x", variant=""):
    """Answers from {moment: {set: expected scores}}."""
    tables = [
        rows[["trial", "task"]].assign(moment=moment, inputs=name, expected_score=found)
        for moment, sets in expected.items()
        for name, found in sets.items()
    ]
    return pd.concat(tables, ignore_index=True).assign(split=split, group=group, variant=variant)


@pytest.fixture
def few_searches(monkeypatch):
    """Few draws, and measuring that costs nothing, so that sets differ in their ranks alone."""
    monkeypatch.setattr(decision, "DRAWS", 10)
    monkeypatch.setattr(decision, "PRUNER_DRAWS", 1)
    monkeypatch.setattr(search, "MEASUREMENTS_COST", 0.0)
    monkeypatch.setattr(search, "SPECTRUM_COST", 0.0)


def volume(spectral, plain, rows=None):
    rows = trials() if rows is None else rows
    sets = {BEFORE: {"measurements": plain(rows), "measurements, spectrum": spectral(rows)}}
    return volume_of(answers(rows, sets), rows)


def volume_of(table, rows, count=100):
    known = decision.replays(table, rows, 0).get((CELLS, ""))
    return None if known is None else decision.volume_gain(known, count=count, seed=0)


def decisions(table, rows):
    return [decision.decide(t, decision.REPLAYED[key], count=20, seed=0) for key, t in decision.replays(table, rows, 0).items()]


def right(rows):
    return rows["score"]


def wrong(rows):
    return -rows["score"]


@pytest.mark.usefixtures("few_searches")
def test_spectra_gain_volume_where_they_rank_better_than_the_rest():
    assert volume(right, wrong).low > 0.02
    assert volume(wrong, right).high < -0.02
    assert values(volume(right, right)) == (0, 0, 0)


@pytest.mark.usefixtures("few_searches")
def test_of_equal_ranks_those_that_cost_more_lose_volume(monkeypatch):
    monkeypatch.setattr(search, "SPECTRUM_COST", 0.05)
    assert volume(right, right).high < -0.01


@pytest.mark.usefixtures("few_searches")
def test_the_best_of_each_kind_are_compared():
    rows, names = trials(), ("hyper-parameters", "measurements", "measurements, spectrum", "all")  # the last two with spectra
    for ranks in ((wrong, right, right, right), (right, right, wrong, right)):
        sets = {name: of(rows) for name, of in zip(names, ranks, strict=True)}
        table = answers(rows, {BEFORE: sets})
        assert values(volume_of(table, rows)) == (0, 0, 0)


@pytest.mark.usefixtures("few_searches")
def test_without_sets_of_both_kinds_or_enough_candidates_there_is_no_volume():
    rows = trials()
    for sets in ({BEFORE: {"all": right(rows)}}, {BEFORE: {"measurements": right(rows)}}, {EPOCH: {"all": right(rows)}}):
        assert volume_of(answers(rows, sets), rows, 10) is None
    assert volume(right, wrong, trials(6)) is None  # three of each task
    assert volume(right, wrong, trials(epochs=1)) is None
    assert volume(right, wrong, trials(8)) is not None


@pytest.mark.usefixtures("few_searches")
def test_searches_are_replayed_for_cells_tasks_own_trials_and_wider_networks():
    rows = trials()
    sets = {BEFORE: {"all": right(rows), "chance": right(rows)}, EPOCH: {"loss, hyper-parameters, measurements": wrong(rows)}}
    own = f"{TASKS}, 10 own trials"
    split = [(CELLS, "x", ""), (TASKS, "a", ""), (own, "a", "draw 1"), (SCALE, "shift_width", ""), (SCALE, "shift_sgd", "")]
    split += [(f"{TASKS}, 5 own trials", "a", "draw 1"), ("over trials", "fold 1", "")]
    table = pd.concat([answers(rows, sets, *about) for about in split], ignore_index=True)
    table.loc[table["group"] == "shift_sgd", "expected_score"] *= -9  # would mislead the searches among wide networks
    found = decisions(table, rows)
    assert [d.title.partition(",")[0] for d in found] == [
        "searches on known tasks", "searches on new tasks", "searches on new tasks",
        "searches among networks four to eight times as wide",
    ]  # fmt: skip
    for one in found:
        assert (one.tasks, one.candidates) == (2, 20)
        assert {f.strategy for f in one.fronts} == {
            "random", "i-Epoch", "before training: all", "one epoch: loss, hyper-parameters, measurements",
            "both: all, then loss", "ASHA", "Hyperband", "median pruner",
        }  # fmt: skip
        ranked, misled = one.of("before training: all"), one.of("one epoch: loss, hyper-parameters, measurements")
        assert ranked.regrets[0].value == 0  # the best is first
        assert ranked.hypervolume.value > one.of("random").hypervolume.value > misled.hypervolume.value


@pytest.mark.usefixtures("few_searches")
def test_of_answers_with_own_trials_those_of_one_draw_rank():
    rows = trials()
    own = f"{TASKS}, 10 own trials"
    first = answers(rows, {BEFORE: {"all": right(rows)}}, own, "a", "draw 1")
    second = answers(rows, {BEFORE: {"all": 5 * wrong(rows)}}, own, "a", "draw 2")
    (found,) = decisions(pd.concat([first, second]), rows)
    assert found.of("before training: all").regrets[0].value == 0
