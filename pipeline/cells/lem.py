"""Long expressive memory (Rusch et al. 2022): two coupled leaky states whose time steps are learnt, gates dz, dy, z, y."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class LEM(Cell):
    """z' = z + dz (tanh(W x + U y) - z), then y' = y + dy (tanh(W x + U z') - y) with the NEW z.

    dz and dy are dt sigmoid(W x + U y); biases, two a gate as torch's, and the four W and U are gate by gate.
    """

    step_size: float = 1.0  # dt

    gates: ClassVar = 4
    state_parts: ClassVar = 2

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """(y', z') end to end, (B, 2 H)."""
        y, z = state.chunk(2, dim=-1)
        above = 3 * self.hidden_size  # rows of the gates that see y; the last sees z
        weight, bias = params["weight_hh"], params["bias_hh"]
        drive, last = linear(x, params["weight_ih"], params["bias_ih"]).split([above, self.hidden_size], dim=-1)
        dz, dy, target = (drive + linear(y, weight[:above], bias[:above])).chunk(3, dim=-1)
        z = z + self.step_size * dz.sigmoid() * (target.tanh() - z)
        y = y + self.step_size * dy.sigmoid() * ((last + linear(z, weight[above:], bias[above:])).tanh() - y)
        return torch.cat([y, z], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """Of both states y, (B, H)."""
        return state[..., : self.hidden_size]
