"""Echo state network (Jaeger 2001): a fixed reservoir h' = (1 - a) h + a tanh(W x + b + U h); the head alone learns."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class EchoState(Cell):
    """`init_scale` acts on input weights and biases; the reservoir's spectral radius is given."""

    leak: float = 1.0  # a, in (0, 1]
    spectral_radius: float = 0.9  # largest modulus of the eigenvalues of U

    fixed: ClassVar = frozenset({"weight_ih", "weight_hh", "bias"})

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights and biases uniform(-p, p), recurrent ones uniform with the spectral radius, float32."""
        params = super().init(generator)
        reservoir = params["weight_hh"].double()
        radius = torch.linalg.eigvals(reservoir).abs().max()
        return params | {"weight_hh": (reservoir * (self.spectral_radius / radius)).float()}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        target = (linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])).tanh()
        return state + self.leak * (target - state)
