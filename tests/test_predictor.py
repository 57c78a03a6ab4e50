"""The predictor: what it sees, how it is judged, what it answers; against scikit-learn, scipy and made studies."""

import copy
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from scipy.stats import spearmanr
from study import measurements, result, spectra, study

from pipeline import lyapunov_spectrum, network_inputs
from pipeline.core.config import PredictorSettings
from pipeline.core.errors import ArtefactError, ModuleError
from pipeline.core.execution import Here
from pipeline.core.hyper_parameters import DECLARED
from pipeline.core.records import Estimate, Gain, Judgement
from pipeline.predictor import StabilityPredictor, bootstrap, evidence, features, folds, model, network
from pipeline.predictor.codes import ENCODERS
from pipeline.predictor.inputs import CATEGORIES, HYPER_PARAMETERS, PAIRS, SERVED, SETS, WITHOUT_SPECTRA, trial_inputs

SETTINGS = PredictorSettings(outer_folds=2, inner_folds=2, trees=10, bootstrap=200)


def inputs_of(**options):
    return trial_inputs(features.table(*study(**options), 0.8))


@pytest.fixture(scope="module")
def inputs():
    return inputs_of(trials=20)


@pytest.fixture(scope="module")
def judged(inputs):
    """The answers of all sets without an encoder over trials, and of some for what is left out, and what they show."""
    everywhere = {*SERVED, "early loss", *(name for pair in PAIRS for name in pair)}
    wanted = [
        fold
        for fold in folds.folds(inputs, SETTINGS, 0)
        if fold.inputs in everywhere or (fold.split == "over trials" and fold.inputs not in ENCODERS)
    ]
    return evidence.judge(wanted, SETTINGS, 0, Here())


@pytest.fixture(scope="module")
def answers(judged):
    return judged[0]


@pytest.fixture(scope="module")
def judgement(judged):
    return judged[1]


@pytest.fixture(scope="module")
def predictor(inputs, judgement):
    return StabilityPredictor.fit(inputs, judgement, 0.8, SETTINGS, 0)


def value(judgement, measure, split, inputs):
    return judgement.of(split, inputs).measures[measure].value


# What it may see


def test_a_trial_is_one_row_with_every_column_of_every_set(inputs):
    assert len(inputs) == 80
    assert {c for used in SETS.values() for c in used} <= set(inputs)


def test_nothing_that_is_known_only_later_is_an_input():
    results, spectra, measured = study(trials=4)
    table = features.table(results, spectra, measured, 0.8)
    changed = table.copy()
    late = changed["checkpoint"] == "final"
    for column in [*features.SPECTRUM, *features.CHANGE, *features.PROGRESS]:
        changed.loc[late, column] = 12345.0
    pd.testing.assert_frame_equal(trial_inputs(table), trial_inputs(changed))
    outcome = {"chance", "final_loss", "best_loss", "score", "success", "diverged"}
    assert not outcome & {c for used in SETS.values() for c in used}


def test_every_hyper_parameter_is_an_input_as_it_is_declared(inputs):
    assert CATEGORIES == ("task", "cell", "head", "optimiser", "initialisation")
    for name, declared in DECLARED.items():
        assert {"log": f"log_{name}", "linear": name, "category": name}[declared.scale] in HYPER_PARAMETERS
    results, *_ = study(trials=20)
    rates = [result.trial.hyper_parameters.learning_rate for result in results]
    np.testing.assert_allclose(10 ** inputs["log_learning_rate"], rates)


def test_the_nine_baselines_of_the_design_are_there():
    assert set(SETS) >= {
        "chance",
        "hyper-parameters and size",
        "early loss",
        "early gradient norms",
        "hyper-parameters and early loss",
        "largest exponent",
        "spectrum at initialisation",
        "early spectrum",
        "all",
    }
    spectral = [c for name in WITHOUT_SPECTRA for c in SETS[name] if c.startswith(("initial_", "change_")) or "exponent" in c]
    assert not spectral


# How it is judged


def test_every_trial_is_answered_for_once_per_split_and_set_and_never_by_a_model_that_saw_it(inputs):
    made = folds.folds(inputs, SETTINGS, 0)
    for split in folds.SPLITS:
        for name in SETS:
            held = [f for f in made if f.split == split and f.inputs == name]
            assert sorted(t for f in held for t in f.test["trial"]) == sorted(inputs["trial"])
            assert all(not set(f.train["trial"]) & set(f.test["trial"]) for f in held)


@pytest.mark.parametrize(("split", "column"), [("one cell left out", "cell"), ("one task left out", "task")])
def test_what_is_left_out_is_never_trained_on(inputs, split, column):
    for fold in (f for f in folds.folds(inputs, SETTINGS, 0) if f.split == split):
        assert not set(fold.train[column]) & set(fold.test[column])
        assert set(fold.test[column]) == {fold.group}


def test_a_split_needs_two_groups():
    made = folds.folds(inputs_of(tasks=("counting",), trials=10), SETTINGS, 0)
    assert {f.split for f in made} == {"over trials", "one cell left out"}


def test_the_answers_hold_a_row_per_trial_split_and_set(answers, inputs):
    over_trials = answers[answers["split"] == "over trials"]
    assert len(over_trials) == len(inputs) * (len(SETS) - len(ENCODERS))
    assert set(over_trials["inputs"]) == set(SETS) - set(ENCODERS)
    assert not answers.duplicated(["trial", "split", "inputs"]).any()
    assert answers[["expected_score", "probability_of_success"]].stack().between(0, 1).all()


