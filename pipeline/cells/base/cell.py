"""The interface of every cell: static sizes and pure functions."""

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

    Parameters are a flat dict with torch's own names, shapes and gate order, so that the named parameters of one layer of
    `torch_module` (without the suffix `_l0`) are such a dict. Biases may be absent. Fields after `init_scale` are the
    cell's own options; a cell that has any checks their range in `__post_init__` (see `base/options.py`).
    """

    input_size: int
    hidden_size: int
    init_scale: float | None = None  # p of uniform(-p, p); None means torch's default, hidden_size ** -0.5

    torch_module: ClassVar[type[nn.RNN] | type[nn.LSTM] | type[nn.GRU] | None] = None  # the fused equivalent, if torch has one
    torch_cell: ClassVar[type[nn.RNNCell] | type[nn.LSTMCell] | type[nn.GRUCell] | None] = None  # torch's single-step equivalent
    fixed: ClassVar[frozenset[str]] = frozenset()  # parameters that are drawn but never trained
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({})  # learning rate of a parameter / that of the trial, if not 1
    gates: ClassVar[int] = 1
    state_parts: ClassVar[int] = 1  # number of tensors of size H in torch's form of the state
    by_hand: ClassVar[bool] = False  # whether `linearise` and `push` are implemented; otherwise `step` is differentiated

    @property
    def state_size(self) -> int:
        """The dimension S of phase space: everything that one step passes on to the next."""
        return self.state_parts * self.hidden_size

    @property
    def output_size(self) -> int:
        """The number of outputs that a head or the next layer reads."""
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
        """The weights that `step` reads, derived once per sequence from the parameters; by default the parameters themselves."""
        return params

    @abstractmethod
    def step(self, params: Params, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S) from state (B, S) and input (B, I). Sequences must not mix."""

    def output(self, state: Tensor) -> Tensor:
        """The output that a head or the next layer reads: (B, S) -> (B, output_size)."""
        return state

    def linearise(self, params: Params, state: Tensor, new: Tensor, x: Tensor) -> Linear:
        """The part of the Jacobian that `push` reads; implemented by hand only for speed.

        Unlike in `step` there are leading axes: parameters (M, ...) of M networks, `state` and the state `new` that it
        steps to, (M, B, S), and x (M or 1, B, I). Returns tensors (M, B, ...). `output` must be linear.
        """
        raise NotImplementedError(f"{type(self).__name__} has no hand-written derivative")

    def push(self, params: Params, linear: Linear, deviations: Tensor, out: Tensor, below: Tensor | None = None) -> None:
        """Write the Jacobian times deviations of the state (..., B, k, S) into `out` (..., B, k, S).

        `linear` is the result of `linearise`; `below`, if given, are deviations of the input (..., B, k, I).
        """
        raise NotImplementedError(f"{type(self).__name__} has no hand-written derivative")
