"""The choice of the device."""

import torch

from ..core.errors import ConfigError


def choose_device(setting: str) -> str:
    """The device, "cpu" or "cuda", for `device` in params.yaml; ConfigError if a GPU is asked for and there is none."""
    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "params.yaml: device is 'cuda' but torch sees no GPU; use auto or cpu, or install a CUDA build of torch"
        )
    return setting
