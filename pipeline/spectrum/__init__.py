"""Lyapunov spectra of driven maps: `lyapunov_spectrum` is for any user's module, `growth` for the pipeline's ensembles."""

from .engine import growth
from .estimate import Spectrum
from .lyapunov import leading_spectrum, lyapunov_spectra, lyapunov_spectrum
from .reorthonormalise import reorthonormalise
from .tangent import push_forward

__all__ = ["Spectrum", "growth", "leading_spectrum", "lyapunov_spectra", "lyapunov_spectrum", "push_forward", "reorthonormalise"]
