"""The predictor: what it sees, which inputs answer on what evidence, and what it refuses; against made studies."""

import copy
import io
import re
import sys
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from study import card, measurements, result, spectra, study
from twins import cut, trial_of, twin

from pipeline import early_measurements, lyapunov_spectrum, measuring, network_inputs, tasks
from pipeline import spectrum as spectrum_package
from pipeline.core.cards import Estimate, Evidence, Judgement
from pipeline.core.config import SpectrumSettings
from pipeline.core.errors import ArtefactError, ModuleError
from pipeline.core.hyper_parameters import DECLARED
from pipeline.jobs import measurements as measurements_job
from pipeline.jobs import spectra as spectra_job
from pipeline.predictor import StabilityPredictor, choice, feature_table, features, model, network, trials
from pipeline.predictor.inputs import (
    BEFORE,
    CATEGORIES,
    CURVE_EPOCH,
    EIGHTH,
    EPOCH,
    HYPER_PARAMETERS,
    INPUTS,
    MOMENTS,
    OUTCOME,
    RELATIVE_LOSS,
    SETS,
    SPECTRAL,
    WITH_SPECTRA,
    F,
)
from pipeline.predictor.rows import columns_of
from pipeline.predictor.splits import CELLS, SCALE, TASKS, TRIALS
from pipeline.predictor.trials import trial_inputs
from pipeline.training import train
from pipeline.training.loop import optimiser_at
from pipeline.training.network import Network


def inputs_of(**options):
    """Rows of a made study, with the precision of a saved predictor."""
    rows = trial_inputs(feature_table.table(*study(**options), 0.8)).assign(study="evidence")
    return rows.astype({column: np.float32 for column in rows.select_dtypes("float")}).astype(rows.dtypes).copy()


@pytest.fixture(scope="module")
def inputs():
    return inputs_of(trials=20)


@pytest.fixture(scope="module")
def predictor(inputs):
    return StabilityPredictor(inputs, card(inputs))


def found(split, moment, inputs, *, brier=0.1, auc=(0.8, 0.7, 0.9), error=0.05):
    """Evidence of a set."""
    measures = {"brier": Estimate(brier), "auc": Estimate(*auc), "calibration_error": Estimate(error)}
    return Evidence(split, moment, inputs, 80, measures, {}, ["linear"])


def judged(*evidence):
    return Judgement(list(evidence), [], {}, None, None, [], {}, {})


def with_evidence(predictor, *evidence):
    """The predictor with this evidence and no other."""
    return StabilityPredictor(predictor.trials, replace(predictor.card, judgement=judged(*evidence)))


def early(table):
    """Columns that are known after an epoch only."""
    return [c for c in table if c.startswith(("early_", "change_", "epoch_"))]


# What it may see


def test_a_trial_is_one_row_with_every_column_of_every_set(inputs):
    assert len(inputs) == 80
    assert {c for sets in SETS.values() for columns in sets.values() for c in columns} <= set(inputs)


def test_nothing_that_is_known_only_later_is_an_input():
    made = study(trials=4)
    table = feature_table.table(*made, 0.8)
    changed = table.copy()
    late = changed["checkpoint"] == "final"
    for column in [*features.SPECTRUM, *features.CHANGE, *features.PROGRESS, *features.MEASURED, *features.CURVE]:
        changed.loc[late, column] = 12345.0
    pd.testing.assert_frame_equal(trial_inputs(table), trial_inputs(changed))
    outcome = {"chance", "final_loss", "best_loss", "score", "success", "diverged", "validation_losses"}
    assert not outcome & {c for sets in SETS.values() for columns in sets.values() for c in columns}


def test_a_set_holds_only_what_is_known_at_its_moment():
    later = {BEFORE: ("eighth_", "epoch_", "early_", "change_"), EIGHTH: ("epoch_", "early_", "change_"), EPOCH: ("final_",)}
    for moment, sets in SETS.items():
        assert not [c for columns in sets.values() for c in columns if c.startswith(later[moment])]
    assert not [name for name in WITH_SPECTRA if "spectrum" not in name and name != "all"]


def test_every_hyper_parameter_is_an_input_as_it_is_declared(inputs):
    for name, declared in DECLARED.items():
        assert {"log": f"log_{name}", "linear": name, "category": name}[declared.scale] in HYPER_PARAMETERS
    results, *_ = study(trials=20)
    rates = [result.trial.hyper_parameters.learning_rate for result in results]
    np.testing.assert_allclose(10 ** inputs["log_learning_rate"], rates, rtol=2e-6)  # 32 bits of a logarithm below 8
    np.testing.assert_allclose(10 ** inputs["log_updates"], 12, rtol=1e-6)  # of the made trials


def test_a_trial_has_diverged_if_it_has_by_the_early_checkpoint():
    spectra_ = [[[0.0, -1.0]] * 2, [[0.5, -1.5]] * 2, [[np.nan] * 2] * 2]
    made = {
        "gone": [*spectra_[:1], [[np.nan] * 2] * 2, spectra_[2]],
        "partly": [*spectra_[:1], [[np.nan] * 2, [0.0, -1.0]], spectra_[2]],
    }
    nan = float("nan")
    losses = {"late": [2, 1, nan, nan], "early": [2, nan, nan, nan], "gone": [2, 1, 1, 1], "partly": [2, 1, 1, 1]}
    results = [result(curve, index=i, diverged=name in ("late", "early")) for i, (name, curve) in enumerate(losses.items())]
    measured = [spectra(made.get(name, spectra_), index=i) for i, name in enumerate(losses)]
    probed = [measurements(index=i) for i in range(len(losses))]
    rows = trial_inputs(feature_table.table(results, measured, probed, 0.8))
    expected = {"late": False, "early": True, "gone": True, "partly": False}
    assert dict(zip(losses, rows["already_diverged"], strict=True)) == expected


def test_what_is_infinite_is_not_defined():
    results, spectra_, probed = study(trials=1)
    infinite = [replace(p, values=np.full_like(p.values, np.inf)) for p in probed]
    rows = trial_inputs(feature_table.table(results, spectra_, infinite, 0.8))
    assert rows[list(F)].isna().all(axis=None)


def test_a_feature_table_without_a_column_is_refused():
    with pytest.raises(ModuleError, match="the feature table lacks the column 'checkpoint'"):
        trial_inputs(feature_table.table(*study(trials=1), 0.8).drop(columns="checkpoint"))


def test_every_column_that_the_predictor_takes_is_described():
    page = feature_table.documentation().rpartition("## Inputs of the predictor")[2]
    prefixes = ("early_log_", "log_", "initial_", "early_", "change_", "eighth_", "epoch_")
    needed = {c for sets in SETS.values() for columns in sets.values() for c in columns}
    for column in needed | {"task", "cell", "already_diverged", *features.MEASUREMENT}:
        prefix = next((p for p in prefixes if column.startswith(p)), "")
        assert f"`{prefix}NAME`" in page or f"`{column}`" in page, column
        assert column.removeprefix(prefix) in feature_table.documentation()


# Which inputs answer


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_moment_is_the_latest_whose_inputs_are_there(predictor, inputs, moment):
    for name, columns in SETS[moment].items():
        if columns:
            rows = columns_of(inputs[list(columns)].assign(already_diverged=False).head(2))
            chosen = choice.sets(rows, predictor.card, choice.splits(rows, predictor.card, {}, predictor._learned))
            assert {found for found, _ in chosen} == {moment}, name
            assert all(set(SETS[moment][n]) <= set(columns) for _, n in chosen)


def test_each_row_is_answered_at_its_own_latest_moment(predictor, inputs):
    rows = inputs.head(3).copy()
    rows.loc[1:, early(rows)] = np.nan
    rows.loc[2, [c for c in rows if c.startswith("eighth_")]] = np.nan
    assert predictor.predict(rows)["moment"].tolist() == list(MOMENTS[::-1])
    with pytest.raises(ModuleError, match=r"too little is known to predict from row 0: .* also needs"):
        predictor.predict(inputs[["clip_norm"]])


def test_the_set_with_the_least_brier_score_answers_even_without_spectra(predictor, inputs):
    evidence = [found(TRIALS, EPOCH, name, brier=0.2) for name in SETS[EPOCH]]
    for best in ("curve", "all", "gradients"):
        told = [replace(e, measures=e.measures | {"brier": Estimate(0.1)}) if e.inputs == best else e for e in evidence]
        assert with_evidence(predictor, *told).predict(inputs)["based_on"].unique() == [best]
    none = replace(evidence[0], measures=evidence[0].measures | {"brier": Estimate(None)})
    assert with_evidence(predictor, none, evidence[4]).predict(inputs)["based_on"].unique() == [evidence[4].inputs]


