"""What every cell is: static sizes and pure functions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

Params = dict[str, Tensor]
Linear = dict[str, Tensor]


@dataclass(frozen=True)
class Cell(ABC):
    """One recurrent update, written for one network and any number of sequences.

    Parameters are a flat dict with torch's own names, shapes and gate order, so that the named
    parameters of one layer of `torch_module` (less their `_l0`) are a params dict. Biases may be absent.
    """

    input_size: int
    hidden_size: int
    init_scale: float | None = None  # p of uniform(-p, p); None is torch's own hidden_size ** -0.5

    torch_module: ClassVar[type[nn.RNN] | type[nn.LSTM] | type[nn.GRU] | None] = None  # the fused twin, if torch has one
    torch_cell: ClassVar[type[nn.RNNCell] | type[nn.LSTMCell] | type[nn.GRUCell] | None] = None  # torch's single-step twin
    fixed: ClassVar[frozenset[str]] = frozenset()  # parameters that are drawn and never trained
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({})  # a parameter's learning rate / the trial's, where it is not 1
    gates: ClassVar[int] = 1
    state_parts: ClassVar[int] = 1  # tensors of size H in torch's form of the state
    by_hand: ClassVar[bool] = False  # whether `linearise` and `push` are written; if not, `step` is differentiated automatically

    @property
    def state_size(self) -> int:
        """S, the dimension of phase space: everything that one step hands to the next."""
        return self.state_parts * self.hidden_size

    @property
    def output_size(self) -> int:
        """Numbers that a head or the next layer reads."""
        return self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        rows = self.gates * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }

    def init(self, generator: Generator) -> Params:
        """Parameters drawn from uniform(-p, p), float32."""
        scale = self.hidden_size**-0.5 if self.init_scale is None else self.init_scale
        return {n: torch.empty(s).uniform_(-scale, scale, generator=generator) for n, s in self.shapes().items()}

    def weights(self, params: Params) -> Params:
        """What `step` reads, made once a sequence from what is trained (or fixed); the same, if there is nothing to be made."""
        return params

    @abstractmethod
    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S) from state (B, S) and input (B, I). Sequences must not mix."""

    def output(self, state: Tensor) -> Tensor:
        """What a head or the next layer reads: (B, S) -> (B, output_size)."""
        return state

    def linearise(self, params: Params, state: Tensor, new: Tensor, x: Tensor) -> Linear:
        """What `push` needs of the Jacobian, if it is written by hand, which is for speed alone.

        Unlike in `step` there may be leading axes: parameters (M, ...) of M
        networks, state and the one that it steps to, `new`, (M, B, S), x (M or 1, B, I); tensors (M, B, ...) come out.
        `output` has to be linear then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no derivative by hand")

    def push(self, params: Params, linear: Linear, deviations: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """Write into `out` (..., B, k, S) what the step makes of deviations of the state (..., B, k, S).

        `linear` is what `linearise` gave; `below`, if given, are deviations (..., B, k, I) of the input.
        """
        raise NotImplementedError(f"{type(self).__name__} has no derivative by hand")
