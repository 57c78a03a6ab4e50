"""Trials: what they are, how a sweep draws them, how one is trained and how its spectra are measured."""

from .device import choose as device
from .loop import train
from .measure import measure, measurements
from .network import Network
from .sweep import draw
from .trial import Trial

__all__ = ["Network", "Trial", "device", "draw", "measure", "measurements", "train"]