def test_a_set_that_is_served_goes_before_a_slightly_better_one(predictor, inputs):
    evidence = [found(TRIALS, EPOCH, "all", brier=0.1), found(TRIALS, EPOCH, "curve", brier=0.101)]
    served = with_evidence(predictor, *evidence)
    judgement = replace(served.card.judgement, served={TRIALS: {EPOCH: "curve"}})
    served = StabilityPredictor(served.trials, replace(served.card, judgement=judgement))
    assert served.predict(inputs)["based_on"].unique() == ["curve"]
    assert served.predict(inputs.drop(columns=CURVE_EPOCH[1]))["based_on"].unique() != ["curve"]  # it is not complete


def test_of_two_moments_the_one_with_the_better_evidence_answers(predictor, inputs):
    """Losses of an epoch without one on validation data suffice for weak sets alone; all that was known before is better."""
    evidence = [found(TRIALS, EPOCH, "sum of losses", brier=0.15), found(TRIALS, BEFORE, "all", brier=0.1)]
    rows = inputs.drop(columns="early_log_relative_loss")
    assert with_evidence(predictor, *evidence).predict(rows)["based_on"].unique() == ["all"]
    assert with_evidence(predictor, *evidence[:1]).predict(rows)["based_on"].unique() == ["sum of losses"]


def test_an_answer_is_that_of_the_models_of_its_set(predictor, inputs):
    asked = with_evidence(predictor, found(TRIALS, EPOCH, "curve"))
    expected, probability = model.fit(inputs, predictor.card.recipes[EPOCH]["curve"]).answer(inputs)
    answers = asked.predict(inputs)
    np.testing.assert_array_equal(answers["expected_score"], expected)
    np.testing.assert_array_equal(answers["probability_of_success"], probability)


def test_the_evidence_that_counts_is_that_of_the_split_where_the_question_lies(predictor, inputs):
    best = {TRIALS: "all", CELLS: "curve", TASKS: "loss", f"{TASKS}, 10 own trials": "gradients"}
    asked = with_evidence(predictor, *(found(split, EPOCH, name) for split, name in best.items()))
    rows = inputs.head(1)
    assert asked.predict(rows)["based_on"].item() == "all"
    assert asked.predict(rows.assign(cell="lstm"))["based_on"].item() == "curve"
    for unknown in ({"task": "my own"}, {"task": "adding"}, {"task": None}, {"task": "my own", "cell": "lstm"}):
        assert asked.predict(rows.assign(**unknown))["based_on"].item() == "loss"
    own = asked.update(inputs.head(12).assign(task="my own"))
    assert own.predict(rows.assign(task="my own"))["based_on"].item() == "gradients"
    verdict = own.verdict(rows.assign(task="my own").iloc[0].to_dict())
    assert verdict.evidence == found(f"{TASKS}, 10 own trials", EPOCH, "gradients")


def test_the_split_follows_task_cell_and_the_number_of_own_trials(predictor):
    cases = [
        ("counting", "gru", TRIALS),
        ("counting", "lstm", CELLS),
        ("counting", None, CELLS),
        ("speech", "gru", TASKS),
        (None, "gru", TASKS),
        ("four", "gru", TASKS),
        ("five", "lstm", f"{TASKS}, 5 own trials"),
        ("39", "gru", f"{TASKS}, 20 own trials"),
        ("400", "gru", f"{TASKS}, 40 own trials"),
    ]
    rows = columns_of([{"task": task, "cell": cell} for task, cell, _ in cases])
    own = {"four": 4, "five": 5, "39": 39, "400": 400}
    learned = predictor._learned
    assert choice.splits(rows, predictor.card, own, learned) == [case[2] for case in cases]
    assert choice.splits({"already_diverged": np.zeros(2, bool)}, predictor.card, own, learned) == [TASKS] * 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"log_hidden_size": 3.0}, SCALE),
        ({"log_learning_rate": -9.0}, SCALE),
        ({"optimiser": "sgd"}, SCALE),
        ({"optimiser": "sgd", "task": "my own"}, SCALE),
        ({"head": "another"}, TRIALS),
        ({"initial_step_ratio": 9.0}, TRIALS),  # a measurement, not a setting
        ({"task": "my own"}, f"{TASKS}, 10 own trials"),
    ],
)
def test_other_settings_than_those_that_were_learned_from_have_their_own_evidence(predictor, inputs, given, expected):
    """The sets that answer there are those that were best on such trials."""
    best = {SCALE: "loss", TRIALS: "all", f"{TASKS}, 10 own trials": "curve"}
    asked = with_evidence(predictor, *(found(split, EPOCH, name) for split, name in best.items()))
    judgement = replace(asked.card.judgement, served={SCALE: {EPOCH: "loss"}})
    asked = StabilityPredictor(asked.trials, replace(asked.card, judgement=judgement))
    own = asked.update(inputs.head(12).assign(task="my own"))
    assert own.predict(inputs.head(1).assign(**given))["based_on"].item() == best[expected]
    there = inputs.head(1).assign(**{**given, "task": "my own"})
    assert own.update(there.assign(score=0.5)).predict(there)["based_on"].item() == "curve"  # then they are known


def test_what_is_not_defined_of_a_measured_family_does_not_count_but_a_family_that_is_not_there_does(predictor, inputs):
    row = inputs.head(1).copy()
    row["initial_credit_mean"] = np.nan  # a network without gradients, say
    assert predictor.predict(row[list(F)])["moment"].item() == BEFORE
    row[list(F)] = np.nan
    with pytest.raises(ModuleError, match="too little is known"):
        predictor.predict(row[list(F)])
    loss_alone = inputs.head(1)[[RELATIVE_LOSS]].reindex(columns=list(SETS[EPOCH]["all"]))
    assert predictor.predict(loss_alone)["based_on"].item() == "loss"  # which is no early measurement
    row = inputs.head(1).assign(**{RELATIVE_LOSS: np.nan})
    assert RELATIVE_LOSS not in SETS[EPOCH][predictor.predict(row)["based_on"].item()]
    norms = [c for c in inputs if c.startswith("epoch_gradient")]
    row = inputs.head(1).copy()
    row[norms] = np.nan
    assert "gradient" not in " ".join(SETS[EPOCH][predictor.predict(row)["based_on"].item()])


def test_an_answer_depends_on_no_other_row(predictor, inputs):
    rows = inputs.head(6).copy()
    rows.loc[0, early(rows)] = np.nan  # not measured yet
    rows.loc[1, "already_diverged"] = True
    rows.loc[2, "task"] = "another"
    rows.loc[3, [c for c in rows if c.startswith("log_")]] = np.nan
    together = predictor.predict(rows)
    for i in rows.index:
        pd.testing.assert_frame_equal(predictor.predict(rows.loc[[i]]), together.loc[[i]])
    assert together.loc[0, "moment"] == EIGHTH
    assert together.loc[1].tolist() == [0, 0, "divergence", "divergence"]
    assert not set(HYPER_PARAMETERS) & set(SETS[EPOCH][together.loc[3, "based_on"]])
    pd.testing.assert_frame_equal(predictor.predict(rows[::-1]), together[::-1])
    assert predictor.predict(rows.set_axis([7] * 6)).index.tolist() == [7] * 6
    assert predictor.predict(rows.head(0)).columns.tolist() == together.columns.tolist()


def test_what_is_absent_and_what_is_nan_are_both_not_measured(predictor, inputs):
    absent, nan = inputs.drop(columns=early(inputs)), inputs.assign(**dict.fromkeys(early(inputs)))
    pd.testing.assert_frame_equal(predictor.predict(absent), predictor.predict(nan))
    own = inputs[list(SPECTRAL)].copy()
    own.loc[3] = np.nan
    with pytest.raises(
        ModuleError, match=r"too little is known to predict from row 3: 'learning rate', .* also needs log_learning_rate; `tri"
    ):
        predictor.predict(own)


def test_a_number_beyond_all_trials_counts_as_the_nearest_of_theirs(predictor, inputs):
    asked = with_evidence(predictor, found(TRIALS, EPOCH, "loss, spectrum"))
    for column in ("early_growth_over_lag", RELATIVE_LOSS):
        for beyond, end in ((9.0, inputs[column].max()), (-9.0, inputs[column].min())):
            answers = [asked.predict(inputs.assign(**{column: value})) for value in (beyond, end)]
            pd.testing.assert_frame_equal(*answers)
        inside = asked.predict(inputs.assign(**{column: inputs[column].median()}))
        assert (inside["expected_score"] != answers[0]["expected_score"]).any()


