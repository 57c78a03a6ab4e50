"""Trials: what they are, how a sweep draws them, how one is trained; `measure` takes the spectra of a finished one."""

from .device import choose as device
from .loop import train
from .network import Network
from .sweep import draw
from .trial import Trial

__all__ = ["Network", "Trial", "device", "draw", "train"]
