"""One function a figure; each takes data and returns a matplotlib Figure."""

from .dynamics import largest_exponent, spectra, training_curves
from .evidence import additions, calibration, looks_at, predictions, strength
from .style import png
from .time import time_spent
from .trial import trial_spectrum

__all__ = [
    "additions",
    "calibration",
    "largest_exponent",
    "looks_at",
    "png",
    "predictions",
    "spectra",
    "strength",
    "time_spent",
    "training_curves",
    "trial_spectrum",
]
