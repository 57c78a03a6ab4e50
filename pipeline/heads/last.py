"""An affine readout of the last step."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import linear

from .base.head import Head, Params


@dataclass(frozen=True)
class Last(Head):
    """A head with one answer per sequence."""

    every_step: ClassVar = False

    def read(self, params: Params, outputs: Tensor) -> Tensor:
        """The answers (B, O) from outputs (T, B, H)."""
        return linear(outputs[-1], params["weight"], params["bias"])
