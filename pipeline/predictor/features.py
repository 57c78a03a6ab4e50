"""The columns of the feature table, each defined and documented here once, and the features of a spectrum."""

import math

import numpy as np
from numpy.typing import NDArray

from ..core.columns import Column
from ..core.dimension import kaplan_yorke_dimension
from ..core.hyper_parameters import DECLARED
from ..core.numbers import finite_mean
from ..measuring import columns as measured_columns
from ..measuring.base.curve import COLUMNS as CURVE_COLUMNS

FLOOR = -20.0  # nats per step; exponents of a sequence below it, -inf too, count as this
NEAR_ZERO = 0.05  # nats per step
QUANTILES = (5, 25, 50, 75, 95)
LEADING = 8  # largest exponents that the predictor uses; the others differ more between cells than between good and bad trials
RANKS = 32  # points of the grid on which spectra of all sizes are compared whole


IDENTITY = {
    "trial": Column("", "the trial's id, a hash of all that determines its result"),
    "task": Column("", "what was learned, a file of `pipeline/tasks`"),
    "cell": Column("", "the recurrent cell, a file of `pipeline/cells`"),
    "options": Column(
        "", "the cell's own options that differ from its defaults, such as `leak=0.3`; the predictor does not see them"
    ),
    "index": Column("", "the trial's place in its sweep"),
    "draw": Column("", "number of the draw of its hyper-parameters; trials with the same draw differ only in their seed"),
    "checkpoint": Column("", "initial, early or final"),
    "epoch": Column("epochs", "epochs trained at the checkpoint"),
}
HYPER_PARAMETERS = {name: Column(declared.unit, declared.meaning) for name, declared in DECLARED.items()} | {
    "parameter_count": Column("", "trained numbers of the whole network"),
    "state_size": Column("", "S, the number of exponents: H, or 2 H for an LSTM"),
    "steps": Column("steps", "T, length of a training sequence"),
    "updates": Column("", "mini-batches of the whole training"),
    "epochs": Column("epochs", "of the whole training"),
}
PROGRESS = {
    "relative_loss": Column("", "validation loss at the checkpoint / loss by chance"),
    "gradient_norm": Column("", "mean norm of the gradient over the checkpoint's epoch, before clipping; empty at the start"),
    "gradient_norm_max": Column("", "largest norm of a gradient in that epoch"),
}
MEASURED = measured_columns()  # by the files of `pipeline/measuring`; empty at the end of training
STRETCHES = {"eighth": "the first eighth of the first epoch", "epoch": "the epochs up to the early checkpoint"}
CURVE = {
    f"{stretch}_{name}": Column(column.unit, f"of {meaning}: {column.meaning}", column.least, column.most)
    for stretch, meaning in STRETCHES.items()
    for name, column in CURVE_COLUMNS.items()
}
MEASUREMENT = {
    "sequences": Column("", "B, number of sequences that drove the network while its spectrum was measured", 1),
    "counted_steps": Column("steps", "steps of each sequence that counted, without the transient", 1),
}
SPECTRUM = {
    "exponent_1": Column("nats/step", "largest exponent"),
    "exponent_2": Column("nats/step", "second"),
    "exponent_3": Column("nats/step", "third"),
    "exponents_mean": Column("nats/step", "mean of all exponents: growth of phase-space volume per direction"),
    "positive_sum": Column("nats/step", "sum of the positive exponents, an upper bound of the entropy rate", 0),
    "kaplan_yorke_dimension": Column("", "dimension of the attractor by Kaplan and Yorke 1979", 0),
    "kaplan_yorke_share": Column("", "the same / S", 0, 1),
    "share_positive": Column("", "share of exponents above 0", 0, 1),
    "share_near_zero": Column("", f"share of exponents within {NEAR_ZERO} of 0", 0, 1),
    "share_remembering": Column("", "share of exponents above -1 / T: directions that outlast a training sequence", 0, 1),
    **{f"quantile_{q:02d}": Column("nats/step", f"{q} % of the exponents lie below it") for q in QUANTILES},
    "growth_over_sequence": Column("nats", "exponent_1 x T: log growth of a perturbation over a training sequence"),
    "growth_over_lag": Column("nats", "exponent_1 x tau*, the lag that the task needs, at least 1"),
    "share_remembering_lag": Column("", "share of exponents above -1 / tau*", 0, 1),
    "leading_mean": Column("nats/step", f"mean of the {LEADING} largest exponents, or of all if there are fewer"),
    "leading_positive_sum": Column("nats/step", "sum of the positive ones among them", 0),
    "leading_remembering": Column("", "share of them above -1 / T", 0, 1),
    "leading_remembering_lag": Column("", "share of them above -1 / tau*", 0, 1),
    "spread_over_sequences": Column("nats/step", "standard deviation of exponent_1 between driving sequences", 0),
    "standard_error": Column("nats/step", "of exponent_1; empty if that is -inf", 0),
    "lost_count": Column(
        "", "number of exponents that are -inf in every driving sequence: the direction shrank below rounding in some step", 0
    ),
    "lost_share": Column("", "the same / S", 0, 1),
    "diverged_share": Column("", "share of driving sequences whose state was not finite; the other columns leave them out", 0, 1),
}
CHANGE = {
    f"change_{name}": Column(
        column.unit,
        f"{name} at the checkpoint less {name} at initialisation",
        column.least - column.most,
        column.most - column.least,
    )
    for name, column in SPECTRUM.items()
}
# Features that a truncated spectrum defines, too, if it has LEADING exponents.
OF_LARGEST = {
    "exponent_1", "exponent_2", "exponent_3", "growth_over_sequence", "growth_over_lag", "leading_mean", "leading_positive_sum",
    "leading_remembering", "leading_remembering_lag", "spread_over_sequences", "standard_error", "diverged_share",
}  # fmt: skip
WHOLE = {
    f"rank_{i + 1:02d}": Column(
        "nats/step", f"exponent at the relative rank {i} / {RANKS - 1}: {i / (RANKS - 1):.0%} lie above it"
    )
    for i in range(RANKS)
}
OUTCOME = {
    "chance": Column("", "loss on the validation data of the best answer that ignores the input"),
    "final_loss": Column("", "validation loss at the end; empty if the trial diverged"),
    "best_loss": Column("", "lowest final_loss of any trial of the task"),
    "score": Column("", "(chance - final_loss) / (chance - best_loss), within 0 and 1; 0 if the trial diverged"),
    "success": Column("", "whether the score reaches `success.threshold` of params.yaml"),
    "diverged": Column("", "whether a loss or gradient became infinite or NaN"),
    "validation_losses": Column("", "validation loss before training and after each epoch / loss by chance; a list"),
    "training_seconds": Column("s", "wall time of the training, evaluations included"),
    "measuring_seconds": Column("s", "wall time of all early measurements without spectra, at one checkpoint"),
    "spectrum_seconds": Column("s", "wall time of the spectrum at one checkpoint"),
}
GROUPS = {
    "Which trial": IDENTITY,
    "Hyper-parameters and sizes": HYPER_PARAMETERS,
    "Progress at the checkpoint": PROGRESS,
    "Early measurements at the checkpoint": MEASURED,
    "The training so far, the same in all rows of a trial": CURVE,
    "How the spectrum was measured": MEASUREMENT,
    "Spectrum at the checkpoint": SPECTRUM,
    "Change of the spectrum since initialisation": CHANGE,
    "The whole spectrum at the checkpoint": WHOLE,
    "Outcome, the same in all rows of a trial": OUTCOME,
}


