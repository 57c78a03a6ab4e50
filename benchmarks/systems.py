"""The networks, inputs and helper functions that the benchmarks of the spectrum share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline import Spectrum
from pipeline.spectrum.engine import random_basis

INPUTS = 8


@dataclass(frozen=True)
class Case:
    """A case to measure: M networks of one kind and size.

    Attributes:
        kind: torch's class.
        hidden: H.
        count: number of exponents; None means all.
        target: the targeted ratio of the handwritten loop's time to the engine's.
        models: M.
    """

    kind: type[nn.RNNBase]
    hidden: int
    count: int | None
    target: float = math.nan
    models: int = 1

    @property
    def name(self) -> str:
        """The name in the tables."""
        kind = "tanh RNN" if self.kind is nn.RNN else self.kind.__name__
        return f"{f'{self.models} networks ' if self.models > 1 else ''}{kind}, H = {self.hidden}"

    def networks(self, device: torch.device | str = "cpu") -> list[nn.RNNBase]:
        """The networks, each initialised with its own seed."""
        return [network(self.kind, self.hidden, seed).to(device) for seed in range(self.models)]


def network(kind: type[nn.RNNBase], hidden: int, seed: int = 0) -> nn.RNNBase:
    """One layer in float64 with torch's initial distribution, uniform(-H^-0.5, H^-0.5), from its own generator."""
    module = kind(INPUTS, hidden).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)
    return module


def noise(steps: int, sequences: int) -> Tensor:
    """Standard normal inputs (T, B, I), float64, the same in every call."""
    return torch.randn(steps, sequences, INPUTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def state_size(module: nn.RNNBase) -> int:
    """The state size S: the state of an LSTM is h and c."""
    return module.hidden_size * (2 if isinstance(module, nn.LSTM) else 1)


CELLS: dict[type[nn.RNNBase], type[nn.RNNCellBase]] = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}


def one_step(module: nn.RNNBase) -> Callable[[Tensor, Tensor], Tensor]:
    """The step (S,), (I,) -> (S,) of a module with one layer and one direction, computed by torch's own cell in float64."""
    options = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    cell = CELLS[type(module)](module.input_size, module.hidden_size, bias=module.bias, **options)
    cell.to(next(module.parameters()).device, torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    if not isinstance(cell, nn.LSTMCell):
        return lambda state, x: cell(x, state)
    return lambda state, x: torch.cat(cell(x, state.chunk(2)))


def random_columns(size: int, count: int) -> Tensor:
    """Random orthonormal columns (S, k), float64, the same in every call."""
    return torch.linalg.qr(torch.randn(size, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]


def first_deviations(module: nn.RNNBase, count: int, like: Tensor) -> Tensor:
    """The engine's initial deviations as columns (S, k). The exponents of finitely many steps depend on them."""
    return random_basis(state_size(module), count, like).T


def products(modules: Sequence[nn.RNNBase], count: int, inputs: Tensor) -> Callable[[], None]:
    """A function that multiplies k B rows with the recurrent weights, once for every step of the inputs (T, B, I)."""
    weights = torch.stack([module.weight_hh_l0.detach().mT for module in modules])
    steps, sequences, _ = inputs.shape
    rows = weights.new_ones(len(modules), count * sequences, weights.shape[1])
    product = weights.new_empty(*rows.shape[:2], weights.shape[2])

    def run() -> None:
        for _ in range(steps):
            torch.matmul(rows, weights, out=product)

    return run


def difference(spectrum: Spectrum, per_sequence: Tensor) -> float:
    """The largest difference between the exponents and the means of a baseline's exponents (B, k), in nats per step."""
    means = per_sequence.mean(0).sort(descending=True).values.to(spectrum.exponents)
    return float((spectrum.exponents - means).abs().max())
