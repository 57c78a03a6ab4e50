"""What answers show: signs of gains, what is served, weights of own trials, the noise ceiling; by hand on made answers."""

import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from pipeline.core.cards import Estimate, Gain, Judgement, Recipe
from pipeline.core.execution import Here
from pipeline.core.tables import MINUS
from pipeline.predictor import conclusion, decision, evidence
from pipeline.predictor.folds import Fold, Part
from pipeline.predictor.inputs import BEFORE, EIGHTH, EPOCH, SETS, WITH_SPECTRA
from pipeline.predictor.splits import CELLS, OWN, SCALE, SPLITS, TASKS, TRIALS

SIZE, TASK_NAMES, CELL_NAMES = 60, ("a", "b", "c"), ("gru", "lstm", "elman", "irnn")


@pytest.fixture(autouse=True)
def few_searches(monkeypatch):
    """How much is searched is not what these tests are about."""
    monkeypatch.setattr(decision, "DRAWS", 2)
    monkeypatch.setattr(decision, "PRUNER_DRAWS", 1)


def trials():
    """Sixty trials of three tasks and four cells, half of them successes."""
    random = np.random.default_rng(0)
    score = random.permutation(np.linspace(0, 1, SIZE))
    inputs = {c: random.normal(0, 1, SIZE) for sets in SETS.values() for c in sets["all"]}
    return pd.DataFrame(
        inputs
        | {
            "trial": [f"{i:02d}" for i in range(SIZE)],
            "task": [TASK_NAMES[i % 3] for i in range(SIZE)],
            "cell": [CELL_NAMES[i % 4] for i in range(SIZE)],
            "study": "own",
            "draw": np.arange(SIZE),
            "index": np.arange(SIZE),
            "score": score,
            "success": score > 0.5,
            "early_epoch": 1,
            "validation_losses": [list(2 - np.linspace(0, 1, 5) * s) for s in score],
        }
    )


def answers(inputs, error, split=TASKS, moment=EPOCH, **changes):
    """Answers whose probability and expected score miss the truth by `error`, one number or one per trial."""
    rows = trials()
    group = {CELLS: rows["cell"], TASKS: rows["task"]}.get(split, "fold 1")
    probability = np.abs(rows["success"].astype(float) - error)
    about = {"split": split, "moment": moment, "inputs": inputs, "group": group, "variant": ""}
    kinds = {"score_kind": "linear", "success_kind": "trees"}
    expected = rows["score"] + error * np.where(np.arange(SIZE) % 2, 1, -1)
    found = rows[["trial", "task", "cell", "score", "success"]].assign(**about, **kinds)
    return found.assign(expected_score=expected, probability_of_success=probability).assign(**changes)


def judged(*tables, count=100):
    return evidence.judgement(pd.concat(tables, ignore_index=True), trials(), count=count, seed=0, on=Here())


# Evidence of a set


