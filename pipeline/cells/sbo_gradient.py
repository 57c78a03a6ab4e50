"""SBO-RNN with plain gradient steps (Zhang, Yue, Wu, Li and Zhang 2021): h' = h - eta grad F(h)."""

from dataclasses import dataclass

from torch import Tensor

from ._cell import Cell, Params
from ._sbo import factors, gradient, with_matrix


@dataclass(frozen=True)
class SBOGradient(Cell):
    """The variant SGD. Its Jacobian is I - eta M M', M = I - W' D: no exponent is above 0 while eta |M|^2 < 2."""

    step_size: float = 1e-3  # eta, the paper's everywhere
    rank: int = 50  # of W - I, or H if that is less

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input weights, bias and the factors of W - I."""
        return factors(self.input_size, self.hidden_size, self.rank)

    def weights(self, params: Params) -> Params:
        """W in place of its factors."""
        return with_matrix(params)

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        return state - self.step_size * gradient(weights, state, x)
