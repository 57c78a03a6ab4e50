"""SBO-RNN with the heavy ball's momentum (Zhang et al. 2021; Polyak 1964): v' = mu v - eta grad F(h), h' = h + v'."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ._cell import Cell, Params
from ._sbo import factors, gradient, with_matrix


@dataclass(frozen=True)
class SBOHeavyBall(Cell):
    """State h and v end to end. The Jacobian's determinant is mu^H at every step: the exponents sum to H log mu."""

    step_size: float = 1e-3  # eta, the paper's everywhere
    rank: int = 50  # of W - I, or H if that is less

    state_parts: ClassVar[int] = 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input weights, bias, the factors of W - I, and mu."""
        return factors(self.input_size, self.hidden_size, self.rank) | {"momentum": (1,)}

    def init(self, generator: Generator) -> Params:
        """uniform(-p, p), and mu = .5."""
        return super().init(generator) | {"momentum": torch.tensor([0.5])}

    def weights(self, params: Params) -> Params:
        """W in place of its factors."""
        return with_matrix(params)

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """(h', v') end to end, (B, 2 H)."""
        h, v = state.chunk(2, dim=-1)
        v = weights["momentum"] * v - self.step_size * gradient(weights, h, x)
        return torch.cat([h + v, v], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """H (B, H)."""
        return state[..., : self.hidden_size]
