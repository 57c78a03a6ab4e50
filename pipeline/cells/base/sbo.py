"""Common parts of the networks of stochastic bilevel optimisation (Zhang et al. 2021): the objective of the lower level.

F(h) = 1/2 |h - relu(V x + b + W h)|^2 for the input x, with W = I + L R, where L (H, rank) and R (rank, H) are trained. Each
step descends a little on F; the fixed points of the descent are the network's answer to the input.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .cell import Cell, Params
from .options import check_count, check_number


@dataclass(frozen=True)
class SBO(Cell):
    """Abstract: a cell that descends on F, with trained input weights, bias and factors of W - I."""

    step_size: float = 1e-3  # eta, the paper's value in all experiments
    rank: int = 50  # of W - I, or H if that is smaller

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)
        check_count(self, "rank")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the input weights V, the bias b and the factors L and R of W - I."""
        rank = min(self.rank, self.hidden_size)
        return {
            "weight_ih": (self.hidden_size, self.input_size),
            "bias": (self.hidden_size,),
            "left": (self.hidden_size, rank),
            "right": (rank, self.hidden_size),
        }

    def weights(self, params: Params) -> Params:
        """The parameters with W in place of its factors."""
        left, right = params["left"], params["right"]
        matrix = torch.eye(len(left), dtype=left.dtype, device=left.device) + left @ right
        return {n: p for n, p in params.items() if n not in ("left", "right")} | {"weight_hh": matrix}


@dataclass(frozen=True)
class MomentumSBO(SBO):
    """Abstract: a cell that descends on F with a trained momentum mu; its state has two parts, the first of which is h."""

    state_parts: ClassVar[int] = 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters without momentum, and of mu."""
        return super().shapes() | {"momentum": (1,)}

    def init(self, generator: Generator) -> Params:
        """Parameters drawn from uniform(-p, p), except mu = 0.5, float32."""
        return super().init(generator) | {"momentum": torch.tensor([0.5])}

    def output(self, state: Tensor) -> Tensor:
        """The first part of the state, h (B, H)."""
        return state[..., : self.hidden_size]


def gradient(weights: Params, h: Tensor, x: Tensor) -> Tensor:
    """The gradient of F at h (B, H) for the input x (B, I).

    It is (I - D W)' (h - relu(z)) with z = V x + b + W h and D = diag(z > 0).
    """
    z = linear(x, weights["weight_ih"], weights["bias"]) + linear(h, weights["weight_hh"])
    error = h - z.relu()
    return error - (error * (z > 0)) @ weights["weight_hh"]
