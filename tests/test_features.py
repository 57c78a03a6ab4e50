"""The feature table: features of spectra worked out by hand, and those of an artificial study with known trials."""

import math

import numpy as np
import pytest
from conftest import ROOT
from study import HYPER_PARAMETERS, measurements, result, spectra, study

from pipeline.core.dimension import kaplan_yorke_dimension
from pipeline.core.errors import ArtefactError
from pipeline.core.hyper_parameters import DECLARED
from pipeline.predictor import feature_table, features

MANY = [[[0.5, -0.1, -0.3, -2.0], [0.7, 0.1, -0.5, -4.0]]] * 3


def measured(exponents, steps=10):
    return features.spectrum_features(np.array(exponents, float), 0.01, steps)


def test_features_of_a_spectrum_worked_out_by_hand():
    found = measured(MANY[0])  # means: .6, 0, -.4, -3
    assert found["exponent_1"] == pytest.approx(0.6)
    assert found["exponent_2"] == pytest.approx(0.0)
    assert found["exponent_3"] == pytest.approx(-0.4)
    assert found["exponents_mean"] == pytest.approx(-0.7)
    assert found["positive_sum"] == pytest.approx(0.6)
    assert found["kaplan_yorke_dimension"] == pytest.approx(3 + 0.2 / 3)
    assert found["kaplan_yorke_share"] == pytest.approx((3 + 0.2 / 3) / 4)
    assert found["share_near_zero"] == 0.25
    assert found["share_remembering"] == 0.5  # .6 and 0 lie above -1/10
    assert found["quantile_50"] == pytest.approx(-0.2)
    assert found["growth_over_sequence"] == pytest.approx(6.0)
    assert found["spread_over_sequences"] == pytest.approx(0.2 / math.sqrt(2))
    assert found["lost_count"] == 0
    assert found["diverged_share"] == 0


def test_minus_infinity_is_counted_and_enters_sums_at_the_floor():
    found = measured([[0.0, -1.0, -np.inf, -np.inf]] * 2)
    assert found["lost_count"] == 2
    assert found["lost_share"] == 0.5
    assert found["exponents_mean"] == pytest.approx((-1 + 2 * features.FLOOR) / 4)
    assert all(math.isfinite(v) for v in found.values())


def test_minus_infinity_in_one_sequence_counts_as_the_floor_there_and_not_as_lost():
    found = measured([[0.0, -10.0], [0.0, -np.inf]])
    assert found["lost_count"] == 0
    assert found["exponents_mean"] == pytest.approx((0 + (-10 + features.FLOOR) / 2) / 2)


def test_a_diverged_sequence_is_left_out_and_counted():
    found = measured([*MANY[0], [np.nan] * 4, [np.nan] * 4])
    assert found["diverged_share"] == 0.5
    assert found["exponent_1"] == pytest.approx(0.6)


def test_a_spectrum_of_diverged_sequences_alone_is_empty():
    found = measured([[np.nan] * 4] * 3)
    assert found.pop("diverged_share") == 1
    assert all(math.isnan(v) for v in found.values())


def test_features_of_a_spectrum_smaller_than_three_are_defined():
    assert measured([[-1.0], [-1.0]])["exponent_3"] == -1


def whole(exponents):
    return list(features.whole_spectrum(np.array(exponents, float)).values())


def test_networks_of_all_sizes_share_the_grid_of_relative_ranks():
    """A straight line from 1 to -1 is the same line on the grid, whatever its number of exponents."""
    line = np.linspace(1, -1, features.RANKS)
    for size in (2, 5, 64):  # rounding of values of order 1
        assert whole([np.linspace(1, -1, size)] * 2) == pytest.approx(line, abs=1e-14)


def test_the_whole_spectrum_of_as_many_exponents_as_the_grid_has_points_is_those_exponents():
    exponents = -np.cumsum(np.random.default_rng(0).uniform(0, 0.3, features.RANKS))
    assert whole([exponents, exponents[::-1]]) == pytest.approx(np.sort((exponents + exponents[::-1]) / 2)[::-1], abs=1e-14)
    assert whole([exponents, exponents]) == pytest.approx(exponents, abs=1e-14)


def test_the_whole_spectrum_is_floored_leaves_out_diverged_sequences_and_is_empty_without_any_other():
    assert whole([[0.0, -np.inf], [np.nan, np.nan]])[-1] == features.FLOOR
    assert whole([[-0.5], [-1.5]]) == [-1.0] * features.RANKS
    assert np.isnan(whole([[np.nan, np.nan]])).all()


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([0.9056, 0.0, -14.5723], 2.06215),  # Lorenz 1963 (Sprott 2003: 2.06215)
        ([0.4192, -1.6231], 1.25827),  # Henon (Sprott 2003: 1.25827)
        ([0.0, -1.0], 1.0),  # a limit cycle
        ([0.0, 0.0, -1.0], 2.0),  # a torus
        ([-0.1, -0.2], 0.0),  # a fixed point
        ([0.3, -0.1], 2.0),  # the sum stays positive: all directions count
        ([0.5, -math.inf], 1.0),
        ([-math.inf, -math.inf], 0.0),
        ([], 0.0),
    ],
)
@pytest.mark.parametrize("kind", [list, np.array])
def test_kaplan_yorke_dimension_of_known_spectra(exponents, dimension, kind):
    assert kaplan_yorke_dimension(kind(exponents)) == pytest.approx(dimension, abs=1e-4)