def test_the_early_spectrum_finds_what_decides_and_the_rest_does_not(judgement):
    # the made score is a line in the early exponent with noise of 5 %
    assert value(judgement, "r2", "over trials", "early spectrum") > 0.8
    assert value(judgement, "r2", "over trials", "hyper-parameters and early loss") < 0.3
    assert judgement.champion.beats
    assert max(judgement.relies_on, key=lambda r: r.drop).family == "early spectrum"


def test_shuffled_scores_cannot_be_predicted(inputs):
    order = np.random.default_rng(0).permutation(len(inputs))
    shuffled = inputs.assign(score=inputs["score"].to_numpy()[order], success=inputs["success"].to_numpy()[order])
    made = [f for f in folds.folds(shuffled, SETTINGS, 0) if f.split == "over trials" and f.inputs == "all"]
    data = bootstrap.data_of(pd.concat(map(folds.answer, made)))
    found = {m: bootstrap.estimate(partial(bootstrap.MEASURES[m], data), 80, 200, 0) for m in ("r2", "spearman")}
    assert found["r2"].value < 0.15
    assert found["spearman"].low < 0.2


def test_measures_equal_those_of_scikit_learn_and_scipy(answers, judgement):
    for split, name in [("one cell left out", "early loss"), ("over trials", "all")]:
        rows = answers[(answers["split"] == split) & (answers["inputs"] == name)]
        score, expected, success, probability = bootstrap.data_of(rows)
        exact = {
            "r2": sklearn.metrics.r2_score(score, expected),
            "spearman": spearmanr(score, expected).statistic,
            "mae": sklearn.metrics.mean_absolute_error(score, expected),
            "auc": sklearn.metrics.roc_auc_score(success, probability),
            "brier": sklearn.metrics.brier_score_loss(success, probability),
            "accuracy": sklearn.metrics.accuracy_score(success, probability >= 0.5),
        }
        assert {m: e.value for m, e in judgement.of(split, name).measures.items()} == pytest.approx(exact)
        assert {m: bootstrap.value(m, rows) for m in exact} == pytest.approx(exact)


def test_measures_of_each_part_that_was_left_out_are_those_of_its_rows(answers, judgement):
    for split, column in (("one cell left out", "cell"), ("one task left out", "task")):
        rows = answers[(answers["split"] == split) & (answers["inputs"] == "all")]
        by_group = judgement.of(split, "all").by_group
        assert by_group.keys() == set(rows[column])
        for group, part in rows.groupby(column):
            exact = sklearn.metrics.r2_score(part["score"], part["expected_score"])
            assert by_group[group]["r2"] == pytest.approx(exact)
    assert judgement.of("over trials", "all").by_group == {}


def estimate_of(measure, size, seed, *, count=1000, noise=0.1):
    """The estimate of a measure from scores that are expected but for normal noise."""
    random = np.random.default_rng(seed)
    true = random.uniform(0, 1, size)
    data = [true, true + random.normal(0, noise, size), (true > 0.5).astype(float), true]
    return data, bootstrap.estimate(partial(bootstrap.MEASURES[measure], data), size, count, 0)


def test_intervals_hold_the_measure_and_shrink_with_the_square_root_of_the_trials():
    widths = []
    for size in (100, 400):
        _, found = estimate_of("mae", size, size)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert 0.35 < widths[1] / widths[0] < 0.7  # a half, give or take the spread of two estimates of a width


def test_the_interval_of_a_mean_absolute_error_is_that_of_the_central_limit():
    data, found = estimate_of("mae", 400, 1, count=2000)
    expected = 2 * 1.96 * np.abs(data[0] - data[1]).std() / 20
    assert found.high - found.low == pytest.approx(expected, rel=0.1)  # 2,000 samples give 3 %


def test_what_the_data_do_not_define_is_none():
    alike = [np.ones(6), np.zeros(6), np.ones(6), np.full(6, 0.5)]
    for measure in ("r2", "spearman", "auc"):
        assert bootstrap.estimate(partial(bootstrap.MEASURES[measure], alike), 6, 100, 0) == Estimate(None, None, None)
    assert bootstrap.value("r2", pd.DataFrame()) is None
    assert evidence.gain_text(Estimate(None)) == "an amount that these trials do not define"


def test_chance_cannot_rank(judgement):
    assert value(judgement, "r2", "over trials", "chance") <= 0.01
    assert 0.3 < value(judgement, "auc", "over trials", "chance") < 0.7


# What the evidence says


def made_answers(expected):
    """Answers over trials in which a set expects a given multiple of the score's deviation from its mean."""
    score = np.linspace(0, 1, 40)
    trials = {"trial": [f"{i:02d}" for i in range(40)], "task": "a", "cell": "b", "score": score, "success": score > 0.8}
    common = {"split": "over trials", "group": ["fold 1", "fold 2"] * 20, "score_model": "Ridge", "success_model": "SVC"}
    common |= {"probability_of_success": score} | {f"drop {family}": 0.1 for family in folds.FAMILIES}
    return pd.concat(
        [
            pd.DataFrame(trials | common | {"inputs": name, "expected_score": 0.5 + expected.get(name, -0.2) * (score - 0.5)})
            for name in SETS
        ],
        ignore_index=True,
    )


