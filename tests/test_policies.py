"""Policies of the state: each against a loop over torch's own modules that is written out by hand."""

import math
import typing
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from pipeline import cells, config, heads, lyapunov_spectrum, tasks, training
from pipeline.artefacts import CHECKPOINTS, TaskData, TrialResult, TrialSpectra
from pipeline.cells.lstm import LSTM
from pipeline.training import Network, Trial
from pipeline.training.measure import measure, measurements
from pipeline.training.policies import POLICIES, previous, self_told, tell

TRAINING, OTHERS, BATCH = 11, 6, 4  # sequences, which the mini-batches do not divide
TWINS = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class Stepped(LSTM):
    """An LSTM without its fused twin."""

    torch_module: typing.ClassVar = None


@pytest.fixture(scope="module")
def data_file(prepared, tmp_path_factory):
    """The first segments of the catchment, in a file."""
    data = prepared("catchment")
    sequences = {"train": TRAINING, "validation": OTHERS, "test": OTHERS}
    arrays = {name: array[:, : sequences[name.partition("_")[0]]] for name, array in data.arrays.items()}
    path = tmp_path_factory.mktemp("data") / "catchment.safetensors"
    TaskData({n: np.ascontiguousarray(a) for n, a in arrays.items()}, data.about | {"sequences": sequences}).save(path)
    return path


def trial_of(data_file, state, cell="lstm", **changes):
    about = TaskData.load(data_file).about
    given = {name: about[name] for name in ("task", "head", "input_size", "output_size", "steps", "chance")}
    given |= {"index": 0, "seed": 11, "init_scale": 0.3, "learning_rate": 0.01, "hidden_size": 5, "clip_norm": 0.0}
    given |= {"dropout": 0.0, "batch_size": BATCH, "epochs": 2, "early_epoch": 1, "device": "cpu"}
    return Trial(cell=cell, state=state, **(given | {"data_hash": about["hash"], "code_hash": "0" * 12} | changes))


def split(data_file, name):
    return tuple(torch.from_numpy(a) for a in TaskData.load(data_file).split(name))


def module_of(cell, inputs=2, hidden=5, outputs=2):
    made = (Stepped if cell == "stepped" else cells.get(cell))(inputs, hidden, 0.7)
    return Network(made, heads.get("every")(hidden, outputs)).init(torch.Generator().manual_seed(3))


def torch_twin(module):
    """Torch's own recurrent module and linear layer with the weights of ours."""
    weights = {n: torch.from_numpy(v) for n, v in module.weights().items()}
    hidden, inputs = module.network.cell.hidden_size, module.network.cell.input_size
    recurrent = next(t for n, t in TWINS.items() if isinstance(module.network.cell, cells.get(n)))(inputs, hidden)
    recurrent.load_state_dict({n.removeprefix("cell.") + "_l0": v for n, v in weights.items() if n.startswith("cell.")})
    linear = nn.Linear(hidden, len(weights["head.bias"]))
    linear.load_state_dict({n.removeprefix("head."): v for n, v in weights.items() if n.startswith("head.")})
    return recurrent, linear


def end_to_end(sequences):
    """A series (T N, 1, ...) from its sequences (T, N, ...)."""
    return torch.cat(sequences.unbind(1))[:, None]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Which sequences, in which order


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("count", "size"), [(11, 4), (12, 4), (3, 4), (1, 1)])
def test_an_epoch_has_every_sequence_once_in_as_many_steps_as_shuffling_takes(name, count, size):
    batches = POLICIES[name].batches(count, size, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(list(batches)).tolist()) == list(range(count))
    assert len(batches) == math.ceil(count / size)
    assert all(1 <= len(b) <= size for b in batches)


def test_lanes_walk_through_their_stretches_side_by_side():
    generator = torch.Generator()
    batches = POLICIES["stateful"].batches(11, 4, generator)
    assert [b.tolist() for b in batches] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]


def test_ordered_mini_batches_follow_the_series():
    assert [b.tolist() for b in POLICIES["ordered"].batches(11, 4, torch.Generator())] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10],
    ]


@pytest.mark.parametrize("name", ["stateless", "conditional"])
def test_mini_batches_without_a_carried_state_are_shuffled_anew(name):
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.cat(list(POLICIES[name].batches(50, 8, generator))) for _ in range(2))
    assert not torch.equal(one, two)
    assert not torch.equal(one, torch.arange(50))


def test_params_yaml_takes_the_policies_there_are():
    assert set(typing.get_args(config.Train.model_fields["state"].annotation)) == set(POLICIES)


def test_only_a_series_cut_up_gets_a_policy(small_params, prepared):
    settings = config.load(small_params({"train.state": "ordered"})).train
    for name, state in (("catchment", "ordered"), ("fulda_runoff", "stateless")):
        assert {t.state for t in training.draw(settings, 5, "gru", prepared(name).about, "cpu")} == {state}


