"""All early measurements in one call: of torch's own models in every layout, against probes that are built by hand."""

import copy

import numpy as np
import pytest
import torch
from draws import noise, seeded
from probed import Linear, Reader, drawn, head_of, network, squares
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline import early_measurements, measuring
from pipeline.core.errors import ModuleError
from pipeline.measuring.base.lags import lags
from pipeline.measuring.base.probe import Probe, Task

T, B, LAG = 9, 48, 3
SERIES = noise(T, B, 2)


class Tagger(nn.Module):
    """Tokens (B, T) -> logits (B, T, 3), or those of the last step."""

    def __init__(self, *, every_step=False):
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(5, 4), nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)
        self.every_step = every_step

    def forward(self, tokens):
        states, _ = self.gru(self.embedding(tokens))
        return self.head(states if self.every_step else states[:, -1])


def tokens(*, every_step=False):
    """Tokens (B, T), and the class of the token LAG steps before: (B, T), or (B,) at the last step."""
    x = torch.randint(5, (B, T + LAG), generator=seeded(3))
    y = (x % 3)[:, :T] if every_step else (x % 3)[:, T - 1]
    return x[:, LAG:], y


def per_step(answers, targets):
    """Cross-entropy of answers (B, T, O)."""
    return cross_entropy(answers.flatten(0, 1), targets.flatten())


def ask(model, inputs, targets, *, loss=squares, **options):
    optimiser = options.pop("optimiser", None) or torch.optim.Adam(model.parameters(), lr=0.01)
    return early_measurements(
        model, inputs, targets, **{"loss": loss, "optimiser": optimiser, "chance": 1.0, "batch_size": 8} | options
    )


def by_hand(model, recurrent, task, *, clip_norm=0.0):
    """Each measurement of a probe with Adam."""
    given = Probe(model, recurrent, torch.optim.Adam(model.parameters(), lr=0.01), task, batch_size=8, clip_norm=clip_norm)
    return {column: value for name in measuring.names() for column, value in measuring.get(name).measure(given).items()}


