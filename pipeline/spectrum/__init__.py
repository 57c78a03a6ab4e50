"""Lyapunov spectra of driven maps; `lyapunov_spectrum` is for anybody's module, `growth` for the pipeline's ensembles."""

from .estimate import Spectrum
from .engine import growth
from .lyapunov import lyapunov_spectrum
from .reorthonormalise import reorthonormalise
from .tangent import push_forward

__all__ = ["Spectrum", "growth", "lyapunov_spectrum", "push_forward", "reorthonormalise"]
