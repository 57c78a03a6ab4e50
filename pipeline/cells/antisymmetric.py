"""Antisymmetric network (Chang et al. 2019): h' = h + epsilon tanh((U - U' - gamma I) h + W x + b)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params


@dataclass(frozen=True)
class AntisymmetricRNN(Cell):
    """Euler steps of a flow whose linear part turns but hardly shrinks; epsilon is from the grid of the paper."""

    step_size: float = 0.1  # epsilon
    diffusion: float = 0.01  # gamma, which makes up for the growth that Euler's method adds

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """W, U and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, size), "bias": (size,)}

    def weights(self, params: Params) -> Params:
        """With U - U' - gamma I for U."""
        free = params["weight_hh"]
        return params | {"weight_hh": free - free.mT - self.diffusion * torch.eye(len(free)).to(free)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        total = linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])
        return state + self.step_size * total.tanh()
