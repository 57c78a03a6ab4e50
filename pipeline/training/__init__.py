"""Trials: how they are drawn, built and trained."""

from .device import choose_device
from .draw import check_driving, draw
from .job import Training, diverged, jobs
from .loop import train
from .network import Network

__all__ = ["Network", "Training", "check_driving", "choose_device", "diverged", "draw", "jobs", "train"]
