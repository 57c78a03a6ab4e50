"""What the networks of stochastic bilevel optimisation share (Zhang et al. 2021): the lower level's objective.

F(h) = 1/2 |h - relu(V x + b + W h)|^2 for the input x, with W = I + L R, L (H, rank) and R (rank, H) trained. A step goes down F
a little; its fixed points answer the input.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from ._cell import Params


def factors(input_size: int, hidden_size: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Input weights and bias, and the two factors; the rank is at most H."""
    rank = min(rank, hidden_size)
    return {
        "weight_ih": (hidden_size, input_size),
        "bias": (hidden_size,),
        "left": (hidden_size, rank),
        "right": (rank, hidden_size),
    }


def with_matrix(params: Params) -> Params:
    """The parameters with W in place of its factors."""
    left, right = params["left"], params["right"]
    matrix = torch.eye(len(left), dtype=left.dtype, device=left.device) + left @ right
    return {n: p for n, p in params.items() if n not in ("left", "right")} | {"weight_hh": matrix}


def gradient(weights: Params, h: Tensor, x: Tensor) -> Tensor:
    """Of F at h (B, H), for the input x (B, I): (I - D W)' (h - relu(z)), z = V x + b + W h, D = diag(z > 0)."""
    z = linear(x, weights["weight_ih"], weights["bias"]) + linear(h, weights["weight_hh"])
    error = h - z.relu()
    return error - (error * (z > 0)) @ weights["weight_hh"]
