"""Fast network (Kusupati et al. 2018): h' = a tanh(W x + b + U h) + c h, with two trained scalars a and c per network."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class FastRNN(Cell):
    """Elman's network with a weighted residual connection; a and c are sigmoids of trained logits and start near 0 and 1.

    `init_scale` is the scale of W, U and b. With U = 0 all exponents are log c.
    """

    start: float = 3.0  # initial logits: a = sigmoid(-start), c = sigmoid(start)

    def __post_init__(self) -> None:
        check_number(self, "start")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, U, b and the logits of a and c."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,), "new": (1,), "old": (1,)}

    def init(self, generator: Generator) -> Params:
        """Initial W, U and b from uniform(-p, p), and the logits of a and c, float32."""
        return super().init(generator) | {"new": torch.tensor([-self.start]), "old": torch.tensor([self.start])}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return params["new"].sigmoid() * total.tanh() + params["old"].sigmoid() * state
