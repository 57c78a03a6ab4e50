"""Layers of cells with one common state, the states of the layers end to end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .cell import Cell, Linear, Params


@dataclass(frozen=True)
class Stack:
    """Cells on top of one another; each reads the new output of the cell below."""

    cells: tuple[Cell, ...]

    @property
    def state_size(self) -> int:
        """The state size S, the sum over the layers."""
        return sum(cell.state_size for cell in self.cells)

    @property
    def by_hand(self) -> bool:
        """Whether all cells have hand-written derivatives."""
        return all(cell.by_hand for cell in self.cells)

    def step(self, params: Sequence[Params], state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S); `params` has one dict per layer, lowest first."""
        new = []
        for cell, layer, old in zip(self.cells, params, self.split(state), strict=True):
            new.append(cell.step(layer, old, x))
            x = cell.output(new[-1])
        return torch.cat(new, dim=-1)

    def linearise(self, params: Sequence[Params], state: Tensor, new: Tensor, x: Tensor) -> list[Linear]:
        """The part of the Jacobian that `push` reads, lowest layer first, with axes as in `Cell.linearise`."""
        linear = []
        for cell, layer, before, after in zip(self.cells, params, self.split(state), self.split(new), strict=True):
            linear.append(cell.linearise(layer, before, after, x))
            x = cell.output(after)
        return linear

    def push(self, params: Sequence[Params], linear: Sequence[Linear], deviations: Tensor, out: Tensor) -> None:
        """Write the Jacobian times deviations (..., B, k, S) into `out` (..., B, k, S)."""
        below = None
        layers = zip(self.cells, params, linear, self.split(deviations), self.split(out), strict=True)
        for cell, layer, slopes, old, new in layers:
            cell.push(layer, slopes, old, new, below)
            below = cell.output(new)

    def split(self, state: Tensor) -> tuple[Tensor, ...]:
        """The states of the layers (B, S_layer), lowest first."""
        return state.split([cell.state_size for cell in self.cells], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The output of the top layer (B, H)."""
        return self.cells[-1].output(self.split(state)[-1])
