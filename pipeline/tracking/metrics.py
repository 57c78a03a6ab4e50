"""Names of the metrics of trials."""

from dataclasses import fields

from ..core.records import CHECKPOINTS, CURVES, Outcome
from ..predictor.inputs import BEFORE, EPOCH

# By their names in the feature table: one value per checkpoint, and one per trial.
SUMMARIES = ("exponent_1", "exponent_2", "exponents_mean", "positive_sum", "kaplan_yorke_dimension", "lost_count")
MEASURED = ("step_ratio", "functional_step", "credit_mean", "signal", "separation", "readout_score")
OUTCOME = ("score", "success")
# Moment -> what the names of its answers end with.
ASKED = {EPOCH: "", BEFORE: "_before_training"}
ANSWERED = ("expected_score", "probability_of_success")
RELATIVE_LOSS, ROUNDING = "relative_loss", "spectrum_rounding_error"
# Wall times, which differ between clones of one study.
VOLATILE = ("seconds", "spectrum_seconds", "measuring_seconds", "stage_seconds")
SPECTRA = tuple(f"spectrum/{checkpoint}" for checkpoint in CHECKPOINTS)

_ANSWERS = tuple(f"{name}{ending}" for name in ANSWERED for ending in ASKED.values())
_OUTCOME = tuple(field.name for field in fields(Outcome))
# Of each trial, in no order.
OF_TRIALS = (*CURVES, RELATIVE_LOSS, *_OUTCOME, *SPECTRA, *SUMMARIES, *MEASURED, ROUNDING, *OUTCOME, *_ANSWERS, *VOLATILE[:-1])
