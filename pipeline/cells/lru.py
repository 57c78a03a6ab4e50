"""Linear recurrent unit (Orvieto et al. 2023): h' = lambda * h + gamma * (B x), a complex diagonal recurrence."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from .base.cell import Cell, Params
from .base.options import check_number

SMALLEST = 1e-7  # lower limit of the uniform numbers whose logarithm is taken


@dataclass(frozen=True)
class LRU(Cell):
    """H complex units with lambda = exp(-exp(nu) + i exp(theta)); state and output are real and imaginary parts end to end.

    A linear head reads Re(C h) + c; the paper's skip connection from the input, D x, is omitted. The exponents are
    log |lambda|, each occurring twice. `init_scale` is the scale of B. lambda is initially uniform on a ring and gamma is
    (1 - |lambda|^2)^0.5; the logarithm of gamma is trained as a parameter of its own.
    """

    inner_radius: float = 0.0  # of the ring on which lambda starts
    outer_radius: float = 1.0  # of that ring, at most 1
    largest_phase: float = 2 * math.pi  # of lambda, initially

    def __post_init__(self) -> None:
        check_number(self, "outer_radius", above=0, most=1)
        check_number(self, "inner_radius", least=0, most=self.outer_radius)
        check_number(self, "largest_phase", above=0, most=2 * math.pi)

    @property
    def state_size(self) -> int:
        """The state size S = 2 H."""
        return 2 * self.hidden_size

    @property
    def output_size(self) -> int:
        """The output size 2 H."""
        return 2 * self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of nu, theta, log gamma, and the real and imaginary parts of B."""
        size = self.hidden_size
        vectors: dict[str, tuple[int, ...]] = {name: (size,) for name in ("nu", "theta", "log_gamma")}
        return vectors | {f"weight_{part}": (size, self.input_size) for part in ("real", "imaginary")}

    def init(self, generator: Generator) -> Params:
        """The input matrix B from uniform(-p, p), and lambda uniform on the ring, float32."""
        first, second = (torch.empty(self.hidden_size).uniform_(SMALLEST, 1, generator=generator) for _ in range(2))
        square = self.inner_radius**2 + first * (self.outer_radius**2 - self.inner_radius**2)
        nu, theta = (-square.log() / 2).log(), (self.largest_phase * second).log()
        return super().init(generator) | {"nu": nu, "theta": theta, "log_gamma": (1 - square).log() / 2}

    def weights(self, params: Params) -> Params:
        """The real and imaginary parts of lambda (H,), and gamma B with its imaginary part below its real part (2 H, I)."""
        modulus, phase = (-params["nu"].exp()).exp(), params["theta"].exp()
        parts = [params["log_gamma"].exp()[:, None] * params[f"weight_{part}"] for part in ("real", "imaginary")]
        return {"real": modulus * phase.cos(), "imaginary": modulus * phase.sin(), "weight": torch.cat(parts)}

    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state h' (B, 2 H)."""
        real, imaginary = state.chunk(2, dim=-1)
        a, b = params["real"], params["imaginary"]
        return torch.cat([a * real - b * imaginary, b * real + a * imaginary], dim=-1) + linear(x, params["weight"])