def spectrum_features(
    per_sequence: NDArray[np.float64], standard_error: float, steps: int, lag: float | None = None
) -> dict[str, float]:
    """The features SPECTRUM of one spectrum.

    Args:
        per_sequence: (B, S) exponents, nats per step; rows with NaN are sequences that diverged.
        standard_error: of the largest exponent.
        steps: length of a training sequence.
        lag: tau*, the lag that the task needs; all steps but one by default.
    """
    lag = max(1.0, steps - 1 if lag is None else lag)
    whole = per_sequence[~np.isnan(per_sequence).any(axis=1)]
    diverged = 1 - len(whole) / len(per_sequence)
    if not len(whole):
        return dict.fromkeys(SPECTRUM, math.nan) | {"diverged_share": diverged}
    lost = np.isneginf(whole).all(axis=0)
    floored = np.maximum(whole, FLOOR)
    means = finite_mean(whole, floor=FLOOR)
    exponents = np.sort(means)[::-1]
    size = len(exponents)
    dimension = kaplan_yorke_dimension(exponents.tolist())
    first, leading = floored[:, np.argmax(means)], exponents[:LEADING]
    return {
        **{f"exponent_{i + 1}": float(exponents[min(i, size - 1)]) for i in range(3)},
        "exponents_mean": float(exponents.mean()),
        "positive_sum": float(exponents.clip(min=0).sum()),
        "kaplan_yorke_dimension": dimension,
        "kaplan_yorke_share": dimension / size,
        "share_positive": float((exponents > 0).mean()),
        "share_near_zero": float((np.abs(exponents) <= NEAR_ZERO).mean()),
        "share_remembering": float((exponents > -1 / steps).mean()),
        **{f"quantile_{q:02d}": float(np.quantile(exponents, q / 100)) for q in QUANTILES},
        "growth_over_sequence": float(exponents[0] * steps),
        "growth_over_lag": float(exponents[0] * lag),
        "share_remembering_lag": float((exponents > -1 / lag).mean()),
        "leading_mean": float(leading.mean()),
        "leading_positive_sum": float(leading.clip(min=0).sum()),
        "leading_remembering": float((leading > -1 / steps).mean()),
        "leading_remembering_lag": float((leading > -1 / lag).mean()),
        "spread_over_sequences": float(first.std(ddof=1)) if len(first) > 1 else 0.0,
        "standard_error": float(standard_error),
        "lost_count": float(lost.sum()),
        "lost_share": float(lost.mean()),
        "diverged_share": diverged,
    }


def whole_spectrum(per_sequence: NDArray[np.float64]) -> dict[str, float]:
    """The columns WHOLE of exponents (B, S), which put networks of any size on one grid of relative ranks.

    The exponent with i above it has the relative rank i / (S - 1), 0 the largest and 1 the smallest; between two of them
    the spectrum is a straight line. NaN if no sequence stayed finite.
    """
    means = finite_mean(per_sequence, floor=FLOOR)
    return dict(zip(WHOLE, np.quantile(means, np.linspace(1, 0, RANKS)).tolist(), strict=True))