STEPS = {"log_learning_rate": 9.0, "initial_step_ratio": 9.0}  # decades; no trial was beyond 1


@pytest.mark.parametrize(
    ("changes", "large"),
    [
        ({"initial_step_ratio": 9.0}, True),
        ({"log_learning_rate": 9.0}, True),
        ({"log_learning_rate": 9.0, "initial_step_ratio": np.nan}, True),
        (STEPS | {RELATIVE_LOSS: 2.0}, True),
        (STEPS | {RELATIVE_LOSS: -0.5}, False),  # the loss has fallen below that of chance
        (STEPS | {RELATIVE_LOSS: np.nan, "epoch_last": -0.5}, False),
        ({"log_learning_rate": 9.0, "initial_step_ratio": -0.5}, False),  # one step lowers the loss
        ({"log_learning_rate": -9.0}, False),
        ({}, False),
    ],
)
def test_steps_larger_than_in_all_trials_are_no_more_promising_than_those_at_the_edge(inputs, changes, large):
    ratios = np.linspace(-3, 1, len(inputs))
    edge = ratios >= np.quantile(ratios, 0.975)
    own = inputs.assign(initial_step_ratio=ratios, success=~edge, score=0.9 - 0.8 * edge)  # all succeed but those at the edge
    asked = with_evidence(StabilityPredictor(own, card(own)), found(TASKS, BEFORE, "learning rate"))
    rows = own.assign(**{RELATIVE_LOSS: 0.5, "epoch_last": np.nan, "initial_step_ratio": 0.5} | changes)
    answers = asked.predict(rows)
    expected, probability = answers["expected_score"], answers["probability_of_success"]
    assert (np.allclose(expected, 0.1), np.allclose(probability, 0)) == (large, large)
    assert large or ((expected > 0.7) & (probability > 0.7)).all()
    verdict = asked.verdict(rows.iloc[0].to_dict())
    assert (verdict.expected_score, verdict.probability) == (expected[0], probability[0])
    assert verdict.reasons[0].startswith("steps are larger than in all trials (learning rate ") == large
    assert (verdict.evidence is None) == large


def test_the_first_reason_names_what_is_more_than_ten_times_beyond_all_trials(predictor, inputs):
    known = inputs.iloc[0].to_dict() | {"initial_step_ratio": -0.5}
    ends = [inputs["log_hidden_size"].max(), inputs["log_hidden_size"].min()]
    far = "more than ten times beyond the range of all trials, so that the evidence may not apply: "
    for size, said in ((ends[0] + 0.9, False), (ends[0] + 1.1, True), (ends[1] - 1.1, True)):
        assert predictor.verdict(known | {"log_hidden_size": size}).reasons[0].startswith(f"{far}hidden size ") == said
    both = predictor.verdict(known | {"log_updates": 9.0, "log_steps": 5.0, "log_learning_rate": 1.5}).reasons[0]
    assert both.startswith(far)
    assert ("updates 1e+09" in both, "steps 1e+05" in both, "learning rate" in both) == (True, True, False)


# What is wrong in a row


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"early_exponent_1": np.inf}, "early_exponent_1 in row 0 is inf; it should be finite, or NaN if not measured"),
        ({"early_exponent_1": "high"}, "early_exponent_1 in row 0 is 'high'; it should be a number"),
        ({"early_exponent_1": True}, "early_exponent_1 in row 0 is True; it should be a number"),
        ({"early_exponent_1": 1j}, "early_exponent_1 in row 0 is .*1j.*; it should be a number"),
        ({"early_lost_share": 1.5}, "early_lost_share in row 0 is 1.5; it should be finite, at least 0, at most 1"),
        ({"initial_standard_error": -1}, "initial_standard_error in row 0 is -1; it should be finite, at least 0"),
        ({"log_learning_rate": 400}, "log_learning_rate in row 0 is 400; it should be finite, at least -12, at most 12"),
        ({"dropout": 2.0}, "dropout is 2; it should be less than 1"),
        ({"task": "countng"}, "no task 'countng'; did you mean 'counting'"),
        ({"task": 3}, "task is 3; it should be a name"),
        ({"cell": "elmann"}, "no cell 'elmann'; did you mean 'elman'"),
        ({"head": "mine"}, "no head 'mine'; there are every, last, neuroview, another for one of your own"),
        ({"optimiser": "rmsprop"}, "no optimiser 'rmsprop'; there are adamw, sgd"),
        ({"learning_rate": 1e-3}, "no input 'learning_rate'; did you mean 'log_learning_rate'"),
        ({"already_diverged": "no"}, "already_diverged in row 0 is 'no'; it should be True or False"),
    ],
)
def test_rows_and_single_networks_are_checked_alike(predictor, inputs, changes, sentence):
    rows = inputs.head(2).assign(**changes)
    for ask in (predictor.predict, lambda rows: predictor.verdict(rows.iloc[0].to_dict()), predictor.update):
        with pytest.raises(ModuleError, match=sentence):
            ask(rows)


def test_inputs_are_a_table_with_each_column_once(predictor, inputs):
    with pytest.raises(ModuleError, match=r"the inputs are a single row; they should be a list of rows"):
        predictor.predict(inputs.iloc[0].to_dict())
    with pytest.raises(ModuleError, match=r"inputs are a list; they should be a mapping"):
        predictor.verdict([1])
    with pytest.raises(ModuleError, match="the column 'task' is there twice"):
        predictor.predict(pd.concat([inputs, inputs[["task"]]], axis=1))


# Trials of one's own


@pytest.fixture(scope="module")
def failures(inputs):
    """Trials of a task of one's own that all fail, whatever they look like, in rows as a user has them."""
    own = inputs_of(trials=3, seed=5).assign(task="speech", score=0.0)
    return own.drop(columns=["study", "success", "trial", "index", "draw", "validation_losses"]).copy()


def test_learning_leaves_the_predictor_as_it_is(predictor, inputs, failures):
    trials, known, before = copy.deepcopy(predictor.trials), copy.deepcopy(predictor.card), predictor.predict(inputs)
    updated = predictor.update(failures)
    assert repr(updated) == ("StabilityPredictor(92 trials of 3 tasks and 2 cells, 12 of your own; success is a score of 0.8)")
    updated.predict(inputs)
    pd.testing.assert_frame_equal(pd.DataFrame(predictor.trials), pd.DataFrame(trials))
    assert predictor.card == known
    pd.testing.assert_frame_equal(predictor.predict(inputs), before)
    assert {name: values.dtype for name, values in updated.trials.items()} == {n: v.dtype for n, v in trials.items()}


def test_the_answers_for_a_task_move_towards_its_own_trials(predictor, inputs, failures):
    """Where all own trials fail, the probability of success and the score fall, the more of them there are."""
    rows, steps = inputs.assign(task="speech"), []
    for count in (0, 4, 12):
        answers = predictor.update(failures.head(count)).predict(rows)
        steps.append(answers[["probability_of_success", "expected_score"]].mean())
    assert (steps[2] < steps[1]).all()
    assert (steps[1] < steps[0]).all()
    wins = failures.assign(score=1.0)
    assert predictor.update(wins).predict(rows)["expected_score"].mean() > steps[0]["expected_score"]


