"""From spectra to a verdict: features, success, the models, their evidence, and their use in other people's code."""

from .assess import StabilityPredictor, Verdict

__all__ = ["StabilityPredictor", "Verdict"]
