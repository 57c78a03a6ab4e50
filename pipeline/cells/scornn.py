"""Scaled Cayley orthogonal network (Helfrich, Willmott and Ye 2018): h' = modReLU(V x + Q h), Q orthogonal."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params
from ._orthogonal import angles, modrelu, orthogonal_matrix, rotations, triangle, uniform


@dataclass(frozen=True)
class ScoRNN(Cell):
    """Q = D times the Cayley transform of a skew-symmetric matrix, D = diag(1, ..., -1, ...) fixed.

    `init_scale` is that of the input weights alone, .01 by default; Q starts with rotations by angles in (0, pi / 2) times D.
    With b >= 0 all exponents are exactly 0; a unit that |z| < -b silences at some step costs exponents of -inf, how many
    depends on how Q mixes the units.
    """

    negative_share: float = 0.5  # of D's entries, the paper's rho / H; the sign of det Q never changes while training

    fixed: ClassVar = frozenset({"signs"})
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({"skew": 0.1})

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input weights, the triangle of the skew-symmetric matrix, modReLU's b, and D."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "skew": (size * (size - 1) // 2,), "bias": (size,), "signs": (size,)}

    def init(self, generator: Generator) -> Params:
        """The paper's, b = 0."""
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
        """Input weights, b and Q."""
        matrix = orthogonal_matrix("cayley", triangle(params["skew"], self.hidden_size), params["signs"].diag())
        return {"weight_ih": params["weight_ih"], "weight_hh": matrix, "bias": params["bias"]}

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, H)."""
        return modrelu(linear(x, weights["weight_ih"]) + linear(state, weights["weight_hh"]), weights["bias"])
