"""Writes a page about how often confidence intervals hold the true exponents: `python -m benchmarks.coverage`.

The option --quick uses tiny sizes, with which the numbers have no meaning.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import psi
from torch import Generator, Tensor
from torch.func import vmap
from torch.nn.functional import softplus

from pipeline import Spectrum, cells
from pipeline.spectrum.engine import growth

from .timing import machine, table, write

INPUTS = 5
REPEATS = 4  # runs of each random system, where its inputs vary


@dataclass(frozen=True)
class Systems:
    """M random driven maps of one kind.

    Attributes:
        map: of `engine.growth`.
        params: of the map, with an axis M.
        state: (M, S) at which settling begins.
        inputs: number of inputs, which are independent and standard normal.
        truth: (M, S) exponents, largest first; None if they are to be measured.
        settle: steps after which the state is typical.
    """

    map: Any
    params: Any
    state: Tensor
    inputs: int = INPUTS
    truth: Tensor | None = None
    settle: int = 0

    def settled(self, sequences: int, generator: Generator) -> Tensor:
        """Typical states (M, B, S): those after `settle` steps."""
        state = self.state[:, None].expand(-1, sequences, -1).contiguous()
        step = vmap(self.map.step, in_dims=(0, 0, None))
        for _ in range(self.settle):
            state = step(self.params, state, noise(1, sequences, self.inputs, generator)[0])
        return state

    def growth(self, steps: int, sequences: int, transient: int, generator: Generator) -> Tensor:
        """Log growth (T, M, B, S) over the steps after the transient, from typical states."""
        state = self.settled(sequences, generator)
        inputs = noise(steps, sequences, self.inputs, generator)
        return growth(self.map, self.params, state, inputs, state.shape[-1], transient=transient).per_step

    def known(self, steps: int, sequences: int, generator: Generator) -> "Systems":
        """The systems with their true exponents: measured, with a transient of a third of the steps, if no formula gives them."""
        if self.truth is not None:
            return self
        measured = self.growth(steps, sequences, steps // 3, generator).mean((0, 2))
        return replace(self, truth=measured.sort(descending=True).values)


class Decay:
    """A diagonal map whose rates depend on the input, as in selective state space models (Gu and Dao 2023)."""

    by_hand = True

    def step(self, params: Any, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S)."""
        kept = (-softplus(x @ params["weight"].mT + params["bias"].unsqueeze(-2)) * params["rate"].unsqueeze(-2)).exp()
        return kept * state + 1 - kept

    def linearise(self, params: Any, state: Tensor, new: Tensor, x: Tensor) -> Any:
        """The factors (M, B, S)."""
        zero = torch.zeros_like(state)
        return {"kept": 1 - self.step(params, zero, x)}

    def push(self, params: Any, linear: Any, deviations: Tensor, out: Tensor) -> None:
        """Each component times its factor."""
        torch.mul(deviations, linear["kept"].unsqueeze(-2), out=out)


