"""Scaled Cayley orthogonal network (Helfrich, Willmott and Ye 2018): h' = modReLU(V x + Q h), Q orthogonal."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number
from .base.orthogonal import angles, modrelu, orthogonal_matrix, rotations, triangle, uniform


@dataclass(frozen=True)
class ScoRNN(Cell):
    """A network whose Q is a fixed D = diag(1, ..., -1, ...) times the Cayley transform of a skew-symmetric matrix.

    `init_scale` is the scale of the input weights only, 0.01 by default. Q is initialised as D times rotations by angles in
    (0, pi / 2). With b >= 0 all exponents are exactly 0. A unit that is silent at some step, |z| < -b, causes exponents of
    -inf; how many depends on how Q mixes the units.
    """

    negative_share: float = 0.5  # of the entries of D, the paper's rho / H; the sign of det Q never changes in training

    fixed: ClassVar = frozenset({"signs"})
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({"skew": 0.1})

    def __post_init__(self) -> None:
        check_number(self, "negative_share", least=0, most=1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the input weights, the triangle of the skew-symmetric matrix, the bias b of modReLU, and D."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "skew": (size * (size - 1) // 2,), "bias": (size,), "signs": (size,)}

    def init(self, generator: Generator) -> Params:
        """The paper's initialisation, with b = 0, float32."""
        size = self.hidden_size
        signs = torch.ones(size)
        signs[size - round(self.negative_share * size) :] = -1
        scale = 0.01 if self.init_scale is None else self.init_scale
        return {
            "weight_ih": uniform((size, self.input_size), scale, generator),
            "skew": rotations(2 * (angles(size, generator) / 2).tan(), size),
            "bias": torch.zeros(size),
            "signs": signs,
        }

    def weights(self, params: Params) -> Params:
        """The input weights, the bias b, and Q."""
        matrix = orthogonal_matrix("cayley", triangle(params["skew"], self.hidden_size), params["signs"].diag())
        return {"weight_ih": params["weight_ih"], "weight_hh": matrix, "bias": params["bias"]}

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        return modrelu(linear(x, weights["weight_ih"]) + linear(state, weights["weight_hh"]), weights["bias"])
