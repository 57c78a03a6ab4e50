"""Writes a page about the cost of a Lyapunov spectrum: `python -m benchmarks.spectra`.

The option --quick uses tiny sizes, with which the numbers have no meaning.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pipeline import Spectrum, lyapunov_spectra, lyapunov_spectrum
from pipeline.spectrum.reference import reference_spectrum

from . import handwritten
from .systems import INPUTS, Case, difference, first_deviations, network, noise, one_step, products, state_size
from .timing import interleaved, machine, table, threads, write

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Sizes:
    """The sizes that are measured. All steps are counted, without a transient, so that all methods do the same work."""

    cases: tuple[Case, ...] = (
        Case(nn.LSTM, 128, None, 5),
        Case(nn.GRU, 128, None, 5),
        Case(nn.LSTM, 128, 10, 20),
        Case(nn.GRU, 128, 10, 20),
        *(Case(kind, 32, count, 3) for count in (None, 10) for kind in (nn.LSTM, nn.GRU, nn.RNN)),
    )
    sequences: int = 15
    steps: int = 100
    repeats: int = 5
    naive_steps: int = 3  # steps of one sequence; 100 steps of 15 sequences would take minutes
    scaled: int = 64  # number of hidden units of the LSTM for which steps and sequences are varied
    scaled_steps: tuple[int, ...] = (50, 100, 200, 400)
    scaled_sequences: tuple[int, ...] = (4, 8, 16, 32)
    memory: tuple[int, int, int] = (512, 15, 6)  # hidden units, sequences, steps
    verified: tuple[int, ...] = (16, 64)  # hidden units
    profiled: tuple[int, int] = (128, 20)  # hidden units, steps
    gpu_cases: tuple[Case, ...] = (Case(nn.LSTM, 512, None), Case(nn.LSTM, 64, None, models=256))
    gpu_handwritten_steps: int = 4  # torch's QR may process the batch matrix by matrix there, which takes seconds per step


FULL = Sizes()
QUICK = Sizes(
    cases=(Case(nn.LSTM, 4, None, 5), Case(nn.GRU, 4, 2, 20), Case(nn.RNN, 3, None, 3)),
    sequences=2,
    steps=4,
    repeats=1,
    naive_steps=2,
    scaled=3,
    scaled_steps=(2, 4),
    scaled_sequences=(1, 2),
    memory=(4, 2, 2),
    verified=(3,),
    profiled=(4, 2),
    gpu_cases=(Case(nn.LSTM, 4, None), Case(nn.LSTM, 3, None, models=3)),
    gpu_handwritten_steps=2,
)


def main(*options: str) -> None:
    """Print the page."""
    write(page, FULL, QUICK, options)


def page(sizes: Sizes) -> Iterator[str]:
    """The blocks of the page, in order."""
    yield "# Benchmarks"
    yield "`make benchmarks` writes this page, and `python -m benchmarks.spectra` this part of it."
    yield f"{machine()}. All numbers are float64. Times are medians of {sizes.repeats} interleaved repeats after one warm-up."
    yield "## Spectra on the CPU"
    yield from comparison(sizes)
    yield "## The check before a measurement"
    yield from verification(sizes)
    yield "## How time grows"
    yield from growth(sizes)
    yield "## Memory"
    yield from memory(sizes)
    yield "## Where the time goes"
    yield from operators(sizes)
    yield "## Spectra on a GPU"
    if torch.cuda.is_available():
        yield from accelerator(sizes, torch.device("cuda"))
    else:
        yield "This machine has no GPU; [On a GPU](gpu.md) has the figures of one."


def comparison(sizes: Sizes) -> Iterator[str]:
    """The times of the engine, the handwritten loop, the naive loop and the bare matrix products."""
    yield f"""\
Each run has {sizes.steps} counted steps of {sizes.sequences} sequences with {INPUTS} inputs. One step advances all sequences.

- *naive*: a dense autograd Jacobian for each step of each sequence (`pipeline/spectrum/reference.py`). The time is that of
  {sizes.naive_steps} steps of one sequence, multiplied by {sizes.sequences}, as this method processes one sequence at a time.
- *handwritten*: analytic Jacobians of all sequences by broadcasting, and a batched QR at every step
  (`benchmarks/handwritten.py`).
- *engine*: `lyapunov_spectrum` with default settings and torch's default number of threads.
- *ratio*: the faster of the two handwritten times, divided by the time of the engine.
- *bare products*: the product of k B rows and the recurrent weights of all gates. *Ratio of these* is the ratio that would
  result if these products were all the work. For few deviations, no method needs less work; for many deviations, mixing the
  weights of the gates before the product does.
