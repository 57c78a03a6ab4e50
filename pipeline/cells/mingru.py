"""Minimal gated unit (Feng et al. 2024): h' = (1 - z) h + z n, where gate and candidate read only the input; gates z, n."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params


@dataclass(frozen=True)
class MinGRU(Cell):
    """The paper's form without logarithms: z = sigmoid(W x + b), n = W x + b.

    The Jacobian is diagonal, so that each unit has its own exponent, the mean of log (1 - z), which is never above 0.
    """

    gates: ClassVar = 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W and b, with the rows of z above those of n."""
        rows = self.gates * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "bias": (rows,)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        z, n = linear(x, params["weight_ih"], params["bias"]).chunk(2, dim=-1)
        return state + z.sigmoid() * (n - state)