class Linear:
    """The map of a matrix."""

    by_hand = True

    def step(self, params: Tensor, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S)."""
        return state @ params.mT

    def linearise(self, params: Tensor, state: Tensor, new: Tensor, x: Tensor) -> Any:
        """Nothing: the derivative is the matrix."""
        return {"none": new[..., :0]}

    def push(self, params: Tensor, linear: Any, deviations: Tensor, out: Tensor) -> None:
        """The matrix times each deviation."""
        torch.matmul(deviations, params.mT.unsqueeze(-3), out=out)


class Products(Linear):
    """The map of a new matrix at each step: its input."""

    def step(self, params: Tensor, state: Tensor, x: Tensor) -> Tensor:
        """The next state (B, S)."""
        return torch.zeros_like(state)

    def linearise(self, params: Tensor, state: Tensor, new: Tensor, x: Tensor) -> Any:
        """The matrices (M, B, S, S)."""
        size = state.shape[-1]
        return {"matrix": (x * size**-0.5).unflatten(-1, (size, size)).expand(len(state), *x.shape[1:-1], size, size)}

    def push(self, params: Tensor, linear: Any, deviations: Tensor, out: Tensor) -> None:
        """The matrix times each deviation."""
        torch.matmul(deviations, linear["matrix"].mT, out=out)


def noise(steps: int, sequences: int, inputs: int, generator: Generator) -> Tensor:
    """Standard normal inputs (T, B, I), float64."""
    return torch.randn(steps, sequences, inputs, generator=generator, dtype=torch.float64)


def decays(size: int, channels: int, runs: int, generator: Generator) -> Systems:
    """Selective state spaces: the step sizes of their channels are from 0.001 to 0.1, the rates 1, 2, ... times these."""
    each, models = size // channels, runs // REPEATS
    weight = 0.4 * noise(models, channels, INPUTS, generator)
    smallest, largest = math.log(0.001), math.log(0.1)
    drawn = torch.rand(models, channels, generator=generator, dtype=torch.float64) * (largest - smallest) + smallest
    bias = drawn.exp().expm1().log()
    rate = torch.arange(1, each + 1, dtype=torch.float64).repeat(channels)
    nodes, shares = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(80))
    mean = softplus(bias[..., None] + weight.norm(dim=-1, keepdim=True) * nodes) @ (shares / shares.sum())
    params = {
        "weight": weight.repeat_interleave(each, 1),
        "bias": bias.repeat_interleave(each, 1),
        "rate": rate.expand(models, -1),
    }
    truth = (-mean.repeat_interleave(each, 1) * rate).sort(descending=True).values
    return Systems(Decay(), params, torch.zeros(models, size, dtype=torch.float64), truth=truth)


def matrices(size: int, oblique: float, runs: int, generator: Generator) -> Systems:
    """A matrix for each run, with real eigenvalues from exp(-0.5) to 1 and orthogonal or oblique eigenvectors."""
    shape = (runs, size, size)
    basis = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))[0]
    basis = basis @ (torch.eye(size) + oblique * torch.randn(shape, generator=generator, dtype=torch.float64))
    logs = -0.5 * torch.rand(runs, size, generator=generator, dtype=torch.float64)
    matrix = basis @ logs.exp().diag_embed() @ basis.inverse()
    return Systems(Linear(), matrix, torch.zeros(runs, size, dtype=torch.float64), 1, logs.sort(descending=True).values)


def products(size: int, runs: int, generator: Generator) -> Systems:
    """Products of independent Gaussian matrices of variance 1 / S (Newman 1986): one system, since all are alike."""
    ranks = np.arange(1, size + 1)
    truth = torch.from_numpy((math.log(2 / size) + psi((size - ranks + 1) / 2)) / 2)[None]
    return Systems(Products(), torch.zeros(1, 1, 1), torch.zeros(1, size, dtype=torch.float64), size**2, truth)


def networks(
    name: str, hidden: int, runs: int, generator: Generator, *, gain: float | None = None, settle: int = 200, **options: Any
) -> Systems:
    """Networks of a cell with torch's initial distribution; with a gain, the recurrent weights are Gaussian."""
    cell, models = cells.get(name)(INPUTS, hidden, **options), runs // REPEATS
    params = {}
    for weight, shape in cell.shapes().items():
        params[weight] = hidden**-0.5 * (2 * torch.rand(models, *shape, generator=generator, dtype=torch.float64) - 1)
    if gain is not None:
        shape = params["weight_hh"].shape
        params["weight_hh"] = gain * hidden**-0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return Systems(cell, params, torch.zeros(models, cell.state_size, dtype=torch.float64), settle=settle)


@dataclass(frozen=True)
class Case:
    """A kind of systems, and the lengths of the runs."""

    name: str
    draw: Callable[[int, Generator], Systems]
    steps: tuple[int, ...]
    driven: bool = True  # otherwise all sequences are alike


@dataclass(frozen=True)
class Sizes:
    """The sizes of the simulation."""

    cases: tuple[Case, ...] = (
        Case("selective state space, S = 16", partial(decays, 16, 4), (100, 300, 1000)),
        Case("selective state space, S = 64", partial(decays, 64, 8), (100, 300, 1000)),
        Case("matrices, orthogonal, S = 16", partial(matrices, 16, 0.0), (100, 300), driven=False),
        Case("matrices, oblique, S = 16", partial(matrices, 16, 0.2), (100, 300), driven=False),
        Case("GRU, H = 32", partial(networks, "gru", 32), (80, 300)),
        Case("LSTM, H = 16", partial(networks, "lstm", 16), (80, 300)),
        Case(
            "leaky network, 1 / leak = 100 steps, gain 0.9",
            partial(networks, "leaky", 16, gain=0.9, settle=1000, leak=0.01),
            (300, 1000),
        ),
        Case("tanh RNN, H = 32", partial(networks, "elman", 32), (80, 300)),
        Case("chaotic tanh RNN, gain 3, H = 32", partial(networks, "elman", 32, gain=3.0), (80, 300)),
        Case("Gaussian products, S = 8", partial(products, 8), (80, 300)),
    )
    runs: int = 240
    sequences: tuple[int, ...] = (1, 4, 15)
    true_steps: int = 3000
    true_sequences: int = 30


