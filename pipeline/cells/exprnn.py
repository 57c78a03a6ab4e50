"""Exponential orthogonal network (Lezcano-Casado and Martinez-Rubio 2019): h' = modReLU(V x + exp(A) h), A skew-symmetric."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.orthogonal import angles, modrelu, orthogonal_matrix, rotations, triangle, uniform


@dataclass(frozen=True)
class ExpRNN(Cell):
    """A network with the orthogonal recurrent matrix Q = exp(A), whose determinant is 1.

    `init_scale` is the scale of the input weights only. Q is initialised with rotations by angles in (-pi, pi) (Henaff et
    al. 2016): with these, copying over 100 steps was learned in 360 mini-batches; with angles in (0, pi / 2), half of which
    scoRNN's D reverses, it was not learned in 900. With b >= 0 all exponents are exactly 0. A unit that is silent at some
    step, |z| < -b, causes exponents of -inf.
    """

    rates: ClassVar[Mapping[str, float]] = MappingProxyType({"skew": 0.1})

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the input weights, the triangle of A, and the bias b of modReLU."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "skew": (size * (size - 1) // 2,), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights from uniform(-p, p), Q with random rotations, and the bias b from uniform(-0.01, 0.01), float32."""
        size = self.hidden_size
        scale = size**-0.5 if self.init_scale is None else self.init_scale
        return {
            "weight_ih": uniform((size, self.input_size), scale, generator),
            "skew": rotations(angles(size, generator, -torch.pi, torch.pi), size),
            "bias": uniform((size,), 0.01, generator),
        }

    def weights(self, params: Params) -> Params:
        """The input weights, the bias b, and Q."""
        skew = params["skew"]
        base = torch.eye(self.hidden_size, dtype=skew.dtype, device=skew.device)
        matrix = orthogonal_matrix("matrix_exp", triangle(skew, self.hidden_size), base)
        return {"weight_ih": params["weight_ih"], "weight_hh": matrix, "bias": params["bias"]}

    def step(self, weights: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, H)."""
        return modrelu(linear(x, weights["weight_ih"]) + linear(state, weights["weight_hh"]), weights["bias"])
