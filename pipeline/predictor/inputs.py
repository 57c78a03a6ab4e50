"""What the predictor may see of a trial, and the sets of it that are compared: all of it is known at the early checkpoint.

docs/features.md describes the columns.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..core import hyper_parameters
from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED, NUMBERS
from .features import CHANGE, GROUPS, MEASUREMENT, PROGRESS, SPECTRUM, WHOLE

CATEGORIES = ("task", "cell", *hyper_parameters.CATEGORIES)


def input_name(hyper_parameter: str) -> str:
    """The column of a numeric hyper-parameter as the predictor sees it."""
    return f"log_{hyper_parameter}" if DECLARED[hyper_parameter].scale == "log" else hyper_parameter


HYPER_PARAMETERS = (*CATEGORIES, *map(input_name, NUMBERS), "log_parameter_count")
PROGRESS_INPUTS = {name: f"early_log_{name}" for name in PROGRESS}
EARLY_LOSS = (PROGRESS_INPUTS["relative_loss"],)
GRADIENTS = (PROGRESS_INPUTS["gradient_norm"], PROGRESS_INPUTS["gradient_norm_max"])
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
DIVERGED = "already_diverged"  # in no set: such a network has failed, and no model is asked
UNDEFINED = tuple(f"{when}_standard_error" for when in ("initial", "early", "change"))  # NaN if the largest exponent is -inf
_DECADES = 12.0  # where decimal logarithms are cut, on both sides
# Numeric column -> its least and largest possible value. `core.hyper_parameters` holds those of hyper-parameters.
LIMITS: Mapping[str, tuple[float, float]] = {
    **{name: (-np.inf, np.inf) for name in map(input_name, NUMBERS)},
    **{name: (-_DECADES, _DECADES) for name in HYPER_PARAMETERS + EARLY_LOSS + GRADIENTS if "log_" in name},
    **{f"{when}_{name}": (column.least, column.most) for when in ("initial", "early") for name, column in SPECTRUM.items()},
    **{name: (column.least, column.most) for name, column in (CHANGE | MEASUREMENT).items()},
}


def trial_inputs(table: pd.DataFrame) -> pd.DataFrame:
    """The inputs of the predictor from rows of the feature table (`features/features.parquet` of a study).

    Returns:
        One row per trial, in the order of the table: all columns of SETS, MEASUREMENT and `already_diverged`, as known at
        the early checkpoint, and trial, score and success besides.

    Raises:
        ModuleError: a column of the feature table is missing.
    """
    missing = [name for group in GROUPS.values() for name in group if name not in table]
    if missing:
        raise ModuleError(f"the feature table lacks the column {missing[0]!r}; docs/features.md lists all columns")
    initial = table[table["checkpoint"] == "initial"].reset_index(drop=True)
    early = table[table["checkpoint"] == "early"].reset_index(drop=True)
    columns = {name: initial[name] for name in ("trial", *CATEGORIES, "score", "success")}
    columns |= {input_name(name): scaled(name, initial[name]) for name in NUMBERS}
    columns["log_parameter_count"] = log10(initial["parameter_count"])
    columns |= {column: log10(early[name]) for name, column in PROGRESS_INPUTS.items()}
    columns |= {f"initial_{name}": initial[name] for name in SPECTRUM}
    columns |= {f"early_{name}": early[name] for name in (*SPECTRUM, *WHOLE)}
    columns |= {name: early[name] for name in (*CHANGE, *MEASUREMENT)}
    finite = np.isfinite(early[list(PROGRESS)].to_numpy(float)).all(axis=1)
    columns[DIVERGED] = ~finite | (initial["diverged_share"] == 1) | (early["diverged_share"] == 1)
    return pd.DataFrame(columns)


def scaled(hyper_parameter: str, values: pd.Series) -> pd.Series:
    """A numeric hyper-parameter as the predictor sees it: its logarithm or itself."""
    return log10(values) if DECLARED[hyper_parameter].scale == "log" else values.astype(float)


def log10(values: pd.Series) -> pd.Series:
    """Decimal logarithm, cut to +-12; NaN stays."""
    return values.astype(float).clip(10**-_DECADES, 10**_DECADES).map(np.log10)
