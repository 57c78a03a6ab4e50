"""The interface of every head: static sizes and pure functions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Head(ABC):
    """A readout of the outputs of the recurrent layers, (T, B, H)."""

    hidden_size: int  # H, the number of outputs of the cell
    output_size: int
    steps: int | None = None  # T, for heads that have separate weights for each step

    every_step: ClassVar[bool]  # whether there is one answer per step, rather than one per sequence

    def init(self, generator: Generator) -> Params:
        """An affine map from H to O numbers, drawn from uniform(-H ** -0.5, H ** -0.5), float32."""
        scale = self.hidden_size**-0.5
        shapes = {"weight": (self.output_size, self.hidden_size), "bias": (self.output_size,)}
        return {n: torch.empty(s).uniform_(-scale, scale, generator=generator) for n, s in shapes.items()}

    @abstractmethod
    def read(self, params: Params, outputs: Tensor) -> Tensor:
        """The answer from outputs (T, B, H)."""