FULL = Sizes()
QUICK = Sizes(
    cases=(
        Case("selective state space, S = 4", partial(decays, 4, 2), (10,)),
        Case("tanh RNN, H = 3", partial(networks, "elman", 3, settle=2), (10,)),
    ),
    runs=8,
    sequences=(1, 2),
    true_steps=10,
    true_sequences=2,
)


@dataclass(frozen=True)
class Coverage:
    """How the 95 % intervals of many spectra fare.

    Attributes:
        before: (k,) share that hold the true value with the standard error alone.
        after: (k,) share that hold it.
        wider: (k,) median of the ratio of their widths.
        warned: share of the spectra with an exponent that is not aligned.
    """

    before: Tensor
    after: Tensor
    wider: Tensor
    warned: float


def coverage(spectra: Sequence[Spectrum], truth: Tensor) -> Coverage:
    """The coverage of spectra of one size, given their true exponents (runs, k)."""
    sampling = [replace(s, alignment_error=torch.zeros_like(s.alignment_error)) for s in spectra]
    before, after = (torch.stack([s.confidence_interval() for s in each], dim=1) for each in (sampling, spectra))
    width = [(high - low).clamp(min=1e-5) for low, high in (before, after)]  # what rounding may add
    return Coverage(
        *((((low - 1e-5 <= truth) & (truth <= high + 1e-5)).double().mean(0)) for low, high in (before, after)),
        wider=(width[1] / width[0]).median(0).values,
        warned=sum(not s.aligned.all() for s in spectra) / len(spectra),
    )


def simulated(systems: Systems, steps: int, sequences: int, runs: int, generator: Generator) -> Coverage:
    """The coverage of so many runs, equally many of each system, with the default transient of a fifth of the steps."""
    transient, repeats = steps // 5, runs // len(systems.state)
    rows = systems.growth(steps, repeats * sequences, transient, generator).unflatten(2, (repeats, sequences))
    spectra = [Spectrum.from_growth(r, transient=transient) for r in rows.flatten(1, 2).unbind(1)]
    assert systems.truth is not None
    return coverage(spectra, systems.truth.repeat_interleave(repeats, 0))


def main(*options: str) -> None:
    """Print the page."""
    write(page, FULL, QUICK, options)


def page(sizes: Sizes) -> Iterator[str]:
    """The blocks of the page, in order."""
    yield "# Confidence intervals"
    yield f"`python -m benchmarks.coverage` writes this page. {machine()}."
    yield f"""\
Each row is a simulation of {sizes.runs} runs: {REPEATS} with independent inputs for each of {sizes.runs // REPEATS} random
state spaces or networks, one for each of {sizes.runs} matrices. A run has T steps, of which a fifth are the transient, and B
sequences from typical states. Coverage is the share of the 95 % intervals that hold the true exponent: the first, the middle and
the last one. The standard error of a coverage of 95 % would be {(95 * 5 / sizes.runs) ** 0.5:.1f} % if the runs were independent;
it is larger, as runs share systems, and systems share inputs.

- *True exponents*: of state spaces by quadrature, of matrices from their eigenvalues, of Gaussian products by Newman's formula,
  and of networks from {sizes.true_steps} steps of {sizes.true_sequences} sequences, a third of which are the transient.
- *Sampling alone*: the interval is computed from the standard error only.
- *Wider*: the median ratio of the width of the interval to that from the standard error only.
- *Warned*: the share of the runs with an exponent that is not `aligned`."""
    header = ["systems", "T", "B", "sampling alone", "with alignment", "wider", "warned"]
    yield table(header, [row for case in sizes.cases for row in rows(case, sizes)])


def rows(case: Case, sizes: Sizes) -> Iterator[list[str]]:
    """The table's rows of one kind of systems."""
    generator = torch.Generator().manual_seed(1)
    systems = case.draw(sizes.runs, generator).known(sizes.true_steps, sizes.true_sequences, generator)
    for steps in case.steps:
        for sequences in sizes.sequences if case.driven else (1,):
            found = simulated(systems, steps, sequences, sizes.runs, generator)
            shares = [" / ".join(f"{v:.0%}" for v in _three(each)) for each in (found.before, found.after)]
            wider = " / ".join(f"{v:.1f}" for v in _three(found.wider))
            yield [case.name, f"{steps}", f"{sequences}", *shares, wider, f"{found.warned:.0%}"]


def _three(values: Tensor) -> list[float]:
    """The first, the middle and the last of k values."""
    return values[[0, len(values) // 2, -1]].tolist()


if __name__ == "__main__":
    main(*sys.argv[1:])
