"""The fixed points of a sweep's best trial: which one that is, where they lie, what is written and drawn."""

import io

import numpy as np
import pytest
import study
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from pipeline import config
from pipeline.artefacts import CONSTANT_INPUTS, TrialFixedPoints, TrialResult
from pipeline.errors import ArtefactError
from pipeline.report.phase import components, phase_portrait
from pipeline.training.locate import best, locate

TASK = "fulda_runoff"


@pytest.fixture(scope="module")
def data_file(prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    prepared(TASK).save(path)
    return path


@pytest.fixture
def settings(small_params):
    return config.load(small_params({"fixed_points.seeds": 16}))


def trained(prepared, *, scale=1.0):
    """A finished trial of a GRU of three units whose weights are uniform(-scale, scale)."""
    about = prepared(TASK).about
    generator = torch.Generator().manual_seed(3)
    module = nn.GRU(about["input_size"], 3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    weights = {f"cell.{n.removesuffix('_l0')}": p.detach().numpy() for n, p in module.named_parameters()}
    weights |= {"head.weight": np.zeros((1, 3), np.float32), "head.bias": np.zeros(1, np.float32)}
    sizes = {name: about[name] for name in ("input_size", "output_size", "steps")}
    made = study.result(task=TASK, cell="gru", head=about["head"], hidden_size=3, **sizes)
    return TrialResult(made.trial, made.outcome, made.curves, dict.fromkeys(made.weights, weights)), module.double()


def test_the_best_trial_ends_with_the_lowest_loss_and_divergence_is_worst():
    ends = [np.nan, 0.7, 0.2, np.inf, 0.5]
    trials = [study.result((2.0, 1.5, 1.0, end), index=i) for i, end in enumerate(ends)]
    assert best(trials).trial["index"] == 2
    assert best(trials[:1]).trial["index"] == 0


def test_torchs_own_network_keeps_the_states_under_both_inputs(prepared, settings, data_file):
    result, module = trained(prepared)
    found = locate(result, data_file, settings.spectrum, settings.fixed_points, 1)
    inputs = torch.from_numpy(prepared(TASK).split("validation")[0][:, :2]).double()
    steps = settings.spectrum.transient + settings.spectrum.steps
    assert found.trajectories.shape == (steps + 1, 2, 3)
    assert_close(found.trajectories[0], np.zeros((2, 3), np.float32))
    own = module(inputs[:steps, :1])[0][:, 0]
    assert_close(torch.from_numpy(found.trajectories[1:, 0]).double(), own.detach(), rtol=0, atol=1e-6)  # stored in float32
    states = torch.from_numpy(found.points["zero"])[None]
    assert states.shape[1]
    kept = module(torch.zeros(1, states.shape[1], inputs.shape[2], dtype=torch.float64), states)[1]
    assert (kept - states).norm(dim=-1).max() < 2e-10  # (2 tolerance)^.5, and rounding
    for held in CONSTANT_INPUTS:
        assert found.figures[held]["fixed_points"] == len(found.points[held]) == len(found.moduli[held])
        assert found.figures[held]["by_unstable_directions"] == np.bincount(found.unstable(held)).tolist()


def test_a_trial_that_diverged_has_no_fixed_points_and_still_a_picture(prepared, settings, data_file):
    result, _ = trained(prepared)
    spoilt = {name: np.full_like(value, np.nan) for name, value in result.weights["final"].items()}
    lost = TrialResult(result.trial, result.outcome, result.curves, result.weights | {"final": spoilt})
    found = locate(lost, data_file, settings.spectrum, settings.fixed_points, 1)
    assert found.figures["zero"]["fixed_points"] == 0
    assert found.figures["zero"]["slowest_time_constant"] is None
    assert Image.open(io.BytesIO(phase_portrait(found))).format == "PNG"


def test_the_file_holds_what_was_found(tmp_path):
    made = study.fixed_points()
    made.save(tmp_path / "points.safetensors")
    read = TrialFixedPoints.load(tmp_path / "points.safetensors")
    assert (read.trial, read.settings, read.figures) == (made.trial, made.settings, made.figures)
    assert_close([read.trajectories, read.points, read.moduli], [made.trajectories, made.points, made.moduli], rtol=0, atol=0)
    assert read.unstable("zero").tolist() == [0, 1]


def test_another_file_is_no_file_of_fixed_points(tmp_path):
    path = tmp_path / "points.safetensors"
    study.result().save(path)
    with pytest.raises(ArtefactError, match=r"points.safetensors"):
        TrialFixedPoints.load(path)


def test_components_are_the_eigenvectors_of_the_covariance():
    states = np.random.default_rng(1).normal(size=(7, 30, 4)) * [1.0, 5.0, 0.1, 2.0]
    mean, directions, shares = components(states)
    values, vectors = np.linalg.eigh(np.cov(states.reshape(-1, 4).T))
    np.testing.assert_allclose(mean, states.reshape(-1, 4).mean(0), atol=1e-14)
    np.testing.assert_allclose(np.abs(np.diag(directions.T @ vectors[:, [3, 2]])), 1, atol=1e-12)
    np.testing.assert_allclose(shares, values[[3, 2]] / values.sum(), atol=1e-12)


def test_one_number_has_one_component():
    _, directions, shares = components(np.arange(6.0).reshape(3, 2, 1))
    assert np.abs(directions).tolist() == [[1.0, 0.0]]
    assert shares.tolist() == [1.0, 0.0]


def test_a_portrait_is_drawn_for_points_of_every_kind():
    image = Image.open(io.BytesIO(phase_portrait(study.fixed_points())))
    assert image.size[0] == 1280  # the page's width at 160 dots an inch
    colours = {tuple(c) for _, c in image.convert("RGB").getcolors(1 << 20)}
    assert len(colours) > 20
