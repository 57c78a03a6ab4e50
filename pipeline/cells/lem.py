"""Long expressive memory (Rusch et al. 2022): two coupled leaky states with learned time steps; gates dz, dy, z, y."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class LEM(Cell):
    """The update z' = z + dz (tanh(W x + U y) - z), then y' = y + dy (tanh(W x + U z') - y) with the NEW z.

    The time steps dz and dy are dt sigmoid(W x + U y). Each of the four gates has its own W and U, and two biases as in torch.
    """

    step_size: float = 1.0  # dt

    gates: ClassVar = 4
    state_parts: ClassVar = 2

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (y', z') end to end, (B, 2 H)."""
        y, z = state.chunk(2, dim=-1)
        above = 3 * self.hidden_size  # rows of the gates that read y; the last gate reads z
        weight, bias = params["weight_hh"], params["bias_hh"]
        drive, last = linear(x, params["weight_ih"], params["bias_ih"]).split([above, self.hidden_size], dim=-1)
        dz, dy, target = (drive + linear(y, weight[:above], bias[:above])).chunk(3, dim=-1)
        z = z + self.step_size * dz.sigmoid() * (target.tanh() - z)
        y = y + self.step_size * dy.sigmoid() * ((last + linear(z, weight[above:], bias[above:])).tanh() - y)
        return torch.cat([y, z], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The first of the two states, y (B, H)."""
        return state[..., : self.hidden_size]
