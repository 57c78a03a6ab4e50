"""Policies of the state: each against a loop over torch's own modules that is written out by hand."""

import math
import typing
from dataclasses import dataclass, replace

import numpy as np
import pytest
import study
import torch
from torch.nn.functional import mse_loss
from torch.testing import assert_close
from twins import TWINS, cut, tensors_of, trial_of, twin

from pipeline import cells, heads, lyapunov_spectrum, tasks, training
from pipeline.cells.lstm import LSTM
from pipeline.core import config
from pipeline.core.records import CHECKPOINTS
from pipeline.jobs.spectra import measure
from pipeline.training import Network
from pipeline.training.policies import POLICIES, append, free_running, previous

TRAINING, OTHERS, BATCH = 11, 6, 4  # sequences, which the mini-batches do not divide
CELLS = [*TWINS, "stepped"]


@dataclass(frozen=True)
class Stepped(LSTM):
    """An LSTM without its fused twin."""

    torch_module: typing.ClassVar = None


@pytest.fixture(scope="module")
def rivers(prepared):
    """The first segments of the catchment."""
    return cut(prepared("catchment"), TRAINING, OTHERS)


def trial_with(data, state, cell="lstm", **changes):
    return trial_of(data, cell, **{"state": state, "hidden_size": 5, "batch_size": BATCH, "epochs": 2} | changes)


def module_of(cell, inputs=2, hidden=5, outputs=2):
    made = (Stepped if cell == "stepped" else cells.get(cell))(inputs, hidden, 0.7)
    return Network(made, heads.get("every")(hidden, outputs)).init(torch.Generator().manual_seed(3))


def twin_of(module):
    """Torch's own recurrent module and linear layer with the weights of ours."""
    cell = next(name for name in TWINS if isinstance(module.network.cell, cells.get(name)))
    return twin(cell, module.weights())


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
    assert all(1 <= len(batch) <= size for batch in batches)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stateful", [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]),  # four stretches, side by side
        ("ordered", [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]),
    ],
)
def test_mini_batches_with_a_carried_state_follow_the_series(name, expected):
    assert [batch.tolist() for batch in POLICIES[name].batches(11, 4, torch.Generator())] == expected


@pytest.mark.parametrize("name", ["stateless", "conditional"])
def test_mini_batches_without_a_carried_state_are_shuffled_anew(name):
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.cat(list(POLICIES[name].batches(50, 8, generator))) for _ in range(2))
    assert not torch.equal(one, two)
    assert not torch.equal(one, torch.arange(50))


def test_params_yaml_takes_the_policies_there_are():
    assert set(typing.get_args(config.TrainBase.model_fields["state"].annotation)) == set(POLICIES)


def test_only_a_series_cut_up_gets_a_policy(small_params):
    settings = config.load(path=small_params({"train.state": "ordered"}))
    info = study.info("catchment", head="every", ordered=True)
    for series, state in ((info, "ordered"), (replace(info, ordered=False), "stateless")):
        assert {trial.state for trial in training.draw(settings, series, "cpu")} == {state}


@pytest.mark.parametrize("name", [name for name in tasks.names() if tasks.get(name).ordered])
def test_series_have_numbers_as_targets_at_every_step(name, prepared):
    info = prepared(name).info
    inputs, targets = prepared(name).split("train")
    assert heads.get(info.head).every_step
    assert targets.dtype == np.float32
    assert targets.shape == (*inputs.shape[:2], info.output_size)


# From what state they start


@pytest.mark.parametrize("cell", CELLS)
def test_run_from_a_carried_state_is_the_concatenated_run(cell):
    module, inputs = module_of(cell), noise(9, 3, 2)
    expected, _ = twin_of(module)[0](inputs)
    first, state = module.run(inputs[:4])
    second, last = module.run(inputs[4:], state)
    assert state.shape == last.shape == (3, module.network.cell.state_size)
    # float32: nine steps whose outputs are at most 1
    assert_close(torch.cat([first, second]), expected, rtol=0, atol=9 * 2**-23)
    assert_close(module.network.cell.output(last), expected[-1], rtol=0, atol=9 * 2**-23)


@pytest.mark.parametrize("cell", CELLS)
def test_a_split_in_order_is_one_long_run(cell):
    module, inputs = module_of(cell), noise(3, 7, 2)
    expected, _ = twin_of(module)[0](end_to_end(inputs))
    for name in ("stateful", "ordered"):
        found, last = POLICIES[name].evaluate(module.run, inputs, None)
        assert_close(end_to_end(found), expected, rtol=0, atol=21 * 2**-23)  # float32, 21 steps
        assert_close(module.network.cell.output(last), expected[-1], rtol=0, atol=21 * 2**-23)


@pytest.mark.parametrize("name", ["stateless", "conditional"])
@pytest.mark.parametrize("use", ["train", "evaluate"])
def test_a_state_is_not_carried_unless_the_policy_says_so(name, use):
    module, inputs = module_of("gru"), noise(3, 4, 2)
    found, _ = getattr(POLICIES[name], use)(module.run, inputs, noise(4, 5, seed=1))
    assert torch.equal(found, module.run(inputs)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_lanes_that_end_early_leave_the_others_their_states(cell):
    module, inputs = module_of(cell), noise(6, 4, 2)
    _, state = POLICIES["stateful"].train(module.run, inputs[:3], None)
    found, _ = POLICIES["stateful"].train(module.run, inputs[3:, :3], state)
    assert_close(found, twin_of(module)[0](inputs)[0][3:, :3], rtol=0, atol=6 * 2**-23)  # float32, six steps


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["stateful", "ordered"])
def test_no_gradient_flows_from_a_mini_batch_into_the_one_before(name, cell):
    module, inputs = module_of(cell), noise(3, 1, 2).requires_grad_()
    _, state = POLICIES[name].train(module.run, inputs, None)
    assert state.requires_grad
    outputs, _ = POLICIES[name].train(module.run, noise(3, 1, 2, seed=1), state)
    outputs.sum().backward()
    assert inputs.grad is None


