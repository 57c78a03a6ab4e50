"""Trials: how they are drawn, built and trained."""

from .device import MEASURING, TRAINING, choose_device, sharing
from .draw import check_data, draw
from .job import Training, diverged, jobs
from .loop import train
from .network import Network

__all__ = [
    "MEASURING",
    "TRAINING",
    "Network",
    "Training",
    "check_data",
    "choose_device",
    "diverged",
    "draw",
    "jobs",
    "sharing",
    "train",
]
