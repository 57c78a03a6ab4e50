"""Elman's network (Elman 1990): h' = f(W x + b + U h + c), f = tanh or ReLU."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear

from .base.cell import Cell, Linear, Params
from .base.options import check_choice
from .base.weigh import add_weighed


@dataclass(frozen=True)
class Elman(Cell):
    """The plain recurrent network, identical to torch's `RNN`."""

    nonlinearity: str = "tanh"  # or "relu"

    by_hand: ClassVar = True
    torch_module: ClassVar = nn.RNN
    torch_cell: ClassVar = nn.RNNCell

    def __post_init__(self) -> None:
        check_choice(self, "nonlinearity", ("tanh", "relu"))

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        drive = linear(x, params["weight_ih"], params.get("bias_ih"))
        total = drive + linear(state, params["weight_hh"], params.get("bias_hh"))
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()

    def linearise(self, params: Params, state: Tensor, new: Tensor, x: Tensor) -> Linear:
        """The slope of f for each unit."""
        return {"slope": 1 - new.square() if self.nonlinearity == "tanh" else (new > 0).to(new)}

    def push(self, params: Params, linear: Linear, deviations: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """The slope times (U deviation + W below)."""
        out.zero_()
        add_weighed(params["weight_hh"], linear["slope"], deviations, out)
        if below is not None:
            add_weighed(params["weight_ih"], linear["slope"], below, out)