- *difference*: the largest difference between engine and handwritten loop in the exponents (means over sequences), from the
  same initial deviations. *Rounding error*: the largest rounding error that the engine reports. Both are in nats per step."""
    header = ["network", "exponents", "naive ms/step", "handwritten ms/step", "on one thread", "engine ms/step", "ratio"]
    header += ["target ratio", "bare products ms/step", "ratio of these", "difference", "rounding error"]
    yield table(header, [_compared(case, sizes) for case in sizes.cases])


def _compared(case: Case, sizes: Sizes) -> list[str]:
    (module,), inputs = case.networks(), noise(sizes.steps, sizes.sequences)
    count = case.count or state_size(module)
    by_hand = _by_hand([module], inputs, count)

    def on_one_thread() -> None:
        with threads(1):
            by_hand()

    short = inputs[: sizes.naive_steps, :1]
    step, basis = one_step(module), first_deviations(module, count, inputs)
    candidates = {
        "naive": lambda: reference_spectrum(step, short.new_zeros(len(basis)), short[:, 0], basis),
        "handwritten": by_hand,
        "one thread": on_one_thread,
        "engine": _engine(module, inputs, count),
        "products": products([module], count, inputs),
    }
    times = {name: 1e3 * seconds / sizes.steps for name, seconds in interleaved(candidates, sizes.repeats).items()}
    times["naive"] *= sizes.steps / len(short) * sizes.sequences
    found = _engine(module, inputs, count)()
    return [
        case.name,
        f"{count}",
        *(f"{times[name]:.3g}" for name in ("naive", "handwritten", "one thread", "engine")),
        f"{min(times['handwritten'], times['one thread']) / times['engine']:.1f}",
        f"{case.target:g}",
        f"{times['products']:.3g}",
        f"{min(times['handwritten'], times['one thread']) / times['products']:.1f}",
        f"{difference(found, by_hand()[0]):.1e}",
        f"{_rounding_error(found):.1e}",
    ]


def verification(sizes: Sizes) -> Iterator[str]:
    """The share of a measurement that the check of the model takes."""
    yield f"""\
Each spectrum of {sizes.steps} steps of {sizes.sequences} sequences, with all exponents and the default transient, is measured
with the check (`verify=True`, the default) and without. *Called* modules hold torch's module, as most networks do, and are
differentiated automatically. The target is at most 5 %."""
    rows = []
    for kind in (nn.GRU, nn.LSTM):
        for hidden in sizes.verified:
            for called in (False, True):
                module = _Called(kind, hidden) if called else kind(INPUTS, hidden)
                rows.append(_verified(module, f"{kind.__name__} {hidden}, {'called' if called else 'read'}", sizes))
    yield table(["network", "with ms", "without ms", "share"], rows)


class _Called(nn.Module):
    """The usual network: one of torch's modules with a readout."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM], hidden: int) -> None:
        super().__init__()
        self.recurrent, self.readout = kind(INPUTS, hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, state = self.recurrent(x, state)
        return self.readout(out), state


def _verified(module: nn.Module, name: str, sizes: Sizes) -> list[str]:
    inputs = noise(sizes.steps, sizes.sequences)
    candidates = {
        "with": lambda: lyapunov_spectrum(module, inputs),
        "without": lambda: lyapunov_spectrum(module, inputs, verify=False),
    }
    times = interleaved(candidates, 3 * sizes.repeats)
    share = (times["with"] - times["without"]) / times["with"]
    return [name, *(f"{1e3 * seconds:.3g}" for seconds in times.values()), f"{share:.1%}"]


def growth(sizes: Sizes) -> Iterator[str]:
    """The growth of the engine's time with the number of steps and of sequences."""
    yield f"""\
The engine computes all exponents of an LSTM with H = {sizes.scaled}.
T varies at B = {sizes.sequences}, and B varies at T = {sizes.steps}. The cost exponent is the slope of a
least-squares line through the logarithms."""
    module = network(nn.LSTM, sizes.scaled)
    varied = {
        "T": {steps: noise(steps, sizes.sequences) for steps in sizes.scaled_steps},
        "B": {sequences: noise(sizes.steps, sequences) for sequences in sizes.scaled_sequences},
    }
    rows = []
    for axis, driven in varied.items():
        candidates = {f"{size}": _engine(module, inputs) for size, inputs in driven.items()}
        seconds = list(interleaved(candidates, sizes.repeats).values())
        slope = np.polyfit(np.log(list(driven)), np.log(seconds), 1)[0]
        rows.append([axis, ", ".join(candidates), ", ".join(f"{1e3 * s:.3g}" for s in seconds), f"{slope:.2f}"])
    yield table(["varied", "values", "ms", "cost exponent"], rows)


def memory(sizes: Sizes) -> Iterator[str]:
    """The peak memory of one spectrum, in a separate process."""
    hidden, sequences, steps = sizes.memory
    least = 8 * sequences * 2 * hidden * (1 + 2 * hidden)
    yield f"""\
The engine computes all exponents of an LSTM with H = {hidden}, S = {2 * hidden}, B = {sequences} and T = {steps} in a fresh
process. The result is the peak of the resident memory during the call, minus the resident memory before it. It includes float64
copies of the weights, the state, the deviations, all temporary memory of pushing and reorthonormalising, and the result. It
excludes the interpreter, the libraries, the module and the inputs.
State and deviations take B S (1 + S) 8 bytes = {least / 1e6:.3g} MB; the target is less than 4 times that size."""
    command = [sys.executable, "-m", "benchmarks.memory", *map(str, sizes.memory)]
    answer = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)
    above = {name: answer[name] - answer["before"] for name in ("kernel", "sampled")}
    names = {"kernel": "the kernel's high-water mark", "sampled": "the largest of samples taken every 2 ms"}
    rows = [[names[name], f"{size / 1e6:.3g}", f"{size / least:.2f}"] for name, size in above.items()]
    yield table(["measured by", "MB", "times state and deviations"], rows)


