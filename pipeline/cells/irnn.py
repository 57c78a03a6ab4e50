"""ReLU network whose recurrent weights start as the identity (Le, Jaitly and Hinton 2015): h' = ReLU(W x + b + U h)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params


@dataclass(frozen=True)
class IRNN(Cell):
    """A network whose active units initially sum their inputs, with exponents 0; `init_scale` is that of the input weights.

    Until training mixes the units, a unit that is silent at a single counted step has the exponent -inf. With inputs of
    either sign this may be the case for all units. Biases start at 0.
    """

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights from uniform(-p, p), the identity as recurrent weights, and zero biases, float32."""
        return super().init(generator) | {"weight_hh": torch.eye(self.hidden_size), "bias": torch.zeros(self.hidden_size)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        return (linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])).relu()
