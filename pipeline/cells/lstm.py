"""Long short-term memory with forget gate (Hochreiter and Schmidhuber 1997; Gers et al. 2000), gates i, f, g, o."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class LSTM(Cell):
    """torch's `LSTM`. Its state is h and c end to end: leaving c out measures another system."""

    torch_module: ClassVar = nn.LSTM
    torch_cell: ClassVar = nn.LSTMCell
    gates: ClassVar = 4
    state_parts: ClassVar = 2

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """(h', c') end to end, (B, 2 H)."""
        h, c = state.chunk(2, dim=-1)
        drive = linear(x, params["weight_ih"], params.get("bias_ih"))
        i, f, g, o = (drive + linear(h, params["weight_hh"], params.get("bias_hh"))).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return torch.cat([o.sigmoid() * c.tanh(), c], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """H (B, H)."""
        return state[..., : self.hidden_size]