def test_the_table_has_a_row_a_trial_and_checkpoint_and_every_documented_column():
    results, measured_, probed = study(trials=3)
    table = feature_table.table(results, measured_, probed, 0.8)
    assert len(table) == 3 * len(results)
    assert list(table) == [n for g in features.GROUPS.values() for n in g]
    assert table["checkpoint"].tolist() == ["initial", "early", "final"] * len(results)
    assert table["epoch"].tolist() == [0, 1, 3] * len(results)


def test_changes_are_differences_to_initialisation():
    exponents = [[[0.0, -1.0]] * 2, [[0.5, -1.5]] * 2, [[0.25, -1.0]] * 2]
    table = feature_table.table([result()], [spectra(exponents)], [measurements()], 0.8)
    assert table["change_exponent_1"].tolist() == [0.0, 0.5, 0.25]


def test_progress_is_that_of_the_checkpoints_epoch():
    table = feature_table.table([result()], [spectra(MANY)], [measurements()], 0.8)
    assert table["relative_loss"].tolist() == [1.0, 0.75, 0.25]
    assert np.isnan(table["gradient_norm"][0])
    assert table["gradient_norm"].tolist()[1:] == [0.1, 0.3]


def test_hyper_parameters_and_options_are_the_trials():
    drawn = HYPER_PARAMETERS | {"init_scale": 0.7, "hidden_size": 9, "dropout": 0.25, "head": "neuroview"}
    assert (
        drawn.keys()
        == DECLARED.keys()
        == set(features.HYPER_PARAMETERS) - {"parameter_count", "state_size", "steps", "updates", "epochs"}
    )
    changes = drawn | {"options": {"leak": 0.3, "gain": 2}}
    table = feature_table.table([result(**changes)], [spectra(MANY, **changes)], [measurements(**changes)], 0.8)
    assert table[list(drawn)].drop_duplicates().to_dict("records") == [drawn]
    assert table["options"].unique() == ["gain=2, leak=0.3"]
    assert (table["parameter_count"].unique(), table["state_size"].unique(), table["steps"].unique()) == ([37], [4], [10])


def test_a_diverged_trial_is_a_row_like_any_other():
    bad = result([2.0, np.nan, np.nan, np.nan], diverged=True, index=1)
    nothing = [MANY[0], [[np.nan] * 4] * 2, [[np.nan] * 4] * 2]
    table = feature_table.table(
        [result(), bad], [spectra(MANY), spectra(nothing, index=1)], [measurements(index=i) for i in range(2)], 0.8
    )
    row = table[table["trial"] == bad.trial.id].iloc[-1]
    assert row["diverged"]
    assert row["score"] == 0
    assert not row["success"]
    assert np.isnan(row["final_loss"])


def test_success_is_a_score_at_or_above_the_threshold():
    trials = [result([2, 1.5, 1, loss], index=i) for i, loss in enumerate([0.0, 0.4, 0.41])]
    table = feature_table.table(
        trials, [spectra(MANY, index=i) for i in range(3)], [measurements(index=i) for i in range(3)], 0.8
    )
    final = table[table["checkpoint"] == "final"]
    assert final["success"].tolist() == [True, True, False]


def test_a_trial_without_spectra_is_refused():
    with pytest.raises(ArtefactError, match=r"trial [0-9a-f]{16} \(counting elman 00\) has no spectra"):
        feature_table.table([result()], [spectra(MANY, index=1)], [measurements()], 0.8)


def test_the_summary_counts_the_trials_of_each_task_and_cell():
    trials = [result([2, 1.5, 1, loss], index=i, diverged=loss is np.nan) for i, loss in enumerate([0.0, 0.4, 1.0, np.nan])]
    table = feature_table.table(
        trials, [spectra(MANY, index=i) for i in range(4)], [measurements(index=i) for i in range(4)], 0.8
    )
    head, row = feature_table.summary(table).splitlines()
    assert head.split() == ["task", "cell", "trials", "diverged", "successes", "best", "loss", "median", "score"]
    assert row.split() == ["counting", "elman", "4", "1", "2", "0.000", "0.650"]  # scores 1, .8, .5 and 0


def test_the_documentation_names_every_column_and_is_what_docs_holds():
    text = feature_table.documentation()
    for group in features.GROUPS.values():
        for name, column in group.items():
            assert f"| `{name}` | {column.unit} | {column.meaning} |" in text
    assert (ROOT / "docs/features.md").read_text() == text, "run `make docs`"
