"""Networks that are trained together become what `loop.train` makes of each of them alone."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pretended import Pretended
from twins import Killed, cut, end_after, trial_of

from pipeline import cells, heads, training
from pipeline.core import config, execution, layout
from pipeline.core.errors import ConfigError, ExecutionError
from pipeline.core.execution import Group
from pipeline.core.records import TrialResult
from pipeline.training import Network, Training, ensemble, job, train
from pipeline.training.ensemble import UNREPEATED, Ensemble, train_together
from pipeline.training.job import grouped
from pipeline.training.loop import optimiser_at

# Of four networks: seed, learning rate, scale of the weights, clipping, weight decay, dropout.
OWN = (
    (1, 0.01, 0.3, 0.0, 0.0, 0.0),
    (2, 0.003, 0.5, 0.5, 0.1, 0.2),
    (3, 0.1, 1.0, 0.0, 0.0, 0.1),
    (4, 0.001, 0.1, 0.02, 0.5, 0.0),
)
NAMES = ("seed", "learning_rate", "init_scale", "clip_norm", "weight_decay", "dropout")


@pytest.fixture
def float64():
    """New tensors are float64 during a test, and so are weights and their training."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trials_of(data, **changes):
    """Four different trials, of mini-batches that do not divide the training set."""
    return [trial_of(data, **{"batch_size": 5, "epochs": 3} | dict(zip(NAMES, own, strict=True)) | changes) for own in OWN]


def doubles(data):
    """The data in float64."""
    arrays = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in data.arrays.items()}
    return replace(data, arrays=arrays)


def assert_same(found, expected, *, atol, rtol=0.0):
    """All that results hold is equal to the given tolerance; `updates`, which are float32, to a rounding of these."""
    for one, other in zip(found, expected, strict=True):
        assert one.trial == other.trial
        assert one.outcome.diverged == other.outcome.diverged
        assert one.outcome.parameter_count == other.outcome.parameter_count
        for given in ("curves", "updates"):
            for name, values in getattr(other, given).items():
                least = 1e-6 if given == "updates" else 0
                np.testing.assert_allclose(getattr(one, given)[name], values, rtol=max(rtol, least), atol=max(atol, least))
        for checkpoint, weights in other.weights.items():
            assert one.weights[checkpoint].keys() == weights.keys()
            for name, values in weights.items():
                np.testing.assert_allclose(one.weights[checkpoint][name], values, rtol=rtol, atol=atol)
        for parameter, state in other.optimiser.items():
            for name, values in state.items():
                assert one.optimiser[parameter][name].shape == values.shape
                np.testing.assert_allclose(one.optimiser[parameter][name], values, rtol=rtol, atol=atol)