@pytest.mark.parametrize(("count", "times"), [(4, 1), (5, 16), (9, 16), (10, 4), (12, 4)])
def test_own_trials_count_as_often_as_the_card_says(predictor, inputs, failures, count, times):
    own = failures.head(count)
    updated, rows = predictor.update(own), inputs.assign(task="speech")
    recipe = predictor.card.recipes[EPOCH]["curve"]
    told = with_evidence(updated, found(TASKS, EPOCH, "curve"), found(TRIALS, EPOCH, "curve"))
    for asked, copies in ((rows, times), (inputs, 1)):  # for other tasks they are trials as all others
        repeated = pd.concat([inputs, *[own.assign(success=False)] * copies], ignore_index=True)
        fitted = model.fit(repeated, recipe).answer(asked)
        answers = told.predict(asked)
        np.testing.assert_allclose(answers["expected_score"], fitted[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(answers["probability_of_success"], fitted[1], rtol=0, atol=1e-6)  # where lbfgs stops


def test_own_trials_under_the_name_of_a_task_that_is_known_are_weighted_and_its_others_are_not(predictor, inputs, failures):
    own = failures.head(5).assign(task="counting")
    told = with_evidence(predictor.update(own), found(f"{TASKS}, 5 own trials", EPOCH, "curve"))
    repeated = pd.concat([inputs, *[own.assign(success=False)] * 16], ignore_index=True)
    rows = inputs[inputs["task"] == "counting"]
    expected, _ = model.fit(repeated, predictor.card.recipes[EPOCH]["curve"]).answer(rows)
    np.testing.assert_allclose(told.predict(rows)["expected_score"], expected, rtol=0, atol=1e-12)


def test_an_own_success_is_what_is_said_or_else_a_score_of_the_threshold(predictor, failures):
    scores = [0.79, 0.8, 0.1, 0.9]
    own = failures.head(4).assign(score=scores)
    assert predictor.update(own).trials["success"][-4:].tolist() == [False, True, False, True]
    said = predictor.update(own.assign(success=[None, np.nan, True, False]))
    assert said.trials["success"][-4:].tolist() == [False, True, True, False]
    assert said.trials["success"].dtype == bool


def test_own_trials_without_a_cell_can_be_saved_and_loaded(predictor, failures, tmp_path):
    for own in (failures.drop(columns="cell"), failures.assign(cell=None)):
        predictor.update(own).save(tmp_path)
        assert StabilityPredictor.load(tmp_path).trials["cell"][-len(own) :].tolist() == ["another"] * len(own)


def test_own_trials_may_lack_what_was_not_measured(predictor, inputs, failures):
    few = failures[["task", "score", RELATIVE_LOSS]]
    updated = predictor.update(few)
    rows = inputs.assign(task="speech")
    assert np.isfinite(updated.predict(rows)["probability_of_success"]).all()
    told = with_evidence(updated, found(TASKS, EPOCH, "loss"))
    assert told.predict(rows)["expected_score"].mean() < predictor.predict(rows)["expected_score"].mean()


def test_numbers_of_own_trials_are_no_longer_outside_the_range(predictor, inputs, failures):
    row = inputs.iloc[0].to_dict() | {"log_hidden_size": np.log10(4096)}
    wide = predictor.update(failures.assign(log_hidden_size=np.log10(4096)))
    assert ["outside the range" in str(asked.verdict(row)) for asked in (predictor, wide)] == [True, False]


def test_own_tasks_may_have_names_that_are_alike(predictor, failures):
    both = predictor.update(failures.head(6)).update(failures.tail(6).assign(task="speech_2"))
    assert both.update(failures.head(1).assign(task="speech_3"))._own == {"speech": 6, "speech_2": 6, "speech_3": 1}


def test_no_own_trials_are_one_sentence(predictor):
    with pytest.raises(ModuleError, match="there are no own trials; give one or more"):
        predictor.update([])


def test_numpys_truth_values_and_tensors_are_taken_as_python_ones(predictor, inputs, failures):
    row = inputs.iloc[0].to_dict()
    odd = {name: torch.tensor(v, requires_grad=True) if isinstance(v, float) else v for name, v in row.items()}
    assert predictor.predict([odd | {"already_diverged": np.bool_(False)}]) == predictor.predict([row])
    columns = {name: pd.Series([v, v]) for name, v in row.items()} | {"log_steps": torch.tensor([row["log_steps"]] * 2).double()}
    assert predictor.predict(columns) == predictor.predict([row, row])
    own = failures.head(2).to_dict("records")
    said = predictor.update([{**r, "success": np.bool_(True)} for r in own])
    assert said.trials["success"][-2:].tolist() == [True, True]
    with pytest.raises(ModuleError, match=r"head is \['a'\]; it should be a name"):
        predictor.predict([row | {"head": ["a"]}, row | {"head": ["b"]}])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda own: own.drop(columns="task"), "own trials need the column 'task' in every row"),
        (lambda own: own.drop(columns="score"), "own trials need the column 'score' in every row"),
        (lambda own: own.assign(score=[np.nan] + [0.5] * 11), "own trials need the column 'score' in every row"),
        (lambda own: own.assign(task=[None] + ["speech"] * 11), "own trials need the column 'task' in every row"),
        (lambda own: own.assign(score=1.01), "the scores of own trials should lie within 0 and 1"),
        (lambda own: own.assign(score=-0.01), "the scores of own trials should lie within 0 and 1"),
        (lambda own: own.assign(score="good"), "score in row 0 is 'good'; it should be a number"),
        (lambda own: own.assign(success="yes"), "success in row 0 is 'yes'; it should be True or False"),
        (lambda own: own.assign(epoch_gradient_maen=1.0), "no input 'epoch_gradient_maen'; did you mean 'epoch_gradient_mean'"),
    ],
)
def test_own_trials_that_cannot_be_are_one_sentence(predictor, failures, change, sentence):
    with pytest.raises(ModuleError, match=sentence):
        predictor.update(change(failures))


# Files


def test_a_saved_predictor_answers_as_before(predictor, inputs, failures, tmp_path):
    for kept in (predictor, predictor.update(failures), predictor.update(inputs.assign(task="speech"))):
        kept.save(tmp_path / "predictor")
        loaded = StabilityPredictor.load(tmp_path / "predictor")
        for rows in (inputs, inputs.assign(task="speech")):
            pd.testing.assert_frame_equal(loaded.predict(rows), kept.predict(rows))
        assert loaded.card == kept.card
        assert repr(loaded) == repr(kept)


def test_a_registered_predictor_needs_mlflow_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.tracking", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ArtefactError, match=r"models:/rnn-stability/1 is in MLflow's registry, .* 'rnn-stability\[mlflow\]'"):
        StabilityPredictor.load("models:/rnn-stability/1")


