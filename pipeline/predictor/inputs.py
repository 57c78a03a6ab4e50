"""What the predictor may see of a trial, and the sets of it that are compared: all of it is known at the early checkpoint."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .features import SPECTRUM, WHOLE

CATEGORIES = ("task", "cell", "head")
HYPER_PARAMETERS = (
    *CATEGORIES,
    *("log_init_scale", "log_learning_rate", "log_hidden_size", "clip_norm", "dropout", "log_parameter_count"),
)
EARLY_LOSS = ("early_log_relative_loss",)
GRADIENTS = ("early_log_gradient_norm", "early_log_gradient_norm_max")
INITIAL = tuple(f"initial_{name}" for name in SPECTRUM)
# at the early checkpoint, and the change since initialisation
EARLY = tuple(f"early_{name}" for name in SPECTRUM) + tuple(f"change_{name}" for name in SPECTRUM)
EARLY_WHOLE = tuple(f"early_{name}" for name in WHOLE)

# Name of a set -> its columns: the nine baselines of the study, then three more: what is known
# before training, and two that isolate what the spectrum adds. The last two see every exponent instead of summaries,
# compressed to a few numbers in ways that `codes.py` holds.
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
# What the registered predictor can answer from: the sets that hold a whole spectrum.
SERVED = (
    "spectrum at initialisation",
    "hyper-parameters and initial spectrum",
    "early spectrum",
    "early loss and early spectrum",
    "all",
)
_SMALLEST, _LARGEST = 1e-12, 1e12  # where logarithms are cut


def trial_inputs(table: pd.DataFrame) -> pd.DataFrame:
    """A row a trial, in the order of the table, with all columns of SETS, and score, success and trial besides."""
    initial = table[table["checkpoint"] == "initial"].reset_index(drop=True)
    early = table[table["checkpoint"] == "early"].reset_index(drop=True)
    columns = {name: initial[name] for name in ("trial", *CATEGORIES, "score", "success")}
    columns |= hyper_parameters(initial)
    columns["early_log_relative_loss"] = log10(early["relative_loss"])
    columns["early_log_gradient_norm"] = log10(early["gradient_norm"])
    columns["early_log_gradient_norm_max"] = log10(early["gradient_norm_max"])
    columns |= {f"initial_{name}": initial[name] for name in SPECTRUM}
    columns |= {f"early_{name}": early[name] for name in SPECTRUM}
    columns |= {f"early_{name}": early[name] for name in WHOLE}
    columns |= {f"change_{name}": early[f"change_{name}"] for name in SPECTRUM}
    return pd.DataFrame(columns)


def hyper_parameters(known: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns HYPER_PARAMETERS, less the categories, from init_scale, learning_rate, hidden_size, ..."""
    logs = {f"log_{name}": log10(known[name]) for name in ("init_scale", "learning_rate", "hidden_size", "parameter_count")}
    return {**logs, **{name: known[name].astype(float) for name in ("clip_norm", "dropout")}}


def log10(values: pd.Series) -> pd.Series:
    """Decimal logarithm, cut to +-12; NaN stays."""
    return values.astype(float).clip(_SMALLEST, _LARGEST).map(np.log10)