def assert_trained_alike(trials, data, **tolerance):
    found = train_together(trials, data)
    assert_same(found, [train(trial, data) for trial in trials], **tolerance)
    return found


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "lem", "exprnn"])  # exprnn has two learning rates
def test_in_float64_each_is_what_it_is_alone(cell, optimiser, prepared):
    data = doubles(cut(prepared("mnist_rows"), 18, 10))
    # rounding of 12 steps, in which AdamW may divide a gradient by one that is 1e4 times smaller than the terms of its sum
    assert_trained_alike(trials_of(data, cell=cell, optimiser=optimiser), data, atol=1e-10)


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_in_float32_each_is_what_it_is_alone(cell, prepared):
    data = cut(prepared("mnist_rows"), 18, 10)
    # a number of a gradient that is a thousandth of the terms of its sum has lost three of seven digits, and AdamW moves its
    # weight by the learning rate, up to 0.1, whatever its size: 12 steps of 1e-5 each, and as much in the curves
    assert_trained_alike(trials_of(data, cell=cell), data, rtol=12 * 1e-5, atol=12 * 1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("state", ["stateful", "ordered", "conditional"])
def test_every_policy_is_followed(state, prepared):
    data = doubles(cut(prepared("narma10"), 7, 4))
    assert_trained_alike(trials_of(data, cell="gru", state=state, epochs=2), data, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("head", heads.names())
def test_every_head_is_trained(head, prepared):
    data = doubles(cut(prepared("narma10" if heads.get(head).every_step else "mnist_rows"), 12, 6))
    assert_trained_alike(trials_of(data, head=head, epochs=1), data, atol=1e-10)


def test_tokens_are_encoded(prepared):
    data = cut(prepared("copying"), 12, 6)
    assert_trained_alike(trials_of(data, epochs=1), data, atol=1e-5)


@pytest.mark.parametrize(("optimiser", "rate"), [("sgd", 1e4), ("sgd", 1e30), ("adamw", 1e30)])
def test_one_that_diverges_stays_as_it_was_and_changes_no_other(optimiser, rate, prepared):
    data = cut(prepared("mnist_rows"), 18, 10)
    calm = trials_of(data, cell="irnn", optimiser=optimiser, learning_rate=1e-3)
    hyper = calm[1].hyper_parameters
    wild = [*calm[:1], replace(calm[1], hyper_parameters=replace(hyper, learning_rate=rate, clip_norm=0.0)), *calm[2:]]
    wild[3] = replace(wild[3], hyper_parameters=replace(wild[3].hyper_parameters, init_scale=1e38))  # before training
    found = assert_trained_alike(wild, data, rtol=1e-3, atol=1e-4)
    assert [result.outcome.diverged for result in found] == [False, True, False, True]
    others = train_together([wild[0], wild[2]], data)
    assert_same([found[0], found[2]], others, rtol=1e-3, atol=1e-4)


def test_results_are_written_and_read_like_others(prepared, tmp_path):
    data = cut(prepared("mnist_rows"), 12, 6)
    found = train_together(trials_of(data, cell="gru", epochs=1), data)
    found[1].save(tmp_path / "result")
    read = TrialResult.load(tmp_path / "result")
    assert_same([read], [found[1]], atol=0)
    module = Network.of(read.trial).init(torch.Generator())
    module.load(read.weights["early"])
    (group,) = optimiser_at("early", module, read).param_groups
    assert group["lr"] == OWN[1][1]


def test_evaluations_that_are_too_large_for_the_memory_are_made_in_parts(prepared, monkeypatch):
    data = cut(prepared("mnist_rows"), 12, 6)
    trials = trials_of(data, epochs=1)
    whole = train_together(trials, data)
    monkeypatch.setattr(ensemble, "EVALUATED", 28 * 6 * 6 * 3)  # three of four networks
    assert_same(train_together(trials, data), whole, rtol=1e-6, atol=1e-6)


# Interruptions


def interrupted(trials, data, path, monkeypatch, number=1):
    with monkeypatch.context() as patched:
        end_after([number], patched)
        with pytest.raises(Killed):
            train_together(trials, data, path)


@pytest.mark.parametrize(("cell", "optimiser", "state"), [("lstm", "adamw", "stateless"), ("gru", "sgd", "stateful")])
def test_interrupted_trainings_end_with_the_same_bits(cell, optimiser, state, prepared, tmp_path, monkeypatch):
    data = cut(prepared("narma10"), 18, 10)
    trials = trials_of(data, cell=cell, optimiser=optimiser, state=state, epochs=4, early_epoch=2)
    wild = replace(trials[1].hyper_parameters, learning_rate=1e30, clip_norm=0.0)
    trials[1] = replace(trials[1], hyper_parameters=wild)  # diverges in the first epoch
    path = tmp_path / "unfinished.safetensors"
    whole = train_together(trials, data)
    for _ in range(3):  # after each of the first three epochs
        interrupted(trials, data, path, monkeypatch)
    kept = end_after([], monkeypatch)
    found = train_together(trials, data, path)
    assert len(kept) == 1  # one epoch was left
    assert [result.outcome.diverged for result in found] == [False, True, False, False]
    assert_same(found, whole, atol=0)


@pytest.mark.parametrize("place", ["header", "weights", "end"])
def test_trainings_begin_anew_where_their_state_is_damaged(place, prepared, tmp_path, monkeypatch):
    data = cut(prepared("mnist_rows"), 12, 6)
    trials, path = trials_of(data, epochs=2), tmp_path / "unfinished.safetensors"
    interrupted(trials, data, path, monkeypatch)
    content = bytearray(path.read_bytes())
    content[{"header": 20, "weights": len(content) // 2, "end": -1}[place]] ^= 1
    path.write_bytes(content)
    assert_same(train_together(trials, data, path), train_together(trials, data), atol=0)


def test_trainings_begin_anew_beside_the_state_of_others(prepared, tmp_path, monkeypatch):
    data = cut(prepared("mnist_rows"), 12, 6)
    trials, path = trials_of(data, epochs=2), tmp_path / "unfinished.safetensors"
    interrupted(trials, data, path, monkeypatch)
    assert_same(train_together(trials[:3], data, path), train_together(trials[:3], data), atol=0)
    interrupted(trials, data, path, monkeypatch)
    assert_same([train(trials[0], data, path)], [train(trials[0], data)], atol=0)  # alone it keeps another kind of state


def test_what_a_training_held_is_free_when_it_ends(prepared):
    data = cut(prepared("mnist_rows"), 12, 6)
    held = []
    with pytest.MonkeyPatch.context() as patched, Pretended():
        made = ensemble.Ensemble.__init__
        patched.setattr(
            ensemble.Ensemble, "__init__", lambda self, *given: (held.append(weakref.ref(self)), made(self, *given))[1]
        )
        gc.disable()
        try:
            train_together([replace(trial, device="cuda") for trial in trials_of(data, epochs=1)], data)
            assert [reference() for reference in held] == [None]
        finally:
            gc.enable()


# Groups


def test_networks_of_one_shape_are_a_group_and_make_what_they_make_alone(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = cut(prepared("mnist_rows"), 12, 6)
    data.save(tmp_path / "data")
    trials = [*trials_of(data, cell="gru"), *trials_of(data, cell="elman")[:3], trial_of(data, batch_size=5, hidden_size=9)]
    jobs = [Training(replace(trial, index=i), Path("data"), Path("trials")) for i, trial in enumerate(trials)]
    monkeypatch.setattr(job, "MOST", 3)
    groups = grouped(jobs)
    assert [len(group.jobs) if isinstance(group, Group) else 1 for group in groups] == [3, 1, 3, 1]
    with execution.executor(1) as on:
        execution.complete(groups, on, label="train")
    for one in jobs:
        assert_same([TrialResult.load(one.path)], [train(one.trial, data)], rtol=1e-3, atol=1e-4)


def test_trials_of_a_gpu_are_grouped_and_those_of_a_cpu_are_not(prepared, small_params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared("mnist_rows").save(layout.data("mnist_rows"))
    settings = config.load("seed", "device", "execution", "cells", "train", path=small_params({"train.trials": 6}))
    alone = training.jobs(settings, "mnist_rows")
    assert all(isinstance(one, Training) for one in alone)
    monkeypatch.setattr(job, "choose_device", lambda settings: "cuda")
    together = training.jobs(settings, "mnist_rows")
    assert sum(len(group.jobs) for group in together) == len(alone) > len(together)
    assert {trial.device for group in together for trial in (one.trial for one in group.jobs)} == {"cuda"}
    assert {one.trial.code_hash for one in alone}.isdisjoint(one.trial.code_hash for group in together for one in group.jobs)


def test_a_group_that_is_too_large_for_the_memory_is_trained_in_parts(prepared, tmp_path, monkeypatch):
    data = cut(prepared("mnist_rows"), 12, 6)
    data.save(tmp_path / "data")
    jobs = [Training(trial, tmp_path / "data", tmp_path / "trials") for trial in trials_of(data)]
    sizes = []

    def small(trials, data, unfinished):
        sizes.append(len(trials))
        if len(trials) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_together(trials, data, unfinished)

    monkeypatch.setattr(job, "train_together", small)
    (group,) = grouped(jobs)
    most = 0
    with pytest.raises(ExecutionError, match="memory of the GPU is too small for mnist_rows"):
        group.run()
    assert sizes == [4, 2, 1]
    most = 2
    sizes.clear()
    made = group.run()
    assert sizes == [4, 2, 2]
    assert [path for path, _ in made] == [one.path for one in jobs]
    assert_same([record for _, record in made], [train(one.trial, data) for one in jobs], rtol=1e-3, atol=1e-4)


# Graphs


@pytest.mark.parametrize("cell", cells.names())
def test_on_a_gpu_a_step_is_a_graph_that_does_the_same_and_waits_for_nothing(cell, prepared):
    data = cut(prepared("mnist_rows"), 12, 6)
    data = replace(data, arrays={n: a[:6] if n.endswith("inputs") else a for n, a in data.arrays.items()})
    trials = trials_of(data, cell=cell, epochs=2)
    expected = train_together(trials, data)
    with Pretended() as gpu:
        found = train_together([replace(trial, device="cuda") for trial in trials], data)
        networks = Ensemble([replace(trial, device="cuda") for trial in trials], data)
        before = sum(gpu.waits.values())
        for _ in range(2):
            networks.epoch([True] * len(trials))
        waited = sum(gpu.waits.values()) - before
    same = [replace(result, trial=trial) for result, trial in zip(found, trials, strict=True)]
    assert_same(same, expected, atol=0)
    assert networks.captured == (cell not in UNREPEATED)
    if networks.captured:
        assert waited == 2  # once per epoch


def test_trials_that_differ_in_more_are_refused(prepared):
    data = cut(prepared("mnist_rows"), 12, 6)
    trials = trials_of(data)
    with pytest.raises(ConfigError, match="hidden_size is 6 of one and 7 of another"):
        train_together([trials[0], replace(trials[1], hyper_parameters=replace(trials[1].hyper_parameters, hidden_size=7))], data)
    with pytest.raises(ConfigError, match="epochs is 3 of one and 4 of another"):
        train_together([trials[0], replace(trials[1], epochs=4)], data)
    with pytest.raises(ConfigError, match="no trials"):
        train_together([], data)
