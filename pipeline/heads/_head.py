"""What every head is: static sizes and pure functions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Head(ABC):
    """Reads the outputs of the recurrent layers out, (T, B, H)."""

    hidden_size: int  # H, numbers that the cell puts out
    output_size: int
    steps: int | None = None  # T, for heads that weigh each step for itself

    every_step: ClassVar[bool]  # whether there is an answer a step, not one a sequence

    def init(self, generator: Generator) -> Params:
        """An affine map O from H, uniform(-H ** -0.5, H ** -0.5), float32."""
        scale = self.hidden_size**-0.5
        shapes = {"weight": (self.output_size, self.hidden_size), "bias": (self.output_size,)}
        return {n: torch.empty(s).uniform_(-scale, scale, generator=generator) for n, s in shapes.items()}

    @abstractmethod
    def read(self, params: Params, outputs: Tensor) -> Tensor:
        """The answer from outputs (T, B, H)."""
