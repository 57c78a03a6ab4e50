"""Sweeps, trainings and measurements: what they promise, against torch's own modules and autograd."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from pipeline import config, lyapunov_spectra, lyapunov_spectrum, tasks, training
from pipeline.artefacts import CHECKPOINTS, CURVES, TaskData, TrialResult, TrialSpectra
from pipeline.errors import ArtefactError, ConfigError, DataError
from pipeline.execution import run
from pipeline.training import Network, Trial
from pipeline.training.measure import measure, measurements

CELLS = ["elman", "gru", "lstm"]
TWINS = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@pytest.fixture(scope="session")
def data_file(prepared, tmp_path_factory):
    """60 images to train and 20 of each other split, in a file."""
    return cut(prepared("mnist_rows"), tmp_path_factory.mktemp("data") / "mnist_rows.safetensors", 60, 20)


@pytest.fixture(scope="session")
def river_file(prepared, tmp_path_factory):
    return cut(prepared("fulda_runoff"), tmp_path_factory.mktemp("data") / "fulda_runoff.safetensors", 20, 8)


@pytest.fixture(scope="session")
def text_file(prepared, tmp_path_factory):
    return cut(prepared("english_characters"), tmp_path_factory.mktemp("data") / "english_characters.safetensors", 20, 8)


def cut(data, path, train, others):
    arrays = {}
    for name, array in data.arrays.items():
        count = train if name.startswith("train") else others
        arrays[name] = array[:count] if name.endswith("targets") and array.ndim == 1 else array[:, :count]
    about = data.about | {"sequences": {"train": train, "validation": others, "test": others}}
    TaskData(arrays, about).save(path)
    return path


def trial_of(data_file, cell="elman", **changes):
    about = TaskData.load(data_file).about
    given = {name: about[name] for name in ("task", "head", "input_size", "output_size", "steps", "chance")}
    given |= {
        "index": 0,
        "seed": 11,
        "init_scale": 0.3,
        "learning_rate": 0.01,
        "hidden_size": 6,
        "clip_norm": 0.0,
        "dropout": 0.0,
        "state": "stateless",
        "batch_size": 20,
    }
    given |= {"epochs": 3, "early_epoch": 1, "device": "cpu", "data_hash": about["hash"], "code_hash": "0" * 12}
    return Trial(cell=cell, **(given | changes))


def trained(trial, data_file, folder):
    return TrialResult.load(training.train((trial, data_file, folder)))


def same_weights(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)


def torch_twin(trial, weights):
    """Torch's own recurrent module and linear layer with a checkpoint's weights."""
    module = TWINS[trial.cell](trial.input_size, trial.hidden_size)
    module.load_state_dict(
        {n.replace("cell.", "") + "_l0": torch.from_numpy(v) for n, v in weights.items() if n.startswith("cell.")}
    )
    linear = nn.Linear(trial.hidden_size, trial.output_size)
    linear.load_state_dict({n.replace("head.", ""): torch.from_numpy(v) for n, v in weights.items() if n.startswith("head.")})
    return module, linear


def answers(trial, weights, inputs):
    module, linear = torch_twin(trial, weights)
    return linear(module(inputs)[0][-1])


def images(data_file, split):
    inputs, targets = TaskData.load(data_file).split(split)
    return torch.from_numpy(inputs), torch.from_numpy(targets).long()


# Sweep


def sweep(small_params, about, *, cell="elman", seed=5, **overrides):
    settings = config.load(small_params({f"train.{k}": v for k, v in overrides.items()}))
    return training.draw(settings.train, seed, cell, about, "cpu")


@pytest.fixture
def about(data_file):
    return TaskData.load(data_file).about


def test_drawn_hyperparameters_lie_in_their_ranges(small_params, about):
    trials = sweep(small_params, about, trials=64, hidden_size=[3, 5, 8], clip_norm=[0.0, 1.0, 2.5])
    assert all(0.01 <= t.init_scale <= 3 and 1e-4 <= t.learning_rate <= 0.1 for t in trials)
    for name, options in (("hidden_size", (3, 5, 8)), ("clip_norm", (0.0, 1.0, 2.5))):
        shares = [sum(getattr(t, name) == option for t in trials) / 64 for option in options]
        # each third of a Sobol net of 64 points holds a third to within two of its intervals of length 1/64
        assert sum(shares) == 1
        assert max(abs(s - 1 / 3) for s in shares) <= 2 / 64


def test_range_of_one_value_gives_that_value(small_params, about):
    trials = sweep(small_params, about, **{"init_scale.low": 0.5, "init_scale.high": 0.5, "hidden_size": [7]})
    assert {(t.init_scale, t.hidden_size) for t in trials} == {(0.5, 7)}


@pytest.mark.parametrize(("name", "low", "high"), [("init_scale", 0.01, 3.0), ("learning_rate", 1e-4, 0.1)])
def test_ranges_are_drawn_uniformly_in_the_logarithm(small_params, about, name, low, high):
    trials = sweep(small_params, about, trials=64)
    places = np.sort([math.log(getattr(t, name) / low) / math.log(high / low) for t in trials])
    # a scrambled Sobol sequence puts one of its first 64 points into each interval of length 1/64; six digits are kept
    assert (np.floor(places * 64 + 1e-4).clip(max=63) >= np.arange(64)).all()
    assert (places * 64 - 1e-4 <= np.arange(64) + 1).all()


@pytest.mark.parametrize(("few", "many"), [(1, 4), (3, 5), (8, 24)])
def test_more_trials_extend_the_sweep(small_params, about, few, many):
    assert sweep(small_params, about, trials=many)[:few] == sweep(small_params, about, trials=few)


def test_trials_differ_in_seed_and_id_and_know_their_place(small_params, about):
    trials = sweep(small_params, about, trials=24)
    assert [t.index for t in trials] == list(range(24))
    assert len({t.seed for t in trials}) == len({t.id for t in trials}) == 24


def test_draw_depends_on_seed_task_and_cell_and_on_no_other_listing(small_params, about):
    one = sweep(small_params, about)
    assert sweep(small_params, about) == one
    others = [
        sweep(small_params, about, seed=6),
        sweep(small_params, about, cell="gru"),
        sweep(small_params, about | {"task": "fulda_runoff"}),
    ]
    for other in others:
        assert not {t.seed for t in one} & {t.seed for t in other}
        assert not {t.learning_rate for t in one} & {t.learning_rate for t in other}
    alone = config.load(small_params({"cells": ["gru"], "tasks": ["mnist_rows"]}))
    assert training.draw(alone.train, 5, "gru", about, "cpu") == others[1]


def test_trial_carries_what_prepare_wrote(small_params, about):
    trial = sweep(small_params, about | {"batch_size": 7, "chance": 1.25})[0]
    assert (trial.batch_size, trial.chance, trial.data_hash) == (7, 1.25, about["hash"])
    assert (trial.input_size, trial.output_size, trial.steps, trial.head) == (28, 10, 28, "last")


# Trial


def test_id_changes_with_every_field(data_file):
    trial = trial_of(data_file)
    ids = {trial.id}
    for field in fields(trial):
        value = getattr(trial, field.name)
        ids.add(replace(trial, **{field.name: value + "x" if isinstance(value, str) else value + 1}).id)
    assert len(ids) == len(fields(trial)) + 1
    assert replace(trial).id == trial.id
    assert trial.path(data_file.parent).name == f"{trial.id}.safetensors"


def test_description_gives_the_trial_back(data_file):
    trial = trial_of(data_file)
    assert trial.describe()["id"] == trial.id
    assert Trial.from_description(trial.describe()) == trial


def test_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.device("auto") == training.device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="device is 'cuda' but torch sees no GPU; use auto or cpu"):
        training.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.device("auto") == training.device("cuda") == "cuda"
    assert training.device("cpu") == "cpu"


# Training


@pytest.mark.parametrize("cell", CELLS)
def test_curves_outcome_and_weights_are_complete(cell, data_file, tmp_path):
    trial = trial_of(data_file, cell)
    result = trained(trial, data_file, tmp_path)
    assert result.trial == trial.describe()
    assert result.curves.keys() == set(CURVES)
    for name, curve in result.curves.items():
        assert curve.shape == (4,)
        assert curve.dtype == np.float64
        assert np.isfinite(curve[1:]).all()
        assert np.isfinite(curve[0]) == name.startswith("validation")
    assert not result.outcome["diverged"]
    assert result.outcome["seconds"] > 0
    module, linear = torch_twin(trial, result.weights["initial"])
    assert result.outcome["parameter_count"] == sum(p.numel() for p in [*module.parameters(), *linear.parameters()])
    assert (result.curves["gradient_norm_max"][1:] >= result.curves["gradient_norm"][1:]).all()


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_the_checkpoints_give_the_losses_that_were_noted(cell, data_file, tmp_path):
    trial = trial_of(data_file, cell)
    result = trained(trial, data_file, tmp_path)
    inputs, targets = images(data_file, "validation")
    for checkpoint, epoch in (("initial", 0), ("early", 1), ("final", 3)):
        found = answers(trial, result.weights[checkpoint], inputs)
        # the same numbers in the same precision, by torch's own modules: float32 rounding of a mean of 20
        assert cross_entropy(found, targets).item() == pytest.approx(result.curves["validation_loss"][epoch], rel=1e-5)
        assert (found.argmax(1) == targets).double().mean().item() == result.curves["validation_metric"][epoch]
        reloaded = Network.of(trial).load(result.weights[checkpoint])
        assert torch.equal(reloaded(inputs), found)
        assert same_weights(reloaded.weights(), result.weights[checkpoint])
    inputs, targets = images(data_file, "test")
    found = answers(trial, result.weights["final"], inputs)
    assert cross_entropy(found, targets).item() == pytest.approx(result.outcome["test_loss"], rel=1e-5)
    assert (found.argmax(1) == targets).double().mean().item() == result.outcome["test_metric"]


def test_initial_weights_are_the_cells_and_the_heads_draw_from_the_trials_seed(data_file, tmp_path):
    trial = trial_of(data_file, init_scale=0.05)
    generator = torch.Generator().manual_seed(trial.seed)
    network = Network.of(trial)
    cell, head = network.cell.init(generator), network.head.init(generator)
    weights = trained(trial, data_file, tmp_path).weights["initial"]
    assert all(np.array_equal(weights[f"cell.{n}"], p) for n, p in cell.items())
    assert all(np.array_equal(weights[f"head.{n}"], p) for n, p in head.items())
    assert max(np.abs(v).max() for n, v in weights.items() if n.startswith("cell.")) <= np.float32(0.05)


def test_checkpoints_do_not_alias_the_living_weights(data_file, tmp_path):
    result = trained(trial_of(data_file), data_file, tmp_path)
    one, two, three = (result.weights[c]["cell.weight_hh"] for c in CHECKPOINTS)
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)


def test_first_steps_loss_and_gradient_norm_are_those_of_autograd(data_file, tmp_path):
    trial = trial_of(data_file, "lstm", batch_size=60, epochs=1)  # one step an epoch
    result = trained(trial, data_file, tmp_path)
    module, linear = torch_twin(trial, result.weights["initial"])
    inputs, targets = images(data_file, "train")
    loss = cross_entropy(linear(module(inputs)[0][-1]), targets)
    parameters = [*module.parameters(), *linear.parameters()]
    norm = math.sqrt(sum(g.double().square().sum().item() for g in torch.autograd.grad(loss, parameters)))
    # float32 sums over 60 sequences in another order
    assert result.curves["train_loss"][1] == pytest.approx(loss.item(), rel=1e-5)
    assert result.curves["gradient_norm"][1] == result.curves["gradient_norm_max"][1] == pytest.approx(norm, rel=1e-4)


def test_first_step_of_adam_moves_each_weight_by_the_learning_rate_against_its_gradient(data_file, tmp_path):
    trial = trial_of(data_file, batch_size=60, epochs=1, learning_rate=0.02)
    result = trained(trial, data_file, tmp_path)
    module, linear = torch_twin(trial, result.weights["initial"])
    inputs, targets = images(data_file, "train")
    cross_entropy(linear(module(inputs)[0][-1]), targets).backward()
    gradients = {f"cell.{n.removesuffix('_l0')}": p.grad for n, p in module.named_parameters()}
    gradients |= {f"head.{n}": p.grad for n, p in linear.named_parameters()}
    for name, gradient in gradients.items():
        moved = torch.from_numpy(result.weights["final"][name] - result.weights["initial"][name])
        # m / (sqrt(v) + eps) = g / (|g| + 1e-8) after bias correction; float32 rounding of weights and of small gradients
        clear = gradient.abs() > 1e-5
        assert clear.any()
        assert_close(moved[clear], -0.02 * gradient[clear].sign(), rtol=0, atol=0.02 * 1e-3 + 1e-6)


def test_clipping_limits_the_step(data_file, tmp_path):
    clip = 1e-12
    trial = trial_of(data_file, clip_norm=clip, learning_rate=0.1, batch_size=60, epochs=1)
    result = trained(trial, data_file, tmp_path / "clipped")
    free = trained(replace(trial, clip_norm=0.0), data_file, tmp_path / "free")
    for name, begin in result.weights["initial"].items():
        # Adam divides by |g| + 1e-8, so a gradient below 1e-12 moves a weight by .1 * 1e-12 / 1e-8 at the most, and rounding
        assert np.abs(result.weights["final"][name] - begin).max() <= 0.1 * clip / 1e-8 + 2**-24
    assert max(np.abs(free.weights["final"][n] - v).max() for n, v in free.weights["initial"].items()) > 0.09
    assert result.curves["gradient_norm"][1] == free.curves["gradient_norm"][1] > 1e-3  # noted before clipping


def test_early_checkpoint_is_what_a_training_of_that_length_ends_with(data_file, tmp_path):
    long = trained(trial_of(data_file, "gru", epochs=4, early_epoch=2), data_file, tmp_path)
    short = trained(trial_of(data_file, "gru", epochs=2, early_epoch=2), data_file, tmp_path)
    assert same_weights(long.weights["early"], short.weights["final"])
    assert same_weights(short.weights["early"], short.weights["final"])
    assert np.array_equal(long.curves["validation_loss"][:3], short.curves["validation_loss"])


def test_a_sane_training_beats_chance(prepared, tmp_path):
    path = cut(prepared("mnist_rows"), tmp_path / "more.safetensors", 600, 100)
    trial = trial_of(path, "gru", learning_rate=0.01, hidden_size=16, epochs=4)
    loss = trained(trial, path, tmp_path).curves["validation_loss"]
    # chance is log 10 = 2.30; the loss of a mean over 100 images has a standard error of some .05
    assert loss[0] > 2.1
    assert loss[-1] < 1.9
    assert loss[-1] < loss[1]


def test_result_does_not_depend_on_process_order_or_neighbours(data_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as every stage does
    trials = [trial_of(data_file, cell, index=i, seed=20 + i, epochs=2) for i, cell in enumerate(CELLS)]
    here, there, alone = tmp_path / "here", tmp_path / "there", tmp_path / "alone"
    list(run(training.train, [(t, data_file, there) for t in reversed(trials)], processes=2))
    for t in trials:
        training.train((t, data_file, here))
    with torch.random.fork_rng():
        torch.manual_seed(99)  # the global generator has no part in it
        training.train((trials[1], data_file, alone))
    for t in trials:
        one, two = TrialResult.load(t.path(here)), TrialResult.load(t.path(there))
        assert all(np.array_equal(one.curves[n], two.curves[n], equal_nan=True) for n in CURVES)
        assert all(same_weights(one.weights[c], two.weights[c]) for c in CHECKPOINTS)
        assert {k: v for k, v in one.outcome.items() if k != "seconds"} == {
            k: v for k, v in two.outcome.items() if k != "seconds"
        }
    one, two = TrialResult.load(trials[1].path(here)), TrialResult.load(trials[1].path(alone))
    assert all(same_weights(one.weights[c], two.weights[c]) for c in CHECKPOINTS)


def test_another_seed_gives_another_training(data_file, tmp_path):
    one, two = (trained(trial_of(data_file, seed=s, epochs=1), data_file, tmp_path) for s in (1, 2))
    assert not any(np.array_equal(one.weights["initial"][n], two.weights["initial"][n]) for n in one.weights["initial"])


@pytest.mark.parametrize("cell", CELLS)
def test_diverged_training_is_a_row(cell, data_file, tmp_path):
    trial = trial_of(data_file, cell, learning_rate=1e38)  # the head's sums overflow after one step
    result = trained(trial, data_file, tmp_path)
    assert result.outcome["diverged"] is True
    assert result.outcome["test_loss"] is None
    assert np.isfinite(result.curves["validation_loss"][0])
    assert np.isnan(result.curves["validation_loss"][2:]).all()
    assert all(curve.shape == (4,) for curve in result.curves.values())
    assert result.weights.keys() == set(CHECKPOINTS)
    assert all(np.isfinite(v).all() for v in result.weights["initial"].values())


def test_loss_that_becomes_infinite_ends_the_training_there(data_file, tmp_path, monkeypatch):
    calls = []

    def loss(self, outputs, targets):
        if outputs.requires_grad:
            calls.append(len(calls))
        return cross_entropy(outputs, targets.long()) * (math.inf if len(calls) > 4 else 1)

    monkeypatch.setattr(type(tasks.get("mnist_rows")), "loss", loss)
    result = trained(trial_of(data_file), data_file, tmp_path)  # three steps an epoch: the fifth is the second of the second
    assert calls == [0, 1, 2, 3, 4]
    assert result.outcome["diverged"] is True
    assert np.isfinite(result.curves["train_loss"][1])
    assert not np.isfinite(result.curves["train_loss"][2])
    assert np.isnan(result.curves["train_loss"][3])
    assert all(np.isfinite(v).all() for v in result.weights["final"].values())  # the step was not taken


def test_enormous_initial_weights_do_not_break_the_sweep(data_file, tmp_path):
    result = trained(trial_of(data_file, init_scale=1e30), data_file, tmp_path)
    assert isinstance(result.outcome["diverged"], bool)
    assert result.curves["validation_loss"].shape == (4,)


@pytest.mark.parametrize("cell", CELLS)
def test_other_tasks_train_too(cell, river_file, text_file, tmp_path):
    for file in (river_file, text_file):
        result = trained(trial_of(file, cell, epochs=1, batch_size=10), file, tmp_path)
        assert not result.outcome["diverged"]
        assert np.isfinite(result.outcome["test_loss"])


def test_missing_data_is_one_sentence(data_file, tmp_path):
    with pytest.raises(ArtefactError, match=r"nowhere.safetensors"):
        training.train((trial_of(data_file), tmp_path / "nowhere.safetensors", tmp_path))


# Measurement


def settings_of(small_params, **changes):
    return config.load(small_params({f"spectrum.{k}": v for k, v in changes.items()})).spectrum


def measured(data_file, settings, folder):
    work = measurements(folder / "trials", data_file, settings, folder / "spectra", "cpu")
    return [TrialSpectra.load(measure(w)) for w in work.values()]


@pytest.mark.parametrize("cell", CELLS)
def test_measured_exponents_are_those_of_the_torch_twin_on_the_validation_data(cell, data_file, small_params, tmp_path):
    trial = trial_of(data_file, cell, hidden_size=4, learning_rate=0.05)
    result = trained(trial, data_file, tmp_path / "trials")
    settings = settings_of(small_params, sequences=2, transient=5, steps=35)
    (spectra,) = measured(data_file, settings, tmp_path)
    inputs = TaskData.load(data_file).arrays["validation_inputs"]
    stream = inputs.swapaxes(0, 1).reshape(-1, 28)  # end to end: 40 steps take two images
    driving = torch.from_numpy(np.stack([stream[:40], stream[18 * 28 : 18 * 28 + 40]], axis=1)).double()
    size = 8 if cell == "lstm" else 4
    assert spectra.trial == trial.describe()
    assert spectra.exponents.shape == (3, 2, size)
    assert spectra.history.shape == (3, 35)
    modules = [torch_twin(trial, result.weights[checkpoint])[0] for checkpoint in CHECKPOINTS]
    for place, (checkpoint, alone) in enumerate(zip(CHECKPOINTS, lyapunov_spectra(modules, driving, transient=5), strict=True)):
        # the same engine on the same three networks
        np.testing.assert_allclose(spectra.exponents[place], alone.per_sequence, rtol=0, atol=1e-12)
        np.testing.assert_allclose(spectra.standard_error[place], alone.standard_error, rtol=0, atol=1e-12)
        np.testing.assert_allclose(spectra.history[place], alone.history[:, 0], rtol=0, atol=1e-12)
        careful = lyapunov_spectrum(modules[place], driving, transient=5, every=1)
        # what `accuracy` allows for the mean over sequences, and thrice that for one of them
        np.testing.assert_allclose(spectra.exponents[place], careful.per_sequence, rtol=0, atol=3e-5)
        np.testing.assert_allclose(spectra.history[place, -1], spectra.mean(checkpoint)[0], rtol=0, atol=1e-12)
        assert (np.diff(spectra.mean(checkpoint)) <= 0).all()


def test_the_head_plays_no_part_in_a_spectrum(data_file, small_params, tmp_path):
    spectra, counts = {}, {}
    for head in ("last", "neuroview"):
        trial = trial_of(data_file, head=head, learning_rate=0.05, epochs=1)
        counts[head] = trained(trial, data_file, tmp_path / head / "trials").outcome["parameter_count"]
        # the driving sequences are longer than the 28 steps that this neuroview has weights for
        (spectra[head],) = measured(data_file, settings_of(small_params, sequences=2, transient=5, steps=35), tmp_path / head)
    cell = 6 * (28 + 6 + 2)
    assert counts == {"last": cell + 10 * 6 + 10, "neuroview": cell + 10 * 6 * 28 + 10}
    before, after = ([s.exponents[place] for s in spectra.values()] for place in (0, 2))
    # the cell is drawn before the head; both are within what `accuracy` allows, thrice that for one sequence, as above
    np.testing.assert_allclose(*before, rtol=0, atol=6e-5)
    assert np.abs(after[0] - after[1]).max() > 0.01


def test_tokens_are_encoded_before_they_drive_a_spectrum(text_file, small_params, tmp_path):
    trial = trial_of(text_file, hidden_size=3, epochs=1)
    result = trained(trial, text_file, tmp_path / "trials")
    (spectra,) = measured(text_file, settings_of(small_params, sequences=2, transient=2, steps=10), tmp_path)
    tokens = TaskData.load(text_file).arrays["validation_inputs"][:12, [0, 7]].astype(int)
    driving = torch.from_numpy(np.eye(trial.input_size)[tokens])
    module, _ = torch_twin(trial, result.weights["final"])
    np.testing.assert_allclose(
        spectra.exponents[2], lyapunov_spectrum(module, driving, transient=2).per_sequence, rtol=0, atol=1e-9
    )


def test_diverged_networks_spectrum_is_nan_and_its_start_is_not(data_file, small_params, tmp_path):
    trained(trial_of(data_file, learning_rate=1e38), data_file, tmp_path / "trials")
    (path,) = (tmp_path / "trials").iterdir()
    result = TrialResult.load(path)
    result.weights["final"]["cell.weight_hh"][:] = np.nan
    result.save(path)
    (spectra,) = measured(data_file, settings_of(small_params), tmp_path)
    assert spectra.diverged
    assert np.isnan(spectra.exponents[2]).all()
    assert np.isfinite(spectra.exponents[0]).all()


def test_names_of_spectra_tell_apart_what_could_change_them(data_file, small_params, tmp_path):
    trials, folder = tmp_path / "trials", tmp_path / "spectra"
    trained(trial_of(data_file, epochs=1), data_file, trials)
    settings = settings_of(small_params)

    def names(s=settings, device="cpu"):
        return set(measurements(trials, data_file, s, folder, device))

    first = names()
    assert names() == first
    changed = [names(settings_of(small_params, **{k: v})) for k, v in (("sequences", 3), ("transient", 5), ("steps", 13))]
    changed.append(names(device="cuda"))
    trained(trial_of(data_file, epochs=1, seed=3), data_file, trials)
    both = names()
    assert first < both
    assert len(both) == 2
    assert len(set().union(first, both, *changed)) == 6


def test_no_trials_to_measure_is_one_sentence(data_file, small_params, tmp_path):
    with pytest.raises(ArtefactError, match="trials holds no trials; run `dvc repro`"):
        measurements(tmp_path / "trials", data_file, settings_of(small_params), tmp_path, "cpu")


def test_too_little_validation_data_is_one_sentence(data_file, small_params, tmp_path):
    trained(trial_of(data_file, epochs=1), data_file, tmp_path / "trials")
    with pytest.raises(DataError, match=r"20 sequences of 28 steps.*spectrum.sequences = 3"):
        measured(data_file, settings_of(small_params, sequences=3, steps=300), tmp_path)
