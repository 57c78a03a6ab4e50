"""What the predictor may see of a trial, at which moment, and the sets of it that are compared.

docs/features.md describes the columns.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core import hyper_parameters
from ..core.hyper_parameters import DECLARED, NUMBERS
from .features import CHANGE, CURVE, MEASURED, MEASUREMENT, SPECTRUM

MOMENTS = ("before training", "an eighth of an epoch", "one epoch")  # at which the predictor is asked
BEFORE, EIGHTH, EPOCH = MOMENTS
IDENTITY = ("task", "cell")
CATEGORIES = hyper_parameters.CATEGORIES
DIVERGED = "already_diverged"  # in no set: such a network has failed, and no model is asked
OUTCOME = ("score", "success")


def input_name(hyper_parameter: str) -> str:
    """The column of a numeric hyper-parameter as the predictor sees it."""
    return f"log_{hyper_parameter}" if DECLARED[hyper_parameter].scale == "log" else hyper_parameter


def _at(when: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{when}_{name}" for name in names)


# Families of columns; most are taken at initialisation and at the early checkpoint.
HYPER_PARAMETERS = (*CATEGORIES, *map(input_name, NUMBERS), "log_parameter_count", "log_steps", "log_updates")
_STEP = ("step_ratio", "step_descent")
_MEASURED = (
    *_STEP, "functional_step", "credit_mean", "credit_least", "signal", "separation", "generalisation", "readout_score",
    "state_rank",
)  # fmt: skip
_PROXIES = (
    "probe_gradient_norm", "snip", "synflow", "jacobian_covariance", "activation_distance", "hidden_covariance",
)  # fmt: skip
_SPECTRAL = (
    "growth_over_lag", "growth_over_sequence", "leading_remembering_lag", "leading_remembering", "leading_mean",
    "leading_positive_sum", "spread_over_sequences",
)  # fmt: skip
STEP, F, SPECTRAL = _at("initial", *_STEP), _at("initial", *_MEASURED), _at("initial", *_SPECTRAL)
PROXIES = _at("initial", *_PROXIES)
EARLY_F = (*_at("early", *_MEASURED, "readout_gap"), "change_step_ratio")
EARLY_SPECTRAL = (*_at("early", *_SPECTRAL), "change_growth_over_lag")
LOSS_EIGHTH, RELATIVE_LOSS = "eighth_last", "early_log_relative_loss"
CURVE_EIGHTH = tuple(name for name in CURVE if name.startswith("eighth_") and "gradient" not in name)
GRADIENTS_EIGHTH = tuple(name for name in CURVE if name.startswith("eighth_gradient"))
CURVE_EPOCH = (RELATIVE_LOSS, *(name for name in CURVE if name.startswith("epoch_") and "gradient" not in name))
GRADIENTS_EPOCH = tuple(name for name in CURVE if name.startswith("epoch_gradient"))

# Moment -> name of a set -> its columns.
SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    BEFORE: {
        "chance": (),
        "learning rate": ("log_learning_rate",),
        "hyper-parameters": HYPER_PARAMETERS,
        "zero-cost proxies": PROXIES,
        "step ratio": STEP,
        "measurements": F,
        "spectrum": SPECTRAL,
        "hyper-parameters, proxies": (*HYPER_PARAMETERS, *PROXIES),
        "hyper-parameters, spectrum": (*HYPER_PARAMETERS, *SPECTRAL),
        "step ratio, spectrum": (*STEP, *SPECTRAL),
        "measurements, spectrum": (*F, *SPECTRAL),
        "hyper-parameters, measurements": (*HYPER_PARAMETERS, *F),
        "all": (*HYPER_PARAMETERS, *F, *SPECTRAL),
    },
    EIGHTH: {
        "loss": (LOSS_EIGHTH,),
        "curve": CURVE_EIGHTH,
        "curve, gradients": (*CURVE_EIGHTH, *GRADIENTS_EIGHTH),
        "loss, hyper-parameters": (LOSS_EIGHTH, *HYPER_PARAMETERS),
        "loss, measurements": (LOSS_EIGHTH, *F),
        "loss, measurements, spectrum": (LOSS_EIGHTH, *F, *SPECTRAL),
        "loss, hyper-parameters, measurements": (LOSS_EIGHTH, *HYPER_PARAMETERS, *F),
        "all": (LOSS_EIGHTH, *HYPER_PARAMETERS, *F, *SPECTRAL),
    },
    EPOCH: {
        "loss": (RELATIVE_LOSS,),
        "sum of losses": ("epoch_mean",),
        "power law": ("epoch_forecast",),
        "gradients": GRADIENTS_EPOCH,
        "curve": CURVE_EPOCH,
        "curve, gradients": (*CURVE_EPOCH, *GRADIENTS_EPOCH),
        "loss, hyper-parameters": (RELATIVE_LOSS, *HYPER_PARAMETERS),
        "loss, measurements": (RELATIVE_LOSS, *EARLY_F),
        "loss, spectrum": (RELATIVE_LOSS, *EARLY_SPECTRAL),
        "loss, measurements, spectrum": (RELATIVE_LOSS, *EARLY_F, *EARLY_SPECTRAL),
        "loss, hyper-parameters, measurements": (RELATIVE_LOSS, *HYPER_PARAMETERS, *EARLY_F),
        "all": (RELATIVE_LOSS, *HYPER_PARAMETERS, *EARLY_F, *EARLY_SPECTRAL),
    },
}
INPUTS = tuple(dict.fromkeys(column for sets in SETS.values() for columns in sets.values() for column in columns))  # of all sets
WITH_SPECTRA = tuple(
    name for sets in SETS.values() for name, columns in sets.items() if {*columns} & {*SPECTRAL, *EARLY_SPECTRAL}
)
# Columns of which a larger value never raises the answer.
FALLING = (
    RELATIVE_LOSS,
    *(f"{stretch}_{name}" for stretch in ("eighth", "epoch") for name in ("last", "mean", "least", "forecast")),
)
_DECADES = 12.0  # where decimal logarithms are cut, on both sides


def scaled(hyper_parameter: str, value: float) -> float:
    """A numeric hyper-parameter as the predictor sees it: its logarithm or itself."""
    return float(log10(value)) if DECLARED[hyper_parameter].scale == "log" else float(value)


def log10(values: Any) -> Any:
    """Decimal logarithm of numbers, cut to +-12; NaN stays."""
    return np.log10(np.clip(np.asarray(values, float), 10**-_DECADES, 10**_DECADES))


def _limits() -> dict[str, tuple[float, float]]:
    """Numeric column -> its least and largest possible value; `core.hyper_parameters` holds those of hyper-parameters."""
    limits = {name: (-np.inf, np.inf) for name in map(input_name, NUMBERS)}
    limits |= {name: (-_DECADES, _DECADES) for name in (*HYPER_PARAMETERS, RELATIVE_LOSS) if "log_" in name}
    limits |= {f"{when}_{n}": (c.least, c.most) for when in ("initial", "early") for n, c in (MEASURED | SPECTRUM).items()}
    limits |= {name: (column.least, column.most) for name, column in (CHANGE | CURVE | MEASUREMENT).items()}
    return limits | {"change_step_ratio": (-2 * _DECADES, 2 * _DECADES)}


LIMITS: Mapping[str, tuple[float, float]] = _limits()
