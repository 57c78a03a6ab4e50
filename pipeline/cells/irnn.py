"""ReLU network whose recurrent weights start as the identity (Le, Jaitly and Hinton 2015): h' = ReLU(W x + b + U h)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class IRNN(Cell):
    """At first active units add up their inputs, with exponents 0; `init_scale` acts on the input weights, biases start at 0.

    Until training mixes the units, one that is silent at a single counted step has the exponent -inf: driven by inputs
    of either sign, that may be all of them.
    """

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights uniform(-p, p), the identity, zero biases, float32."""
        return super().init(generator) | {"weight_hh": torch.eye(self.hidden_size), "bias": torch.zeros(self.hidden_size)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        return (linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])).relu()
