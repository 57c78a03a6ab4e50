"""Layers of cells, one state: the layers' states end to end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._cell import Cell, Linear, Params


@dataclass(frozen=True)
class Stack:
    """Cells on top of one another; each reads the new output of the one below."""

    cells: tuple[Cell, ...]

    @property
    def state_size(self) -> int:
        """S, the sum over the layers."""
        return sum(cell.state_size for cell in self.cells)

    @property
    def by_hand(self) -> bool:
        """Whether all cells have a derivative by hand."""
        return all(cell.by_hand for cell in self.cells)

    def step(self, params: Sequence[Params], state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S); `params` holds one dict a layer, lowest first."""
        new = []
        for cell, layer, old in zip(self.cells, params, self.split(state), strict=True):
            new.append(cell.step(layer, old, x))
            x = cell.output(new[-1])
        return torch.cat(new, dim=-1)

    def linearise(self, params: Sequence[Params], state: Tensor, new: Tensor, x: Tensor) -> list[Linear]:
        """What `push` needs, lowest layer first; axes as in `Cell.linearise`."""
        linear = []
        for cell, layer, before, after in zip(self.cells, params, self.split(state), self.split(new), strict=True):
            linear.append(cell.linearise(layer, before, after, x))
            x = cell.output(after)
        return linear

    def push(self, params: Sequence[Params], linear: Sequence[Linear], deviations: Tensor, out: Tensor) -> None:
        """Write into `out` (..., B, k, S) what the step makes of deviations (..., B, k, S)."""
        below = None
        layers = zip(self.cells, params, linear, self.split(deviations), self.split(out), strict=True)
        for cell, layer, slopes, old, new in layers:
            cell.push(layer, slopes, old, new, below)
            below = cell.output(new)

    def split(self, state: Tensor) -> tuple[Tensor, ...]:
        """The layers' states (B, S_layer), lowest first."""
        return state.split([cell.state_size for cell in self.cells], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """The top layer's output (B, H)."""
        return self.cells[-1].output(self.split(state)[-1])
