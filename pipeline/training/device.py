"""The choice of the device."""

import sys

import torch

from ..core.config import Config
from ..core.errors import ConfigError

# Processes that share a GPU: networks that train together fill one; of measurements, which leave it idle for most of the time,
# each takes more than 1 GB of its memory.
TRAINING, MEASURING = 1, 4


def sharing(settings: Config, processes: int) -> int:
    """The most processes of a stage: so many where they share a GPU, any number elsewhere; settings as for `choose_device`."""
    return processes if choose_device(settings) == "cuda" else sys.maxsize


def choose_device(settings: Config) -> str:
    """The device, "cpu" or "cuda", of the jobs; ConfigError if a GPU is asked for and there is none.

    Args:
        settings: sections `device` and `execution` of params.yaml; on a cluster the jobs have a GPU if they reserve one.
    """
    setting, execution = settings.device, settings.execution
    if execution.engine == "ray":
        return setting if setting != "auto" else "cuda" if execution.gpus else "cpu"
    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "params.yaml: device is 'cuda' but torch sees no GPU; use auto or cpu, or install a CUDA build of torch"
        )
    return setting
