"""Trainings: what they promise, against torch's own modules, optimiser and autograd."""

import math
from dataclasses import replace

import numpy as np
import pytest
import study
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from twins import TWINS, Killed, cut, end_after, same_weights, tensors_of, trial_of, twin

from pipeline import tasks, training
from pipeline.core import config, execution, layout
from pipeline.core.errors import ArtefactError
from pipeline.core.records import CHECKPOINTS, CURVES, UPDATES, TrialResult
from pipeline.training import Network, train
from pipeline.training.job import Training, diverged
from pipeline.training.loop import optimiser_at


@pytest.fixture(scope="session")
def images(prepared):
    """60 images to train on and 20 of each other split."""
    return cut(prepared("mnist_rows"), 60, 20)


def replace_hyper(trial, **changes):
    return replace(trial, hyper_parameters=replace(trial.hyper_parameters, **changes))


def answers(trial, weights, inputs):
    recurrent, linear = twin(trial.cell, weights)
    return linear(recurrent(inputs)[0][-1])


def loss_of(data, split, answer):
    """Loss and accuracy of a function from inputs to logits."""
    inputs, targets = tensors_of(data, split)
    found = answer(inputs)
    return cross_entropy(found, targets.long()).item(), (found.argmax(1) == targets).double().mean().item()


# What a result holds


@pytest.mark.parametrize("cell", TWINS)
def test_curves_outcome_and_weights_are_complete(cell, images):
    trial = trial_of(images, cell)
    result = train(trial, images)
    assert result.trial == trial
    assert result.curves.keys() == set(CURVES)
    for name, curve in result.curves.items():
        assert curve.shape == (4,)
        assert curve.dtype == np.float64
        assert np.isfinite(curve[1:]).all()
        assert np.isfinite(curve[0]) == name.startswith("validation")
    assert not result.outcome.diverged
    assert result.outcome.seconds > 0
    recurrent, linear = twin(cell, result.weights["initial"])
    assert result.outcome.parameter_count == sum(p.numel() for p in [*recurrent.parameters(), *linear.parameters()])
    assert (result.curves["gradient_norm_max"][1:] >= result.curves["gradient_norm"][1:]).all()


@pytest.mark.parametrize(("cell", "dropout"), [("elman", 0.0), ("gru", 0.0), ("lstm", 0.0), ("gru", 0.5)])
def test_weights_of_the_checkpoints_give_the_losses_that_were_noted(cell, dropout, images):
    """By torch's own modules, which read all outputs: nothing is dropped in an evaluation."""
    trial = trial_of(images, cell, dropout=dropout)
    result = train(trial, images)
    for checkpoint in CHECKPOINTS:
        epoch = trial.epoch_of(checkpoint)
        loss, accuracy = loss_of(images, "validation", lambda x, c=checkpoint: answers(trial, result.weights[c], x))
        assert loss == pytest.approx(result.curves["validation_loss"][epoch], rel=1e-5)  # float32 rounding of a mean of 20
        assert accuracy == result.curves["validation_metric"][epoch]
    loss, accuracy = loss_of(images, "test", lambda x: answers(trial, result.weights["final"], x))
    assert loss == pytest.approx(result.outcome.test_loss, rel=1e-5)
    assert accuracy == result.outcome.test_metric


def test_initial_weights_are_those_that_cell_and_head_draw_from_the_trials_seed(images):
    trial = trial_of(images, init_scale=0.05)
    generator = torch.Generator().manual_seed(trial.seed)
    network = Network.of(trial)
    cell, head = network.cell.init(generator), network.head.init(generator)
    weights = train(trial, images).weights["initial"]
    assert all(np.array_equal(weights[f"cell.{name}"], p) for name, p in cell.items())
    assert all(np.array_equal(weights[f"head.{name}"], p) for name, p in head.items())
    assert max(np.abs(v).max() for name, v in weights.items() if name.startswith("cell.")) <= np.float32(0.05)


def test_checkpoints_do_not_alias_the_living_weights(images):
    result = train(trial_of(images), images)
    one, two, three = (result.weights[c]["cell.weight_hh"] for c in CHECKPOINTS)
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)


# Single steps


def test_loss_and_gradient_norm_of_the_first_step_are_those_of_autograd(images):
    result = train(trial_of(images, "lstm", batch_size=60, epochs=1), images)  # one step per epoch
    recurrent, linear = twin("lstm", result.weights["initial"])
    inputs, targets = tensors_of(images, "train")
    loss = cross_entropy(linear(recurrent(inputs)[0][-1]), targets.long())
    gradients = torch.autograd.grad(loss, [*recurrent.parameters(), *linear.parameters()])
    norm = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
    # float32 sums over 60 sequences in another order
    assert result.curves["train_loss"][1] == pytest.approx(loss.item(), rel=1e-5)
    assert result.curves["gradient_norm"][1] == result.curves["gradient_norm_max"][1] == pytest.approx(norm, rel=1e-4)