@pytest.mark.parametrize("name", [n for n in tasks.names() if tasks.get(n).ordered])
def test_series_have_numbers_to_tell_at_every_step(name, prepared):
    about = prepared(name).about
    inputs, targets = prepared(name).split("train")
    assert heads.get(about["head"]).every_step
    assert targets.dtype == np.float32
    assert targets.shape == (*inputs.shape[:2], about["output_size"])


# What state they start from


@pytest.mark.parametrize("cell", [*TWINS, "stepped"])
def test_run_from_a_carried_state_is_the_concatenated_run(cell):
    module, inputs = module_of(cell), noise(9, 3, 2)
    expected, _ = torch_twin(module)[0](inputs)
    first, state = module.run(inputs[:4])
    second, last = module.run(inputs[4:], state)
    assert state.shape == last.shape == (3, module.network.cell.state_size)
    # float32: nine steps whose outputs are at most 1
    assert_close(torch.cat([first, second]), expected, rtol=0, atol=9 * 2**-23)
    assert_close(module.network.cell.output(last), expected[-1], rtol=0, atol=9 * 2**-23)


@pytest.mark.parametrize("cell", [*TWINS, "stepped"])
def test_split_in_order_is_one_long_run(cell):
    module, inputs = module_of(cell), noise(3, 7, 2)
    expected, _ = torch_twin(module)[0](end_to_end(inputs))
    for name in ("stateful", "ordered"):
        found, last = POLICIES[name].evaluate(module.run, inputs, None)
        assert_close(end_to_end(found), expected, rtol=0, atol=21 * 2**-23)  # float32, 21 steps
        assert_close(module.network.cell.output(last), expected[-1], rtol=0, atol=21 * 2**-23)


@pytest.mark.parametrize("name", ["stateless", "conditional"])
@pytest.mark.parametrize("use", ["train", "evaluate"])
def test_state_is_not_carried_unless_the_policy_says_so(name, use):
    module, inputs = module_of("gru"), noise(3, 4, 2)
    found, _ = getattr(POLICIES[name], use)(module.run, inputs, noise(4, 5, seed=1))
    assert torch.equal(found, module.run(inputs)[0])


@pytest.mark.parametrize("cell", [*TWINS, "stepped"])
def test_lanes_that_end_early_leave_the_others_their_states(cell):
    module, inputs = module_of(cell), noise(6, 4, 2)
    _, state = POLICIES["stateful"].train(module.run, inputs[:3], None)
    found, _ = POLICIES["stateful"].train(module.run, inputs[3:, :3], state)
    assert_close(found, torch_twin(module)[0](inputs)[0][3:, :3], rtol=0, atol=6 * 2**-23)  # float32, six steps


@pytest.mark.parametrize("cell", [*TWINS, "stepped"])
@pytest.mark.parametrize("name", ["stateful", "ordered"])
def test_no_gradient_flows_from_a_mini_batch_into_the_one_before(name, cell):
    module, inputs = module_of(cell), noise(3, 1, 2).requires_grad_()
    _, state = POLICIES[name].train(module.run, inputs, None)
    assert state.requires_grad
    outputs, _ = POLICIES[name].train(module.run, noise(3, 1, 2, seed=1), state)
    outputs.sum().backward()
    assert inputs.grad is None


@pytest.mark.parametrize("cell", [*TWINS, "stepped"])
def test_within_an_ordered_mini_batch_the_state_crosses_borders_and_the_gradient_does_not(cell):
    module, inputs = module_of(cell), noise(3, 3, 2).requires_grad_()
    outputs, _ = POLICIES["ordered"].train(module.run, inputs, None)
    outputs[:, 1].sum().backward()
    assert not inputs.grad[:, [0, 2]].any()
    assert inputs.grad[:, 1].all()
    changed = inputs.detach() + torch.tensor([1.0, 0.0, 0.0])[:, None]
    assert (POLICIES["ordered"].train(module.run, changed, None)[0][0, 1] != outputs[0, 1]).all()


# What is told


def test_each_step_is_told_the_target_of_the_step_before_its_sequence():
    series = torch.arange(12.0).reshape(4, 3).T[..., None]  # four sequences of three steps, numbered in their order
    assert previous(series)[:, 0].tolist() == [0, 2, 5, 8]
    told = tell(10 + series, previous(series))
    assert told.shape == (3, 4, 2)
    assert torch.equal(told[..., :1], 10 + series)
    assert told[..., 1].tolist() == [[0, 2, 5, 8]] * 3


def test_network_that_is_told_has_an_input_more_for_each_output(data_file):
    sizes = {state: Network.of(trial_of(data_file, state)).cell.input_size for state in POLICIES}
    assert sizes == {"stateless": 2, "stateful": 2, "ordered": 2, "conditional": 4}


