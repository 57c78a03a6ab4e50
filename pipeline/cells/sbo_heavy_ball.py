"""SBO-RNN with heavy-ball momentum (Zhang et al. 2021; Polyak 1964): v' = mu v - eta grad F(h), h' = h + v'."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .base.cell import Params
from .base.sbo import MomentumSBO, gradient


@dataclass(frozen=True)
class SBOHeavyBall(MomentumSBO):
    """The state is h and v end to end. The Jacobian's determinant is mu^H at every step: the exponents sum to H log mu."""

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (h', v') end to end, (B, 2 H)."""
        h, v = state.chunk(2, dim=-1)
        v = weights["momentum"] * v - self.step_size * gradient(weights, h, x)
        return torch.cat([h + v, v], dim=-1)
