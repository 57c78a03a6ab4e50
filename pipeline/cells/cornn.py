"""Coupled oscillatory network (Rusch and Mishra 2021a): y'' = tanh(U y + V y' + W x + b) - gamma y - epsilon y'."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class CoRNN(Cell):
    """Driven, damped oscillators coupled by their positions y and velocities z; the defaults are the authors' for MNIST."""

    step_size: float = 0.042  # dt
    stiffness: float = 2.7  # gamma
    damping: float = 4.7  # epsilon

    state_parts: ClassVar = 2

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)
        check_number(self, "stiffness", least=0)
        check_number(self, "damping", least=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, of U and V side by side, and of b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size, 2 * size), "bias": (size,)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (y', z') end to end, (B, 2 H): z' from the old y, y' from the new z."""
        y, z = state.chunk(2, dim=-1)
        force = (linear(x, params["weight_ih"], params["bias"]) + linear(state, params["weight_hh"])).tanh()
        z = z + self.step_size * (force - self.stiffness * y - self.damping * z)
        return torch.cat([y + self.step_size * z, z], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The positions y (B, H)."""
        return state[..., : self.hidden_size]
