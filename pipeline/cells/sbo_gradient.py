"""SBO-RNN with plain gradient steps (Zhang, Yue, Wu, Li and Zhang 2021): h' = h - eta grad F(h)."""

from dataclasses import dataclass

from torch import Tensor

from .base.cell import Params
from .base.sbo import SBO, gradient


@dataclass(frozen=True)
class SBOGradient(SBO):
    """The paper's variant SGD. Its Jacobian is I - eta M M', M = I - W' D: no exponent is above 0 while eta |M|^2 < 2."""

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        return state - self.step_size * gradient(weights, state, x)