def test_the_gain_is_the_difference_in_r2_on_the_same_samples():
    """An expectation of m times the deviation from the mean has R2 = 1 - (1 - m)^2."""
    shown = evidence.judgement(made_answers({"all": 0.8, "early loss": 0.5}), SETTINGS, 0, Here())
    assert (shown.champion.split, shown.champion.without, shown.champion.with_) == ("over trials", "early loss", "all")
    assert shown.champion.r2.value == pytest.approx(0.96 - 0.75)
    # both errors are multiples of one deviation, so that the difference hardly varies: samples differ in their own mean alone
    assert 0.96 - 0.75 - 0.02 < shown.champion.r2.low < shown.champion.r2.high < 0.96 - 0.75 + 0.05
    assert shown.champion.beats
    pair = next(g for g in shown.gains if g.without == "all but spectra")
    assert pair.r2.value == pytest.approx(0.96 - (1 - 1.2**2))


@pytest.mark.parametrize("expected", [{"all": 0.5, "early loss": 0.5}, {"all": 0.4, "early loss": 0.5}])
def test_sets_that_gain_nothing_do_not_beat_their_rival(expected):
    champion = evidence.judgement(made_answers(expected), SETTINGS, 0, Here()).champion
    assert not champion.beats
    assert "do not beat" in evidence.verdict(champion)


def test_a_rival_whose_r2_is_exactly_zero_still_beats_those_below_zero():
    shown = evidence.judgement(made_answers({"all": 0.8, "chance": 0.0}), SETTINGS, 0, Here())
    assert value(shown, "r2", "over trials", "chance") == 0
    assert shown.champion.without == "chance"


def test_the_order_of_answers_and_folds_does_not_matter(inputs):
    made = [f for f in folds.folds(inputs, SETTINGS, 0) if f.split == "over trials" and f.inputs == "chance"]
    one, two = ([folds.answer(f) for f in order] for order in (made, made[::-1]))
    pd.testing.assert_frame_equal(pd.concat(one).sort_values("trial"), pd.concat(two).sort_values("trial"))
    answers = made_answers({"all": 0.8})
    mixed = answers.sample(frac=1, random_state=0)
    shown = [evidence.judgement(rows, SETTINGS, 0, Here()) for rows in (answers, mixed)]
    assert [g.r2 for g in shown[0].gains] == [g.r2 for g in shown[1].gains]
    assert [(e.split, e.inputs) for e in shown[0].evidence] == [(e.split, e.inputs) for e in shown[1].evidence]


def test_the_evidence_is_written_to_json_and_read_back(judgement, tmp_path):
    judgement.save(tmp_path / "evidence.json")
    assert Judgement.load(tmp_path / "evidence.json") == judgement


def test_the_metrics_are_those_of_all_inputs(judgement):
    found = evidence.metrics(judgement)
    assert len(found) == 3 * 3 + 1
    assert found["r2_one_task_left_out"] == value(judgement, "r2", "one task left out", "all")
    assert found["gain_r2"] == judgement.champion.r2.value
    json.dumps(found, allow_nan=False)


def test_the_text_shows_every_set_and_the_verdict(judgement):
    text = evidence.text(judgement)
    assert all(name in text for name in SETS if name not in ENCODERS)
    assert evidence.verdict(judgement.champion) in text


def test_the_verdict_turns_with_the_numbers():
    beats = Gain("over trials", "early loss", "all", Estimate(0.1, 0.05, 0.2))
    assert evidence.verdict(beats) == (
        'All inputs beat "early loss", the best set without spectra: R2 over trials changes by +0.100 '
        "(95 % interval +0.050 to +0.200). Champion."
    )
    undecided = evidence.verdict(replace(beats, r2=Estimate(0.1, -0.01, 0.2)))
    assert 'do not beat "early loss"' in undecided
    assert undecided.endswith("No champion.")


# Models


def test_one_class_alone_gives_its_share():
    x = pd.DataFrame({"a": np.arange(20.0)})
    never = model.fit_success("early loss", x, pd.Series([False] * 20), SETTINGS, 0)
    expected, probability = model.predict(model.fit_score("early loss", x, x["a"] / 20, SETTINGS, 0), never, x)
    assert (probability == 0).all()
    assert expected.min() >= 0
    assert expected.max() <= 1


def test_missing_measurements_and_unknown_names_are_answered():
    x = pd.DataFrame({"task": ["a", "b"] * 20, "value": np.where(np.arange(40) % 5, np.arange(40.0), np.nan)})
    fitted = model.fit_score("all", x, pd.Series(np.arange(40) / 40), SETTINGS, 0)
    assert np.isfinite(fitted.predict(pd.DataFrame({"task": ["never seen"], "value": [np.nan]}))).all()


@pytest.mark.parametrize("columns", [[], ["clip_norm", "head"]])
def test_inputs_that_do_not_vary_give_the_mean(columns):
    x, score = pd.DataFrame({"clip_norm": [1.0] * 20, "head": ["last"] * 20})[columns], pd.Series(np.arange(20) / 20)
    expected, probability = model.predict(
        model.fit_score("all", x, score, SETTINGS, 0), model.fit_success("all", x, score >= 0.5, SETTINGS, 0), x
    )
    assert expected == pytest.approx(np.full(20, 0.475))
    assert probability == pytest.approx(np.full(20, 0.5))


