"""The parts of `benchmarks.gpu`: each yields lines of Markdown and notes what is not as it should be."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from pipeline import cells, heads, lyapunov_spectra, lyapunov_spectrum, tasks
from pipeline.core import graphs as engine_graphs
from pipeline.core.config import Range, SpectrumSettings
from pipeline.core.errors import PipelineError
from pipeline.core.execution import Group
from pipeline.core.hyper_parameters import DECLARED, HyperParameters
from pipeline.core.records import TaskData, Trial, TrialResult
from pipeline.jobs import measurements
from pipeline.jobs import spectra as spectra_job
from pipeline.spectrum import adaptive, growth
from pipeline.spectrum.engine import random_basis
from pipeline.spectrum.reorthonormalise import PANEL, reorthonormalise_fast
from pipeline.training.draw import draw
from pipeline.training.ensemble import Ensemble, train_together
from pipeline.training.job import Training, grouped
from pipeline.training.loop import train
from pipeline.training.network import Network
from pipeline.training.policies import POLICIES, append, previous

from . import handwritten
from .systems import Case, difference, noise, state_size
from .timing import interleaved

TESTS = Path(__file__).parent.parent / "tests"
EXACT = 1e-9  # nats per step, float64: the same numbers up to rounding
ROUNDED = 1e-3  # of a loss or measurement in float32, whose sums have other orders on a GPU
Lines = Iterator[str]
Wrong = list[str]


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    every: int = 1  # of the systems with known exponents, each so many-th
    cells: int | None = None
    hidden: int = 16
    sequences: int = 60
    study: int = 4  # trials
    cases: tuple[Case, ...] = (
        Case(nn.LSTM, 512, None),
        Case(nn.LSTM, 512, 512),
        Case(nn.GRU, 128, None),
        Case(nn.LSTM, 64, None, models=256),
    )
    steps: int = 100
    batch: int = 15
    short: int = 4  # steps of the handwritten loop, whose QR goes through the batch one by one
    repeats: int = 3
    ensembles: tuple[tuple[str, int, tuple[int, ...]], ...] = (  # cell, units, numbers of networks
        ("lstm", 32, (8, 64, 256)),
        ("gru", 32, (8, 64, 256)),
        ("lem", 32, (64,)),
        ("lstm", 256, (8, 64)),
    )
    training: int = 2000  # sequences
    alone: int = 3  # networks that are trained one by one


FULL = Sizes()
QUICK = Sizes(
    every=9,
    cells=3,
    hidden=4,
    sequences=20,
    study=1,
    cases=(Case(nn.LSTM, 4, None), Case(nn.GRU, 3, None, models=3)),
    steps=8,
    batch=2,
    short=2,
    repeats=1,
    ensembles=(("lstm", 3, (3,)),),
    training=100,
    alone=1,
)


def head(title: str, text: str, *columns: str) -> Lines:
    """A heading, a paragraph and the first lines of a table."""
    yield from (f"## {title}", "", text, "")
    if columns:
        yield f"| {' | '.join(columns)} |"
        yield f"| {' | '.join(['---', *['---:'] * (len(columns) - 1)])} |"


def row(*values: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(f'{v:.3g}' if isinstance(v, float) else str(v) for v in values)} |"


def compared(name: str, found: float, allowed: float, wrong: Wrong, *more: object) -> str:
    """A line of a table with a number that should be at most so large."""
    if not found <= allowed:
        wrong.append(f"{name}: {found:.1e}, above {allowed:.1e}")
    return row(name, *more, f"{found:.1e}", f"{allowed:.0e}", "yes" if found <= allowed else "**no**")


def apart(one: Any, other: Any) -> float:
    """The largest absolute difference; 0 where both are NaN or the same infinity, infinite where only one of them is."""
    one, other = (np.asarray(v.cpu() if isinstance(v, Tensor) else v, float) for v in (one, other))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.where(same, 0.0, np.abs(one - other)), nan=np.inf, posinf=np.inf).max(initial=0.0))


# Correctness


class _Together(TorchFunctionMode):
    """Moves what a plain step function holds on the CPU to the device of its state."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        devices = {t.device for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.device.type != "cpu"}
        if len(devices) == 1:
            (device,) = devices
            args, kwargs = tree_map(lambda v: v.to(device) if isinstance(v, Tensor) and v.dim() else v, (args, kwargs))
        return function(*args, **kwargs or {})


