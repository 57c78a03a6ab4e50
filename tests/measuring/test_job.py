"""The measurements of trials: of small real ones, against trainings that are stopped by hand."""

from dataclasses import replace

import numpy as np
import pytest
import study
import torch
from twins import cut, trial_of

from pipeline import measuring, tasks
from pipeline.core import code, config, layout
from pipeline.core.records import MOMENTS, TrialMeasurements
from pipeline.jobs import measurements as job
from pipeline.jobs.measurements import measure
from pipeline.measuring.base.lags import lags
from pipeline.measuring.base.probe import Probe, Task
from pipeline.training import train
from pipeline.training.loop import new_optimiser
from pipeline.training.network import Network
from pipeline.training.policies import POLICIES

CASES = {
    "one answer": ("mnist_rows", {"cell": "lstm", "learning_rate": 0.03, "clip_norm": 0.02}),
    "an answer per step": ("flip_flop", {"cell": "gru", "learning_rate": 0.03}),
    "tokens": ("copying", {"cell": "elman", "hidden_size": 3}),
    "momentum": ("mnist_rows", {"cell": "elman", "optimiser": "sgd", "learning_rate": 0.1}),
    "two learning rates": ("mnist_rows", {"cell": "exprnn", "learning_rate": 0.01}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, prepared):
    """A function from a case to its trial, trained, the task's data, and the file of those."""
    found = {}

    def make(case):
        if case not in found:
            task, changes = CASES[case]
            data = cut(prepared(task), 60, 8)
            path = tmp_path_factory.mktemp("data") / "data.safetensors"
            data.save(path)
            found[case] = train(trial_of(data, epochs=2, early_epoch=1, **changes), data), data, path
        return found[case]

    return make


def stopped(trial, data, epochs):
    """A module and its optimiser after some epochs of a plain loop over the mini-batches of the trial."""
    task, hyper, generator = tasks.get(trial.task), trial.hyper_parameters, torch.Generator().manual_seed(trial.seed)
    module = Network.of(trial).init(generator)
    optimiser = new_optimiser(module, hyper)
    inputs, targets = (torch.from_numpy(a) for a in data.split("train"))
    for _ in range(epochs):
        for chosen in POLICIES["stateless"].batches(inputs.shape[1], trial.batch_size, generator):
            optimiser.zero_grad()
            answers = module(task.encode(inputs[:, chosen], trial.input_size))
            task.loss(answers, targets[:, chosen] if targets.dim() > 1 else targets[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), hyper.clip_norm or float("inf"))
            optimiser.step()
    return module, optimiser


def described(trial, data):
    """The task, from its arrays."""
    task = tasks.get(trial.task)
    inputs, targets = (torch.from_numpy(a) for a in data.split("train"))
    x, every_step = task.encode(inputs, trial.input_size), targets.dim() > 1
    weights, _ = lags(x.numpy(), targets.numpy(), every_step=every_step)
    return Task(x, targets, task.loss, data.info.chance, weights, every_step)


def measured(trial, data, module, optimiser):
    hyper = trial.hyper_parameters
    given = Probe(module, module.cell, optimiser, described(trial, data), batch_size=hyper.batch_size, clip_norm=hyper.clip_norm)
    return {column: value for name in measuring.names() for column, value in measuring.get(name).measure(given).items()}


@pytest.mark.parametrize("case", CASES)
def test_both_moments_are_those_of_trainings_that_are_stopped_there(case, saved):
    result, data, path = saved(case)
    found = measure(result, path, "cpu")
    for moment, epochs in zip(MOMENTS, (0, 1), strict=True):
        expected = measured(result.trial, data, *stopped(result.trial, data, epochs))
        # the same operations on the same numbers, and the optimiser's state in float32 as it was
        assert found.at(moment) == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
    module, _ = stopped(result.trial, data, 1)
    fresh = measured(result.trial, data, module, new_optimiser(module, result.trial.hyper_parameters))
    assert abs(found.at("early")["functional_step"] - fresh["functional_step"]) > 0.01  # so that a lost state would be seen


def test_the_record_holds_all_columns_at_both_moments(saved, tmp_path):
    result, _, path = saved("one answer")
    found = measure(result, path, "cpu")
    assert found.trial == result.trial
    assert found.columns == list(measuring.columns())
    assert found.values.shape == (2, len(found.columns))
    assert np.isfinite(found.values).all()
    assert list(found.seconds) == measuring.names()
    assert all(seconds >= 0 for seconds in found.seconds.values())
    assert found.at("early")["lag_needed"] == found.at("initial")["lag_needed"]  # the task's own
    assert (found.values[0] != found.values[1]).mean() > 0.5
    file = tmp_path / "measurements.safetensors"
    found.save(file)
    again = TrialMeasurements.load(file)
    assert again.at("early") == found.at("early")
    assert again.columns == found.columns


@pytest.mark.parametrize("case", CASES)
def test_a_second_measurement_is_the_same_to_the_bit(case, saved):
    result, _, path = saved(case)
    one = measure(result, path, "cpu")
    job._task.cache_clear()
    torch.rand(3)  # whatever the global generator does
    assert np.array_equal(measure(result, path, "cpu").values, one.values, equal_nan=True)


def test_a_trial_that_diverged_has_a_start_and_no_early_numbers(saved):
    result, _, path = saved("one answer")
    weights = {**result.weights, "early": {n: np.full_like(w, np.nan) for n, w in result.weights["early"].items()}}
    found = measure(replace(result, weights=weights), path, "cpu")
    told = {column for column, value in found.at("early").items() if not np.isnan(value)}
    assert told == {"lag_needed"}
    assert np.isfinite(found.values[0]).all()


def test_a_task_of_one_series_is_measured_with_the_true_targets_as_inputs(prepared, tmp_path):
    """The target of the step before a sequence, which is the last of the sequence before, is a further input of each step."""
    data = cut(prepared("fulda_runoff"), 24, 4)
    trial = trial_of(data, epochs=1, early_epoch=1, state=next(name for name, p in POLICIES.items() if p.sees_targets))
    path = tmp_path / "data.safetensors"
    data.save(path)
    found = measure(train(trial, data), path, "cpu")
    module = Network.of(trial).init(torch.Generator().manual_seed(trial.seed))
    plain = described(trial, data)
    seen = torch.zeros(plain.inputs.shape[:2])
    seen[:, 1:] = plain.targets[-1, :-1, 0]
    inputs = torch.cat([plain.inputs, seen[..., None]], dim=-1)
    given = Probe(
        module,
        module.cell,
        new_optimiser(module, trial.hyper_parameters),
        replace(plain, inputs=inputs),
        batch_size=trial.batch_size,
        clip_norm=trial.hyper_parameters.clip_norm,
    )
    for name in measuring.names():
        for column, value in measuring.get(name).measure(given).items():
            assert found.at("initial")[column] == pytest.approx(value, rel=1e-12, nan_ok=True), column


# Files


@pytest.fixture
def names(small_params, tmp_path, monkeypatch):
    """A function to the names of the files that the measurements of the trials of tmp_path would be written to."""
    monkeypatch.chdir(tmp_path)
    return lambda: [found.path for found in job.jobs(config.load("device", "execution", path=small_params()), "adding")]


def stored(result):
    result.save(result.trial.path(layout.trials(result.trial.task)))


def edited(monkeypatch, part):
    """As if a file of the library had been edited."""
    real = code._tree
    monkeypatch.setattr(code, "_tree", lambda file: real(file) + ("edited" if file.as_posix().endswith(part) else ""))


PARTS = [
    *(f"measuring/{name}.py" for name in measuring.names()),
    *(f"measuring/base/{name}.py" for name in ("measurement", "probe", "lags")),
    "jobs/measurements.py",
    "tasks/adding.py",
    "training/network.py",
]


@pytest.mark.parametrize("part", PARTS)
def test_an_edit_of_a_measurement_names_another_file(part, names, monkeypatch):
    assert (code.LIBRARY / part).exists()
    stored(study.result(task="adding"))
    before = names()
    edited(monkeypatch, f"pipeline/{part}")
    assert len(names()) == 1
    assert names() != before


@pytest.mark.parametrize("part", ["tasks/copying.py", "report/page.py", "predictor/predictor.py", "jobs/spectra.py"])
def test_an_edit_elsewhere_keeps_the_file(part, names, monkeypatch):
    assert (code.LIBRARY / part).exists()
    stored(study.result(task="adding"))
    before = names()
    edited(monkeypatch, f"pipeline/{part}")
    assert names() == before


def test_a_file_is_of_a_trial_its_weights_and_its_device(names, small_params, monkeypatch):
    result = study.result(task="adding")
    stored(result)
    (first,) = names()
    assert names() == [first]
    assert first.parent == layout.measurements("adding")
    assert first.name.startswith("elman-")
    stored(replace(result, outcome=replace(result.outcome, seconds=9.0)))  # as another machine would have trained it
    assert names() == [first]
    with monkeypatch.context() as other:
        other.setattr(torch.cuda, "is_available", lambda: True)
        (there,) = job.jobs(config.load("device", "execution", path=small_params({"device": "cuda"})), "adding")
    weights = {c: {name: w + 1 for name, w in values.items()} for c, values in result.weights.items()}
    stored(replace(result, weights=weights))
    stored(study.result(task="adding", index=1))
    changed = names()
    assert len({first, there.path, *changed}) == 4


def test_a_job_writes_what_is_measured(saved, small_params, tmp_path, monkeypatch):
    result, data, path = saved("one answer")
    monkeypatch.chdir(tmp_path)
    stored(result)
    data.save(layout.data("mnist_rows"))
    (found,) = job.jobs(config.load("device", "execution", path=small_params()), "mnist_rows")
    found.run().save(found.path)
    written, expected = TrialMeasurements.load(found.path), measure(result, path, "cpu")
    assert written.trial == result.trial
    assert np.array_equal(written.values, expected.values)