def operators(sizes: Sizes) -> Iterator[str]:
    """The operators in which the engine spends most of its time."""
    hidden, steps = sizes.profiled
    yield f"""\
The engine computes all exponents of an LSTM with H = {hidden}, B = {sizes.sequences} and T = {steps} on one thread, under
`torch.profiler`. The time of an operator excludes the operators that it calls. The profiler slows small operators
down, and the Python code between operators is not counted."""
    run = _engine(network(nn.LSTM, hidden), noise(steps, sizes.sequences))
    with threads(1):  # the profiler only sees this thread
        run()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            run()
    events = sorted(profiled.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    rows = [[f"`{e.key}`", f"{e.self_cpu_time_total / total:.1%}", f"{e.count / steps:.1f}"] for e in events[:8]]
    yield table(["operator", "share", "calls per step"], rows)


def accelerator(sizes: Sizes, device: torch.device) -> Iterator[str]:
    """The times of engine, handwritten loop and bare products on a GPU, and the difference between GPU and CPU results."""
    small, inputs = network(nn.LSTM, 16), noise(sizes.steps, 2)
    here = _engine(small, inputs)().exponents
    there = _engine(small.to(device), inputs.to(device))().exponents.cpu()
    yield f"""\
Each run has {sizes.steps} steps of {sizes.sequences} sequences. One step advances all networks and sequences.
The handwritten loop processes all networks in one batch. It ran {sizes.gpu_handwritten_steps} steps, and the difference is
computed over these steps.
The exponents of an LSTM with H = 16 and T = {sizes.steps} on this device differ from those on the CPU by at most
{(here - there).abs().max():.1e} nats per step."""
    header = ["network", "exponents", "handwritten ms/step", "engine ms/step", "ratio", "bare products ms/step", "difference"]
    yield table(header, [_accelerated(case, sizes, device) for case in sizes.gpu_cases])


def _accelerated(case: Case, sizes: Sizes, device: torch.device) -> list[str]:
    modules, inputs = case.networks(device), noise(sizes.steps, sizes.sequences).to(device)
    count = case.count or state_size(modules[0])
    model, short = modules if case.models > 1 else modules[0], inputs[: sizes.gpu_handwritten_steps]
    by_hand = _by_hand(modules, short, count)
    candidates = {
        "handwritten": by_hand,
        "engine": _engine(model, inputs, count),
        "products": products(modules, count, inputs),
    }
    times = {name: 1e3 * seconds / sizes.steps for name, seconds in interleaved(candidates, sizes.repeats).items()}
    times["handwritten"] *= sizes.steps / len(short)
    found = _engine(model, short, count)()
    found = found if isinstance(found, list) else [found]
    return [
        case.name,
        f"{count}",
        f"{times['handwritten']:.3g}",
        f"{times['engine']:.3g}",
        f"{times['handwritten'] / times['engine']:.1f}",
        f"{times['products']:.3g}",
        f"{max(map(difference, found, by_hand())):.1e}",
    ]


def _engine(model: Any, inputs: Tensor, count: int | None = None) -> Callable[[], Any]:
    """A function that runs the engine with default settings and returns a Spectrum, or a list of them for a list of models."""
    measure: Callable[..., Any] = lyapunov_spectra if isinstance(model, list) else lyapunov_spectrum
    return lambda: measure(model, inputs, count=count, transient=0)


def _by_hand(modules: Sequence[nn.RNNBase], inputs: Tensor, count: int) -> Callable[[], Tensor]:
    """A function that runs the handwritten loop from the engine's initial deviations and returns exponents (M, B, k)."""
    basis = first_deviations(modules[0], count, inputs)
    return lambda: handwritten.exponents_of_all(modules, inputs, count, 0, basis=basis)


def _rounding_error(spectrum: Spectrum) -> float:
    return spectrum.rounding_error.max().item()


if __name__ == "__main__":
    main(*sys.argv[1:])
