"""From spectra to a verdict: features, success, models, their evidence, and their use in other people's code."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .network import network_inputs
    from .predictor import StabilityPredictor, Verdict
    from .trials import trial_inputs

__all__ = ["StabilityPredictor", "Verdict", "network_inputs", "trial_inputs"]

_FILES = {"trial_inputs": "trials", "network_inputs": "network"}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: the features alone need no scikit-learn, which takes two seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES.get(name, 'predictor')}", __name__), name)
