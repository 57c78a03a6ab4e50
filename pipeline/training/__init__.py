"""Trials: how they are drawn, built and trained."""

from .device import choose_device
from .draw import check_data, draw
from .job import Training, diverged, jobs
from .loop import train
from .network import Network

__all__ = ["Network", "Training", "check_data", "choose_device", "diverged", "draw", "jobs", "train"]
