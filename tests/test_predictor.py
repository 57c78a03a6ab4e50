import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from scipy.stats import spearmanr
from study import study

from pipeline import lyapunov_spectrum
from pipeline.config import PredictorSettings
from pipeline.errors import ArtefactError, ModuleError
from pipeline.predictor import StabilityPredictor, evaluation, features, model
from pipeline.predictor.inputs import SERVED, SETS, WITHOUT_SPECTRA, trial_inputs

SETTINGS = PredictorSettings(outer_folds=3, inner_folds=2, trees=10, bootstrap=200)


def inputs_of(**options):
    return trial_inputs(features.table(*study(**options), 0.8))


@pytest.fixture(scope="module")
def inputs():
    return inputs_of(trials=20)


@pytest.fixture(scope="module")
def predictions(inputs):
    return pd.concat([evaluation.fit_fold(f) for f in evaluation.folds(inputs, SETTINGS, 0)], ignore_index=True)


@pytest.fixture(scope="module")
def summary(predictions):
    return evaluation.summarise(predictions, SETTINGS, 0)


@pytest.fixture(scope="module")
def predictor(inputs, summary):
    return StabilityPredictor.fit(inputs, summary["table"], 0.8, SETTINGS, 0)


def of(summary, split, features_):
    (row,) = [r for r in summary["table"] if r["split"] == split and r["features"] == features_]
    return row


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


def test_every_trial_is_predicted_once_a_split_and_set_and_never_by_a_model_that_saw_it(inputs):
    folds = evaluation.folds(inputs, SETTINGS, 0)
    for split in evaluation.SPLITS:
        for name in SETS:
            held = [f for f in folds if f.split == split and f.features == name]
            assert sorted(t for f in held for t in f.test["trial"]) == sorted(inputs["trial"])
            assert all(not set(f.train["trial"]) & set(f.test["trial"]) for f in held)


@pytest.mark.parametrize(("split", "column"), [("one cell left out", "cell"), ("one task left out", "task")])
def test_what_is_left_out_is_never_trained_on(inputs, split, column):
    for fold in (f for f in evaluation.folds(inputs, SETTINGS, 0) if f.split == split):
        assert not set(fold.train[column]) & set(fold.test[column])


def test_a_split_needs_two_groups():
    folds = evaluation.folds(inputs_of(tasks=("counting",), trials=10), SETTINGS, 0)
    assert {f.split for f in folds} == {"over trials", "one cell left out"}


def test_the_early_spectrum_finds_what_decides_and_the_rest_does_not(summary):
    over_trials = {r["features"]: r["r2"] for r in summary["table"] if r["split"] == "over trials"}
    assert over_trials["early spectrum"] > 0.8  # the made score is a line in the early exponent with noise of 5 %
    assert over_trials["hyper-parameters and early loss"] < 0.3
    assert summary["champion"]["beats_rival"]
    assert max(summary["looks_at"], key=lambda r: r["drop_r2"])["family"] == "early spectrum"


def test_shuffled_scores_cannot_be_predicted(inputs):
    order = np.random.default_rng(0).permutation(len(inputs))
    shuffled = inputs.assign(score=inputs["score"].to_numpy()[order], success=inputs["success"].to_numpy()[order])
    folds = [f for f in evaluation.folds(shuffled, SETTINGS, 0) if f.split == "over trials" and f.features == "all"]
    (row,) = evaluation.evidence(pd.concat([evaluation.fit_fold(f) for f in folds]), SETTINGS, 0)
    assert row["r2"] < 0.15
    assert row["spearman_low"] < 0.2