@pytest.mark.parametrize(("column", "constant"), [("clip_norm", 1.0), ("head", "last"), ("dropout", np.nan)])
def test_a_constant_column_changes_no_prediction(column, constant):
    """A hyper-parameter that a study does not vary must not change what the forests of trees draw."""
    random, settings = np.random.default_rng(0), SETTINGS.model_copy(update={"trees": 40})
    x = pd.DataFrame(random.normal(size=(120, 5))).add_prefix("x").assign(task=["one", "two"] * 60)
    score = pd.Series(np.where(x["x0"].abs() < 0.67, 0.9, 0.1) + random.normal(0, 0.02, 120))
    wider = x.copy()
    wider.insert(0, column, constant)
    found = []
    for rows in (x, wider):
        models = model.fit_score("all", rows, score, settings, 0), model.fit_success("all", rows, score > 0.5, settings, 0)
        assert [model.kind(m) for m in models] == ["ExtraTreesRegressor", "ExtraTreesClassifier"]
        found.append(model.predict(*models, rows))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ENCODERS)
def test_sets_of_whole_spectra_are_answered_for(inputs, name):
    fold = next(f for f in folds.folds(inputs, SETTINGS, 0) if f.inputs == name)
    answers = folds.answer(fold)
    assert sorted(answers["trial"]) == sorted(fold.test["trial"])
    assert answers["expected_score"].between(0, 1).all()


def test_probabilities_are_calibrated_on_a_coin_whose_odds_are_known():
    random = np.random.default_rng(0)
    x = pd.DataFrame({"odds": random.uniform(0, 1, 1200)})
    success = pd.Series(random.uniform(0, 1, 1200) < x["odds"])
    fitted = model.fit_success("early loss", x[:800], success[:800], SETTINGS, 0)
    probability = fitted.predict_proba(x[800:])[:, 1]
    assert np.abs(probability - x["odds"][800:]).mean() < 0.1  # 800 coins in ten bins: standard error .06


def test_the_same_seed_gives_the_same_answers(inputs):
    one, two = (next(f for f in folds.folds(inputs, SETTINGS, 0) if f.inputs == "all") for _ in range(2))
    pd.testing.assert_frame_equal(folds.answer(one), folds.answer(two))


# In other people's code


def test_a_saved_predictor_answers_as_before(predictor, inputs, tmp_path):
    predictor.save(tmp_path / "predictor")
    loaded = StabilityPredictor.load(tmp_path / "predictor")
    pd.testing.assert_frame_equal(loaded.predict(inputs), predictor.predict(inputs))


def test_a_missing_or_broken_predictor_is_one_sentence(predictor, tmp_path):
    with pytest.raises(ArtefactError, match=r"about\.json"):
        StabilityPredictor.load(tmp_path)
    predictor.save(tmp_path)
    (tmp_path / "model.skops").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ArtefactError, match=r"model\.skops cannot be loaded"):
        StabilityPredictor.load(tmp_path)


@pytest.mark.parametrize("change", [lambda sets: None, lambda sets: {**sets, "all": [c for c in sets["all"] if c != "head"]}])
def test_a_predictor_of_other_inputs_is_refused_when_it_is_loaded(predictor, tmp_path, change):
    about = dict(predictor.about, sets=change(predictor.about["sets"]))
    if about["sets"] is None:  # as files were before they said
        del about["sets"]
    StabilityPredictor(predictor.models, about).save(tmp_path)
    with pytest.raises(ArtefactError, match="was fitted to other inputs than this version"):
        StabilityPredictor.load(tmp_path)


def test_the_set_used_is_one_whose_columns_are_all_known(predictor, inputs):
    for name in SERVED:
        chosen = predictor.predict(inputs[list(SETS[name])])["based_on"].unique()
        assert all(set(SETS[c]) <= set(SETS[name]) for c in chosen)
    with pytest.raises(ModuleError, match="too little is known"):
        predictor.predict(inputs[["clip_norm"]])


def test_a_network_is_assessed_before_training_and_after_an_epoch(predictor):
    torch.manual_seed(0)
    network, data = torch.nn.GRU(3, 16), torch.randn(40, 4, 3)
    before = predictor.assess(network, data)
    assert before.based_on == "spectrum at initialisation"
    initial = lyapunov_spectrum(network, data)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1.1)
    after = predictor.assess(
        network, data, initial=initial, relative_loss=0.7, gradient_norm=0.3, learning_rate=1e-3, init_scale=0.25
    )
    assert set(SETS[after.based_on]) >= {"early_exponent_1"}
    for verdict in (before, after):
        assert 0 <= verdict.probability <= 1
        assert 0 <= verdict.expected_score <= 1
        assert 1 <= len(effects(verdict)) <= 3
        assert str(verdict.based_on) in str(verdict)
        assert "over trials" in verdict.evidence


def effects(verdict):
    """The reasons that are about single inputs."""
    return [reason for reason in verdict.reasons if "against their median" in reason]


@pytest.fixture(scope="module")
def gru():
    """A network and its data."""
    torch.manual_seed(0)
    return torch.nn.GRU(3, 8), torch.randn(20, 2, 3)


@pytest.fixture(scope="module")
def spectrum(gru):
    return lyapunov_spectrum(*gru)


EPOCH = {"relative_loss": 0.5, "learning_rate": 1e-3, "init_scale": 0.2}  # known after an epoch


