"""Lipschitz network (Erichson et al. 2021): h' = h + epsilon (A h + tanh(U h + W x + b))."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class LipschitzRNN(Cell):
    """The matrices A and U are beta (M - M') + (1 - beta) (M + M') - gamma I, each with its own M; the authors' defaults."""

    step_size: float = 0.05  # epsilon
    skew: float = 0.7  # beta, the share of the antisymmetric part
    diffusion: float = 0.001  # gamma

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)
        check_number(self, "skew", least=0, most=1)
        check_number(self, "diffusion", least=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, of the M of U, of the M of A, and of b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "weight_linear": (size, size), "bias": (size,)}

    def weights(self, params: Params) -> Params:
        """The parameters with U and A in place of their matrices M."""
        return params | {name: self._mixed(params[name]) for name in ("weight_hh", "weight_linear")}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return state + self.step_size * (linear(state, params["weight_linear"]) + total.tanh())

    def _mixed(self, free: Tensor) -> Tensor:
        """The same matrix with fewer terms: M + (1 - 2 beta) M' - gamma I."""
        unit = torch.eye(len(free), dtype=free.dtype, device=free.device)
        return free + (1 - 2 * self.skew) * free.mT - self.diffusion * unit