def test_a_missing_or_broken_predictor_is_one_sentence(predictor, tmp_path):
    with pytest.raises(ArtefactError, match=r"card\.json"):
        StabilityPredictor.load(tmp_path)
    predictor.save(tmp_path)
    (tmp_path / "trials.npz").write_bytes(b"PK broken")
    with pytest.raises(ArtefactError, match=r"trials\.npz"):
        StabilityPredictor.load(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(ArtefactError, match="is not a Card of this version"):
        StabilityPredictor.load(str(tmp_path))
    with pytest.raises(ArtefactError, match="folder or an address, found 3"):
        StabilityPredictor.load(3)


def without(trials, column):
    return {name: values for name, values in trials.items() if name != column}


def member(values):
    """An array as a member of trials.npz."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task.npy": member(np.zeros(80, [("a", "f4")]))}, "task of the trials should be text"),
        ({"optimiser.npy": member(np.zeros(80))}, "optimiser of the trials should be text"),
        ({"study.npy": member(np.ones(80, bool))}, "study of the trials should be text"),
        ({"already_diverged.npy": member(np.zeros(80))}, "already_diverged of the trials should be True or False"),
        ({"log_steps.npy": member(np.full(80, 2.0))}, "card.json and trials.npz do not belong together"),
        ({"log_steps.npy": b"no array"}, r"trials\.npz is damaged"),
        ({"big.npy": bytes((1 << 28) + 1)}, "holds more than 256 MiB"),
    ],
)
def test_trials_that_were_tampered_with_are_refused_when_they_are_loaded(predictor, tmp_path, change, sentence):
    predictor.save(tmp_path)
    with zipfile.ZipFile(tmp_path / "trials.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "trials.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in (members | change).items():
            archive.writestr(name, content)
    with pytest.raises(ArtefactError, match=sentence):
        StabilityPredictor.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "[" * 100_000, r"card\.json is damaged"),
        (lambda text: text.replace('"threshold": 0.8', '"threshold": NaN'), "is not a Card of this version"),
        (lambda text: text.replace('"threshold": 0.8', '"threshold": 1e999'), "is not a Card of this version"),
        (lambda text: text.replace('"threshold": 0.8', '"threshold": 2'), "the threshold of the card should lie within 0 and 1"),
        (
            lambda text: text.replace('"5": 16.0', '"5": 1e12'),
            "own_weights of the card should be by numbers of trials, from 1 to",
        ),
    ],
)
def test_a_card_that_was_tampered_with_is_refused_when_it_is_loaded(predictor, tmp_path, change, sentence):
    predictor.save(tmp_path)
    text = re.sub(r',\s*"checksum": "\w+"', "", (tmp_path / "card.json").read_text())  # what is left is as it was meant
    assert change(text) != text
    (tmp_path / "card.json").write_text(change(text))
    with pytest.raises(ArtefactError, match=sentence):
        StabilityPredictor.load(tmp_path)


def test_files_of_two_predictors_that_were_saved_at_once_are_not_mixed(predictor, failures, tmp_path):
    predictor.save(tmp_path / "one")
    predictor.update(failures).save(tmp_path / "two")
    (tmp_path / "one" / "card.json").replace(tmp_path / "two" / "card.json")
    with pytest.raises(ArtefactError, match="do not belong together"):
        StabilityPredictor.load(tmp_path / "two")


def test_a_predictor_of_other_inputs_is_refused_when_it_is_loaded(predictor, tmp_path):
    recipes = predictor.card.recipes
    other = replace(recipes[EPOCH]["all"], columns=recipes[EPOCH]["all"].columns[1:])
    changed = [
        StabilityPredictor(without(predictor.trials, "epoch_forecast"), predictor.card),
        StabilityPredictor(without(predictor.trials, "study"), predictor.card),
        StabilityPredictor(predictor.trials, replace(predictor.card, recipes=recipes | {EPOCH: recipes[EPOCH] | {"all": other}})),
        StabilityPredictor(predictor.trials, replace(predictor.card, recipes={BEFORE: recipes[BEFORE]})),
    ]
    for foreign in changed:
        foreign.save(tmp_path)
        with pytest.raises(ArtefactError, match="was fitted to other inputs than this version"):
            StabilityPredictor.load(tmp_path)


def test_without_a_source_the_packaged_trials_are_learned_from_but_no_repeats_nor_other_scales(inputs):
    known = trials.kept()
    again = pd.concat([known, known[known["study"] == "evidence"].head(2).assign(index=[100, 101])], ignore_index=True)
    learned = trials.learned_from(again)
    assert not learned["study"].str.startswith("shift_").any()
    assert (learned["index"] == learned["draw"]).all()
    loaded = StabilityPredictor.load()
    assert len(loaded.trials["task"]) == len(learned) == sum(n for s, n in loaded.card.studies.items() if "shift_" not in s)
    for column in (*INPUTS, *OUTCOME, "task", "cell", "study"):
        kept = pd.Series(loaded.trials[column])
        expected = learned[column].astype(kept.dtype)
        pd.testing.assert_series_equal(kept, expected.where(expected.notna(), None), check_names=False)


def test_verdicts_and_predictors_can_be_compared_hashed_and_shown(predictor, gru):
    one, two = predictor.assess(*gru), predictor.assess(*gru)
    assert one == two
    assert len({one, two}) == 1
    assert len(repr(one)) < 150
    assert repr(predictor) == "StabilityPredictor(80 trials of 2 tasks and 2 cells; success is a score of 0.8)"
    assert len({predictor, StabilityPredictor(predictor.trials, predictor.card)}) == 2
    assert predictor == predictor


# In other people's code


@pytest.fixture(scope="module")
def gru():
    """A network and its data."""
    torch.manual_seed(0)
    return torch.nn.GRU(3, 8), torch.randn(20, 2, 3)


@pytest.fixture(scope="module")
def spectrum(gru):
    return lyapunov_spectrum(*gru)


RATE = {"learning_rate": 1e-3, "updates": 96}
STARTED = RATE | {"init_scale": 0.2}  # the scale of a network that has been trained is not that of before
LOSSES, NORMS = np.linspace(2, 1, 32), np.linspace(1, 2, 32)
KNOWN = {"chance": 2.0, "updates": 96, "updates_per_epoch": 32}
EPOCH_CURVE = KNOWN | {"losses": LOSSES, "gradient_norms": NORMS, "relative_loss": 0.5}
EIGHTH_CURVE = KNOWN | {"losses": LOSSES[:4], "gradient_norms": NORMS[:4]}
MEASURED = dict.fromkeys(measuring.columns(), 0.5)


@pytest.fixture
def row(predictor, monkeypatch):
    """A function that gives the row which `assess` hands to the predictor."""
    seen = {}
    monkeypatch.setattr(StabilityPredictor, "verdict", lambda self, known: seen.update(known))

    def ask(*network, **given):
        seen.clear()
        predictor.assess(*network, **given)
        return dict(seen)

    return ask


@pytest.mark.parametrize(
    ("given", "moment", "complete"),
    [
        ({}, BEFORE, {"spectrum"}),
        (RATE, BEFORE, {"hyper-parameters, spectrum"}),
        ({"measurements": MEASURED}, BEFORE, {"measurements, spectrum", "zero-cost proxies", "step ratio"}),
        (RATE | {"measurements": MEASURED}, BEFORE, {"all"}),
        (EIGHTH_CURVE, EIGHTH, {"curve, gradients"}),
        (EIGHTH_CURVE | {"initial": True}, EIGHTH, {"curve, gradients"}),
        (EIGHTH_CURVE | {"initial": True, "initial_measurements": MEASURED}, EIGHTH, {"loss, measurements, spectrum"}),
        (EIGHTH_CURVE | STARTED | {"initial": True, "initial_measurements": MEASURED}, EIGHTH, {"all"}),
        (EPOCH_CURVE, EPOCH, {"curve, gradients", "power law", "sum of losses"}),
        (EPOCH_CURVE | {"gradient_norms": None}, EPOCH, {"curve"}),
        (EPOCH_CURVE | {"relative_loss": None}, EPOCH, {"gradients", "sum of losses", "power law"}),
        ({"relative_loss": 0.5}, EPOCH, {"loss"}),
        (EPOCH_CURVE | STARTED, EPOCH, {"loss, hyper-parameters"}),
        (EPOCH_CURVE | {"initial": True}, EPOCH, {"loss, spectrum"}),
        (
            EPOCH_CURVE | STARTED | {"initial": True, "initial_measurements": MEASURED, "measurements": MEASURED},
            EPOCH,
            {"all", "loss, measurements, spectrum"},
        ),
    ],
)
def test_what_is_known_of_a_network_suffices_for_the_sets_that_it_belongs_to(row, gru, spectrum, given, moment, complete):
    known = columns_of([row(*gru, **given | ({"initial": spectrum} if "initial" in given else {}))])
    there = {column for column, counts in choice.known(known).items() if counts[0]}
    whole = {(m, name) for m, sets in SETS.items() for name, columns in sets.items() if columns and there >= set(columns)}
    assert {(moment, name) for name in complete} <= whole
    assert max(MOMENTS.index(m) for m, _ in whole) == MOMENTS.index(moment)


def test_a_network_is_assessed_at_every_moment(predictor, gru, spectrum):
    verdicts = [
        predictor.assess(*gru, measurements=MEASURED, **RATE),
        predictor.assess(*gru, initial=spectrum, initial_measurements=MEASURED, **EIGHTH_CURVE | STARTED),
        predictor.assess(
            *gru, initial=spectrum, initial_measurements=MEASURED, measurements=MEASURED, **EPOCH_CURVE | STARTED, cell="gru"
        ),
    ]
    assert [verdict.moment for verdict in verdicts] == list(MOMENTS)
    for verdict in verdicts:
        assert 0 <= verdict.probability <= 1
        assert 0 <= verdict.expected_score <= 1
        assert f"({verdict.moment}, from {verdict.based_on})" in str(verdict)
        assert verdict.evidence is None
        assert len(effects(verdict)) <= 3
    assert effects(verdicts[2])


def effects(verdict):
    """The reasons that are about single inputs."""
    return [reason for reason in verdict.reasons if "compared with their median," in reason]


def test_the_spectrum_that_is_measured_has_the_exponents_that_count(row):
    """Those of the whole spectrum: as many directions are followed, or all if there are fewer."""
    for size in (3, 20):
        torch.manual_seed(size)
        network, data = torch.nn.GRU(2, size), torch.randn(40, 2, 2)
        asked, whole = row(network, data), network_inputs(steps=40, spectrum=lyapunov_spectrum(network, data))
        for name in SETS[BEFORE]["spectrum"]:
            assert asked[name] == pytest.approx(whole[name], rel=0.02, abs=1e-3)
        assert np.isnan(asked["initial_share_near_zero"]) == (size > 8)


@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ({}, 1),
        (EIGHTH_CURVE, 0),
        (EIGHTH_CURVE | {"initial": True}, 0),
        (EPOCH_CURVE, 0),
        (EPOCH_CURVE | {"initial": True}, 1),
        ({"relative_loss": 0.5, "initial": True}, 1),
        ({"relative_loss": np.nan, "initial": True}, 0),
        ({"initial": True}, 1),
    ],
)
def test_a_spectrum_is_measured_only_where_it_counts(row, gru, spectrum, monkeypatch, given, measured):
    asked = []
    monkeypatch.setattr(spectrum_package, "leading_spectrum", lambda *a, **k: asked.append(1) or spectrum)
    row(*gru, **given | ({"initial": spectrum} if "initial" in given else {}))
    assert len(asked) == measured


@pytest.mark.parametrize(
    ("trained", "given", "sentence"),
    [
        (False, {"learning_rate": 1e-3}, "learning_rate needs updates= as well: hyper-parameters and sizes are used together"),
        (True, RATE, "learning_rate needs init_scale= as well"),
        (False, EPOCH_CURVE | RATE, "learning_rate needs init_scale= as well"),  # what can be read is the scale of now
        (False, {"clip_norm": 1.0}, "clip_norm needs learning_rate= as well"),
        (False, {"head": "last"}, "head needs learning_rate="),
        (False, {"parameter_count": 9}, "parameter_count needs learning_rate="),
        (False, {"gradient_norms": [1.0]}, "gradient_norms= needs losses= as well"),
        (False, {"chance": 1.0}, "chance= needs losses= as well"),
        (True, {"updates_per_epoch": 3, "relative_loss": 0.5}, "updates_per_epoch= needs losses= as well"),
        (False, {"losses": LOSSES}, "losses= needs chance= as well"),
        (False, {"losses": LOSSES, "chance": 1.0}, "losses= needs updates= as well"),
        (False, {"losses": LOSSES, "chance": 1.0, "updates": 96}, "losses= needs updates_per_epoch= as well"),
        (False, EIGHTH_CURVE | {"losses": LOSSES[:3], "gradient_norms": None}, "are 3 losses; those of an eighth .*, 4 mini-b"),
        (False, EIGHTH_CURVE | {"losses": LOSSES[:5]}, "5 losses and 4 gradient norms; they should be of the same mini-batches"),
        (False, EPOCH_CURVE | {"updates": 31}, "updates is 31; it should count the whole training, at least one epoch, 32 mini"),
        (False, EPOCH_CURVE | {"chance": 0.0}, "chance is 0; it should be the loss of the best answer that ignores the input"),
        (False, EPOCH_CURVE | {"measurements": MEASURED}, "after training has begun, measurements= needs initial_measurements="),
        (False, {"measurements": {"step_ratio": 1.0}}, "measurements= lacks numbers; it should be what early_measurements"),
        (False, {"initial_measurements": [1.0]}, "initial_measurements= is a list; it should be what early_measurements"),
        (False, {"learning_rate": 1e-3, "speed": 0.9}, "no argument 'speed'; there are .* losses, .* learning_rate, .* device"),
        (False, {"learnin_rate": 1e-3}, "no argument 'learnin_rate'; did you mean 'learning_rate'"),
        (False, {"intial": None, "learning_rate": 1}, "no argument 'intial'; did you mean 'initial'"),
        (False, {"steps": 0}, "steps is 0; it should be a whole number above 0"),
    ],
)
def test_what_is_unknown_or_of_no_use_is_one_sentence(predictor, gru, spectrum, trained, given, sentence):
    with pytest.raises(ModuleError, match=sentence):
        predictor.assess(*gru, initial=spectrum if trained else None, **given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"learning_rate": 0}, "learning_rate is 0.0; it should be greater than 0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001; it should be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it should be a finite number"),
        ({"learning_rate": np.inf}, "learning_rate is inf; it should be a finite number"),
        ({"learning_rate": "0.001"}, "learning_rate is '0.001'; it should be a number"),
        ({"learning_rate": True}, "learning_rate is True; it should be a number"),
        ({"learning_rate": torch.tensor(True)}, r"learning_rate is tensor\(True\); it should be a number"),
        ({"learning_rate": np.array([1e-3])}, "learning_rate is array.*; it should be a number"),
        ({"dropout": 1}, "dropout is 1; it should be less than 1"),
        ({"clip_norm": -1}, "clip_norm is -1; it should be greater than or equal to 0"),
        ({"hidden_size": 2.5}, "hidden_size is 2.5; it should be a valid integer"),
        ({"batch_size": 0}, "batch_size is 0; it should be"),
        ({"parameter_count": 0}, "parameter_count is 0; it should be a whole number above 0"),
        ({"updates": 0.5}, "updates is 0.5; it should be a whole number above 0"),
        ({"updates_per_epoch": np.inf}, "updates_per_epoch is inf; it should be a whole number above 0"),
        ({"relative_loss": -0.1}, "relative_loss is -0.1; it should be at least 0"),
        ({"relative_loss": "low"}, "relative_loss is 'low'; it should be a number"),
        ({"losses": ["low"] * 32}, r"losses\[0\] is 'low'; it should be a number"),
        ({"losses": 0.5}, "losses= should be one number per mini-batch, found 0.5"),
        ({"gradient_norms": [True] * 32}, r"gradient_norms\[0\] is True; it should be a number"),
        ({"initial_measurements": MEASURED | {"snip": "big"}}, "snip is 'big'; it should be a number"),
        ({"task": "countng"}, "no task 'countng'; did you mean 'counting'"),
        ({"task": "Mnist_rows"}, "no task 'Mnist_rows'; did you mean 'mnist_rows'"),  # a task of the library, if not of the study
        ({"task": 3}, "task is 3; it should be a name"),
        ({"cell": "elmann"}, "no cell 'elmann'; did you mean 'elman'"),
        ({"head": "lst"}, "no head 'lst'; did you mean 'last'"),
        ({"head": 3}, "head is 3; it should be a name"),
    ],
)
def test_numbers_and_names_that_cannot_be_are_one_sentence_and_nothing_is_measured(
    predictor, gru, spectrum, monkeypatch, given, sentence
):
    monkeypatch.setattr(spectrum_package, "leading_spectrum", None)
    with pytest.raises(ModuleError, match=sentence):
        predictor.assess(*gru, initial=spectrum, **EPOCH_CURVE | STARTED | given)


@pytest.mark.parametrize("task", ["another", "speech", "my own corpus"])
def test_a_task_of_ones_own_has_any_name(predictor, gru, spectrum, task):
    asked = with_evidence(predictor, found(TASKS, BEFORE, "spectrum"), found(TRIALS, BEFORE, "spectrum"))
    assert asked.assess(*gru, spectrum=spectrum, task=task).evidence.split == TASKS


def test_numbers_of_any_kind_give_the_same_answer(predictor, gru, spectrum):
    given = EPOCH_CURVE | STARTED
    measured = {"initial_measurements": MEASURED, "measurements": MEASURED}
    plain = predictor.assess(*gru, spectrum=spectrum, initial=spectrum, **measured, **given)
    for kind in (np.array, lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True), lambda v: np.array(v).tolist()):
        other = {name: kind(value) for name, value in given.items()}
        taken = {name: {column: kind(value) for column, value in values.items()} for name, values in measured.items()}
        assert predictor.assess(*gru, spectrum=spectrum, initial=spectrum, **taken, **other) == plain


def test_a_spectrum_that_lacks_exponents_or_is_of_another_network_is_refused(predictor, gru, spectrum):
    truncated, other = lyapunov_spectrum(*gru, count=3), lyapunov_spectrum(torch.nn.GRU(3, 4), gru[1])
    for name in ("initial", "spectrum"):
        with pytest.raises(ModuleError, match=f"{name}= has 3 of 8 exponents; the sets of inputs use 8: count=8"):
            predictor.assess(*gru, **{name: truncated})
        with pytest.raises(ModuleError, match=f"{name}= is a list; it should be a Spectrum"):
            predictor.assess(*gru, **{name: [spectrum]})
    with pytest.raises(ModuleError, match="initial= has 4 exponents and the network's spectrum has 8"):
        predictor.assess(*gru, initial=other)
    with pytest.raises(ModuleError, match="after training has begun, spectrum= needs initial= as well"):
        predictor.assess(*gru, spectrum=spectrum, relative_loss=0.5)


def test_a_spectrum_that_has_been_measured_gives_the_same_verdict(predictor, gru, spectrum):
    verdict = predictor.assess(*gru)
    assert predictor.assess(*gru, spectrum=spectrum) == predictor.assess(*gru, device="cpu") == verdict
    assert predictor.verdict(network_inputs(spectrum=spectrum, steps=20)) == verdict
    with pytest.raises(ModuleError, match="state= and device= have no effect with spectrum="):
        predictor.assess(*gru, spectrum=spectrum, device="cpu")
    with pytest.raises(ModuleError, match="inputs should be a tensor of sequences"):
        predictor.assess(gru[0], None, spectrum=spectrum)


def test_the_inputs_of_networks_make_a_table(predictor, spectrum):
    known = network_inputs(
        spectrum=spectrum, initial=spectrum, steps=20, parameter_count=99, hidden_size=8, cell="gru", **EPOCH_CURVE | STARTED,
        measurements=MEASURED, initial_measurements=MEASURED,
    )  # fmt: skip
    rows = pd.DataFrame([known, known, network_inputs(steps=20, spectrum=spectrum)])
    assert predictor.predict(rows)["moment"].tolist() == [EPOCH, EPOCH, BEFORE]
    assert (known["cell"], known["log_parameter_count"]) == ("gru", pytest.approx(np.log10(99)))
    assert (known[RELATIVE_LOSS], known["change_step_ratio"]) == (pytest.approx(np.log10(0.5)), 0)
    with pytest.raises(ModuleError, match="learning_rate needs updates= as well"):
        network_inputs(spectrum=spectrum, steps=20, learning_rate=1e-3)
    with pytest.raises(ModuleError, match="no argument 'state'"):
        network_inputs(spectrum=spectrum, steps=20, state=None)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (torch.nn.LSTM(3, 4), "lstm"),
        (torch.nn.GRUCell(3, 4), "gru"),
        (torch.nn.RNN(3, 4), "elman"),
        (torch.nn.RNN(3, 4, nonlinearity="relu"), "another"),
        (type("Mine", (torch.nn.LSTM,), {})(3, 4), "lstm"),
        (type("GRU", (torch.nn.Linear,), {})(3, 4), "another"),
    ],
)
def test_the_cell_of_torchs_modules_is_known_and_that_of_others_is_another(module, name):
    assert network.measured(module)["cell"] == name
    assert network.measured(lambda state, x: state) == network.measured(torch.nn.Identity()) == {}


def test_what_can_be_read_from_a_module_is(row):
    """The scale p of uniform(-p, p): 4,096 weights give it with a standard error of .7 %."""
    torch.manual_seed(0)
    module, data = torch.nn.RNN(3, 64), torch.randn(20, 4, 3)
    with torch.no_grad():
        module.weight_hh_l0.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0))
    seen = row(module, data, **RATE)
    assert 10 ** seen["log_init_scale"] == pytest.approx(0.2, rel=0.03)
    assert 10 ** seen["log_hidden_size"] == pytest.approx(64)
    assert 10 ** seen["log_parameter_count"] == pytest.approx(64 * 64 + 64 * 3 + 2 * 64)
    assert (seen["cell"], 10 ** seen["log_steps"]) == ("elman", pytest.approx(20))
    said = row(module, data, **RATE, init_scale=0.5, hidden_size=7, parameter_count=1000, cell="another", steps=30)
    assert [10 ** said[f"log_{n}"] for n in ("init_scale", "hidden_size", "parameter_count", "steps")] == pytest.approx(
        [0.5, 7, 1000, 30]
    )
    assert said["cell"] == "another"


def test_sizes_are_those_of_the_state_and_of_what_is_trained():
    module = torch.nn.LSTM(3, 20, proj_size=4)
    whole = sum(p.numel() for p in module.parameters())
    assert network.measured(module)["hidden_size"] == 20
    assert network.measured(module)["parameter_count"] == whole
    module.weight_ih_l0.requires_grad_(False)
    assert network.measured(module)["parameter_count"] == whole - 4 * 20 * 3


def test_a_network_of_which_nothing_can_be_measured_has_diverged(predictor):
    """What the data alone say, the lag, is known all the same."""
    gone = dict.fromkeys(MEASURED, np.nan) | {"lag_needed": 5.0}
    for given in ({"measurements": gone}, {"initial_measurements": MEASURED, "measurements": gone}):
        verdict = predictor.verdict(network_inputs(steps=20, **STARTED, hidden_size=8, parameter_count=99, **given))
        assert (verdict.probability, verdict.based_on) == (0, choice.DIVERGENCE)
    row = {"initial_lag_needed": 5.0} | dict.fromkeys(SETS[BEFORE]["measurements"], np.nan)
    with pytest.raises(ModuleError, match="too little is known"):
        predictor.verdict(row)


def test_the_growth_over_a_lag_is_that_of_the_lag_that_was_measured(spectrum):
    largest = float(spectrum.exponents[0])
    for given, lag in (({}, 19), ({"measurements": MEASURED | {"lag_needed": 5.0}}, 5)):
        assert network_inputs(steps=20, spectrum=spectrum, **given)["initial_growth_over_lag"] == pytest.approx(lag * largest)


def test_an_infinite_measurement_is_not_defined_in_either_way_of_asking(predictor, gru, spectrum):
    known = network_inputs(steps=20, spectrum=spectrum, measurements=MEASURED | {"snip": np.inf, "signal": np.nan})
    assert np.isnan(known["initial_snip"])
    assert predictor.verdict(known).moment == BEFORE


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared):
    """A small real trial, an LSTM that reads images for two epochs, and the file of its data."""
    data = cut(prepared("mnist_rows"), 160, 20)
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    data.save(path)
    trial = trial_of(data, cell="lstm", batch_size=5, epochs=2, early_epoch=1, clip_norm=1.0)
    return train(trial, data), data, path


def test_a_users_network_gives_exactly_the_row_that_its_trial_gives(trained):
    """Torch's LSTM and the library's module with the weights of a trial, asked for as a stranger would."""
    result, data, path = trained
    trial, settings = result.trial, SpectrumSettings(sequences=3, transient=10, steps=60)
    made = spectra_job.measure(result, path, settings, "cpu"), measurements_job.measure(result, path, "cpu")
    expected = trial_inputs(feature_table.table([result], [made[0]], [made[1]], 0.8)).iloc[0]
    task, (inputs, targets) = tasks.get(trial.task), map(torch.from_numpy, data.split("train"))
    measured, whole = {}, {}
    for moment in ("initial", "early"):
        module = Network.of(trial).init(torch.Generator().manual_seed(0))
        module.load(result.weights[moment])
        measured[moment] = early_measurements(
            module,
            task.encode(inputs, trial.input_size),
            targets,
            loss=task.loss,
            optimiser=optimiser_at(moment, module, result),
            chance=trial.chance,
            batch_size=trial.batch_size,
            clip_norm=trial.hyper_parameters.clip_norm,
            recurrent=module.cell,
        )
        lstm, _ = twin("lstm", result.weights[moment])
        whole[moment] = lyapunov_spectrum(lstm.double(), spectra_job.driving_inputs(trial, path, settings), transient=10)
    found = network_inputs(
        steps=trial.steps,
        spectrum=whole["early"],
        initial=whole["initial"],
        measurements=measured["early"],
        initial_measurements=measured["initial"],
        losses=result.updates["loss"],
        gradient_norms=result.updates["gradient_norm"],
        chance=trial.chance,
        updates=2 * 32,
        updates_per_epoch=160 // 5,
        relative_loss=result.curves["validation_loss"][1] / trial.chance,
        task=trial.task,
        cell=trial.cell,
        parameter_count=result.outcome.parameter_count,
        **asdict(trial.hyper_parameters),
    )
    assert {c for sets in SETS.values() for columns in sets.values() for c in columns} <= set(found)
    assert {k: found[k] for k in CATEGORIES} == {k: expected[k] for k in CATEGORIES}
    for name, value in found.items():  # the cell's own derivative and torch's round differently, by some 1e-13
        assert value == (expected[name] if isinstance(value, str) else pytest.approx(expected[name], abs=1e-9, nan_ok=True)), name
    assert found["eighth_last"] != found["epoch_last"]
    for stretch, end in (("epoch", 32), ("eighth", 4)):
        mean = result.updates["loss"][:end].mean(dtype=float)
        assert found[f"{stretch}_mean"] == pytest.approx(np.log10(mean / trial.chance))


# What has diverged


SPECTRUM_GONE = "it has diverged: in none of the sequences did the state stay finite"
LOSS_GONE = "it has diverged: its loss or gradients are not finite"


@pytest.mark.parametrize(
    ("weights", "given", "reason"),
    [
        (np.nan, {}, f"{SPECTRUM_GONE} before training"),
        (np.nan, RATE, f"{SPECTRUM_GONE} before training"),
        (np.nan, {"initial": True, **EPOCH_CURVE}, f"{SPECTRUM_GONE} now"),
        (np.nan, {"initial": True}, f"{SPECTRUM_GONE} now"),
        (None, {"initial": True, "relative_loss": float("nan")}, LOSS_GONE),
        (None, {"initial": True, "relative_loss": torch.tensor(np.inf)}, LOSS_GONE),
        (None, {"initial": True, **EPOCH_CURVE, "gradient_norms": [*NORMS[:-1], np.inf]}, LOSS_GONE),
        (None, {"initial": True, **EIGHTH_CURVE, "losses": [2.0, np.nan, 2.0, 2.0]}, LOSS_GONE),
        (None, EIGHTH_CURVE | {"losses": [2.0, np.nan, 2.0, 2.0]}, "it has diverged: a loss, gradient or state is not finite"),
    ],
)
def test_a_network_that_has_diverged_has_failed_and_no_model_is_asked(
    predictor, monkeypatch, gru, spectrum, weights, given, reason
):
    monkeypatch.setattr(model, "fit", None)
    fresh, module = StabilityPredictor(predictor.trials, predictor.card), copy.deepcopy(gru[0])
    if weights is not None:
        module.weight_hh_l0.data.fill_(weights)
    verdict = fresh.assess(module, gru[1], **given | ({"initial": spectrum} if "initial" in given else {}))
    assert (verdict.probability, verdict.expected_score, verdict.based_on, verdict.reasons) == (0, 0, "divergence", (reason,))
    assert (verdict.moment, verdict.evidence) == ("divergence", None)
    assert str(verdict).startswith("failed: success with probability 0.00, expected score 0.00\n")


def test_a_network_that_diverges_for_some_sequences_is_judged_by_the_others_and_the_verdict_says_so(predictor, gru, spectrum):
    partly = replace(spectrum, per_sequence=spectrum.per_sequence.clone())
    partly.per_sequence[0] = np.nan
    verdict = predictor.assess(*gru, spectrum=partly)
    assert verdict.based_on == "spectrum"
    assert "in 50% of the sequences the state did not stay finite; the spectrum is that of the others" in verdict.reasons


def test_a_largest_exponent_of_minus_infinity_is_measured_though_its_standard_error_is_not_defined(predictor, gru):
    module = torch.nn.RNN(3, 8)
    module.weight_hh_l0.data.zero_()
    assert predictor.assess(module, gru[1]).based_on == "spectrum"


# What a verdict says


@pytest.mark.parametrize(
    ("auc", "sentence"),
    [
        ((0.51, 0.45, 0.58), "AUC 0.51 (0.45 to 0.58): hardly better than chance"),
        ((0.59, 0.52, 0.66), "AUC 0.59 (0.52 to 0.66): hardly better than chance"),
        ((0.70, 0.49, 0.80), "AUC 0.70 (0.49 to 0.80): hardly better than chance"),
        ((0.70, None, None), "AUC 0.70: hardly better than chance"),
        ((0.78, 0.71, 0.84), "AUC 0.78 (0.71 to 0.84); chance is 0.50"),
    ],
)
def test_the_first_reason_is_how_good_the_evidence_is_where_the_question_is_asked(predictor, inputs, failures, auc, sentence):
    five = f"{TASKS}, 5 own trials"
    asked = with_evidence(
        predictor.update(failures.head(7)),
        *(found(split, EPOCH, "all", auc=(0.9, 0.8, 0.95), error=0.04) for split in (TRIALS, CELLS, five)),
        found(TASKS, EPOCH, "all", auc=auc, error=0.12),
    )
    known, told = inputs.iloc[0].to_dict(), "this set of inputs separated successes from failures with"
    off = "; its probabilities were off by"

    def first(**changes):
        return asked.verdict(known | changes).reasons[0]

    assert first(task="my own") == f"on tasks that had been left out, {told} {sentence}{off} 0.12 on average"
    own = f"{told} AUC 0.90 (0.80 to 0.95); chance is 0.50{off} 0.04 on average"
    assert first(cell="lstm") == f"on cells that had been left out, {own}"
    assert first() == f"on other trials of its own tasks and cells, {own}"
    assert first(task="speech") == f"on tasks left out, of which 5 trials were known, {own}"
    nothing = with_evidence(predictor).verdict(known)
    assert nothing.reasons[0] == "no evidence says how well this set of inputs separates successes from failures"


def test_without_evidence_with_own_trials_that_on_tasks_left_out_is_named(predictor, inputs, failures):
    asked = with_evidence(predictor.update(failures.head(7)), found(TASKS, EPOCH, "all"))
    verdict = asked.verdict(inputs.iloc[0].to_dict() | {"task": "speech"})
    assert verdict.reasons[0].startswith("on tasks that had been left out, ")
    assert verdict.evidence == asked.card.judgement.evidence[0]


def test_a_set_without_spectra_says_whether_spectra_would_have_answered_better(predictor, inputs):
    known = inputs.iloc[0].to_dict()
    blind = {name: value for name, value in known.items() if not name.startswith(("early_growth", "change_", "early_exponent"))}
    sentence = "this set contains no spectrum"
    best = with_evidence(predictor, found(TRIALS, EPOCH, "curve", brier=0.1), found(TRIALS, EPOCH, "all", brier=0.2))
    assert best.verdict(known).reasons[1] == f"{sentence}; sets with one were not better there"
    worse = with_evidence(predictor, found(TRIALS, EPOCH, "curve", brier=0.2), found(TRIALS, EPOCH, "all", brier=0.1))
    assert worse.verdict(known).based_on == "all"
    assert sentence not in str(worse.verdict(known))
    less = worse.verdict(blind)
    assert less.based_on == "curve"
    assert less.reasons[1] == f"{sentence}; a set with one was better there, but not all of its inputs are known"
    assert sentence not in str(with_evidence(predictor, found(TRIALS, EPOCH, "curve")).verdict(known))


def test_losses_that_were_not_used_are_named(predictor, inputs):
    known, said = inputs.iloc[0].to_dict(), "the losses so far were not used"
    before = with_evidence(predictor, found(TRIALS, BEFORE, "all", brier=0.1), found(TRIALS, EPOCH, "loss", brier=0.2))
    assert said in str(before.verdict(known))
    assert said not in str(before.verdict({n: v for n, v in known.items() if not n.startswith(("eighth", "epoch", "early"))}))
    assert said not in str(with_evidence(predictor, found(TRIALS, EPOCH, "loss", brier=0.2)).verdict(known))


def test_a_verdict_says_on_how_much_data_the_spectrum_rests(predictor, gru, spectrum, inputs):
    assert "the spectrum rests on 2 sequences of 16 steps" in predictor.assess(*gru, spectrum=spectrum).reasons
    no_spectrum = with_evidence(predictor, found(TRIALS, EPOCH, "curve")).verdict(inputs.iloc[0].to_dict())
    assert "rests on" not in str(no_spectrum)


def test_effects_are_what_the_score_changes_by_when_one_input_is_at_its_median(predictor, inputs):
    name = "loss, spectrum"
    asked, known = with_evidence(predictor, found(TRIALS, EPOCH, name)), inputs.iloc[0].to_dict()
    columns, recipe = SETS[EPOCH][name], predictor.card.recipes[EPOCH][name]
    fitted, row = model.fit(inputs, recipe), inputs.head(1)
    turns = {}
    for column in columns:
        other = row.assign(**{column: np.median(inputs[column])})
        turns[column] = float(fitted.answer(row)[0].item() - fitted.answer(other)[0].item())
    names = sorted(turns, key=lambda c: -abs(turns[c]))[:3]
    told = effects(asked.verdict(known))
    assert 1 <= len(told) <= 3
    for reason, name in zip(told, names, strict=False):
        share = (inputs[name] < row[name].item()).mean()  # each value is a 79th of the way apart
        plain = name.removeprefix("early_log_").replace("_", " ")
        assert reason.startswith(f"{plain} is ")
        word = "raises" if turns[name] > 0 else "lowers"
        assert reason.endswith(f"trials; compared with their median, this {word} the expected score by {abs(turns[name]):.2f}")
        assert float(reason.split("above ")[1].split("%")[0]) / 100 == pytest.approx(share, abs=0.03)


def test_an_input_that_no_trial_had_measured_is_no_error(predictor, inputs):
    empty = inputs.assign(epoch_forecast=np.nan)
    asked = StabilityPredictor(empty, replace(card(empty), judgement=judged(found(TRIALS, EPOCH, "curve"))))
    assert 0 <= asked.verdict(inputs.iloc[0].to_dict()).probability <= 1


def test_a_verdict_says_what_no_trial_had(predictor, inputs):
    known = inputs.iloc[0].to_dict()
    changes = {"head": "neuroview", "log_learning_rate": 1.0, "dropout": 0.2, "early_growth_over_lag": 90.0, RELATIVE_LOSS: 1.0}
    familiar, never = (predictor.verdict(known | changed) for changed in ({}, changes))
    assert "no trial had" not in str(familiar)
    assert "outside the range" not in str(familiar)
    rates, losses = 10 ** inputs["log_learning_rate"], 10 ** inputs[RELATIVE_LOSS]
    beyond = "numbers outside the range of all trials, each replaced by the nearest in the range: "
    assert never.reasons[-2] == "no trial had head 'neuroview'"
    assert never.reasons[-1].startswith(beyond)
    assert set(never.reasons[-1].removeprefix(beyond).split(", ")) == {
        f"learning rate 10 ({rates.min():.3g} to {rates.max():.3g})",
        "dropout 0.2 (0)",
        f"relative loss 10 ({losses.min():.3g} to {losses.max():.3g})",
        "1 that were measured (early growth over lag)",
    }
