"""What the predictor may see of a trial, and the sets of it that are compared: all of it is known at the early checkpoint."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..core import hyper_parameters
from ..core.hyper_parameters import DECLARED, NUMBERS
from .features import SPECTRUM, WHOLE

CATEGORIES = ("task", "cell", *hyper_parameters.CATEGORIES)


def input_name(hyper_parameter: str) -> str:
    """The column of a numeric hyper-parameter as the predictor sees it."""
    return f"log_{hyper_parameter}" if DECLARED[hyper_parameter].scale == "log" else hyper_parameter


HYPER_PARAMETERS = (*CATEGORIES, *map(input_name, NUMBERS), "log_parameter_count")
EARLY_LOSS = ("early_log_relative_loss",)
GRADIENTS = ("early_log_gradient_norm", "early_log_gradient_norm_max")
INITIAL = tuple(f"initial_{name}" for name in SPECTRUM)
# at the early checkpoint, and the change since initialisation
EARLY = tuple(f"early_{name}" for name in SPECTRUM) + tuple(f"change_{name}" for name in SPECTRUM)
EARLY_WHOLE = tuple(f"early_{name}" for name in WHOLE)

# Name of a set -> its columns. The last two see every exponent instead of summaries, compressed in ways that
# `codes.py` holds.
SETS: Mapping[str, tuple[str, ...]] = {
    "chance": (),
    "hyper-parameters and size": HYPER_PARAMETERS,
    "early loss": EARLY_LOSS,
    "early gradient norms": GRADIENTS,
    "hyper-parameters and early loss": HYPER_PARAMETERS + EARLY_LOSS,
    "largest exponent": ("early_exponent_1",),
    "spectrum at initialisation": INITIAL,
    "early spectrum": EARLY,
    "all": HYPER_PARAMETERS + EARLY_LOSS + GRADIENTS + INITIAL + EARLY,
    "early loss and early spectrum": EARLY_LOSS + EARLY,
    "hyper-parameters and initial spectrum": HYPER_PARAMETERS + INITIAL,
    "all but spectra": HYPER_PARAMETERS + EARLY_LOSS + GRADIENTS,
    "principal components of the early spectrum": EARLY_WHOLE,
    "learned code of the early spectrum": EARLY_WHOLE,
}
WITHOUT_SPECTRA = (
    "chance",
    "hyper-parameters and size",
    "early loss",
    "early gradient norms",
    "hyper-parameters and early loss",
    "all but spectra",
)
# Sets without and with spectra that do not differ otherwise.
PAIRS = (
    ("hyper-parameters and size", "hyper-parameters and initial spectrum"),
    ("early loss", "early loss and early spectrum"),
    ("all but spectra", "all"),
)
# The sets that the registered predictor can answer from: those that hold a whole spectrum.
SERVED = (
    "spectrum at initialisation",
    "hyper-parameters and initial spectrum",
    "early spectrum",
    "early loss and early spectrum",
    "all",
)
_SMALLEST, _LARGEST = 1e-12, 1e12  # where logarithms are cut


def trial_inputs(table: pd.DataFrame) -> pd.DataFrame:
    """One row per trial, in the order of the table, with all columns of SETS, and score, success and trial besides."""
    initial = table[table["checkpoint"] == "initial"].reset_index(drop=True)
    early = table[table["checkpoint"] == "early"].reset_index(drop=True)
    columns = {name: initial[name] for name in ("trial", *CATEGORIES, "score", "success")}
    columns |= {input_name(name): scaled(name, initial[name]) for name in NUMBERS}
    columns["log_parameter_count"] = log10(initial["parameter_count"])
    for name in ("relative_loss", "gradient_norm", "gradient_norm_max"):
        columns[f"early_log_{name}"] = log10(early[name])
    columns |= {f"initial_{name}": initial[name] for name in SPECTRUM}
    columns |= {f"early_{name}": early[name] for name in (*SPECTRUM, *WHOLE)}
    columns |= {f"change_{name}": early[f"change_{name}"] for name in SPECTRUM}
    return pd.DataFrame(columns)


def scaled(hyper_parameter: str, values: pd.Series) -> pd.Series:
    """A numeric hyper-parameter as the predictor sees it: its logarithm or itself."""
    return log10(values) if DECLARED[hyper_parameter].scale == "log" else values.astype(float)


def log10(values: pd.Series) -> pd.Series:
    """Decimal logarithm, cut to +-12; NaN stays."""
    return values.astype(float).clip(_SMALLEST, _LARGEST).map(np.log10)
