"""Fast network (Kusupati et al. 2018): h' = a tanh(W x + b + U h) + c h, two trained numbers a and c for the whole network."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class FastRNN(Cell):
    """Elman's network beside a residual; a and c are sigmoids of what is trained, and start near 0 and 1.

    `init_scale` acts on W, U and b. With U = 0 all exponents are log c.
    """

    start: float = 3.0  # a = sigmoid(-start), c = sigmoid(start)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, U, b and the logits of a and c."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,), "new": (1,), "old": (1,)}

    def init(self, generator: Generator) -> Params:
        """W, U and b uniform(-p, p), float32."""
        return super().init(generator) | {"new": torch.tensor([-self.start]), "old": torch.tensor([self.start])}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return params["new"].sigmoid() * total.tanh() + params["old"].sigmoid() * state
