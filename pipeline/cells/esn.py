"""Echo state network (Jaeger 2001): a fixed reservoir h' = (1 - a) h + a tanh(W x + b + U h); only the head is trained."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class EchoState(Cell):
    """A reservoir with a given spectral radius; `init_scale` is the scale of the input weights and biases."""

    leak: float = 1.0  # a, in (0, 1]; the share of the new state
    spectral_radius: float = 0.9  # largest modulus of the eigenvalues of U

    fixed: ClassVar = frozenset({"weight_ih", "weight_hh", "bias"})

    def __post_init__(self) -> None:
        check_number(self, "leak", above=0, most=1)
        check_number(self, "spectral_radius", above=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights and biases from uniform(-p, p), and recurrent weights scaled to the spectral radius, float32."""
        params = super().init(generator)
        reservoir = params["weight_hh"].double()
        radius = torch.linalg.eigvals(reservoir).abs().max()
        return params | {"weight_hh": (reservoir * (self.spectral_radius / radius)).float()}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        target = (linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])).tanh()
        return state + self.leak * (target - state)