def test_own_answers_are_those_of_a_loop_over_the_sequences():
    module, inputs = module_of("gru", inputs=4), noise(5, 3, 2)
    recurrent, linear = torch_twin(module)
    before = torch.zeros(2)
    for n in range(3):
        drive = torch.stack([torch.cat([x, before]) for x in inputs[:, n]])[:, None]
        answer = linear(recurrent(drive)[0])[:, 0]
        before = answer[-1]
        # float32; an error of a sequence enters the next
        assert_close(self_told(module, inputs, 2)[:, n], answer, rtol=0, atol=15 * 2**-22)


# Trainings


def shuffled_epoch(recurrent, inputs, generator):
    """Outputs of the steps of an epoch and their sequences."""
    order = torch.randperm(TRAINING, generator=generator).tolist()
    for chosen in (order[:4], order[4:8], order[8:]):
        yield recurrent(inputs[:, chosen])[0], chosen


def lanes_epoch(recurrent, inputs, generator):
    h = c = torch.zeros(1, 4, 5)
    for chosen in ([0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]):
        outputs, (h, c) = recurrent(inputs[:, chosen], (h[:, : len(chosen)].detach(), c[:, : len(chosen)].detach()))
        yield outputs, chosen


def ordered_epoch(recurrent, inputs, generator):
    h = c = torch.zeros(1, 1, 5)
    for chosen in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]):
        outputs = []
        for n in chosen:
            output, (h, c) = recurrent(inputs[:, [n]], (h.detach(), c.detach()))
            outputs.append(output)
        yield torch.cat(outputs, dim=1), chosen


EPOCHS = {"stateless": shuffled_epoch, "conditional": shuffled_epoch, "stateful": lanes_epoch, "ordered": ordered_epoch}


def told_by_hand(inputs, targets):
    """Inputs with the targets of the day before the segment."""
    known = [targets[-1, n - 1] if n else torch.zeros(2) for n in range(inputs.shape[1])]
    return torch.cat([inputs, torch.stack(known).repeat(61, 1, 1)], dim=2)


def hand_written(epoch, module, inputs, targets, generator, learning_rate):
    """Losses of all steps of two epochs, and torch's own modules after them."""
    recurrent, linear = torch_twin(module)
    optimiser = torch.optim.Adam([*recurrent.parameters(), *linear.parameters()], lr=learning_rate)
    losses = []
    for _ in range(2):
        for outputs, chosen in epoch(recurrent, inputs, generator):
            loss = mse_loss(linear(outputs), targets[:, chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return losses, recurrent, linear


@pytest.mark.parametrize("state", POLICIES)
def test_training_is_the_hand_written_loop(state, data_file, tmp_path):
    trial = trial_of(data_file, state)
    result = TrialResult.load(training.train((trial, data_file, tmp_path)))
    generator = torch.Generator().manual_seed(trial.seed)
    module = Network.of(trial).init(generator)
    inputs, targets = split(data_file, "train")
    if state == "conditional":
        inputs = told_by_hand(inputs, targets)
    losses, recurrent, linear = hand_written(EPOCHS[state], module, inputs, targets, generator, trial.learning_rate)
    # float32 sums in another order, which six steps of Adam, of .01 each, pass on
    np.testing.assert_allclose(result.curves["train_loss"][1:], np.reshape(losses, (2, 3)).mean(1), rtol=1e-5)
    np.testing.assert_allclose(result.weights["final"]["cell.weight_hh"], recurrent.weight_hh_l0.detach(), rtol=0, atol=1e-4)
    inputs, targets = split(data_file, "validation")
    if state == "conditional":
        inputs = told_by_hand(inputs, targets)
    if state in ("stateful", "ordered"):
        inputs, targets = end_to_end(inputs), end_to_end(targets)
    loss = mse_loss(linear(recurrent(inputs)[0]), targets).item()
    assert result.curves["validation_loss"][-1] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("state", ["stateless", "conditional"])
def test_measured_exponents_are_those_of_the_torch_twin_told_what_it_was_trained_with(state, data_file, small_params, tmp_path):
    trial = trial_of(data_file, state, "gru", epochs=1)
    result = TrialResult.load(training.train((trial, data_file, tmp_path / "trials")))
    settings = config.load(small_params({"spectrum.sequences": 3, "spectrum.transient": 20, "spectrum.steps": 80})).spectrum
    (work,) = measurements(tmp_path / "trials", data_file, settings, tmp_path / "spectra", "cpu").values()
    inputs, targets = split(data_file, "validation")
    if state == "conditional":
        inputs = told_by_hand(inputs, targets)
    driving = torch.stack([torch.cat([inputs[:, n], inputs[:39, n + 1]]) for n in (0, 2, 4)], dim=1).double()
    exponents = TrialSpectra.load(measure(work)).exponents
    for place, checkpoint in enumerate(CHECKPOINTS):
        twin, _ = torch_twin(Network.of(trial).load(result.weights[checkpoint]))
        alone = lyapunov_spectrum(twin, driving, transient=20)
        # both within `accuracy`, 1e-5, of the careful one in the mean over sequences; thrice that for one of them
        np.testing.assert_allclose(exponents[place], alone.per_sequence, rtol=0, atol=6e-5)