def same(one, two):
    assert one.keys() == two.keys()
    assert one == pytest.approx(two, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("every_step", [False, True])
def test_a_batch_first_model_of_tokens_equals_a_probe_that_is_built_by_hand(every_step):
    model = drawn(Tagger(every_step=every_step))
    x, y = tokens(every_step=every_step)
    loss = per_step if every_step else cross_entropy
    found = ask(model, x, y, loss=loss, batch_first=True, every_step=every_step, clip_norm=0.05)
    vectors = nn.functional.one_hot(x.T).numpy().astype(np.float32)
    weights, _ = lags(vectors, (y.T if every_step else y).numpy(), every_step=every_step)
    task = Task(x, y, loss, 1.0, weights, every_step, batch_first=True)
    same(found, by_hand(model, model.gru, task, clip_norm=0.05))
    assert list(found) == list(measuring.columns())
    assert np.isfinite(list(found.values())).all()
    assert found["lag_needed"] == LAG


@pytest.mark.parametrize("every_step", [False, True])
def test_a_model_of_series_equals_a_probe_that_is_built_by_hand(every_step):
    model = network(every_step=every_step, inputs=2)
    y = noise(T, B, 2, seed=4) if every_step else noise(B, 2, seed=4)
    weights, _ = lags(SERIES.numpy(), y.numpy(), every_step=every_step)
    task = Task(SERIES, y, squares, 1.0, weights, every_step)
    same(ask(model, SERIES, y, every_step=every_step), by_hand(model, model.recurrent, task))


def test_the_layout_of_a_batch_changes_no_number():
    """The same sequences with time first, and with the batch first, through one and the same LSTM."""
    torch.manual_seed(0)
    first, targets = network(inputs=2), noise(B, 2, seed=4)
    second = Last(nn.LSTM(2, 5, batch_first=True).double(), copy.deepcopy(first.head))
    second.recurrent.load_state_dict(first.recurrent.state_dict())
    # float64: sums over another layout round differently, by some 1e-16 of numbers up to 1e5
    other = ask(second, SERIES.transpose(0, 1).contiguous(), targets, batch_first=True)
    assert other == pytest.approx(ask(first, SERIES, targets), rel=1e-6, abs=1e-9)


class Last(nn.Module):
    """A batch-first recurrent part, and a head that reads its last state."""

    def __init__(self, recurrent, head):
        super().__init__()
        self.recurrent, self.head = recurrent, head

    def forward(self, inputs):
        return self.head(self.recurrent(inputs)[0][:, -1])


def test_a_recurrent_part_of_ones_own_is_named():
    linear = Linear(0.5 * torch.eye(4).double(), noise(4, 2, seed=6))
    model = Reader(linear, head_of(noise(2, 4, seed=7)))
    with pytest.raises(
        ModuleError, match=r"the model has 0 modules of type RNN, LSTM or GRU; name its recurrent part: recurrent="
    ):
        ask(model, SERIES, noise(B, 2, seed=4))
    found = ask(model, SERIES, noise(B, 2, seed=4), recurrent=model.recurrent)
    weights, _ = lags(SERIES.numpy(), noise(B, 2, seed=4).numpy(), every_step=False)
    same(found, by_hand(model, linear, Task(SERIES, noise(B, 2, seed=4), squares, 1.0, weights)))


class Two(nn.Module):
    """Two recurrent modules, of which the second reads the first."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper, self.head = nn.RNN(2, 4), nn.GRU(4, 5), nn.Linear(5, 2)

    def forward(self, inputs):
        return self.head(self.upper(self.lower(inputs)[0])[0][-1])


def test_of_several_recurrent_modules_one_is_to_be_named():
    model, targets = Two().double(), noise(B, 2, seed=4)
    with pytest.raises(
        ModuleError, match=r"the model has 2 modules of type RNN, LSTM or GRU; name its recurrent part: recurrent="
    ):
        ask(model, SERIES, targets)
    ranks = [ask(model, SERIES, targets, recurrent=part)["state_rank"] for part in (model.lower, model.upper)]
    assert ranks[0] != ranks[1]


def test_model_optimiser_and_random_numbers_are_left_as_they_were():
    model = network(inputs=2).train()
    model.recurrent.dropout = 0.5  # which an LSTM of one layer does not apply
    targets = noise(B, 2, seed=4)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    squares(model(SERIES), targets).backward()
    optimiser.step()
    before = copy.deepcopy((model.state_dict(), optimiser.state_dict(), [p.grad for p in model.parameters()]))
    torch.manual_seed(7)
    random = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  the global generator is what is looked at
    one, two = (ask(model, SERIES, targets, optimiser=optimiser) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.array_equal(np.random.get_state()[1], random[1])  # noqa: NPY002
    after = model.state_dict(), optimiser.state_dict(), [p.grad for p in model.parameters()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("lag", [0, 2, 6])
@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_lag_of_a_delayed_copy_is_found(lag, every_step, batch_first):
    """Each target is the first input `lag` steps before: it depends on that one alone."""
    model = network(inputs=2, outputs=1, every_step=every_step)
    series = noise(T + lag, 2000, 2, seed=8)  # what 1,000 sequences explain of others by chance is far below 5 %
    inputs, copies = series[lag:], series[:T, :, :1]
    targets = copies if every_step else copies[-1]
    if batch_first:
        model = Turned(model, every_step=every_step)
        inputs, targets = inputs.transpose(0, 1), targets.transpose(0, 1) if every_step else targets
    found = ask(model, inputs, targets, every_step=every_step, batch_first=batch_first)
    assert found["lag_needed"] == lag


class Turned(nn.Module):
    """A time-first model that takes, and gives, batches first."""

    def __init__(self, inner, *, every_step):
        super().__init__()
        self.inner, self.every_step = inner, every_step

    def forward(self, inputs):
        answers = self.inner(inputs.transpose(0, 1))
        return answers.transpose(0, 1) if self.every_step else answers


def test_integer_targets_are_classes_and_floats_are_values():
    """The states of an identity hold the class as one of their units: its one-hot vector is read out, its number is not."""
    x = torch.eye(3)[torch.arange(60) % 3].repeat(4, 1, 1).double()  # (T, B, 3)
    model = drawn(Reader(nn.RNN(3, 3, nonlinearity="relu"), nn.Linear(3, 3)).double())
    with torch.no_grad():
        model.recurrent.weight_ih_l0.copy_(torch.eye(3))
        for parameter in (model.recurrent.weight_hh_l0, model.recurrent.bias_ih_l0, model.recurrent.bias_hh_l0):
            parameter.zero_()
    classes = torch.arange(60) % 3
    found = ask(model, x, classes, loss=cross_entropy)
    assert found["readout_score"] == pytest.approx(1, abs=1e-6)  # ridge penalties from 1e-6 on
    assert found["lag_needed"] == 3  # the sequences are constant: each step tells as much as another, 95 % of 4 need all
    assert ask(model, x, classes.to(torch.uint8).long(), loss=cross_entropy) == found
    values = ask(model, x, torch.eye(3)[classes].double())
    assert values["readout_score"] == pytest.approx(found["readout_score"])


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "sentence"),
    [
        (
            SERIES,
            (T, 2),
            {},
            r"the inputs are 48 sequences of 9 steps, but the targets have the shape \(9, 2\); see batch_first=",
        ),
        (SERIES, (B, 2), {"batch_first": True}, "the inputs are 9 sequences of 48 steps"),
        (SERIES, (B, 2), {"every_step": True}, "the inputs are 48 sequences of 9 steps"),
        (SERIES, (B, T), {"every_step": True}, "the inputs are 48 sequences of 9 steps"),
        (SERIES[:, 0, 0], (T,), {}, r"inputs have the shape \(9,\); they should be \(T, B, ...\), or \(B, T, ...\)"),
        (SERIES[:, :4], (4, 2), {}, "there are 4 training sequences; give 8 or more"),
        (SERIES, (B, 2), {"chance": 0.0}, "the loss of chance is 0"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(inputs, targets, options, sentence):
    with pytest.raises(ModuleError, match=sentence):
        ask(network(inputs=2), inputs, torch.zeros(targets).double(), **options)


def test_a_part_that_the_model_does_not_run_is_refused():
    with pytest.raises(ModuleError, match="the model runs its recurrent part 0 times"):
        ask(network(inputs=2), SERIES, noise(B, 2, seed=4), recurrent=nn.LSTM(2, 5).double())
