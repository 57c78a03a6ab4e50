import numpy as np
import pytest

from pipeline.predictor.success import scores


def test_the_best_trial_scores_one_and_chance_scores_zero():
    assert scores(np.array([0.5, 2.0, 1.25]), 2.0).tolist() == [1.0, 0.0, 0.5]


def test_worse_than_chance_scores_zero():
    assert scores(np.array([0.5, 1e6]), 2.0)[1] == 0


def test_a_diverged_trial_scores_zero_and_does_not_count_as_best():
    assert scores(np.array([np.nan, 1.0, 0.0]), 2.0).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("losses", [[3.0, 2.0], [np.nan, np.nan], [2.5, np.nan]])
def test_no_trial_scores_where_none_beats_chance(losses):
    assert scores(np.array(losses), 2.0).tolist() == [0.0, 0.0]
