"""SBO-RNN with Nesterov's momentum (Zhang et al. 2021): y' = h - eta grad F(h), h' = y' + mu (y' - y)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ._cell import Cell, Params
from ._sbo import factors, gradient, with_matrix


@dataclass(frozen=True)
class SBONesterov(Cell):
    """State h and y end to end. The Jacobian's determinant is mu^H det(I - eta M M'), M = I - W' D."""

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
        """(h', y') end to end, (B, 2 H)."""
        h, old = state.chunk(2, dim=-1)
        y = h - self.step_size * gradient(weights, h, x)
        return torch.cat([y + weights["momentum"] * (y - old), y], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """H (B, H)."""
        return state[..., : self.hidden_size]
