"""Leaky rate network (Jaeger et al. 2007): h' = (1 - a) h + a tanh(W x + b + U h + c)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class Leaky(Cell):
    """A weighted mean of the old state and Elman's update."""

    leak: float = 0.5  # a, in (0, 1], the share of the new state; 1 gives Elman's network

    def __post_init__(self) -> None:
        check_number(self, "leak", above=0, most=1)

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        drive = linear(x, params["weight_ih"], params["bias_ih"])
        target = (drive + linear(state, params["weight_hh"], params["bias_hh"])).tanh()
        return state + self.leak * (target - state)
