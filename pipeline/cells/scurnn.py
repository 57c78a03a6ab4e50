"""Scaled Cayley unitary network (Maduranga, Helfrich and Ye 2019): h' = modReLU(V x + Q h), complex, Q unitary."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.orthogonal import angles, complex_modrelu, orthogonal_matrix, rotations, triangle, uniform


@dataclass(frozen=True)
class ScuRNN(Cell):
    """H complex units; Q is diag(exp(i theta)), trained, times the Cayley transform of a skew-Hermitian matrix.

    State and output are the real parts followed by the imaginary parts, 2 H numbers. The state starts at 0, whereas the
    paper trains the initial state. `init_scale` is the scale of the input weights only, (6 / (I + 2 H)) ** 0.5 by default.
    Unlike modReLU of real numbers, that of complex numbers contracts if b < 0 and expands if b > 0, most strongly near 0.
    """

    state_parts: ClassVar[int] = 2
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({"skew_real": 0.1, "skew_imaginary": 0.1})

    @property
    def output_size(self) -> int:
        """The output size 2 H, real and imaginary parts."""
        return 2 * self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the input weights (real, then imaginary), the skew-Hermitian triangle, theta, and the bias b of modReLU."""
        size = self.hidden_size
        return {
            "weight_ih": (2 * size, self.input_size),
            "skew_real": (size * (size - 1) // 2,),
            "skew_imaginary": (size * (size + 1) // 2,),
            "phase": (size,),
            "bias": (size,),
        }

    def init(self, generator: Generator) -> Params:
        """The paper's: rotations by angles in (0, pi / 2), theta from uniform(0, 2 pi), b from uniform(-0.01, 0.01)."""
        size = self.hidden_size
        scale = (6 / (self.input_size + 2 * size)) ** 0.5 if self.init_scale is None else self.init_scale
        return {
            "weight_ih": uniform((2 * size, self.input_size), scale, generator),
            "skew_real": rotations(2 * (angles(size, generator) / 2).tan(), size),
            "skew_imaginary": torch.zeros(size * (size + 1) // 2),
            "phase": torch.rand(size, generator=generator) * (2 * torch.pi),
            "bias": uniform((size,), 0.01, generator),
        }

    def weights(self, params: Params) -> Params:
        """The input weights, the bias b, and Q as the real matrix (2 H, 2 H) of the blocks Re, -Im above Im, Re."""
        size = self.hidden_size
        lower = torch.complex(triangle(params["skew_real"], size), triangle(params["skew_imaginary"], size, diagonal=True))
        turns = torch.complex(params["phase"].cos(), params["phase"].sin())
        matrix = orthogonal_matrix("cayley", lower, turns.diag())
        upper, below = torch.cat([matrix.real, -matrix.imag], dim=1), torch.cat([matrix.imag, matrix.real], dim=1)
        return {"weight_ih": params["weight_ih"], "weight_hh": torch.cat([upper, below]), "bias": params["bias"]}

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The real and imaginary parts of the next state h', (B, 2 H)."""
        return complex_modrelu(linear(x, weights["weight_ih"]) + linear(state, weights["weight_hh"]), weights["bias"])
