"""Elman's network (Elman 1990): h' = f(W x + b + U h + c), f = tanh or ReLU."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class Elman(Cell):
    """The plain recurrent network, torch's `RNN`."""

    nonlinearity: str = "tanh"  # or "relu"

    torch_module: ClassVar = nn.RNN
    torch_cell: ClassVar = nn.RNNCell

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        drive = linear(x, params["weight_ih"], params.get("bias_ih"))
        total = drive + linear(state, params["weight_hh"], params.get("bias_hh"))
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()
