"""Lyapunov spectra of recurrent networks, and predictions from them of whether a training will succeed.

Inside the repository the package is `pipeline`; installed elsewhere, and inside the registered
model, the same folder is `rnn_stability`. All imports in it are therefore relative.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.errors import AlignmentWarning, ModuleError, RoundingWarning, SurrogateWarning
    from .measuring.base.network import early_measurements
    from .points import FixedPoints, fixed_points, line_attractor, slow_points
    from .predictor import StabilityPredictor, Verdict, network_inputs, trial_inputs
    from .spectrum import Spectrum, lyapunov_spectra, lyapunov_spectrum
    from .watching.screen import Screening, screen
    from .watching.summary import Summary, summary
    from .watching.watch import watch
    from .watching.watched import Watch

__version__ = "0.2.0"

_PUBLIC = {
    "AlignmentWarning": "core.errors",
    "ModuleError": "core.errors",
    "RoundingWarning": "core.errors",
    "SurrogateWarning": "core.errors",
    "lyapunov_spectrum": "spectrum",
    "lyapunov_spectra": "spectrum",
    "Spectrum": "spectrum",
    "fixed_points": "points",
    "slow_points": "points",
    "line_attractor": "points",
    "FixedPoints": "points",
    "summary": "watching.summary",
    "Summary": "watching.summary",
    "early_measurements": "measuring.base.network",
    "watch": "watching.watch",
    "Watch": "watching.watched",
    "screen": "watching.screen",
    "Screening": "watching.screen",
    "StabilityPredictor": "predictor",
    "Verdict": "predictor",
    "network_inputs": "predictor",
    "trial_inputs": "predictor",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Load a public name on first use: torch alone takes a second to import."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
