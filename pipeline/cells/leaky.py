"""Leaky rate network (Jaeger et al. 2007): h' = (1 - a) h + a tanh(W x + b + U h + c)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class Leaky(Cell):
    """Elman's update, of which a share is mixed with the old state."""

    leak: float = 0.5  # a, in (0, 1]; 1 is Elman's network

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        drive = linear(x, params["weight_ih"], params["bias_ih"])
        target = (drive + linear(state, params["weight_hh"], params["bias_hh"])).tanh()
        return state + self.leak * (target - state)
