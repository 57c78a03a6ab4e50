"""Independently recurrent network (Li et al. 2018): h' = f(W x + b + u * h), each unit with one recurrent weight."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class IndRNN(Cell):
    """Its Jacobian is diagonal, f' u, so that each unit has an exponent of its own, the mean of log |f' u|.

    The paper uses f = ReLU and tanh, ReLU for the longest sequences. Here tanh is the default: a ReLU unit that is
    silent at a single step has the exponent -inf, whatever its weight. The paper's bound on |u|, which
    depends on the task's length, is left out: the spectrum says where it would have acted. `init_scale` acts on
    the input weights; u starts uniform in [0, 1), biases at 0.
    """

    nonlinearity: str = "tanh"  # or "relu"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, u and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size,), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights uniform(-p, p), recurrent ones uniform(0, 1), zero biases, float32."""
        recurrent = torch.empty(self.hidden_size).uniform_(0, 1, generator=generator)
        return super().init(generator) | {"weight_hh": recurrent, "bias": torch.zeros(self.hidden_size)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + params["weight_hh"] * state
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()