def test_measures_and_those_of_each_part_are_those_of_scikit_learn():
    error = np.random.default_rng(1).uniform(0, 0.9, SIZE)
    found = judged(answers("loss", error, CELLS)).of(CELLS, EPOCH, "loss")
    rows = answers("loss", error, CELLS)
    assert found.trials == SIZE
    assert found.kinds == ["linear", "trees"]
    assert set(found.by_group) == set(CELL_NAMES)
    for measures, own in [({m: e.value for m, e in found.measures.items()}, rows)] + [
        (found.by_group[cell], rows[rows["cell"] == cell]) for cell in CELL_NAMES
    ]:
        assert measures["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(own["success"], own["probability_of_success"]))
        assert measures["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(own["success"], own["probability_of_success"]))
        assert measures["r2"] == pytest.approx(sklearn.metrics.r2_score(own["score"], own["expected_score"]))
    assert judged(answers("loss", error, TRIALS)).of(TRIALS, EPOCH, "loss").by_group == {}


@pytest.mark.parametrize(("split", "column"), [(TRIALS, "trial"), (CELLS, "cell"), (TASKS, "task"), (SCALE, "task")])
def test_intervals_resample_what_the_split_leaves_out_first(split, column):
    assert evidence.clusters(answers("loss", 0.2, split)).tolist() == trials()[column].tolist()


def test_parts_in_which_a_measure_is_undefined_have_none():
    rows = answers("loss", 0.2, CELLS)
    rows["success"] = rows["success"] | (rows["cell"] == "gru")
    found = judged(rows).of(CELLS, EPOCH, "loss").by_group
    assert found["gru"]["auc"] is None
    assert found["lstm"]["auc"] is not None
    assert evidence.value("auc", rows.iloc[:0]) is None


# Gains


def test_a_gain_is_above_zero_where_the_second_set_is_better_in_every_measure():
    """Larger is better for AUC, rank correlation and R2, smaller for the Brier score and the log loss."""
    random = np.random.default_rng(2)
    worse, better = answers("loss", random.uniform(0.3, 0.9, SIZE)), answers("curve", random.uniform(0.05, 0.3, SIZE))
    gain = evidence.gain(worse, better, 200, 0)
    assert (gain.split, gain.moment, gain.without, gain.with_) == (TASKS, EPOCH, "loss", "curve")
    assert set(gain.measures) == {"auc", "brier", "log_loss", "spearman", "r2"}
    assert all(gain.beats(m) and gain.measures[m].value > 0 for m in gain.measures)
    back = evidence.gain(better, worse, 200, 0)
    for measure, found in gain.measures.items():
        assert back.measures[measure].value == pytest.approx(-found.value)
        assert (back.measures[measure].low, back.measures[measure].high) == pytest.approx((-found.high, -found.low))
        assert not back.beats(measure)


def test_a_gain_in_the_brier_score_is_the_difference_on_the_same_samples_in_whatever_order():
    """Errors of .5 and .3 everywhere differ by .16 in each sample, so that the interval has no width."""
    less, more = answers("loss", 0.5), answers("curve", 0.3).sample(frac=1, random_state=0)
    found = evidence.gain(less, more, 100, 0).measures["brier"]
    assert (found.value, found.low, found.high) == pytest.approx([0.25 - 0.09] * 3)


def test_gains_are_taken_of_pairs_of_which_both_sets_answered():
    found = judged(answers("loss", 0.5), answers("curve", 0.3), answers("all", 0.2), answers("gradients", 0.2)).gains
    assert {(g.without, g.with_) for g in found} == {("loss", "curve"), ("loss", "all")}
    assert [g.measures["brier"].value for g in found if g.with_ == "all"] == pytest.approx([0.25 - 0.04])


def test_every_pair_and_rival_is_a_set_of_its_moment():
    for moment, pairs in evidence.PAIRS.items():
        assert {name for pair in pairs for name in pair} <= set(SETS[moment])
        assert all(set(SETS[moment][less]) != set(SETS[moment][more]) for less, more in pairs)
    assert all(name in SETS[moment] for moment, name in evidence.RIVALS.items())


# What is served, and the champion


def test_the_set_with_the_least_brier_score_is_served_at_each_moment_of_each_split():
    shown = judged(
        answers("loss", 0.3),
        answers("curve", 0.2),
        answers("all", 0.4),
        answers("all", 0.1, CELLS),
        answers("curve", 0.2, CELLS),
        answers("step ratio", 0.4, TASKS, BEFORE),
        answers("hyper-parameters", 0.3, TASKS, BEFORE),
    )
    assert shown.served == {TASKS: {BEFORE: "hyper-parameters", EPOCH: "curve"}, CELLS: {EPOCH: "all"}}


def champion_of(spectral, plain, *others):
    return judged(answers("loss, spectrum", spectral, CELLS), answers("loss, measurements", plain, CELLS), *others).champion


def test_the_champion_compares_the_best_sets_with_and_without_spectra_on_cells_left_out_after_one_epoch():
    others = [answers("loss", 0.4, CELLS), answers("all", 0.5, CELLS), answers("curve", 0.01, TASKS), answers("all", 0, TRIALS)]
    others += [answers("measurements, spectrum", 0.0, CELLS, BEFORE)]
    gain = champion_of(0.2, 0.3, *others)
    assert (gain.split, gain.moment, gain.without, gain.with_) == (CELLS, EPOCH, "loss, measurements", "loss, spectrum")
    assert gain.measures["brier"].value == pytest.approx(0.09 - 0.04)
    assert gain.beats("brier")
    assert not champion_of(0.3, 0.2, *others).beats("brier")
    assert not champion_of(0.3, 0.3, *others).beats("brier")
    assert judged(answers("loss", 0.3, CELLS)).champion is None
    assert "loss, spectrum" in WITH_SPECTRA
    assert "loss, measurements" not in WITH_SPECTRA


@pytest.mark.parametrize("volume", [0.1, None, -0.01])
@pytest.mark.parametrize("brier", [0.02, 0.0])
def test_spectra_are_champions_only_with_better_answers_and_better_searches(brier, volume):
    gain = Gain(CELLS, EPOCH, "curve", "all", {"brier": Estimate(brier + 0.01, brier, brier + 0.02)})
    shown = Judgement([], [], {}, gain, Estimate(volume, volume, volume), [], {}, {})
    assert shown.is_champion == (brier == 0.02 and volume == 0.1)


# Own trials


def own_answers(errors, draws=("draw 1", "draw 2")):
    """Answers with five own trials whose errors are {weight: {task: error}}."""
    split = f"{TASKS}, 5 own trials"
    return pd.concat(
        answers("loss", trials()["task"].map(by_task).to_numpy(), split, variant=f"weight {weight}, {draw}")
        for weight, by_task in errors.items()
        for draw in draws
    )


def test_the_weight_of_a_task_is_the_one_that_is_best_on_the_others():
    """Weight 16 is best by far on a, and so for all but a: there, 4 is best on the mean of b and c."""
    errors = {1: {"a": 0.6, "b": 0.2, "c": 0.5}, 4: {"a": 0.5, "b": 0.3, "c": 0.3}, 16: {"a": 0.0, "b": 0.4, "c": 0.4}}
    plain = answers("curve", 0.2)
    kept = evidence.best_weights(pd.concat([plain, own_answers(errors)], ignore_index=True))
    pd.testing.assert_frame_equal(kept[kept["variant"] == ""], plain)
    own = kept[kept["variant"] != ""]
    miss = (own["success"] - own["probability_of_success"]).abs()
    found = miss.groupby(own["task"]).unique().map(lambda values: [round(v, 6) for v in values]).to_dict()
    assert found == {"a": [0.5], "b": [0.4], "c": [0.4]}  # weights 4, 16, 16
    assert sorted(own["variant"].unique()) == ["draw 1", "draw 2"]
    assert len(own) == 2 * SIZE
    assert not own.duplicated(["trial", "variant"]).any()
    assert list(kept) == list(plain)


def test_each_split_and_moment_has_a_weight_of_its_own():
    errors = {1: dict.fromkeys("abc", 0.2), 4: dict.fromkeys("abc", 0.3)}
    later = own_answers({1: dict.fromkeys("abc", 0.3), 4: dict.fromkeys("abc", 0.1)}).assign(moment=BEFORE, inputs="all")
    kept = evidence.best_weights(pd.concat([own_answers(errors), later], ignore_index=True))
    miss = (kept["success"] - kept["probability_of_success"]).abs()
    assert miss[kept["moment"] == EPOCH].to_numpy() == pytest.approx(0.2)
    assert miss[kept["moment"] == BEFORE].to_numpy() == pytest.approx(0.1)


def test_the_card_keeps_the_weight_that_is_best_over_all_tasks_for_each_number_of_own_trials():
    five = own_answers({1: {"a": 0.6, "b": 0.2, "c": 0.5}, 4: {"a": 0.5, "b": 0.3, "c": 0.3}, 16: dict.fromkeys("abc", 0.4)})
    ten = own_answers({1: dict.fromkeys("abc", 0.1), 16: dict.fromkeys("abc", 0.2)}).assign(split=f"{TASKS}, 10 own trials")
    assert evidence.chosen_weights(pd.concat([five, ten])) == {"5": 4.0, "10": 1.0}  # .217, .143 and .16 of mean squares


def test_with_own_trials_the_recipe_is_that_of_the_other_tasks():
    recipes = {(TASKS, task, EPOCH, "loss"): Recipe((task,), "linear", "trees", (0.0, 1.0)) for task in TASK_NAMES}
    rows = pd.DataFrame(columns=[*SETS[EPOCH]["loss"], "trial", "task", "cell", "score", "success", "already_diverged"])
    parts = [Part(f"{TASKS}, 5 own trials", task, rows, rows, rows["task"], "weight 4, draw 1") for task in TASK_NAMES]
    made = evidence.own_folds(parts, recipes, {EPOCH: ["loss"]}, seed=3)
    assert [(f.group, f.recipe.columns, f.variant, f.seed) for f in made] == [(t, (t,), "weight 4, draw 1", 3) for t in "abc"]
    assert {f.split.partition(", ")[2] for f in made} <= {f"{count} own trials" for count in OWN}


# The noise ceiling


def repeated():
    """Three draws of two seeds or more, in two tasks, and trials without a twin."""
    rows = [
        ("a", 0, 0.9, True), ("a", 0, 0.7, True), ("a", 0, 0.2, False), ("a", 1, 0.1, False), ("a", 1, 0.3, False),
        ("b", 0, 0.8, True), ("b", 0, 0.4, False), ("b", 3, 0.5, True), ("b", 4, 0.6, True),
    ]  # fmt: skip
    found = pd.DataFrame(rows, columns=["task", "draw", "score", "success"])
    return found.assign(study="own", cell="gru", trial=[f"{i}" for i in range(len(found))])


def test_the_ceiling_is_what_the_other_seeds_of_a_draw_tell():
    score = np.array([0.9, 0.7, 0.2, 0.1, 0.3, 0.8, 0.4])
    expected = np.array([0.45, 0.55, 0.8, 0.3, 0.1, 0.4, 0.8])  # means of the others
    success = np.array([1, 1, 0, 0, 0, 1, 0])
    probability = np.array([1.5 / 3, 1.5 / 3, 2.5 / 3, 0.5 / 2, 0.5 / 2, 0.5 / 2, 1.5 / 2])
    found = evidence.ceiling(repeated(), 50, 0)
    assert found["r2"].value == pytest.approx(sklearn.metrics.r2_score(score, expected))
    assert found["brier"].value == pytest.approx(np.mean((success - probability) ** 2))
    assert found["auc"].value == pytest.approx(sklearn.metrics.roc_auc_score(success, probability))
    assert set(found) == {"auc", "brier", "spearman", "r2"}


def test_draws_of_other_cells_and_studies_are_no_repetitions():
    rows = repeated()
    assert evidence.ceiling(rows.assign(cell=rows["trial"]), 50, 0) == {}
    assert evidence.ceiling(rows.assign(study=rows["trial"]), 50, 0) == {}
    assert evidence.ceiling(rows.iloc[7:], 50, 0) == {}


# All of it


def test_answers_are_sorted_whatever_the_order_of_the_fits():
    rows = trials().assign(already_diverged=False, early_log_relative_loss=np.linspace(-1, 0, SIZE))
    recipe = Recipe(SETS[EPOCH]["loss"], "linear", "linear", (0.0, 1.0))
    held = [(rows["task"] == task).to_numpy() for task in TASK_NAMES]
    made = [
        Fold(TASKS, EPOCH, "loss", SETS[EPOCH]["loss"], task, rows[~own], rows[own], rows["task"][~own].tolist(), recipe, 0)
        for task, own in zip(TASK_NAMES, held, strict=True)
    ]
    (one, recipes), (two, _) = (evidence.answers(order, Here()) for order in (made, made[::-1]))
    pd.testing.assert_frame_equal(one, two)
    assert one["trial"].tolist() == sorted(rows["trial"])
    assert recipes == {(TASKS, task, EPOCH, "loss"): recipe for task in TASK_NAMES}


def everything():
    tables = [answers("loss", 0.3, split, moment) for split in (TRIALS, CELLS, TASKS) for moment in (EIGHTH, EPOCH)]
    names = ("hyper-parameters", "measurements", "all")
    tables += [answers(n, 0.4 - 0.1 * i, split, BEFORE) for i, n in enumerate(names) for split in (TRIALS, CELLS, TASKS)]
    return judged(*tables, answers("all", 0.2, CELLS))


def test_the_judgement_is_written_to_json_and_read_back(tmp_path):
    shown = everything()
    shown.save(tmp_path / "evidence.json")
    assert Judgement.load(tmp_path / "evidence.json") == shown
    assert [d.title.partition(",")[0] for d in shown.decisions] == ["searches on known tasks", "searches on new tasks"]
    assert shown.volume is not None


def test_the_order_of_answers_does_not_matter():
    tables = [answers("loss", 0.3), answers("curve", np.linspace(0.1, 0.4, SIZE)), answers("all", 0.2)]
    mixed = pd.concat(tables).sample(frac=1, random_state=0)
    one, two = judged(*tables), judged(mixed)
    assert {g.with_: g.measures for g in one.gains} == {g.with_: g.measures for g in two.gains}
    assert one.served == two.served


def test_the_metrics_are_eight_numbers_of_the_hardest_split():
    shown = everything()
    found = conclusion.metrics(shown)
    assert list(found) == ["networks", "auc_0", "auc_1", "auc_loss", "brier", "regret", "i_epoch", "spectral"]
    assert found["networks"] == SIZE
    assert found["brier"] == pytest.approx(0.3**2)  # of the loss on tasks left out; on cells left out it would be 0.2^2
    assert found["auc_0"] == found["auc_1"] == found["auc_loss"] == 1
    searches = shown.decisions[-1]
    names = (decision.BOTH.format(decision.screened(searches)), "i-Epoch")
    assert (found["regret"], found["i_epoch"]) == tuple(round(searches.of(name).at["5"].value, 3) for name in names)
    assert found["spectral"] == round(shown.champion.measures["brier"].value, 3)
    json.dumps(found, allow_nan=False)


def test_metrics_that_the_trials_do_not_define_are_null():
    found = conclusion.metrics(judged(answers("loss", 0.3, TRIALS)))
    assert {name for name, value in found.items() if value is not None} == {"networks", "auc_1", "auc_loss", "brier"}
    assert found["brier"] == pytest.approx(0.3**2)


def test_the_conclusion_has_at_most_twelve_short_lines_and_begins_with_what_is_saved():
    lines = conclusion.text(everything()).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("Searches on new tasks for 5 full trainings have a regret of ")
    heads = [line[:17].rstrip() for line in lines[-7:]]
    assert heads == ["held out", TASKS, "  alone", CELLS, "  alone", TRIALS, "  alone"]
    assert lines[-6].count("1.00 (1.00 to 1.00)") == 3


def test_the_conclusion_says_so_if_nothing_can_be_concluded():
    lines = conclusion.text(judged(answers("loss", 0.3, TRIALS))).splitlines()
    assert lines[0] == "These trials do not allow to replay searches."
    assert lines[1] == "Whether spectra earn their place is not known: no cell was left out."


def test_the_text_shows_each_served_set_beside_its_rival():
    lines = evidence.text(everything()).splitlines()
    served = [line for line in lines if CELLS in line and BEFORE in line]
    assert [("hyper-parameters" in line, " all " in line) for line in served] == [(True, False), (False, True)]
    assert sum(any(split in line for split in SPLITS) for line in lines) == 3 * (2 + 1) + 3 + 1


def test_a_difference_is_told_with_its_interval():
    assert evidence.gain_text(Estimate(0.1234, -0.01, 0.2)) == f"+0.123 (95 % interval {MINUS}0.010 to +0.200)"
    assert evidence.gain_text(Estimate(None)) == "an amount that these trials do not define"
