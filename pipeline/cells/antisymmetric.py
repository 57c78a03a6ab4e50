"""Antisymmetric network (Chang et al. 2019): h' = h + epsilon tanh((U - U' - gamma I) h + W x + b)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class AntisymmetricRNN(Cell):
    """Euler steps of a flow whose linear part rotates but hardly contracts; epsilon is from the grid of the paper."""

    step_size: float = 0.1  # epsilon
    diffusion: float = 0.01  # gamma, which compensates for the growth that Euler's method adds

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)
        check_number(self, "diffusion", least=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def weights(self, params: Params) -> Params:
        """The parameters with U - U' - gamma I in place of U."""
        free = params["weight_hh"]
        return params | {
            "weight_hh": free - free.mT - self.diffusion * torch.eye(len(free), dtype=free.dtype, device=free.device)
        }

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return state + self.step_size * total.tanh()
