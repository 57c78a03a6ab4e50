"""Gated recurrent unit in torch's form (Cho et al. 2014, reset after the product), gates r, z, n."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class GRU(Cell):
    """torch's `GRU`: h' = (1 - z) n + z h, n = tanh(W x + b + r (U h + c))."""

    torch_module: ClassVar = nn.GRU
    torch_cell: ClassVar = nn.GRUCell
    gates: ClassVar = 3

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        r_x, z_x, n_x = linear(x, params["weight_ih"], params.get("bias_ih")).chunk(3, dim=-1)
        r_h, z_h, n_h = linear(state, params["weight_hh"], params.get("bias_hh")).chunk(3, dim=-1)
        z = (z_x + z_h).sigmoid()
        n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
        return n + z * (state - n)
