"""Layers of cells, one state: the layers' states end to end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._cell import Cell, Params


@dataclass(frozen=True)
class Stack:
    """Cells on top of one another; each reads the new output of the one below."""

    cells: tuple[Cell, ...]

    @property
    def state_size(self) -> int:
        """S, the sum over the layers."""
        return sum(cell.state_size for cell in self.cells)

    def step(self, params: Sequence[Params], state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S); `params` holds one dict a layer, lowest first."""
        new = []
        for cell, layer, old in zip(self.cells, params, self.split(state), strict=True):
            new.append(cell.step(layer, old, x))
            x = cell.output(new[-1])
        return torch.cat(new, dim=-1)

    def split(self, state: Tensor) -> tuple[Tensor, ...]:
        """The layers' states (B, S_layer), lowest first."""
        return state.split([cell.state_size for cell in self.cells], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The top layer's output (B, H)."""
        return self.cells[-1].output(self.split(state)[-1])
