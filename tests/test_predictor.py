"""The predictor: what it sees, how it is judged, what it answers; against scikit-learn, scipy and made studies."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from scipy.stats import spearmanr
from study import study

from pipeline import lyapunov_spectrum
from pipeline.core.config import PredictorSettings
from pipeline.core.errors import ArtefactError, ModuleError
from pipeline.core.execution import Here
from pipeline.core.hyper_parameters import DECLARED
from pipeline.core.records import Estimate, Gain, Judgement
from pipeline.predictor import StabilityPredictor, bootstrap, evidence, features, folds, model
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
    results, spectra = study(trials=4)
    table = features.table(results, spectra, 0.8)
    changed = table.copy()
    late = changed["checkpoint"] == "final"
    for column in [*features.SPECTRUM, *features.CHANGE, *features.PROGRESS]:
        changed.loc[late, column] = 12345.0
    pd.testing.assert_frame_equal(trial_inputs(table), trial_inputs(changed))
    outcome = {"chance", "final_loss", "best_loss", "score", "success", "diverged"}
    assert not outcome & {c for used in SETS.values() for c in used}


def test_every_hyper_parameter_is_an_input_as_it_is_declared(inputs):
    assert CATEGORIES == ("task", "cell", "head")
    for name, declared in DECLARED.items():
        assert {"log": f"log_{name}", "linear": name, "category": name}[declared.scale] in HYPER_PARAMETERS
    results, _ = study(trials=20)
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
        assert 1 <= len(measured(verdict)) <= 3
        assert str(verdict.based_on) in str(verdict)
        assert "over trials" in verdict.evidence


def measured(verdict):
    """The reasons that are about measurements."""
    return [reason for reason in verdict.reasons if not reason.startswith("no trial of the study")]


def test_a_verdict_says_what_the_study_has_never_seen(predictor, inputs):
    knowing = StabilityPredictor({"all": predictor.models["all"]}, predictor.about)  # the others may have better evidence
    known = inputs.iloc[0].to_dict()
    familiar, never = (knowing.verdict(known | changes) for changes in ({}, {"head": "neuroview", "cell": "lstm"}))
    assert measured(familiar) == list(familiar.reasons)
    assert never.reasons[len(measured(never)) :] == (
        "no trial of the study had cell 'lstm'",
        "no trial of the study had head 'neuroview'",
    )


@pytest.mark.parametrize(
    ("trained", "given", "sentence"),
    [
        (True, {"learning_rate": 1e-3}, "learning_rate of a network that has been trained needs init_scale="),
        (False, {"clip_norm": 1.0}, "clip_norm needs learning_rate="),
        (False, {"relative_loss": 0.5}, "relative_loss needs initial="),
        (False, {"gradient_norm_max": 0.5}, "gradient_norm_max needs initial="),
        (True, {"gradient_norm_max": 0.5}, "gradient_norm_max needs gradient_norm="),
        (
            False,
            {"learning_rate": 1e-3, "momentum": 0.9},
            "no hyper-parameter 'momentum' to be given; there are init_scale, learn",
        ),
        (False, {"learning_rate": 1e-3, "hidden_size": 8}, "no hyper-parameter 'hidden_size' to be given"),  # it is measured
    ],
)
def test_what_is_unknown_or_of_no_use_without_something_else_is_one_sentence(predictor, trained, given, sentence):
    network, data = torch.nn.GRU(3, 8), torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
    initial = lyapunov_spectrum(network, data) if trained else None
    with pytest.raises(ModuleError, match=sentence):
        predictor.assess(network, data, initial=initial, **given)


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
