"""The networks and inputs that the benchmarks of the spectrum share, and what is asked of them."""

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
    """M networks of one kind and size, how many exponents (None: all), and how many times the handwritten loop to be."""

    kind: type[nn.RNNBase]
    hidden: int
    count: int | None
    target: float = math.nan
    models: int = 1

    @property
    def name(self) -> str:
        """For the table."""
        kind = "tanh RNN" if self.kind is nn.RNN else self.kind.__name__
        return f"{f'{self.models} networks ' if self.models > 1 else ''}{kind}, H = {self.hidden}"

    def networks(self, device: torch.device | str = "cpu") -> list[nn.RNNBase]:
        """Its networks, each from a seed of its own."""
        return [network(self.kind, self.hidden, seed).to(device) for seed in range(self.models)]


def network(kind: type[nn.RNNBase], hidden: int, seed: int = 0) -> nn.RNNBase:
    """One layer in float64 with torch's own initial distribution, uniform(-H^-.5, H^-.5), from a generator of its own."""
    module = kind(INPUTS, hidden).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)
    return module


def noise(steps: int, sequences: int) -> Tensor:
    """Standard normal inputs (T, B, I), float64, always the same."""
    return torch.randn(steps, sequences, INPUTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def state_size(module: nn.RNNBase) -> int:
    """S: an LSTM's state is h and c."""
    return module.hidden_size * (2 if isinstance(module, nn.LSTM) else 1)


def first_deviations(module: nn.RNNBase, count: int, like: Tensor) -> Tensor:
    """The engine's own, as columns (S, k): exponents of finitely many steps depend on them."""
    return random_basis(state_size(module), count, like).T


def products(modules: Sequence[nn.RNNBase], count: int, inputs: Tensor) -> Callable[[], None]:
    """One product of k B rows with the recurrent weights for every step of the inputs (T, B, I), to be called."""
    weights = torch.stack([module.weight_hh_l0.detach().mT for module in modules])
    steps, sequences, _ = inputs.shape
    rows = weights.new_ones(len(modules), count * sequences, weights.shape[1])
    product = weights.new_empty(*rows.shape[:2], weights.shape[2])

    def run() -> None:
        for _ in range(steps):
            torch.matmul(rows, weights, out=product)

    return run


def difference(spectrum: Spectrum, per_sequence: Tensor) -> float:
    """The largest between the exponents and the means of a baseline's (B, k), nats per step."""
    means = per_sequence.mean(0).sort(descending=True).values
    return float((spectrum.exponents - means).abs().max())
