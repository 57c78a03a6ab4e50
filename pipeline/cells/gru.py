"""Gated recurrent unit in torch's form (Cho et al. 2014, with the reset after the product); gates r, z, n."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .base.cell import Cell, Linear, Params
from .base.weigh import add_weighed, totals


@dataclass(frozen=True)
class GRU(Cell):
    """The gated network h' = (1 - z) n + z h with n = tanh(W x + b + r (U h + c)), identical to torch's `GRU`."""

    by_hand: ClassVar = True
    torch_module: ClassVar = nn.GRU
    torch_cell: ClassVar = nn.GRUCell
    gates: ClassVar = 3

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        r_x, z_x, n_x = linear(x, params["weight_ih"], params.get("bias_ih")).chunk(3, dim=-1)
        r_h, z_h, n_h = linear(state, params["weight_hh"], params.get("bias_hh")).chunk(3, dim=-1)
        z = (z_x + z_h).sigmoid()
        n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
        return n + z * (state - n)

    def linearise(self, params: Params, state: Tensor, new: Tensor, x: Tensor) -> Linear:
        """The shares z, and the slopes of the gates r, z, n; n has one slope for the input and another for the state."""
        r_x, z_x, n_x = totals(params, "ih", x).chunk(3, dim=-1)
        r_h, z_h, n_h = totals(params, "hh", state).chunk(3, dim=-1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        n = (n_x + r * n_h).tanh()
        by_n = (1 - z) * (1 - n.square())
        by_r, by_z = by_n * n_h * r * (1 - r), (state - n) * z * (1 - z)
        return {"keep": z, "state": torch.cat([by_r, by_z, by_n * r], dim=-1), "input": torch.cat([by_r, by_z, by_n], dim=-1)}

    def push(self, params: Params, linear: Linear, deviations: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """The share z of the deviation, plus the effect of the gates."""
        torch.mul(deviations, linear["keep"].unsqueeze(-2), out=out)
        add_weighed(params["weight_hh"], linear["state"], deviations, out)
        if below is not None:
            add_weighed(params["weight_ih"], linear["input"], below, out)
