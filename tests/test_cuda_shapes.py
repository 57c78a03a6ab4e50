"""Everything that may run on a GPU keeps its tensors together there, gives what it gives on the CPU, and rarely waits.

The GPU is pretended (`pretended.py`), so that these tests run everywhere; the kernels themselves are compared by
`python -m benchmarks.gpu` on a machine that has one.
"""

import inspect
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from draws import module_of, noise, seeded
from pretended import Pretended, PretendedError
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.testing import assert_close
from trained import CASES, trained
from twins import cut, trial_of

from pipeline import cells, fixed_points, heads, lyapunov_spectra, lyapunov_spectrum, slow_points, summary, tasks, watch
from pipeline.core.config import SpectrumSettings
from pipeline.core.graphs import Repeated
from pipeline.core.records import TaskData
from pipeline.jobs import measurements, spectra
from pipeline.spectrum import growth
from pipeline.spectrum.engine import ACCURACY
from pipeline.training import loop, train

INPUTS = noise(24, 2, 2)
MODULES = {
    "RNN": (nn.RNN, ()),
    "LSTM, two layers": (nn.LSTM, (2,)),
    "GRU": (nn.GRU, ()),
    "RNNCell": (nn.RNNCell, ()),
    "LSTMCell": (nn.LSTMCell, ()),
    "GRUCell": (nn.GRUCell, ()),
}
# Kernels of torch for a step of an LSTM or GRU on the CPU sum in another order than their formulas: some roundings a step.
# In float64 no run here amplifies them by more than 1e4.
ROUNDING = 1e-11


class Wrapped(nn.Module):
    """A module that the library calls, whose derivative is automatic."""

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x, state=None):
        return self.recurrent(x, state)