def test_first_step_of_adam_moves_each_weight_by_the_learning_rate_against_its_gradient(images):
    result = train(trial_of(images, batch_size=60, epochs=1, learning_rate=0.02), images)
    recurrent, linear = twin("elman", result.weights["initial"])
    inputs, targets = tensors_of(images, "train")
    cross_entropy(linear(recurrent(inputs)[0][-1]), targets.long()).backward()
    gradients = {f"cell.{n.removesuffix('_l0')}": p.grad for n, p in recurrent.named_parameters()}
    gradients |= {f"head.{n}": p.grad for n, p in linear.named_parameters()}
    for name, gradient in gradients.items():
        moved = torch.from_numpy(result.weights["final"][name] - result.weights["initial"][name])
        # m / (sqrt(v) + eps) = g / (|g| + 1e-8) after bias correction; float32 rounding of weights and of small gradients
        clear = gradient.abs() > 1e-5
        assert clear.any()
        assert_close(moved[clear], -0.02 * gradient[clear].sign(), rtol=0, atol=0.02 * 1e-3 + 1e-6)


def test_weight_decay_shrinks_the_weights_beside_the_step_of_adam(images):
    step = {"learning_rate": 0.02, "batch_size": 60, "epochs": 1}
    plain, decayed = (train(trial_of(images, weight_decay=decay, **step), images) for decay in (0.0, 0.5))
    for name, begin in plain.weights["initial"].items():
        # AdamW (Loshchilov and Hutter 2019): w (1 - rate decay) less Adam's step, which is the same; float32 rounding
        expected = plain.weights["final"][name] - 0.02 * 0.5 * begin
        np.testing.assert_allclose(decayed.weights["final"][name], expected, rtol=0, atol=4 * 2**-24)
    assert any(np.abs(decayed.weights["final"][n] - w).max() > 1e-4 for n, w in plain.weights["final"].items())


def test_sgd_is_the_recursion_of_momentum(images):
    """v = 0.9 v + g, w = w - rate v (Sutskever et al. 2013), with torch's own modules and autograd."""
    trial = replace_hyper(trial_of(images, "gru", epochs=1, early_epoch=1), optimiser="sgd", learning_rate=0.05, batch_size=60)
    result = train(replace(trial, epochs=2), images)  # two steps with all 60 images
    weights = {n: torch.tensor(w, dtype=torch.float64) for n, w in result.weights["initial"].items()}
    inputs, targets = tensors_of(images, "train")
    velocity = {n: torch.zeros_like(w) for n, w in weights.items()}
    for _ in range(2):
        recurrent, linear = (m.double() for m in twin("gru", {n: w.numpy() for n, w in weights.items()}))
        cross_entropy(linear(recurrent(inputs.double())[0][-1]), targets.long()).backward()
        gradients = {f"cell.{n.removesuffix('_l0')}": p.grad for n, p in recurrent.named_parameters()}
        gradients |= {f"head.{n}": p.grad for n, p in linear.named_parameters()}
        for name, gradient in gradients.items():
            velocity[name] = 0.9 * velocity[name] + gradient
            weights[name] = weights[name] - 0.05 * velocity[name]
    for name, expected in weights.items():  # float32 rounding of two steps
        assert_close(torch.from_numpy(result.weights["final"][name]).double(), expected, rtol=0, atol=2e-6)


