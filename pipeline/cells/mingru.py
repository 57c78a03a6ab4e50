"""Minimal gated unit (Feng et al. 2024): h' = (1 - z) h + z n, where gate and candidate see the input alone; gates z, n."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class MinGRU(Cell):
    """The paper's form without the logarithm: z = sigmoid(W x + b), n = W x + b.

    Its Jacobian is diagonal, so that each unit has an exponent of its own: the mean of log (1 - z), never above 0.
    """

    gates: ClassVar = 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W and b of z and n, one below the other."""
        rows = self.gates * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "bias": (rows,)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        z, n = linear(x, params["weight_ih"], params["bias"]).chunk(2, dim=-1)
        return state + z.sigmoid() * (n - state)