def test_measures_equal_those_of_scikit_learn_and_scipy(predictions, summary):
    rows = predictions[(predictions["split"] == "one cell left out") & (predictions["features"] == "early loss")]
    found = of(summary, "one cell left out", "early loss")
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(rows["score"], rows["expected_score"]))
    assert found["spearman"] == pytest.approx(spearmanr(rows["score"], rows["expected_score"]).statistic)
    assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(rows["score"], rows["expected_score"]))
    assert found["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(rows["success"], rows["probability"]))
    assert found["brier"] == pytest.approx(sklearn.metrics.brier_score_loss(rows["success"], rows["probability"]))
    assert found["accuracy"] == pytest.approx(((rows["probability"] >= 0.5) == rows["success"]).mean())


def test_intervals_hold_the_measure_and_shrink_with_the_square_root_of_the_trials():
    random = np.random.default_rng(0)
    widths = []
    for size in (100, 400):
        true = random.uniform(0, 1, size)
        rows = pd.DataFrame(
            {"score": true, "expected_score": true + random.normal(0, 0.1, size), "success": true > 0.5, "probability": true}
        )
        found = evaluation._with_intervals(rows, 1000, 0)
        assert found["mae_low"] < found["mae"] < found["mae_high"]
        widths.append(found["mae_high"] - found["mae_low"])
    assert 0.35 < widths[1] / widths[0] < 0.7  # a half, give or take the spread of two estimates of a width


def test_the_interval_of_a_mean_absolute_error_is_that_of_the_central_limit():
    random = np.random.default_rng(1)
    error = random.normal(0, 1, 400)
    rows = pd.DataFrame({"score": error, "expected_score": 0.0, "success": error > 0, "probability": 0.5})
    found = evaluation._with_intervals(rows, 2000, 0)
    expected = 2 * 1.96 * np.abs(error).std() / 20
    assert found["mae_high"] - found["mae_low"] == pytest.approx(expected, rel=0.1)  # 2,000 samples give 3 %


def test_chance_cannot_rank(summary):
    row = of(summary, "over trials", "chance")
    assert row["r2"] <= 0.01
    assert 0.3 < row["auc"] < 0.7


def test_the_result_is_json_and_the_text_shows_every_row(summary):
    json.dumps(summary, allow_nan=False)
    text = evaluation.text(summary)
    assert all(name in text for name in SETS)
    assert evaluation.verdict(summary["champion"]) in text


def test_a_rival_whose_r2_is_exactly_zero_still_beats_those_below_zero(predictions, summary):
    below = [row | {"r2": 0.0 if row["features"] == "chance" else -0.5} for row in summary["table"]]
    assert evaluation.champion(predictions, below, SETTINGS, 0)["rival"] == "chance"


def test_the_verdict_turns_with_the_numbers():
    beats = {"rival": "early loss", "gain_r2": 0.1, "gain_r2_low": 0.05, "gain_r2_high": 0.2, "beats_rival": True}
    assert "All inputs beat 'early loss'" in evaluation.verdict(beats)
    assert "do not beat 'early loss'" in evaluation.verdict(beats | {"gain_r2_low": -0.01, "beats_rival": False})


# Models


def test_one_class_alone_gives_its_share():
    x = pd.DataFrame({"a": np.arange(20.0)})
    never = model.fit_success(x, pd.Series([False] * 20), SETTINGS, 0)
    expected, probability = model.predict(model.fit_score(x, x["a"] / 20, SETTINGS, 0), never, x)
    assert (probability == 0).all()
    assert expected.min() >= 0
    assert expected.max() <= 1


def test_missing_measurements_and_unknown_names_are_answered():
    x = pd.DataFrame({"task": ["a", "b"] * 20, "value": np.where(np.arange(40) % 5, np.arange(40.0), np.nan)})
    fitted = model.fit_score(x, pd.Series(np.arange(40) / 40), SETTINGS, 0)
    assert np.isfinite(fitted.predict(pd.DataFrame({"task": ["never seen"], "value": [np.nan]}))).all()


def test_probabilities_are_calibrated_on_a_coin_whose_odds_are_known():
    random = np.random.default_rng(0)
    x = pd.DataFrame({"odds": random.uniform(0, 1, 1200)})
    success = pd.Series(random.uniform(0, 1, 1200) < x["odds"])
    fitted = model.fit_success(x[:800], success[:800], SETTINGS, 0)
    probability = fitted.predict_proba(x[800:])[:, 1]
    assert np.abs(probability - x["odds"][800:]).mean() < 0.1  # 800 coins in ten bins: standard error .06


def test_the_same_seed_gives_the_same_answers(inputs):
    folds = [f for f in evaluation.folds(inputs, SETTINGS, 0) if f.features == "all"][:1]
    again = [f for f in evaluation.folds(inputs, SETTINGS, 0) if f.features == "all"][:1]
    pd.testing.assert_frame_equal(evaluation.fit_fold(folds[0]), evaluation.fit_fold(again[0]))


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


def test_what_is_of_no_use_without_something_else_is_refused(predictor):
    network, data = torch.nn.GRU(3, 8), torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
    initial = lyapunov_spectrum(network, data)
    with pytest.raises(ModuleError, match="needs init_scale="):
        predictor.assess(network, data, initial=initial, learning_rate=1e-3)
    with pytest.raises(ModuleError, match="need initial="):
        predictor.assess(network, data, relative_loss=0.5)


def test_a_task_of_the_study_is_judged_by_the_evidence_over_trials_and_another_by_that_on_tasks_left_out(predictor, inputs):
    def best(split):
        return max(SERVED, key=lambda name: predictor.about["evidence"][name][split]["r2"])

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
