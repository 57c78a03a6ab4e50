"""SBO-RNN with Nesterov's momentum (Zhang et al. 2021): y' = h - eta grad F(h), h' = y' + mu (y' - y)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base.cell import Params
from .base.sbo import MomentumSBO, gradient


@dataclass(frozen=True)
class SBONesterov(MomentumSBO):
    """The state is h and y end to end. The Jacobian's determinant is mu^H det(I - eta M M'), M = I - W' D."""

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (h', y') end to end, (B, 2 H)."""
        h, old = state.chunk(2, dim=-1)
        y = h - self.step_size * gradient(weights, h, x)
        return torch.cat([y + weights["momentum"] * (y - old), y], dim=-1)
