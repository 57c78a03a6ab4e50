"""Linear recurrent unit (Orvieto et al. 2023): h' = lambda * h + gamma * (B x), a complex diagonal recurrence."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from ._cell import Cell, Params

SMALLEST = 1e-7  # of the uniform numbers whose logarithm is taken


@dataclass(frozen=True)
class LRU(Cell):
    """H complex units, lambda = exp(-exp(nu) + i exp(theta)); state and output are real and imaginary parts end to end.

    A head that is linear reads Re(C h) + c; the paper's skip from the input, D x, is left out. The exponents are
    log |lambda|, each twice. `init_scale` acts on B; lambda starts uniform on a ring, gamma at (1 - |lambda|^2)^.5,
    and the logarithm of gamma is trained on its own.
    """

    inner_radius: float = 0.0  # of the ring
    outer_radius: float = 1.0
    largest_phase: float = 2 * math.pi

    @property
    def state_size(self) -> int:
        """S = 2 H."""
        return 2 * self.hidden_size

    @property
    def output_size(self) -> int:
        """2 H."""
        return 2 * self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """nu, theta, log gamma, and the parts of B."""
        size = self.hidden_size
        vectors: dict[str, tuple[int, ...]] = {name: (size,) for name in ("nu", "theta", "log_gamma")}
        return vectors | {f"weight_{part}": (size, self.input_size) for part in ("real", "imaginary")}

    def init(self, generator: Generator) -> Params:
        """B uniform(-p, p), lambda uniform on the ring, float32."""
        first, second = (torch.empty(self.hidden_size).uniform_(SMALLEST, 1, generator=generator) for _ in range(2))
        square = self.inner_radius**2 + first * (self.outer_radius**2 - self.inner_radius**2)
        nu, theta = (-square.log() / 2).log(), (self.largest_phase * second).log()
        return super().init(generator) | {"nu": nu, "theta": theta, "log_gamma": (1 - square).log() / 2}

    def weights(self, params: Params) -> Params:
        """The parts of lambda (H,), and gamma B with its imaginary part below the real one (2 H, I)."""
        modulus, phase = (-params["nu"].exp()).exp(), params["theta"].exp()
        parts = [params["log_gamma"].exp()[:, None] * params[f"weight_{part}"] for part in ("real", "imaginary")]
        return {"real": modulus * phase.cos(), "imaginary": modulus * phase.sin(), "weight": torch.cat(parts)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """H' (B, 2 H)."""
        real, imaginary = state.chunk(2, dim=-1)
        a, b = params["real"], params["imaginary"]
        return torch.cat([a * real - b * imaginary, b * real + a * imaginary], dim=-1) + linear(x, params["weight"])
