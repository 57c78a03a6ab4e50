"""The definition of success, worked out by hand."""

import numpy as np
import pytest
import study

from pipeline.predictor.success import final_losses, scores


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5, 2.0, 1.25], [1.0, 0.0, 0.5]),  # the best trial scores 1, chance 0
        ([0.5, 1e6], [1.0, 0.0]),  # worse than chance
        ([np.nan, 1.0, 0.0], [0.0, 0.5, 1.0]),  # a diverged trial does not count as best
        ([3.0, 2.0], [0.0, 0.0]),  # none beats chance
        ([np.nan, np.nan], [0.0, 0.0]),
        ([2.5, np.nan], [0.0, 0.0]),
    ],
)
def test_a_score_is_the_share_of_the_gap_between_chance_and_the_best_trial_that_was_closed(losses, expected):
    assert scores(np.array(losses), 2.0).tolist() == expected


def test_a_trial_that_diverged_has_no_final_loss():
    trials = [study.result(), study.result(diverged=True)]
    np.testing.assert_array_equal(final_losses(trials), [0.5, np.nan])