@pytest.mark.parametrize(
    ("trained", "given", "sentence"),
    [
        (True, {"learning_rate": 1e-3}, "learning_rate needs init_scale= as well"),
        (False, {"clip_norm": 1.0}, "clip_norm needs learning_rate="),
        (False, {"task": "counting"}, "task needs learning_rate="),
        (False, {"cell": "gru"}, "cell needs learning_rate="),
        (False, {"head": "last"}, "head needs learning_rate="),
        (False, {"parameter_count": 9}, "parameter_count needs learning_rate="),
        (False, {"relative_loss": 0.5}, "relative_loss needs initial="),
        (False, {"gradient_norm_max": 0.5}, "gradient_norm_max needs initial="),
        (True, {"gradient_norm_max": 0.5}, "gradient_norm_max needs gradient_norm="),
        (True, {"gradient_norm": 0.5, "relative_loss": 0.5}, "gradient_norm needs learning_rate="),
        (True, EPOCH | {"gradient_norm": 0.5, "gradient_norm_max": 0.4}, "gradient_norm_max is 0.4; it should be at least grad"),
        (False, {"learning_rate": 1e-3, "speed": 0.9}, "no argument 'speed'; there are relative_loss, .* learning_rate, "),
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
        ({"dropout": 1}, "dropout is 1.0; it should be less than 1"),
        ({"clip_norm": -1}, "clip_norm is -1.0; it should be greater than or equal to 0"),
        ({"hidden_size": 2.5}, "hidden_size is 2.5; it should be a valid integer"),
        ({"parameter_count": 0}, "parameter_count is 0; it should be a whole number above 0"),
        ({"relative_loss": -0.1}, "relative_loss is -0.1; it should be at least 0"),
        ({"relative_loss": "low"}, "relative_loss is 'low'; it should be a number"),
        ({"gradient_norm": -2}, "gradient_norm is -2; it should be at least 0"),
        ({"task": "countng"}, "no task 'countng'; did you mean 'counting'"),
        ({"task": "Mnist_rows"}, "no task 'Mnist_rows'; did you mean 'mnist_rows'"),  # a task of the library, if not of the study
        ({"task": "speech"}, "no task 'speech'; there are adding, .* another for one of your own"),
        ({"task": 3}, "no task 3; there are"),
        ({"cell": "elmann"}, "no cell 'elmann'; did you mean 'elman'"),
        ({"head": "lst"}, "no head 'lst'; did you mean 'last'"),
        ({"head": 3}, "head is 3; it should be a valid string"),
    ],
)
def test_numbers_and_names_that_cannot_be_are_one_sentence(predictor, gru, spectrum, given, sentence):
    with pytest.raises(ModuleError, match=sentence):
        predictor.assess(*gru, initial=spectrum, **EPOCH | given)


def test_numbers_of_any_kind_give_the_same_answer(predictor, gru, spectrum):
    plain = predictor.assess(*gru, initial=spectrum, **EPOCH)
    for kind in (np.float64, np.array, lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True)):
        assert predictor.assess(*gru, initial=spectrum, **{name: kind(value) for name, value in EPOCH.items()}) == plain


def test_a_spectrum_that_lacks_exponents_or_is_of_another_network_is_refused(predictor, gru, spectrum):
    truncated, other = lyapunov_spectrum(*gru, count=3), lyapunov_spectrum(torch.nn.GRU(3, 4), gru[1])
    for name in ("initial", "spectrum"):
        with pytest.raises(ModuleError, match=f"{name}= has 3 of 8 exponents; every set of inputs needs the whole spectrum"):
            predictor.assess(*gru, **{name: truncated})
        with pytest.raises(ModuleError, match=f"{name}= is a list; it should be a Spectrum"):
            predictor.assess(*gru, **{name: [spectrum]})
    with pytest.raises(ModuleError, match="initial= has 4 exponents and the network's spectrum has 8"):
        predictor.assess(*gru, initial=other)


def test_a_spectrum_that_has_been_measured_gives_the_same_verdict(predictor, gru, spectrum):
    verdict = predictor.assess(*gru)
    assert predictor.assess(*gru, spectrum=spectrum) == predictor.assess(*gru, device="cpu") == verdict
    assert predictor.verdict(network_inputs(spectrum, steps=20)) == verdict
    with pytest.raises(ModuleError, match="state= and device= are of no use beside spectrum="):
        predictor.assess(*gru, spectrum=spectrum, device="cpu")
    with pytest.raises(ModuleError, match="inputs should be a tensor of sequences"):
        predictor.assess(gru[0], None, spectrum=spectrum)


def test_the_inputs_of_a_network_are_enough_for_the_sets_that_its_arguments_belong_to(predictor, spectrum):
    known = network_inputs(
        spectrum, steps=20, initial=spectrum, gradient_norm=0.1, parameter_count=99, hidden_size=8, **EPOCH, cell="gru"
    )
    knowing = StabilityPredictor({"all": predictor.models["all"]}, predictor.about)
    assert knowing.predict(pd.DataFrame([known, known]))["based_on"].tolist() == ["all"] * 2
    assert (known["task"], known["cell"], known["log_parameter_count"]) == ("another", "gru", pytest.approx(np.log10(99)))
    assert known["early_log_gradient_norm_max"] == known["early_log_gradient_norm"] == pytest.approx(-1)
    with pytest.raises(ModuleError, match="learning_rate needs parameter_count= as well"):
        network_inputs(spectrum, steps=20, learning_rate=1e-3)


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


