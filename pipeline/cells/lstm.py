"""Long short-term memory with forget gate (Hochreiter and Schmidhuber 1997; Gers et al. 2000); gates i, f, g, o."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .base.cell import Cell, Linear, Params
from .base.weigh import add_weighed, totals


@dataclass(frozen=True)
class LSTM(Cell):
    """The LSTM, identical to torch's. Its state is h and c end to end: leaving out c would measure a different system."""

    by_hand: ClassVar = True
    torch_module: ClassVar = nn.LSTM
    torch_cell: ClassVar = nn.LSTMCell
    gates: ClassVar = 4
    state_parts: ClassVar = 2

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (h', c') end to end, (B, 2 H)."""
        h, c = state.chunk(2, dim=-1)
        drive = linear(x, params["weight_ih"], params.get("bias_ih"))
        total = drive + linear(h, params["weight_hh"], params.get("bias_hh"))
        i, f, _, o = total.sigmoid().chunk(4, dim=-1)
        c = f * c + i * total.chunk(4, dim=-1)[2].tanh()
        return torch.cat([o * c.tanh(), c], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The output h (B, H)."""
        return state[..., : self.hidden_size]

    def linearise(self, params: Params, state: Tensor, new: Tensor, x: Tensor) -> Linear:
        """The shares f, and the slopes of c' in the gates i, f, g, of h' in the gate o, and of h' in c'."""
        h, c = state.chunk(2, dim=-1)
        i, f, g, o = (totals(params, "ih", x) + totals(params, "hh", h)).chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        squashed = new.chunk(2, dim=-1)[1].tanh()
        by_gates = torch.cat([g * i * (1 - i), c * f * (1 - f), i * (1 - g.square())], dim=-1)
        return {"keep": f, "cell": by_gates, "output": squashed * o * (1 - o), "through": o * (1 - squashed.square())}

    def push(self, params: Params, linear: Linear, deviations: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """The deviations of c' first, then those of h', which depend on c' and on the gate o."""
        h, c = deviations.chunk(2, dim=-1)
        new_h, new_c = out.chunk(2, dim=-1)
        sources = [("weight_hh", h)] + ([] if below is None else [("weight_ih", below)])
        torch.mul(c, linear["keep"].unsqueeze(-2), out=new_c)
        for name, source in sources:
            add_weighed(params[name][..., : 3 * self.hidden_size, :], linear["cell"], source, new_c)
        torch.mul(new_c, linear["through"].unsqueeze(-2), out=new_h)
        for name, source in sources:
            add_weighed(params[name][..., 3 * self.hidden_size :, :], linear["output"], source, new_h)