class Tokens(nn.Module):
    """A recurrent part behind an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(5, 3).double(), module_of(nn.GRU, 3, 4)

    def forward(self, tokens, state=None):
        return self.recurrent(self.embedding(tokens), state)


def same_spectrum(make, inputs, **options):
    """The spectrum on the GPU, which is that on the CPU; `make` makes the model or models anew."""
    measure = lyapunov_spectra if isinstance(make(), list) else lyapunov_spectrum
    expected, model = measure(make(), inputs, **options), make()
    with Pretended() as gpu:
        there = [m.to("cuda") for m in model] if isinstance(model, list) else model.to("cuda")
        found = measure(there, inputs.to("cuda"), **options)
    for one, other in zip(*([s] if not isinstance(s, list) else s for s in (found, expected)), strict=True):
        for name in ("exponents", "standard_error", "alignment_error", "local", "vectors"):
            values = getattr(one, name), getattr(other, name)
            if values[0] is not None:
                assert_close(*values, rtol=0, atol=ROUNDING if options.get("dtype") is None else 1e-4, equal_nan=True)
        assert one.to_dict()["lost"] == other.to_dict()["lost"]
    return gpu


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_modules_of_torch_have_the_same_spectrum(name, called):
    kind, options = MODULES[name]
    make = lambda: module_of(kind, 2, 4, *options)  # noqa: E731
    state = {"LSTMCell": (noise(2, 4),) * 2}.get(name, noise(2, 4)) if called and "Cell" in name else None
    same_spectrum((lambda: Wrapped(make())) if called else make, INPUTS, state=state)


OPTIONS = {
    "few exponents": {"count": 2},
    "each step": {"every": 1},
    "tolerance": {"tolerance": 0.5},
    "covariant": {"vectors": "covariant", "local": True},
    "lengths": {"lengths": [20, 24]},
    "unverified": {"verify": False},
    "float32": {"dtype": torch.float32},
    "state on the CPU": {"state": noise(1, 2, 4)},
}


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_gives_the_same_spectrum(name, called):
    make = lambda: module_of(nn.GRU, 2, 4)  # noqa: E731
    same_spectrum((lambda: Wrapped(make())) if called else make, INPUTS, **OPTIONS[name])


def test_ensembles_tokens_and_packed_sequences_have_the_same_spectrum():
    same_spectrum(lambda: [module_of(nn.LSTM, 2, 4, 2, seed=n) for n in range(3)], INPUTS, every=2)
    torch.manual_seed(0)
    tokens = Tokens()
    same_spectrum(lambda: tokens.to("cpu"), torch.randint(5, (24, 2), generator=seeded()))
    packed = pack_padded_sequence(INPUTS, torch.tensor([24, 20]))
    expected = lyapunov_spectrum(module_of(nn.GRU, 2, 4), packed).exponents
    with Pretended():
        found = lyapunov_spectrum(module_of(nn.GRU, 2, 4).to("cuda"), packed.to("cuda")).exponents
    assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_a_model_on_the_cpu_is_measured_on_the_gpu_if_asked():
    model = module_of(nn.LSTM, 2, 4)
    expected = lyapunov_spectrum(model, INPUTS).exponents
    with Pretended() as gpu:
        found = lyapunov_spectrum(model, INPUTS, device="cuda").exponents
    assert sum(gpu.copies.values()) > 0
    assert next(model.parameters()).device.type == "cpu"
    assert_close(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", cells.names())
def test_growth_of_every_cell_is_that_of_the_cpu(name):
    cell, models = cells.get(name)(2, 4, 0.9), 2
    params = [{n: p.double() for n, p in cell.init(seeded(m)).items()} for m in range(models)]
    state = 0.3 * noise(models, 2, cell.state_size)

    def grown(device):
        weights = [cell.weights({n: p.to(device) for n, p in own.items()}) for own in params]
        stacked = {n: torch.stack([w[n] for w in weights]) for n in weights[0]}
        return growth(cell, stacked, state.to(device), INPUTS[:10].to(device), cell.state_size, transient=4)

    expected = grown("cpu")
    with Pretended():
        found = grown("cuda")
    assert_close(found.per_step, expected.per_step, rtol=0, atol=ROUNDING, equal_nan=True)
    assert_close(found.rounding_error, expected.rounding_error, rtol=1e-2, atol=1e-12, equal_nan=True)


# Waiting


def test_an_interval_that_is_too_long_is_shortened_and_errs_by_no_more_than_is_asked():
    """On the CPU, sequences whose fast reorthonormalisation failed are repaired by Householder QR instead."""
    models = [module_of(nn.LSTM, 2, 4, 2, seed=n) for n in range(3)]
    expected = lyapunov_spectra(models, INPUTS, every=1)
    with Pretended():
        found = lyapunov_spectra([model.to("cuda") for model in models], INPUTS.to("cuda"))
    for one, other in zip(found, expected, strict=True):
        assert_close(one.exponents, other.exponents, rtol=0, atol=ACCURACY)


def test_the_engine_waits_once_per_block():
    make = lambda: module_of(nn.GRU, 2, 4, scale=0.5)  # noqa: E731
    gpu = same_spectrum(make, noise(120, 2, 2), transient=20, every=4)
    within = {place: count for (place, _), count in gpu.waits.items() if place.startswith(("spectrum/adaptive", "cells"))}
    assert sorted(within.values()) == [2, 2 + 7]  # once per stretch, and per block of 16 steps: of 20 transient ones and 100
    once = sum(count for (place, _), count in gpu.waits.items() if place.startswith("spectrum/estimate"))
    longer = same_spectrum(make, noise(240, 2, 2), transient=20, every=4)
    again = sum(count for (place, _), count in longer.waits.items() if place.startswith("spectrum/estimate"))
    assert once == again < 20  # for the exponents and their errors, at the end


@pytest.mark.parametrize("name", [n for n in cells.names() if not cells.get(n).by_hand])
def test_a_step_of_any_cell_waits_for_nothing(name):
    """Nor does its derivative; making weights of a skew-symmetric matrix does, once per sequence."""
    cell = cells.get(name)(2, 5, 0.9)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    with Pretended() as gpu:
        weights = {n: p.to("cuda")[None] for n, p in cell.weights(params).items()}
        state, inputs = noise(1, 2, cell.state_size).to("cuda"), INPUTS[:4].to("cuda")
        growth(cell, weights, state, inputs, 1, transient=0, every=1)
    assert {place for place, _ in gpu.waits if place.startswith(("cells", "spectrum/tangent"))} == set()


# Training, measurements, points


def same_training(trial, data, tolerance=1e-6):
    """Train on both devices; weights and curves may differ by a few roundings of float32, or by the tolerance."""
    expected = train(trial, data)
    with Pretended() as gpu:
        found = train(replace(trial, device="cuda"), data)
    for checkpoint, weights in expected.weights.items():
        for name, values in weights.items():
            np.testing.assert_allclose(found.weights[checkpoint][name], values, rtol=0, atol=tolerance)
    for name, curve in expected.curves.items():
        np.testing.assert_allclose(found.curves[name], curve, rtol=0, atol=10 * tolerance)
    return gpu


SMALL = {"batch_size": 7, "epochs": 1, "early_epoch": 1}


def short(data):
    """The first eight steps of a task."""
    arrays = {n: a[:8] if n.endswith("inputs") or a.ndim > 1 else a for n, a in data.arrays.items()}
    return TaskData(arrays, replace(data.info, steps=8))


@pytest.mark.parametrize("cell", cells.names())
def test_every_cell_is_trained_alike(cell, prepared):
    data = short(cut(prepared("mnist_rows"), 14, 14))
    gpu = same_training(trial_of(data, cell=cell, dropout=0.2, clip_norm=0.5, **SMALL), data)
    lines, first = inspect.getsourcelines(loop._Training._step)
    reads = [first + n for n, line in enumerate(lines) if ".item()" in line or ".tolist()" in line]
    waits = [count for (place, _), count in gpu.waits.items() if place in {f"training/loop.py:{n}" for n in reads}]
    assert waits == [2]  # once per mini-batch, for the loss and the norm, which say whether the training goes on


@pytest.mark.parametrize("head", heads.names())
def test_every_head_is_trained_alike(head, prepared):
    data = short(cut(prepared("lorenz" if heads.get(head).every_step else "mnist_rows"), 14, 14))
    same_training(trial_of(data, cell="gru", head=head, optimiser="sgd", learning_rate=1e-3, **SMALL), data)


@pytest.mark.parametrize("state", ["stateful", "ordered", "conditional"])
def test_every_policy_is_trained_alike(state, prepared):
    data = cut(prepared("narma10"), 4, 4)
    same_training(trial_of(data, cell="elman", state=state, **SMALL | {"batch_size": 2}), data)


@pytest.mark.parametrize("task", tasks.names())
def test_every_task_is_trained_alike(task, prepared):
    data = cut(prepared(task), 14, 14)
    same_training(trial_of(data, hidden_size=3, **SMALL), data)


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("mnist_rows", {"cell": "gru", "clip_norm": 0.02}),
        ("copying", {"cell": "exprnn", "hidden_size": 3, "optimiser": "sgd", "learning_rate": 1e-3}),
    ],
)
def test_measurements_and_spectra_of_a_trial_are_those_of_the_cpu(task, changes, prepared, tmp_path):
    data, path, settings = cut(prepared(task), 32, 32), tmp_path / "data", SpectrumSettings(sequences=2, transient=4, steps=12)
    data.save(path)
    result = train(trial_of(data, **SMALL | changes), data)
    expected = measurements.measure(result, path, "cpu"), spectra.measure(result, path, settings, "cpu")
    with Pretended():
        found = measurements.measure(result, path, "cuda"), spectra.measure(result, path, settings, "cuda")
    # numbers of float32, in which gradients of a thousandth of the loss have four digits
    np.testing.assert_allclose(found[0].values, expected[0].values, rtol=1e-4, atol=1e-4, equal_nan=True)
    np.testing.assert_allclose(found[1].exponents, expected[1].exponents, rtol=0, atol=ROUNDING)


def test_points_and_a_summary_are_those_of_the_cpu():
    make = lambda: module_of(nn.GRU, 2, 4, scale=1.5)  # noqa: E731
    expected = fixed_points(make(), INPUTS, seeds=16), slow_points(make(), INPUTS, seeds=16, iterations=50)[0]
    text = str(summary(make(), INPUTS))
    with Pretended():
        there, inputs = make().to("cuda"), INPUTS.to("cuda")
        found = fixed_points(there, inputs, seeds=16), slow_points(there, inputs, seeds=16, iterations=50)[0]
        states, moduli = ([getattr(p, name).abs().cpu() for p in found] for name in ("states", "eigenvalues"))
        assert str(summary(there, inputs)) == text
    for place, points in enumerate(expected):
        assert_close(states[place], points.states.abs(), rtol=0, atol=1e-8)
        assert_close(moduli[place], points.eigenvalues.abs(), rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_training_is_watched_alike():
    case, verdicts = CASES["tokens"], []

    def watched(device):
        model, _, options = case.training()
        optimiser = torch.optim.AdamW(model.to(device).parameters(), lr=5e-3)
        inputs, targets = case.inputs.to(device), case.targets.to(device)
        batches = [(x.to(device), y.to(device)) for x, y in case.batches(50)]
        watching = watch(model, inputs, targets, **options | {"optimizer": optimiser})
        before = watching.before()
        return before.probability, watching.epoch(trained(model, optimiser, case, batches)).probability

    verdicts.append(watched("cpu"))
    with Pretended():
        verdicts.append(watched("cuda"))
    assert verdicts[1] == pytest.approx(verdicts[0], abs=1e-4)


# What is pretended


@contextmanager
def refused(what):
    with Pretended(), pytest.raises(PretendedError, match=what):
        yield


def test_what_cuda_refuses_is_refused():
    here = torch.ones(3)
    with refused("aten.add: tensors on the GPU and on the CPU"):
        here.to("cuda") + here
    with refused("aten.mm"):
        torch.ones(2, 2, device="cuda") @ torch.ones(2, 2)
    with refused("generator on the CPU"):
        torch.rand(3, generator=seeded(), device="cuda")
    with refused("aten.index: tensors"):
        here[torch.zeros(1, dtype=torch.long, device="cuda")]
    with Pretended() as gpu:
        assert (here.to("cuda") * torch.tensor(2.0)).sum().item() == 6  # a number on the CPU may be a factor
        assert here.to("cuda")[torch.zeros(1, dtype=torch.long)].tolist() == [1]
        assert bool((here.to("cuda") > 0).all())
    assert sum(gpu.waits.values()) == 3
    assert sum(gpu.copies.values()) == 3 + 1  # and the index


def test_gradients_and_derivatives_are_those_of_the_cpu():
    weight, x = noise(4, 3), noise(5, 3, seed=4)

    def derivatives(weight, x):
        own = weight.clone().requires_grad_()
        (x @ own.T).tanh().square().sum().backward()
        along = torch.func.vmap(lambda v: torch.func.jvp(lambda s: (s @ weight.T).tanh(), (x,), (v.expand_as(x),))[1])
        return own.grad, along(torch.eye(3, dtype=weight.dtype, device=weight.device)), torch.func.jacrev(torch.sin)(x[0])

    expected = derivatives(weight, x)
    with Pretended():
        found = [d.cpu() for d in derivatives(weight.to("cuda"), x.to("cuda"))]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_a_graph_repeats_what_was_captured_and_refuses_to_wait():
    with Pretended():
        x, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin()
        doubled = 2 * x
        total += doubled
        graph.capture_end()
        assert total.tolist() == [0, 0, 0]  # capturing has no effect
        for value, expected in ((1, 2), (3, 8)):
            x.fill_(value)
            graph.replay()
            assert doubled.tolist() == [2 * value] * 3
            assert total.tolist() == [expected] * 3
        other = torch.cuda.CUDAGraph()
        other.capture_begin()
        with pytest.raises(PretendedError, match="while a graph is captured"):
            x.sum().item()
        other.capture_end()


def test_what_is_repeated_is_run_first_and_then_captured_unless_it_waits():
    def add_to(total, waits):
        total += 1
        return 2 * total if not waits or total.sum() > 0 else total

    for waits in (False, True):
        with Pretended():
            total = torch.zeros(3, device="cuda")
            repeated = Repeated(lambda: add_to(total, waits), total.device)  # noqa: B023
            assert [repeated()[0].item() for _ in range(4)] == [2, 4, 6, 8]
            assert repeated.captured is not waits
            assert ("while a graph is captured" in repeated.failure) is waits
        here = Repeated(lambda: torch.ones(1), torch.device("cpu"))
        assert here().tolist() == here().tolist() == [1]
        assert here.captured is False