def _on(device: torch.device) -> Callable[..., Any]:
    """`lyapunov_spectrum` on a device, also of functions that hold tensors on the CPU."""

    def measure(model: Any, *values: Any, **options: Any) -> Any:
        def step(state: Tensor, x: Tensor) -> Tensor:
            with _Together():
                return model(state, x)

        return lyapunov_spectrum(model if isinstance(model, nn.Module) else step, *values, device=device, **options)

    return measure


def oracles(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """Systems with known exponents."""
    sys.path.insert(0, str(TESTS))
    rooms = [import_module("maps"), import_module("networks")]
    yield from head(
        "Systems with known exponents",
        f"The systems of [this page](oracles.md). Where the run is not chaotic, both devices should agree to {EXACT:g}.",
        *("system", "CPU and GPU apart", "error", "allowed", "as it should be"),
    )
    systems = [*rooms[0].MAPS, *rooms[1].NETWORKS]
    for system in systems[:: sizes.every]:
        _forget(rooms[0])
        here = system.measure()
        _forget(rooms[0])
        with ExitStack() as moved:
            for room in rooms:
                moved.enter_context(mock.patch.object(room, "lyapunov_spectrum", _on(device)))
            there = system.measure()
        between = apart(there.found, here.found)
        if system.tolerance <= EXACT and not between <= EXACT:
            wrong.append(f"{system.name}: the devices are {between:.1e} apart")
        allowed = system.tolerance if there.allowed is None else float(torch.as_tensor(there.allowed).max())
        name = system.name.replace("|", "\\|")
        yield compared(name, float(there.errors.max()), max(allowed, EXACT), wrong, f"{between:.1e}")


def _forget(room: Any) -> None:
    """Forget the spectra that several systems share."""
    room.lorenz_spectrum.cache_clear()
    room.henon_spectrum.cache_clear()


def every_cell(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """The growth of deviations of every cell."""
    yield from head(
        "Every cell",
        f"Exponents of two networks with {sizes.hidden} units, 30 steps of three sequences, float64, nats per step. Left out are "
        "those of directions that a step annihilates and of the directions after them, which are then drawn by rounding.",
        *("cell", "CPU and GPU apart", "allowed", "as it should be"),
    )
    for name in cells.names()[: sizes.cells]:
        cell = cells.get(name)(2, sizes.hidden, 0.5)
        weights = [cell.weights({n: p.double() for n, p in cell.init(_seeded(m)).items()}) for m in range(2)]
        params = {n: torch.stack([w[n] for w in weights]) for n in weights[0]}
        state = torch.zeros(2, 3, cell.state_size, dtype=torch.float64)
        inputs = noise(30, 3)[..., :2]
        found = [
            growth(
                cell,
                {n: p.to(place) for n, p in params.items()},
                state.to(place),
                inputs.to(place),
                cell.state_size,
                transient=0,
                every=1,
            )
            for place in ("cpu", device)
        ]
        kept = (found[0].rounding_error < EXACT / 10) & found[0].per_step.isfinite().all(0).cumprod(-1).bool()
        values = [f.per_step.mean(0)[kept] for f in found]
        wrong += [] if kept.any() else [f"{name}: rounding is too large to compare"]
        yield compared(name, apart(*values), EXACT, wrong)


def trained(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """The spectra of trained networks."""
    yield from head(
        "Trained networks",
        "All exponents of networks that were trained on the CPU, measured on both devices in float64; *called* are networks that "
        "hold such a module, as most do.",
        *("network", "seconds on the GPU", "CPU and GPU apart", "allowed", "as it should be"),
    )
    data = _data("flip_flop", sizes.sequences)
    for cell in ("elman", "lstm", "gru"):
        module = _module(train(_trial(data, cell, sizes.hidden, epochs=3), data))
        inputs = torch.from_numpy(data.split("validation")[0]).double()[:, :6].repeat(3, 1, 1)
        zero = torch.zeros(1, inputs.shape[1], sizes.hidden, dtype=torch.float64)
        state = (zero, zero) if cell == "lstm" else zero
        here = lyapunov_spectrum(module.cell, inputs, state=state, every=1)
        allowed = max(EXACT, float(here.rounding_error.max()))
        for name, model in ((cell, module.cell), (f"{cell}, called", _Called(module.cell))):
            begin = time.perf_counter()
            there = lyapunov_spectrum(model, inputs, state=state, device=device, every=1)
            seconds = time.perf_counter() - begin
            yield compared(name, apart(here.exponents, there.exponents), allowed, wrong, f"{seconds:.2f}")


class _Called(nn.Module):
    """A network that holds one of torch's modules, whose derivative is therefore automatic."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.recurrent(x, state)


def training(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """Trainings and measurements, for all heads and tasks that need no data."""
    yield from head(
        "Trainings and measurements",
        "Two epochs in float32, without TF32: the largest difference of losses and norms of gradients, and of early "
        "measurements, relative to the larger of 1 and the number; and that of loss and metric of the same answers. A row "
        "without numbers has no data on this machine.",
        *("training", "loss and metric apart", "apart", "allowed", "as it should be"),
    )
    names = tasks.names() if sizes.cells is None else ["adding", "copying"]
    trials: list[tuple[str, dict[str, Any]]] = [(task, {}) for task in names]
    trials += [("flip_flop" if heads.get(h).every_step else "adding", {"head": h, "cell": "lstm"}) for h in heads.names()]
    trials += [("flip_flop", {"cell": "gru", "state": state, "optimiser": "sgd"}) for state in ("stateful", "conditional")]
    for task, changes in trials:
        label = " ".join([task, *(str(v) for v in changes.values())])
        try:
            data = _data(task, sizes.sequences)
        except (PipelineError, ImportError, OSError):
            yield row(label, "", "", "", "")
            continue
        trial = _trial(data, **{"cell": "elman", "hidden": sizes.hidden, "epochs": 2} | changes)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            here, there = (train(replace(trial, device=str(d)), data) for d in ("cpu", device))
        same = _judged(here, data, device)
        wrong += [] if same <= ROUNDED / 10 else [f"{label}: loss or metric of the same answers are {same:.1e} apart"]
        curves = [{n: c for n, c in r.curves.items() if n != "validation_metric"} for r in (here, there)]
        yield compared(label, _relative(*curves), ROUNDED, wrong, f"{same:.1e}")
    for task in ("adding", "flip_flop"):
        data = _data(task, sizes.sequences)
        result = train(_trial(data, "lstm", sizes.hidden, epochs=2), data)
        with _in_memory(data):
            here, there = (measurements.measure(result, Path(f"{d} {task}"), str(d)) for d in ("cpu", device))
        names = list(here.columns)
        values = [{n: r.values[:, i] for i, n in enumerate(names) if n not in UNSTEADY} for r in (here, there)]
        yield compared(f"measurements of {task}", _relative(*values), 10 * ROUNDED, wrong, "")


def _judged(result: TrialResult, data: TaskData, device: torch.device) -> float:
    """How far loss and metric of a trained network's answers, which are the same, are on the two devices."""
    task, (inputs, targets) = tasks.get(result.trial.task), (torch.from_numpy(a) for a in data.split("validation"))
    x = task.encode(inputs, result.trial.input_size)
    x = append(x, previous(targets)) if POLICIES[result.trial.state].sees_targets else x
    with torch.no_grad():
        answers = _module(result)(x)
    found = [[float(f(answers.to(d), targets.to(d))) for f in (task.loss, task.metric)] for d in ("cpu", device)]
    return apart(*found)


UNSTEADY = {"activation_distance"}  # counts which states exceed a mean: one that is close to it may fall on either side


def study(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """The smallest part of the study."""
    yield from head(
        "A part of the study",
        "Trials of the task `adding` with the cell `lstm`, by the jobs of the stages, which train networks of one size together; "
        "seconds.",
        *("trial", "H", "train", "measure", "spectra", "largest exponent at the end"),
    )
    data = _data("adding", 500 if sizes.study > 1 else sizes.sequences)
    drawn: dict[str, Any] = {n: (d.default,) for n, d in DECLARED.items()}
    drawn |= {"init_scale": Range(low=0.05, high=1.0), "learning_rate": Range(low=1e-3, high=1e-2), "hidden_size": (16, 32)}
    drawn |= {"head": ("default",), "initialisation": ("uniform",), "batch_size": ("default",)}
    section = SimpleNamespace(
        trials=sizes.study, repeated=0, epochs=2, early_epoch=1, options={}, state="stateless", drawn=drawn.__getitem__
    )
    settings = SpectrumSettings(sequences=3, transient=20, steps=60)
    trials, place = (
        draw(SimpleNamespace(cells=("lstm",), seed=2026, train=section), data.info, str(device)),
        Path(f"study {device}"),
    )
    jobs = [Training(trial, place, place) for trial in trials]
    with _in_memory(data):
        groups = [Group((job,)) if isinstance(job, Training) else job for job in grouped(jobs)]
        for result in [record for group in groups for _, record in group.run()]:
            taken = measurements.measure(result, place, str(device))
            found = spectra_job.measure(result, place, settings, str(device))
            if not np.isfinite(found.exponents).all() or np.isnan(taken.values).all():
                wrong.append(f"{result.trial.name} has numbers that are not finite")
            took = result.outcome.seconds, sum(taken.seconds.values()), found.seconds
            yield row(result.trial.name, result.trial.hyper_parameters.hidden_size, *took, float(found.exponents[-1].mean(0)[0]))


# Time


def spectra(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """The time of spectra."""
    yield from head(
        "The time of spectra",
        f"{sizes.steps} counted steps of {sizes.batch} sequences, float64; medians of {sizes.repeats} after one warm-up, in ms. "
        f"The handwritten loop (`benchmarks/handwritten.py`, with torch.linalg.qr at each step) ran {sizes.short} steps of at "
        "most 16 networks, and its time is scaled. The target for the LSTM with 512 units is 150 ms.",
        *("network", "exponents", "engine", "unverified", "handwritten", "ratio", "engine and handwritten apart"),
    )
    for case in sizes.cases:
        modules, inputs = case.networks(device), noise(sizes.steps, sizes.batch).to(device)
        size = state_size(modules[0])
        short, basis = inputs[: sizes.short], random_basis(size, case.count or size, inputs).T
        given: Any = modules if case.models > 1 else modules[0]
        measure: Any = lyapunov_spectra if case.models > 1 else lyapunov_spectrum
        run = partial(_whole, measure, given, inputs, count=case.count)
        times = interleaved({"engine": run, "unverified": partial(run, verify=False)}, sizes.repeats)
        times |= interleaved(
            {"handwritten": partial(handwritten.exponents_of_all, modules[:16], short, basis.shape[1], 0, basis=basis)}, 1
        )
        scale = sizes.steps / sizes.short * case.models / len(modules[:16])
        engine, loop = 1e3 * times["engine"], 1e3 * times["handwritten"] * scale
        between = f"{_between(case, sizes, device):.1e}"
        yield row(case.name, _counted(case), engine, 1e3 * times["unverified"], loop, loop / engine, between)
    yield ""
    yield from _intervals(sizes, device)
    yield ""
    yield from _reorthonormalisations(sizes, device)
    yield ""
    yield from _kernels(sizes, device)


def _counted(case: Case) -> str:
    """How many exponents a case has."""
    return f"{case.count or 'all'} of {case.hidden * (2 if case.kind is nn.LSTM else 1)}"


def _intervals(sizes: Sizes, device: torch.device) -> Lines:
    """How often the engine reorthonormalises, and the exponents that are the reason for it."""
    yield row("network", "exponents", "largest, nats per step", "smallest", f"reorthonormalisations in {sizes.steps} steps")
    yield row("---", *["---:"] * 4)
    attempt = adaptive.Trajectories._attempt
    for case in sizes.cases:
        made: list[int] = []

        def noted(self: Any, linear: list[Any], alive: Tensor, *, repair: bool, made: list[int] = made) -> Any:
            made.append(math.ceil(len(linear) / self.every))
            return attempt(self, linear, alive, repair=repair)

        (module, *_), inputs = case.networks(device), noise(sizes.steps, sizes.batch).to(device)
        with mock.patch.object(adaptive.Trajectories, "_attempt", noted):
            found = _whole(lyapunov_spectrum, module, inputs, count=case.count).exponents
        yield row(f"{case.kind.__name__}, H = {case.hidden}", _counted(case), float(found[0]), float(found[-1]), sum(made))


def _between(case: Case, sizes: Sizes, device: torch.device) -> float:
    """How far the exponents of the first network are from those of the handwritten loop, over a few steps with `every=1`."""
    (module, *_), inputs = case.networks(device), noise(sizes.short, sizes.batch).to(device)
    basis = random_basis(state_size(module), case.count or state_size(module), inputs).T
    found = _whole(lyapunov_spectrum, module, inputs, every=1, count=case.count)
    return difference(found, handwritten.exponents(module, inputs, basis.shape[1], 0, basis=basis))


def _reorthonormalisations(sizes: Sizes, device: torch.device) -> Lines:
    """The time of one reorthonormalisation as a CUDA graph, by the width of a panel, that without one, and of torch's QR."""
    yield row("deviations", *(f"panels of {p}, ms" for p in PANELS), f"of {PANEL} without a graph", "torch.linalg.qr, ms")
    yield row("---", *["---:"] * (len(PANELS) + 2))
    for case in [case for case in sizes.cases if case.count is None]:
        size = case.hidden * (2 if case.kind is nn.LSTM else 1)
        rows = torch.randn(sizes.batch * min(case.models, 64), size, size, device=device, dtype=torch.float64) + 3 * torch.eye(
            size, device=device, dtype=torch.float64
        )
        probe = torch.randn(len(rows), adaptive.PROBES, size, device=device, dtype=torch.float64)
        times = []
        ways: list[tuple[int, Callable[..., Any]]] = [(p, engine_graphs.Replayed(reorthonormalise_fast)) for p in PANELS]
        for panel, function in [*ways, (PANEL, reorthonormalise_fast)]:
            with mock.patch.object(import_module("pipeline.spectrum.reorthonormalise"), "PANEL", panel):
                fast = lambda: function(rows.clone(), probe.clone())  # noqa: B023, E731
                fast()
                times.append(1e3 * interleaved({"": fast}, sizes.repeats)[""])
        few = rows[:15]
        qr = 1e3 * interleaved({"": partial(torch.linalg.qr, few)}, 1)[""] * len(rows) / len(few)
        yield row(f"{len(rows)} times {size} x {size}", *times, qr)


PANELS = (16, 32, 64, 128)


def _kernels(sizes: Sizes, device: torch.device) -> Lines:
    """Where the time of the first case goes."""
    (module, *_), inputs = sizes.cases[0].networks(device), noise(sizes.steps, sizes.batch).to(device)
    run = partial(_whole, lyapunov_spectrum, module, inputs)
    run()
    kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * bool(torch.version.cuda)
    with torch.profiler.profile(activities=kinds) as profiled:
        run()
    cost = "self_device_time_total" if torch.version.cuda else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda e: -getattr(e, cost))[:12]
    total = sum(getattr(e, cost) for e in profiled.key_averages()) or 1
    yield row(f"kernel, of {sizes.cases[0].name}", "share", "calls per step", "microseconds per call")
    yield row("---", "---:", "---:", "---:")
    for event in events:
        share, each = getattr(event, cost) / total, getattr(event, cost) / event.count
        yield row(f"`{event.key[:70]}`".replace("|", "\\|"), f"{share:.1%}", event.count / sizes.steps, each)


def ensemble(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """The time of training many networks together."""
    yield from head(
        "Networks that are trained together",
        "Losses and norms of gradients of three networks in two epochs, trained together on the GPU and one by one on the CPU; "
        "relative to the larger of 1 and the number.",
        *("cell", "apart", "allowed", "as it should be"),
    )
    data = _data("adding", 3 * sizes.sequences)
    for cell in ("lstm", "gru", "lem", "scornn"):  # the last one cannot be captured
        trials = [_trial(data, cell, sizes.hidden, epochs=2, seed=m, clip_norm=0.1 * m, dropout=0.1 * m) for m in range(3)]
        together = train_together([replace(t, device=str(device)) for t in trials], data)
        kept = ("train_loss", "validation_loss", "gradient_norm")
        curves = [[{n: r.curves[n] for n in kept} for r in results] for results in (map(_alone(data), trials), together)]
        yield compared(cell, max(map(_relative, *curves)), ROUNDED, wrong)
    yield ""
    yield from head(
        "The time of training many small networks together",
        "One epoch of the task `adding` (40 steps, mini-batches of 50), AdamW; ms per mini-batch of one network. *Alone* is "
        "`loop.train` one by one, with cuDNN where it has the cell. The target is a ratio of 10.",
        *("networks", "cell", "together", "alone", "ratio", "CUDA graph"),
    )
    data = _data("adding", sizes.training)
    for cell, units, ensembles in sizes.ensembles:
        trials = [_trial(data, cell, units, device=str(device), seed=m) for m in range(max(ensembles))]
        alone = _per_step(lambda: [train(t, data) for t in trials[: sizes.alone]], data, device) / sizes.alone  # noqa: B023
        for models in ensembles:
            together = Ensemble(trials[:models], data)
            for _ in range(2):  # the first epoch warms up, and the graph is captured at its second step
                together.epoch([True] * models)
            seconds = _per_step(lambda: together.epoch([True] * models), data, device) / models  # noqa: B023
            how = "yes" if together.captured else f"no {' '.join(together.failure.split())[:80]}".strip()
            yield row(models, f"{cell}, H = {units}", 1e3 * seconds, 1e3 * alone, alone / seconds, how)


def _alone(data: TaskData) -> Callable[[Trial], TrialResult]:
    return lambda trial: train(trial, data)


def _per_step(run: Callable[[], object], data: TaskData, device: torch.device) -> float:
    """Seconds per mini-batch of a run of one epoch."""
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / math.ceil(data.info.sequences["train"] / 50)


def graphs(sizes: Sizes, device: torch.device, wrong: Wrong) -> Lines:
    """What the engine gains because steps and reorthonormalisations are CUDA graphs."""
    yield from head(
        "CUDA graphs in the engine",
        "A step of the states is one graph, if its derivative is written by hand, and a reorthonormalisation is one; ms for "
        f"{sizes.steps} steps, and without graphs.",
        *("network", "with graphs", "without", "captured", "apart", "allowed", "as it should be"),
    )
    plain = mock.patch.object(engine_graphs.Replayed, "__call__", lambda self, *tensors: self._function(*tensors))
    for case in [case for case in sizes.cases if case.models < 10]:
        modules, inputs = case.networks(device), noise(sizes.steps, sizes.batch).to(device)
        run = partial(_whole, lyapunov_spectra, modules, inputs, verify=False, count=case.count)
        _Noted.made.clear()
        with mock.patch.object(engine_graphs, "Repeated", _Noted):
            graphed = run()[0].exponents
        with plain:
            single = run()[0].exponents
            times = interleaved({"without": run}, 1)
        times |= interleaved({"with": run}, sizes.repeats)
        numbers = f"{1e3 * times['with']:.3g}", f"{1e3 * times['without']:.3g}", _Noted.how()
        yield compared(f"{case.name}, {_counted(case)} exponents", apart(graphed, single), EXACT, wrong, *numbers)


class _Noted(engine_graphs.Repeated[Any]):
    """Functions that are repeated, and are kept to be asked later."""

    made: ClassVar[list["_Noted"]] = []

    def __init__(self, function: Callable[[], Any], device: torch.device) -> None:
        super().__init__(function, device)
        self.made.append(self)

    @classmethod
    def how(cls) -> str:
        """Whether all were captured, or why not."""
        failures = [run.failure for run in cls.made if run.failure]
        captured = all(run.captured for run in cls.made)
        return f"no: {' '.join(failures[0].split())[:80]}" if failures else "yes" if captured and cls.made else "no"


# Helpers


def _whole(measure: Callable[..., Any], model: Any, inputs: Tensor, **options: Any) -> Any:
    """Spectra without a transient."""
    return measure(model, inputs, transient=0, **options)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(task: str, sequences: int) -> TaskData:
    """The first sequences of a task."""
    data = tasks.get(task).prepare(task, "packaged", 2026)
    arrays = {n: np.ascontiguousarray(a[:sequences] if a.ndim == 1 else a[:, :sequences]) for n, a in data.arrays.items()}
    counts = {split: arrays[f"{split}_inputs"].shape[1] for split in data.info.sequences}
    return TaskData(arrays, replace(data.info, sequences=counts))


def _trial(
    data: TaskData,
    cell: str,
    hidden: int,
    *,
    epochs: int = 1,
    device: str = "cpu",
    seed: int = 1,
    state: str = "stateless",
    **own: Any,
) -> Trial:
    """A trial of a task."""
    given = {n: d.default for n, d in DECLARED.items()} | {"head": data.info.head, "initialisation": "uniform"}
    hyper = HyperParameters(**given | {"init_scale": 0.3, "learning_rate": 3e-3, "hidden_size": hidden, "batch_size": 50} | own)
    info = data.info
    fixed = {"index": 0, "draw": 0, "options": {}, "early_epoch": 1, "torch": "", "data_hash": info.hash, "code_hash": ""}
    sizes = {n: getattr(info, n) for n in ("input_size", "output_size", "steps", "chance")}
    return Trial(
        task=info.task, cell=cell, seed=seed, hyper_parameters=hyper, state=state, epochs=epochs, device=device, **fixed, **sizes
    )


def _module(result: TrialResult) -> Any:
    """The network of a trial as it was in the end."""
    module = Network.of(result.trial).init(_seeded(0))
    module.load(result.weights["final"])
    return module


@contextmanager
def _in_memory(data: TaskData) -> Iterator[None]:
    """A context in which the data of any file are these."""
    with mock.patch.object(TaskData, "load", return_value=data):
        yield


def _relative(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of arrays, relative to the larger of 1 and the number."""
    scales = {n: np.fmax(1.0, np.abs(np.nan_to_num(values))) for n, values in one.items()}
    return max(apart(one[n] / scales[n], other[n] / scales[n]) for n in one)