# What has diverged, and what was not measured


class Unasked:
    """A model that must not be asked."""

    def __getattr__(self, name):
        raise AssertionError


@pytest.fixture
def unasked(predictor):
    return StabilityPredictor(dict.fromkeys(predictor.models, (Unasked(), Unasked())), predictor.about)


@pytest.mark.parametrize(
    ("weights", "given", "reason"),
    [
        (np.nan, {}, "it has diverged: in none of the sequences did the state stay finite before training"),
        (np.nan, {"initial": True, **EPOCH}, "it has diverged: in none of the sequences did the state stay finite now"),
        (np.nan, {"learning_rate": 1e-3}, "it has diverged: in none of the sequences did the state stay finite before training"),
        (None, {"initial": True, "relative_loss": float("nan")}, "it has diverged: its loss or gradients are not finite"),
        (None, {"initial": True, "relative_loss": torch.tensor(np.inf)}, "it has diverged: its loss or gradients are not finite"),
        (None, {"initial": True, **EPOCH, "gradient_norm": np.inf}, "it has diverged: its loss or gradients are not finite"),
    ],
)
def test_a_network_that_has_diverged_has_failed_and_no_model_is_asked(unasked, gru, spectrum, weights, given, reason):
    module = copy.deepcopy(gru[0])
    if weights is not None:
        module.weight_hh_l0.data.fill_(weights)
    verdict = unasked.assess(module, gru[1], **given | ({"initial": spectrum} if "initial" in given else {}))
    assert (verdict.probability, verdict.expected_score, verdict.based_on, verdict.reasons) == (0, 0, "divergence", (reason,))
    assert str(verdict).startswith("failed: success with probability 0.00")


def test_a_network_that_diverges_for_some_sequences_is_judged_by_the_others_and_the_verdict_says_so(predictor, gru, spectrum):
    partly = replace(spectrum, per_sequence=spectrum.per_sequence.clone())
    partly.per_sequence[0] = np.nan
    verdict = predictor.assess(*gru, spectrum=partly)
    assert verdict.based_on == "spectrum at initialisation"
    assert "in 50% of the sequences the state did not stay finite; the spectrum is that of the others" in verdict.reasons


def test_a_largest_exponent_of_minus_infinity_is_measured_though_its_standard_error_is_not_defined(predictor, gru):
    module = torch.nn.RNN(3, 8)
    module.weight_hh_l0.data.zero_()
    assert predictor.assess(module, gru[1]).based_on == "spectrum at initialisation"


def test_a_trial_has_diverged_if_it_has_by_the_early_checkpoint():
    spectra_ = [[[0.0, -1.0]] * 2, [[0.5, -1.5]] * 2, [[np.nan] * 2] * 2]
    gone = [*spectra_[:1], [[np.nan] * 2] * 2, spectra_[2]]
    partly = [*spectra_[:1], [[np.nan] * 2, [0.0, -1.0]], spectra_[2]]
    nan = float("nan")
    losses = {"late": [2, 1, nan, nan], "early": [2, nan, nan, nan], "gone": [2, 1, 1, 1], "partly": [2, 1, 1, 1]}
    made = {"gone": gone, "partly": partly}
    results = [result(curve, index=i, diverged=name in ("late", "early")) for i, (name, curve) in enumerate(losses.items())]
    measured = [spectra(made.get(name, spectra_), index=i) for i, name in enumerate(losses)]
    probed = [measurements(index=i) for i in range(len(losses))]
    rows = trial_inputs(features.table(results, measured, probed, 0.8))
    assert dict(zip(losses, rows["already_diverged"], strict=True)) == {
        "late": False,
        "early": True,
        "gone": True,
        "partly": False,
    }


def test_an_answer_depends_on_no_other_row(predictor, inputs):
    rows = inputs.head(6).copy()
    early = [c for c in rows if c.startswith(("early_", "change_"))]
    rows.loc[0, early] = np.nan  # not measured yet
    rows.loc[1, "already_diverged"] = True
    rows.loc[2, "task"] = "another"
    rows.loc[3, [c for c in rows if c.startswith("log_")]] = np.nan
    together = predictor.predict(rows)
    for i in rows.index:
        pd.testing.assert_frame_equal(predictor.predict(rows.loc[[i]]), together.loc[[i]])
    assert together.loc[0, "based_on"] in ("spectrum at initialisation", "hyper-parameters and initial spectrum")
    assert together.loc[1].tolist() == [0, 0, "divergence"]
    assert together.loc[3, "based_on"] in ("spectrum at initialisation", "early spectrum", "early loss and early spectrum")
    pd.testing.assert_frame_equal(predictor.predict(rows[::-1]), together[::-1])
    same = rows.set_axis([7] * 6)
    assert predictor.predict(same).index.tolist() == [7] * 6
    assert len(predictor.predict(rows.head(0))) == 0


