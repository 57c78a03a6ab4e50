"""Undamped independent oscillators (Rusch and Mishra 2021b): y'' = -s(c)^2 (tanh(u * y + W x + b) + alpha y), s = sigmoid."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number


@dataclass(frozen=True)
class UnICORNN(Cell):
    """Oscillators whose step is two shears and preserves volume, so that the exponents sum to 0.

    The defaults are the authors' for permuted MNIST. `init_scale` is the scale of the input weights; u is drawn from
    uniform(0, 1), c from uniform(-0.1, 0.1), and biases start at 0.
    """

    step_size: float = 0.19  # dt
    stiffness: float = 30.65  # alpha

    state_parts: ClassVar = 2

    def __post_init__(self) -> None:
        check_number(self, "step_size", above=0)
        check_number(self, "stiffness", least=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of W, u, c and b."""
        size = self.hidden_size
        return {"weight_ih": (size, self.input_size), "weight_hh": (size,), "control": (size,), "bias": (size,)}

    def init(self, generator: Generator) -> Params:
        """Input weights from uniform(-p, p), u from uniform(0, 1), c from uniform(-0.1, 0.1), and zero biases, float32."""
        recurrent, control = (
            torch.empty(self.hidden_size).uniform_(*limits, generator=generator) for limits in ((0, 1), (-0.1, 0.1))
        )
        prescribed = {"weight_hh": recurrent, "control": control, "bias": torch.zeros(self.hidden_size)}
        return super().init(generator) | prescribed

    def weights(self, params: Params) -> Params:
        """The parameters with dt s(c), the time step of each unit, in place of c."""
        return params | {"control": self.step_size * params["control"].sigmoid()}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (y', z') end to end, (B, 2 H): z' from the old y, y' from the new z."""
        y, z = state.chunk(2, dim=-1)
        force = (linear(x, params["weight_ih"], params["bias"]) + params["weight_hh"] * y).tanh()
        z = z - params["control"] * (force + self.stiffness * y)
        return torch.cat([y + params["control"] * z, z], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The positions y (B, H)."""
        return state[..., : self.hidden_size]