@pytest.mark.parametrize("cell", CELLS)
def test_within_an_ordered_mini_batch_the_state_crosses_borders_and_the_gradient_does_not(cell):
    module, inputs = module_of(cell), noise(3, 3, 2).requires_grad_()
    outputs, _ = POLICIES["ordered"].train(module.run, inputs, None)
    outputs[:, 1].sum().backward()
    assert not inputs.grad[:, [0, 2]].any()
    assert inputs.grad[:, 1].all()
    changed = inputs.detach() + torch.tensor([1.0, 0.0, 0.0])[:, None]
    assert (POLICIES["ordered"].train(module.run, changed, None)[0][0, 1] != outputs[0, 1]).all()


# Which targets they see


def test_each_step_sees_the_target_of_the_step_before_its_sequence():
    series = torch.arange(12.0).reshape(4, 3).T[..., None]  # four sequences of three steps, numbered in their order
    assert previous(series)[:, 0].tolist() == [0, 2, 5, 8]
    seen = append(10 + series, previous(series))
    assert seen.shape == (3, 4, 2)
    assert torch.equal(seen[..., :1], 10 + series)
    assert seen[..., 1].tolist() == [[0, 2, 5, 8]] * 3


def test_a_network_that_sees_targets_has_an_input_more_for_each_output(rivers):
    sizes = {state: Network.of(trial_with(rivers, state)).cell.input_size for state in POLICIES}
    assert sizes == {"stateless": 2, "stateful": 2, "ordered": 2, "conditional": 4}


def test_a_free_running_network_is_a_loop_over_the_sequences():
    module, inputs = module_of("gru", inputs=4), noise(5, 3, 2)
    recurrent, linear = twin_of(module)
    before = torch.zeros(2)
    for n in range(3):
        drive = torch.stack([torch.cat([x, before]) for x in inputs[:, n]])[:, None]
        answer = linear(recurrent(drive)[0])[:, 0]
        before = answer[-1]
        # float32; an error of a sequence enters the next
        assert_close(free_running(module, inputs, 2)[:, n], answer, rtol=0, atol=15 * 2**-22)


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


def seen_by(state, data, split):
    """Inputs and targets of a split; the inputs hold the targets of the day before the segment if the policy feeds them back."""
    inputs, targets = tensors_of(data, split)
    if state == "conditional":
        known = [targets[-1, n - 1] if n else torch.zeros(2) for n in range(inputs.shape[1])]
        inputs = torch.cat([inputs, torch.stack(known).repeat(61, 1, 1)], dim=2)
    return inputs, targets


def hand_written(epoch, module, inputs, targets, generator, learning_rate):
    """Losses of all steps of two epochs, and torch's own modules after them."""
    recurrent, linear = twin_of(module)
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
def test_training_is_the_hand_written_loop(state, rivers):
    trial = trial_with(rivers, state)
    result = training.train(trial, rivers)
    generator = torch.Generator().manual_seed(trial.seed)
    module = Network.of(trial).init(generator)
    inputs, targets = seen_by(state, rivers, "train")
    losses, recurrent, linear = hand_written(EPOCHS[state], module, inputs, targets, generator, 0.01)
    # float32 sums in another order, which six steps of Adam, of .01 each, pass on
    np.testing.assert_allclose(result.curves["train_loss"][1:], np.reshape(losses, (2, 3)).mean(1), rtol=1e-5)
    np.testing.assert_allclose(result.weights["final"]["cell.weight_hh"], recurrent.weight_hh_l0.detach(), rtol=0, atol=1e-4)
    inputs, targets = seen_by(state, rivers, "validation")
    if state in ("stateful", "ordered"):
        inputs, targets = end_to_end(inputs), end_to_end(targets)
    loss = mse_loss(linear(recurrent(inputs)[0]), targets).item()
    assert result.curves["validation_loss"][-1] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("state", ["stateless", "conditional"])
def test_measured_exponents_are_those_of_the_torch_twin_that_sees_what_it_was_trained_with(state, rivers, small_params, tmp_path):
    rivers.save(tmp_path / "data")
    result = training.train(trial_with(rivers, state, "gru", epochs=1), rivers)
    settings = config.load(path=small_params({"spectrum.sequences": 3, "spectrum.transient": 20, "spectrum.steps": 80}))
    exponents = measure(result, tmp_path / "data", settings.spectrum, "cpu").exponents
    inputs, _ = seen_by(state, rivers, "validation")
    driving = torch.stack([torch.cat([inputs[:, n], inputs[:39, n + 1]]) for n in (0, 2, 4)], dim=1).double()
    for place, checkpoint in enumerate(CHECKPOINTS):
        alone = lyapunov_spectrum(twin("gru", result.weights[checkpoint])[0], driving, transient=20)
        # both within `accuracy`, 1e-5, of the careful one in the mean over sequences; thrice that for one of them
        np.testing.assert_allclose(exponents[place], alone.per_sequence, rtol=0, atol=6e-5)