def test_every_mini_batch_leaves_its_loss_and_its_gradient_norm(images):
    result = train(trial_of(images, "elman"), images)
    batches = math.ceil(60 / result.trial.batch_size)
    for name, per_epoch in (("loss", "train_loss"), ("gradient_norm", "gradient_norm")):
        rows = result.updates[name].reshape(result.trial.epochs, batches)
        assert rows.mean(1) == pytest.approx(result.curves[per_epoch][1:], rel=1e-5)  # float32


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_an_optimiser_goes_on_where_the_early_checkpoint_left_it(optimiser, images):
    """A step from the stored weights and state is the step of the training itself: all 60 images are in each mini-batch."""
    trial = replace_hyper(trial_of(images, "lstm"), optimiser=optimiser, batch_size=60, weight_decay=0.1)
    early, later = (train(replace(trial, epochs=epochs, early_epoch=2), images) for epochs in (2, 3))
    module = Network.of(trial).init(torch.Generator())
    module.load(early.weights["early"])
    optimiser = optimiser_at("early", module, early)
    inputs, targets = tensors_of(images, "train")
    cross_entropy(module(inputs), targets.long()).backward()
    optimiser.step()
    for name, expected in module.weights().items():  # the images come in another order: rounding of a mean
        assert_close(torch.from_numpy(expected), torch.from_numpy(later.weights["final"][name]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_orthogonal_initialisation_makes_each_recurrent_block_orthogonal_and_changes_nothing_else(cell, images):
    plain, other = (
        Network.of(replace_hyper(trial_of(images, cell), initialisation=kind)).init(torch.Generator().manual_seed(3)).weights()
        for kind in ("uniform", "orthogonal")
    )
    for name in plain:
        if name != "cell.weight_hh":
            assert (plain[name] == other[name]).all()
    size = plain["cell.weight_hh"].shape[1]
    for block in torch.from_numpy(other["cell.weight_hh"]).split(size):
        assert_close(block @ block.T, torch.eye(size), rtol=0, atol=1e-5)  # float32, products of `size` terms


def test_clipping_limits_the_step(images):
    clip = 1e-12
    step = {"learning_rate": 0.1, "batch_size": 60, "epochs": 1}
    result, free = (train(trial_of(images, clip_norm=norm, **step), images) for norm in (clip, 0.0))
    for name, begin in result.weights["initial"].items():
        # Adam divides by |g| + 1e-8, so a gradient below 1e-12 moves a weight by .1 * 1e-12 / 1e-8 at the most, and rounding
        assert np.abs(result.weights["final"][name] - begin).max() <= 0.1 * clip / 1e-8 + 2**-24
    assert max(np.abs(free.weights["final"][n] - v).max() for n, v in free.weights["initial"].items()) > 0.09
    assert result.curves["gradient_norm"][1] == free.curves["gradient_norm"][1] > 1e-3  # noted before clipping


# Dropout


def identity_of(size, **changes):
    """A module whose head gives back the outputs that it reads."""
    trial = study.trial(head="every", hidden_size=size, output_size=size, **changes)
    module = Network.of(trial).init(torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.head["weight"].copy_(torch.eye(size))
        module.head["bias"].zero_()
    return module


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_dropout_hides_its_share_of_the_outputs_and_scales_up_the_rest(dropout):
    module, outputs = identity_of(8), torch.full((50, 40, 8), 3.0)
    with torch.no_grad():
        read = module.read(outputs, dropout, torch.Generator().manual_seed(1))
    hidden = read == 0
    assert_close(read[~hidden], torch.full_like(read[~hidden], 3 / (1 - dropout)))
    # 16,000 draws: four standard deviations of their mean
    assert hidden.double().mean().item() == pytest.approx(dropout, abs=4 * math.sqrt(dropout * (1 - dropout) / 16000))
    assert all(0 < hidden.double().mean(axes).std() < 0.2 for axes in [(1, 2), (0, 2), (0, 1)])  # no axis shares its draws
    assert read.mean().item() == pytest.approx(3, rel=0.05)


def test_dropout_draws_from_the_generator_that_it_is_given_and_from_no_other():
    module, outputs = identity_of(4), torch.randn(5, 3, 4)
    with torch.no_grad():
        assert_close(module.read(outputs), outputs)
        one, two, other = (module.read(outputs, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_training_with_dropout_reads_what_the_trials_generator_leaves(images):
    trial = trial_of(images, "gru", batch_size=60, epochs=1, dropout=0.4)
    result = train(trial, images)
    generator = torch.Generator().manual_seed(trial.seed)
    Network.of(trial).init(generator)
    order = torch.randperm(60, generator=generator)
    kept = torch.rand(28, 60, 6, generator=generator) >= 0.4
    inputs, targets = tensors_of(images, "train")
    recurrent, linear = twin("gru", result.weights["initial"])
    loss = cross_entropy(linear((recurrent(inputs[:, order])[0] * kept / 0.6)[-1]), targets[order].long())
    assert result.curves["train_loss"][1] == pytest.approx(loss.item(), rel=1e-5)  # float32 sums in another order


# Options of cells


def test_options_of_a_cell_take_part_in_its_training(images):
    """A leak of 1 makes a leaky network Elman's, from the same initial weights."""
    leaky, elman, other = (
        train(trial_of(images, cell, options=options), images)
        for cell, options in [("leaky", {"leak": 1.0}), ("elman", {}), ("leaky", {"leak": 0.3})]
    )
    assert same_weights(leaky.weights["initial"], elman.weights["initial"])
    # float32, nine steps of Adam of .01 each
    np.testing.assert_allclose(leaky.curves["validation_loss"], elman.curves["validation_loss"], rtol=1e-4)
    assert (np.abs(other.curves["validation_loss"] - elman.curves["validation_loss"]) > 1e-3).all()


def test_the_fused_twin_of_a_cell_has_its_options(images):
    module = Network.of(trial_of(images, options={"nonlinearity": "relu"})).init(torch.Generator().manual_seed(0))
    own = nn.RNN(28, 6, nonlinearity="relu")
    own.load_state_dict(
        {f"{n.removeprefix('cell.')}_l0": torch.from_numpy(w) for n, w in module.weights().items() if "cell" in n}
    )
    inputs, _ = tensors_of(images, "test")
    assert_close(module.run(inputs)[0], own(inputs)[0])
    state = inputs.new_zeros(20, 6)
    for x in inputs:  # the step that a spectrum differentiates
        state = module.network.cell.step({n.removesuffix("_l0"): p for n, p in module.cell.named_parameters()}, state, x)
    assert_close(module.run(inputs)[1], state)


# Whole trainings


def test_early_checkpoint_is_what_a_training_of_that_length_ends_with(images):
    long, short = (train(trial_of(images, "gru", epochs=epochs, early_epoch=2), images) for epochs in (4, 2))
    assert same_weights(long.weights["early"], short.weights["final"])
    assert same_weights(short.weights["early"], short.weights["final"])
    assert np.array_equal(long.curves["validation_loss"][:3], short.curves["validation_loss"])


def test_a_sane_training_beats_chance(prepared):
    data = cut(prepared("mnist_rows"), 600, 100)
    loss = train(trial_of(data, "gru", hidden_size=16, epochs=4), data).curves["validation_loss"]
    # chance is log 10 = 2.30; the loss of a mean over 100 images has a standard error of some .05
    assert loss[0] > 2.1
    assert loss[-1] < 1.9
    assert loss[-1] < loss[1]


@pytest.mark.parametrize("task", ["fulda_runoff", "english_characters"])
@pytest.mark.parametrize("cell", TWINS)
def test_other_tasks_train_too(cell, task, prepared):
    data = cut(prepared(task), 20, 8)
    result = train(trial_of(data, cell, epochs=1, batch_size=10), data)
    assert not result.outcome.diverged
    assert np.isfinite(result.outcome.test_loss)


def test_another_seed_gives_another_training(images):
    one, two = (train(trial_of(images, seed=seed, epochs=1), images).weights["initial"] for seed in (1, 2))
    assert not any(np.array_equal(one[name], two[name]) for name in one)


# Divergence


@pytest.mark.parametrize("cell", TWINS)
def test_a_training_that_diverges_is_a_result(cell, images):
    result = train(trial_of(images, cell, learning_rate=1e38), images)  # the head's sums overflow after one step
    assert result.outcome.diverged is True
    assert result.outcome.test_loss is None
    assert np.isfinite(result.curves["validation_loss"][0])
    assert np.isnan(result.curves["validation_loss"][2:]).all()
    assert all(curve.shape == (4,) for curve in result.curves.values())
    assert result.weights.keys() == set(CHECKPOINTS)
    assert all(np.isfinite(value).all() for value in result.weights["initial"].values())


def test_loss_that_becomes_infinite_ends_the_training_there(images, monkeypatch):
    calls = []

    def loss(self, outputs, targets):
        if outputs.requires_grad:
            calls.append(len(calls))
        return cross_entropy(outputs, targets.long()) * (math.inf if len(calls) > 4 else 1)

    monkeypatch.setattr(type(tasks.get("mnist_rows")), "loss", loss)
    result = train(trial_of(images), images)  # three steps per epoch: the fifth is the second of the second
    assert calls == [0, 1, 2, 3, 4]
    assert result.outcome.diverged is True
    assert np.isfinite(result.curves["train_loss"][1])
    assert not np.isfinite(result.curves["train_loss"][2])
    assert np.isnan(result.curves["train_loss"][3])
    assert all(np.isfinite(value).all() for value in result.weights["final"].values())  # the step was not taken


def test_enormous_initial_weights_do_not_break_a_study(images):
    result = train(trial_of(images, init_scale=1e30), images)
    assert isinstance(result.outcome.diverged, bool)
    assert result.curves["validation_loss"].shape == (4,)


# Jobs


@pytest.mark.slow
def test_results_do_not_depend_on_process_order_or_neighbours(images, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as every stage does
    images.save(tmp_path / "data")
    trials = [trial_of(images, cell, index=i, seed=20 + i, epochs=2, dropout=0.1) for i, cell in enumerate(TWINS)]
    jobs = [Training(trial, tmp_path / "data", tmp_path / "trials") for trial in trials]
    with execution.executor(2) as on:
        execution.complete(jobs[::-1], on, label="train")
    with torch.random.fork_rng():
        torch.manual_seed(99)  # the global generator has no part in it
        here = [train(trial, images) for trial in trials]
    for one, job in zip(here, jobs, strict=True):
        two = TrialResult.load(job.path)
        assert (one.trial, one.outcome.test_loss) == (two.trial, two.outcome.test_loss)
        assert all(np.array_equal(one.curves[n], two.curves[n], equal_nan=True) for n in CURVES)
        assert all(same_weights(one.weights[c], two.weights[c]) for c in CHECKPOINTS)


@pytest.mark.parametrize(
    ("task", "changes", "hyper"),
    [
        ("mnist_rows", {"cell": "lstm"}, {"dropout": 0.3}),
        ("mnist_rows", {"cell": "leaky"}, {"optimiser": "sgd", "clip_norm": 1.0, "weight_decay": 0.1}),
        ("fulda_runoff", {"cell": "gru", "state": "stateful"}, {}),
        ("fulda_runoff", {"cell": "elman", "state": "conditional"}, {"optimiser": "sgd"}),
    ],
)
def test_an_interrupted_training_ends_with_the_same_bits(task, changes, hyper, prepared, tmp_path, monkeypatch):
    data = cut(prepared(task), 60, 20)
    trial = replace_hyper(trial_of(data, epochs=4, early_epoch=2, **changes), batch_size=20, **hyper)  # 3 mini-batches per epoch
    whole = train(trial, data)
    path, ends = tmp_path / "unfinished.safetensors", (1, 3, 6, 7, 11)
    kept = end_after(ends, monkeypatch)
    for _ in ends:
        with pytest.raises(Killed):
            train(trial, data, path)
    result = train(trial, data, path)
    assert len(kept) == 12  # no mini-batch was trained on twice
    assert replace(result.outcome, seconds=0) == replace(whole.outcome, seconds=0)
    assert all(np.array_equal(result.curves[n], whole.curves[n], equal_nan=True) for n in CURVES)
    assert all(np.array_equal(result.updates[n], whole.updates[n], equal_nan=True) for n in UPDATES)
    assert result.weights.keys() == whole.weights.keys()
    assert all(same_weights(result.weights[c], whole.weights[c]) for c in CHECKPOINTS)
    assert all(same_weights(result.optimiser[n], whole.optimiser[n]) for n in whole.optimiser)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_training_begins_anew_where_its_state_is_damaged_or_of_another_trial(damage, images, tmp_path, monkeypatch):
    trial, path = trial_of(images, epochs=2), tmp_path / "unfinished.safetensors"
    other = trial_of(images, epochs=2, seed=99)
    end_after([3], monkeypatch)
    with pytest.raises(Killed):
        train(other if damage is None else trial, images, path)
    if damage is not None:
        path.write_bytes(damage)
    monkeypatch.setattr(execution, "LISTENERS", [])
    found, whole = train(trial, images, path), train(trial, images)
    assert found.weights_checksum() == whole.weights_checksum()


def test_jobs_of_a_task_train_what_is_drawn_into_files_that_tell_trials_apart(images, small_params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.save(layout.data("mnist_rows"))
    options = {"cells": ["elman", "leaky"], "train.trials": 2, "train.options": {"leaky": {"leak": [0.3, 0.5]}}}
    settings = config.load("seed", "device", "execution", "cells", "train", path=small_params(options))
    jobs = training.jobs(settings, "mnist_rows")
    assert [job.trial for job in jobs] == training.draw(settings, images.info, "cpu")
    assert {job.path for job in jobs} == {layout.trials("mnist_rows") / f"{j.trial.cell}-{j.trial.id}.safetensors" for j in jobs}
    for job in jobs:
        job.run().save(job.path)
        assert TrialResult.load(job.path).trial == job.trial
        assert TrialResult.load(job.path).trial.id == job.trial.id


@pytest.mark.parametrize("lost", [True, False])
def test_a_file_says_whether_its_trial_diverged(lost, tmp_path):
    study.result(diverged=lost).save(tmp_path / "result")
    assert diverged(tmp_path / "result") is lost


def test_missing_data_is_one_sentence(images, small_params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match=r"data/mnist_rows.safetensors"):
        training.jobs(config.load(path=small_params()), "mnist_rows")
    with pytest.raises(ArtefactError, match=r"nowhere.safetensors"):
        Training(trial_of(images), tmp_path / "nowhere.safetensors", tmp_path).run()
