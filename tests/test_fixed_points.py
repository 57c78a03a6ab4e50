"""The fixed points of a study's best trials: which trial that is, where the points lie, what is written."""

from dataclasses import replace

import numpy as np
import pytest
import study
import torch
from torch import nn
from torch.testing import assert_close
from twins import trial_of

from pipeline.core import config, layout
from pipeline.core.errors import ArtefactError
from pipeline.core.records import CONSTANT_INPUTS, TrialFixedPoints
from pipeline.jobs import fixed_points
from pipeline.jobs.fixed_points import best, search

TASK = "fulda_runoff"


@pytest.fixture(scope="module")
def data_file(prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    prepared(TASK).save(path)
    return path


@pytest.fixture
def settings(small_params):
    return config.load(path=small_params({"fixed_points.seeds": 16}))


def trained(prepared, *, scale=1.0):
    """A finished trial of a GRU of three units whose weights are uniform(-scale, scale), and torch's own."""
    trial = trial_of(prepared(TASK), "gru", hidden_size=3)
    generator = torch.Generator().manual_seed(3)
    module = nn.GRU(trial.input_size, 3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    weights = {f"cell.{n.removesuffix('_l0')}": p.detach().numpy() for n, p in module.named_parameters()}
    weights |= {"head.weight": np.zeros((1, 3), np.float32), "head.bias": np.zeros(1, np.float32)}
    made = study.result()
    return replace(made, trial=trial, weights=dict.fromkeys(made.weights, weights)), module.double()


def test_the_best_trial_ends_with_the_lowest_loss_and_divergence_is_worst():
    ends = [np.nan, 0.7, 0.2, np.inf, 0.5]
    trials = [study.result((2.0, 1.5, 1.0, end), index=i) for i, end in enumerate(ends)]
    assert best(trials).trial.index == 2
    assert best(trials[:1]).trial.index == 0


def test_torchs_own_network_keeps_the_states_under_both_inputs(prepared, settings, data_file):
    result, module = trained(prepared)
    found = search(result, data_file, settings.spectrum, settings.fixed_points, 1)
    assert (found.trial, found.settings) == (result.trial, settings.fixed_points)
    driving = torch.from_numpy(prepared(TASK).split("validation")[0]).double()
    steps = settings.spectrum.transient + settings.spectrum.steps
    assert found.trajectories.shape == (steps + 1, 2, 3)
    assert_close(found.trajectories[0], np.zeros((2, 3), np.float32))
    own = module(driving[:steps, :1])[0][:, 0]
    assert_close(torch.from_numpy(found.trajectories[1:, 0]).double(), own.detach(), rtol=0, atol=1e-6)  # stored in float32
    last = driving.shape[1] - 1  # steps are fewer than a sequence has: the second stretch is the last sequence
    held = {"zero": torch.zeros(driving.shape[2]).double(), "mean": driving[:steps, [0, last]].mean((0, 1))}
    assert steps <= len(driving)
    for name in CONSTANT_INPUTS:
        states = torch.from_numpy(found.points[name])[None]
        assert states.shape[1]
        kept = module(held[name].expand(1, states.shape[1], -1).contiguous(), states)[1]
        assert (kept - states).norm(dim=-1).max() < 2e-10  # (2 tolerance)^.5, and rounding
        assert found.counts[name].fixed_points == len(found.points[name]) == len(found.moduli[name])
        assert found.counts[name].by_unstable_directions == np.bincount(found.unstable(name)).tolist()
        assert found.counts[name].stable == (found.unstable(name) == 0).sum()


def test_a_contraction_has_one_stable_point_that_every_search_finds(prepared, settings, data_file):
    """By Banach's theorem: weights this small leave a factor well below 1."""
    result, _ = trained(prepared, scale=0.05)
    counts = search(result, data_file, settings.spectrum, settings.fixed_points, 1).counts
    for name in CONSTANT_INPUTS:
        assert (counts[name].fixed_points, counts[name].stable, counts[name].index) == (1, 1, 1)
        assert counts[name].seeds_that_found == 1


def test_a_trial_that_diverged_has_no_fixed_points(prepared, settings, data_file):
    result, _ = trained(prepared)
    spoilt = {name: np.full_like(value, np.nan) for name, value in result.weights["final"].items()}
    lost = replace(result, weights=result.weights | {"final": spoilt})
    found = search(lost, data_file, settings.spectrum, settings.fixed_points, 1)
    assert found.counts["zero"].fixed_points == 0
    assert found.counts["zero"].slowest_time_constant is None
    assert found.points["zero"].shape == (0, 3)


def test_jobs_search_at_the_best_trial_of_each_cell(prepared, settings, data_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good, _ = trained(prepared)
    for cell in ("elman", "gru"):
        for index, end in enumerate([0.9, 0.2, 0.5]):
            curves = good.curves | {"validation_loss": np.array([2.0, 1.5, 1.0, end])}
            trial = replace(good.trial, cell=cell, index=index)
            replace(good, trial=trial, curves=curves).save(trial.path(layout.trials(TASK)))
    jobs = fixed_points.jobs(settings, TASK)
    assert [job.path.parent for job in jobs] == [layout.fixed_points(TASK)] * 2
    assert [job.path.name.partition("-")[0] for job in jobs] == ["elman", "gru"]
    fewer = settings.model_copy(update={"fixed_points": settings.fixed_points.model_copy(update={"seeds": 5})})
    assert not {job.path for job in jobs} & {job.path for job in fixed_points.jobs(fewer, TASK)}  # a name tells settings apart
    assert {job.data for job in jobs} == {layout.data(TASK)}
    job = replace(jobs[1], data=data_file)
    job.run().save(job.path)
    written = TrialFixedPoints.load(job.path)
    assert (written.trial.cell, written.trial.index) == ("gru", 1)
    expected = search(good, data_file, settings.spectrum, settings.fixed_points, settings.seed)
    assert written.counts == expected.counts
    assert_close([written.points, written.moduli], [expected.points, expected.moduli], rtol=0, atol=0)


def test_a_task_without_trials_is_one_sentence(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match=f"trials/{TASK} holds no results; run `dvc repro`"):
        fixed_points.jobs(settings, TASK)


# What a file holds


def test_the_file_holds_what_was_found(tmp_path):
    made = study.fixed_points()
    made.save(tmp_path / "points.safetensors")
    read = TrialFixedPoints.load(tmp_path / "points.safetensors")
    assert (read.trial, read.settings, read.counts) == (made.trial, made.settings, made.counts)
    assert_close([read.trajectories, read.points, read.moduli], [made.trajectories, made.points, made.moduli], rtol=0, atol=0)
    assert read.unstable("zero").tolist() == [0, 1]


def test_another_file_is_no_file_of_fixed_points(tmp_path):
    study.result().save(tmp_path / "points.safetensors")
    with pytest.raises(ArtefactError, match=r"points.safetensors"):
        TrialFixedPoints.load(tmp_path / "points.safetensors")