def test_what_is_absent_and_what_is_nan_are_both_not_measured(predictor, inputs):
    early = [c for c in inputs if c.startswith(("early_", "change_"))]
    pd.testing.assert_frame_equal(
        predictor.predict(inputs.drop(columns=early)), predictor.predict(inputs.assign(**dict.fromkeys(early)))
    )
    lacking = inputs.drop(columns=early).assign(initial_exponent_2=np.where(inputs.index == 3, np.nan, 0.0))
    with pytest.raises(
        ModuleError, match=r"too little is known to predict from row 3: 'spectrum at init.* also needs initial_exponent_2;"
    ):
        predictor.predict(lacking)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"early_exponent_1": np.inf}, "early_exponent_1 in row 0 is inf; it should be finite, or NaN if not measured"),
        ({"early_exponent_1": "high"}, "early_exponent_1 in row 0 is 'high'; it should be a number"),
        ({"early_exponent_1": True}, "early_exponent_1 in row 0 is True; it should be a number"),
        ({"early_exponent_1": 1j}, "early_exponent_1 in row 0 is 1j; it should be a number"),
        ({"early_lost_share": 1.5}, "early_lost_share in row 0 is 1.5; it should be finite, at least 0, at most 1"),
        ({"initial_standard_error": -1}, "initial_standard_error in row 0 is -1; it should be finite, at least 0"),
        ({"log_learning_rate": 400}, "log_learning_rate in row 0 is 400; it should be finite, at least -12, at most 12"),
        ({"dropout": 2.0}, "dropout is 2.0; it should be less than 1"),
        ({"task": "countng"}, "no task 'countng'; did you mean 'counting'"),
        ({"cell": 3}, "no cell 3"),
        ({"learning_rate": 1e-3}, "no input 'learning_rate'; did you mean 'log_learning_rate'"),
        ({"already_diverged": "no"}, "already_diverged in row 0 is 'no'; it should be True or False"),
    ],
)
def test_rows_and_single_networks_are_checked_alike(predictor, inputs, changes, sentence):
    rows = inputs.head(2).assign(**changes)
    for ask in (predictor.predict, lambda rows: predictor.verdict(rows.iloc[0].to_dict())):
        with pytest.raises(ModuleError, match=sentence):
            ask(rows)


def test_inputs_are_a_table_with_each_column_once(predictor, inputs):
    with pytest.raises(ModuleError, match=r"the inputs are a dict; they should be a pandas\.DataFrame"):
        predictor.predict(inputs.iloc[0].to_dict())
    with pytest.raises(ModuleError, match="the column 'task' is there twice"):
        predictor.predict(pd.concat([inputs, inputs[["task"]]], axis=1))
    with pytest.raises(ModuleError, match="the feature table lacks the column 'checkpoint'"):
        trial_inputs(features.table(*study(trials=1), 0.8).drop(columns="checkpoint"))


def test_every_column_that_the_predictor_takes_is_described():
    page = features.documentation().rpartition("## Inputs of the predictor")[2]
    for column in {c for name in SERVED for c in SETS[name]} | {"already_diverged", *features.MEASUREMENT}:
        prefix = next((p for p in ("early_log_", "log_", "initial_", "early_", "change_") if column.startswith(p)), "")
        assert f"`{prefix}NAME`" in page if prefix else f"`{column}`" in page
        assert column.removeprefix(prefix) in features.documentation()


# What a verdict says


def about_with(predictor, **changes):
    return StabilityPredictor(predictor.models, dict(predictor.about) | changes)


def evidence_of(*auc):
    """Evidence in which every set has the same R2, and an AUC on tasks left out."""
    both = {split: {"r2": {"value": 0.5}, "auc": {"value": 0.9, "low": 0.8, "high": 0.95}} for split in folds.SPLITS}
    both["one task left out"] = {"r2": {"value": 0.5}, "auc": dict(zip(("value", "low", "high"), auc, strict=True))}
    return dict.fromkeys(SERVED, both)


@pytest.mark.parametrize(
    ("auc", "sentence"),
    [
        ((0.51, 0.45, 0.58), "AUC 0.51 (0.45 to 0.58): hardly better than chance"),
        ((0.55, 0.52, 0.58), "AUC 0.55 (0.52 to 0.58): hardly better than chance"),
        ((0.70, 0.49, 0.80), "AUC 0.70 (0.49 to 0.80): hardly better than chance"),
        ((0.78, 0.71, 0.84), "AUC 0.78 (0.71 to 0.84); chance is 0.50"),
    ],
)
def test_the_first_reason_is_how_good_the_evidence_is_where_the_question_is_asked(predictor, inputs, auc, sentence):
    asked, known = about_with(predictor, evidence=evidence_of(*auc)), inputs.iloc[0].to_dict()
    told = "this set of inputs separated successes from failures with"
    assert asked.verdict(known | {"task": "another"}).reasons[0] == f"on tasks that the study had left out, {told} {sentence}"
    own = f"{told} AUC 0.90 (0.80 to 0.95); chance is 0.50"
    assert asked.verdict(known | {"cell": "lstm"}).reasons[0] == f"on cells that the study had left out, {own}"
    assert asked.verdict(known).reasons[0] == f"on other trials of its own tasks and cells, {own}"
    nothing = about_with(predictor, evidence={}).verdict(known)
    assert nothing.reasons[0] == "the study cannot say how well this set of inputs separates successes from failures"


def test_a_verdict_says_on_how_much_data_the_spectrum_rests_and_when_it_is_too_little(predictor, gru, spectrum):
    rests = "the spectrum rests on 2 sequences of 16 steps; those of the study on 2 of 8"
    calm = predictor.assess(*gru, spectrum=replace(spectrum, standard_error=torch.full((8,), 1e-3)))
    noisy = predictor.assess(*gru, spectrum=replace(spectrum, standard_error=torch.full((8,), 0.5)))
    assert rests in calm.reasons
    assert rests in noisy.reasons
    more = (
        "the standard error of the largest exponent, 0.5 nats per step, is larger than in 100% of the study's trials: hand over"
    )
    assert [any(reason.startswith(more) for reason in verdict.reasons) for verdict in (calm, noisy)] == [False, True]


