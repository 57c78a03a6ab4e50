"""An affine readout of every step."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import linear

from .base.head import Head, Params


@dataclass(frozen=True)
class Every(Head):
    """A head with one answer per step."""

    every_step: ClassVar = True

    def read(self, params: Params, outputs: Tensor) -> Tensor:
        """The answers (T, B, O) from outputs (T, B, H)."""
        return linear(outputs, params["weight"], params["bias"])
