"""Independently recurrent network (Li et al. 2018): h' = f(W x + b + u * h), with one recurrent weight per unit."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_choice


@dataclass(frozen=True)
class IndRNN(Cell):
    """A network with the diagonal Jacobian f' u, so that each unit has its own exponent, the mean of log |f' u|.

    The paper uses f = ReLU and tanh, with ReLU for the longest sequences. The default here is tanh, because a ReLU unit
    that is silent at a single step has the exponent -inf, whatever its weight. The paper's bound on |u|, which depends on
    the length of the task, is omitted: the spectrum shows where it would have been active. `init_scale` is the scale of
    the input weights; u is drawn from uniform(0, 1), and biases start at 0.
    """

    nonlinearity: str = "tanh"  # or "relu"

    def __post_init__(self) -> None:
        check_choice(self, "nonlinearity", ("tanh", "relu"))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, u and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size,), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights from uniform(-p, p), recurrent weights from uniform(0, 1), and zero biases, float32."""
        recurrent = torch.empty(self.hidden_size).uniform_(0, 1, generator=generator)
        return super().init(generator) | {"weight_hh": recurrent, "bias": torch.zeros(self.hidden_size)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + params["weight_hh"] * state
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()
