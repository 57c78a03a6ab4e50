"""Lipschitz network (Erichson et al. 2021): h' = h + epsilon (A h + tanh(U h + W x + b))."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class LipschitzRNN(Cell):
    """A and U are beta (M - M') + (1 - beta) (M + M') - gamma I, each of its own M; defaults of the authors' program."""

    step_size: float = 0.05  # epsilon
    skew: float = 0.7  # beta, the share of the antisymmetric part
    diffusion: float = 0.001  # gamma

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, M of U, M of A, and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "weight_linear": (size, size), "bias": (size,)}

    def weights(self, params: Params) -> Params:
        """With U and A for the M that they are made of."""
        return params | {name: self._mixed(params[name]) for name in ("weight_hh", "weight_linear")}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return state + self.step_size * (linear(state, params["weight_linear"]) + total.tanh())

    def _mixed(self, free: Tensor) -> Tensor:
        """The same matrix in two terms less: M + (1 - 2 beta) M' - gamma I."""
        return free + (1 - 2 * self.skew) * free.mT - self.diffusion * torch.eye(len(free)).to(free)