def test_a_verdict_says_what_the_study_has_never_seen(predictor, inputs):
    knowing = StabilityPredictor({"all": predictor.models["all"]}, predictor.about)  # the others may have better evidence
    known = inputs.iloc[0].to_dict()
    changes = {"head": "neuroview", "cell": "lstm", "log_learning_rate": 1.0, "dropout": 0.2, "early_exponent_1": 7.0}
    familiar, never = (knowing.verdict(known | changed) for changed in ({}, changes))
    assert "no trial of the study had" not in str(familiar)
    assert "beyond" not in str(familiar)
    rates = 10 ** inputs["log_learning_rate"]
    assert never.reasons[-3:] == (
        "no trial of the study had cell 'lstm'",
        "no trial of the study had head 'neuroview'",
        "numbers beyond those of all trials of the study, each taken as the nearest that a trial had: "
        f"learning rate 10 ({rates.min():.3g} to {rates.max():.3g}), dropout 0.2 (0), 1 of the spectrum (early exponent 1)",
    )


def test_a_number_beyond_all_trials_counts_as_the_nearest_of_theirs(predictor, inputs):
    column = "early_exponent_1"
    for beyond, end in ((1e3, inputs[column].max()), (-1e3, inputs[column].min())):
        found = [predictor.predict(inputs.assign(**{column: value})) for value in (beyond, end)]
        pd.testing.assert_frame_equal(*found)


def test_a_verdict_says_what_was_given_and_is_not_used(predictor, inputs):
    about = dict(predictor.about) | {
        "evidence": {"early spectrum": {"over trials": {"r2": {"value": 0.5}, "auc": {"value": None}}}}
    }
    verdict = StabilityPredictor(predictor.models, about).verdict(inputs.iloc[0].to_dict())
    families = "hyper-parameters and size, early loss, early gradient norms"
    assert verdict.reasons[1] == f"not used, since the evidence is better without: {families}"


def test_verdicts_and_predictors_can_be_compared_hashed_and_shown(predictor, gru):
    one, two = predictor.assess(*gru), predictor.assess(*gru)
    assert one == two
    assert len({one, two}) == 1
    assert len(repr(one)) < 150
    assert repr(predictor) == "StabilityPredictor(fitted to 80 trials of 2 tasks and 2 cells; success is a score of 0.8)"
    assert len({predictor, StabilityPredictor(predictor.models, predictor.about)}) == 2
    assert predictor == predictor


def test_a_task_of_the_study_is_judged_by_the_evidence_over_trials_and_another_by_that_on_tasks_left_out(predictor, inputs):
    def best(split):
        return max(SERVED, key=lambda name: predictor.about["evidence"][name][split]["r2"]["value"])

    assert predictor.predict(inputs)["based_on"].unique() == [best("over trials")]
    assert predictor.predict(inputs.assign(task="another"))["based_on"].unique() == [best("one task left out")]


def test_assess_hands_the_models_exactly_the_features_of_the_study(predictor, monkeypatch):
    seen = {}
    monkeypatch.setattr(StabilityPredictor, "verdict", lambda self, known: seen.update(known))
    torch.manual_seed(0)
    network, data = torch.nn.LSTM(3, 8, batch_first=True), torch.randn(4, 30, 3)
    spectrum = lyapunov_spectrum(network, data)
    predictor.assess(network, data, learning_rate=1e-2, init_scale=0.3, head="last", dropout=0.2)
    expected = features.spectrum_features(spectrum.per_sequence.numpy(), float(spectrum.standard_error[0]), 30)
    assert {k: v for k, v in seen.items() if k.startswith("initial_")} == {f"initial_{k}": v for k, v in expected.items()}
    assert seen["log_learning_rate"] == pytest.approx(-2)
    assert seen["log_init_scale"] == pytest.approx(np.log10(0.3))
    assert seen["log_hidden_size"] == pytest.approx(np.log10(8))
    assert (seen["task"], seen["cell"], seen["head"], seen["dropout"]) == ("another", "lstm", "last", 0.2)


def test_the_scale_of_uniform_weights_is_measured_where_it_is_not_given(predictor, monkeypatch):
    seen = {}
    monkeypatch.setattr(StabilityPredictor, "verdict", lambda self, known: seen.update(known))
    network = torch.nn.RNN(3, 64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.weight_hh_l0.uniform_(-0.2, 0.2, generator=generator)
    predictor.assess(network, torch.randn(20, 4, 3, generator=generator), learning_rate=1e-2)
    assert 10 ** seen["log_init_scale"] == pytest.approx(0.2, rel=0.03)  # 4,096 weights: standard error .7 %


def test_what_is_no_row_spectrum_or_folder_is_refused(predictor):
    with pytest.raises(ModuleError, match=r"inputs are a list; they should be a mapping"):
        predictor.verdict([1])
    with pytest.raises(ModuleError, match="spectrum is None"):
        network_inputs(None, steps=3)
    with pytest.raises(ArtefactError, match="folder or an address, found int"):
        StabilityPredictor.load(3)
