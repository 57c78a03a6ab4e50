"""All early measurements in one call: of torch's own models in every layout, against probes that are built by hand."""

import copy
import threading

import numpy as np
import pytest
import torch
from draws import noise, seeded
from probed import Linear, Reader, drawn, head_of, network, squares
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, dropout, mse_loss

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


# What is refused: one sentence, and no number


TARGETS = noise(B, 2, seed=4)


def refused(sentence, model, inputs=SERIES, targets=TARGETS, **options):
    state = torch.get_rng_state()
    with pytest.raises(ModuleError, match=sentence) as error:
        ask(model, inputs, targets, **options)
    assert "\n" not in str(error.value)
    assert torch.equal(torch.get_rng_state(), state)


def spoilt(values, value):
    """The values, of which the last one that no pass would see is another."""
    return values.index_put((torch.tensor(-1),) * values.dim(), torch.tensor(value, dtype=values.dtype))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({"batch_size": v}, "batch_size is ") for v in (0, -5, 16.5, float("nan"), True, None, "16")),
        *(({"clip_norm": v}, "clip_norm is ") for v in (-1, float("nan"), None, "1", True)),
        *(({"chance": v}, "chance is ") for v in (None, "1", True, float("nan"), torch.ones(2))),
        ({"every_step": "no"}, "every_step is 'no'; it should be True or False"),
        ({"batch_first": None}, "batch_first is None"),
        ({"loss": None}, "loss should be a function of answers and targets, found NoneType"),
        ({"optimiser": "adam"}, "optimiser should be a torch.optim.Optimizer, found str"),
        ({"recurrent": "recurrent"}, "recurrent should be the module itself .*, found str"),
        ({"inputs": SERIES.numpy()}, "inputs should be a dense tensor, found ndarray"),
        ({"inputs": SERIES.to_sparse()}, "inputs should be a dense tensor, found torch.sparse_coo"),
        ({"inputs": SERIES.bfloat16()}, "inputs should be float32, float64 or integers, found torch.bfloat16"),
        ({"inputs": SERIES + 0j}, "inputs should be float32, float64 or integers, found torch.complex128"),
        ({"inputs": spoilt(SERIES, float("nan"))}, "inputs should be finite and not empty, found NaN or infinite values"),
        ({"inputs": SERIES[:0]}, r"inputs should be finite and not empty, found the shape \(0, 48, 2\)"),
        ({"inputs": SERIES[:, :0], "targets": TARGETS[:0]}, r"inputs should .* not empty, found the shape \(9, 0, 2\)"),
        ({"inputs": SERIES.float()}, r"the model does not run on inputs: .* \(ValueError\)"),
        ({"inputs": SERIES[..., :1]}, r"the model does not run on inputs: .* \(RuntimeError\)"),
        ({"targets": TARGETS.tolist()}, "targets should be a dense tensor, found list"),
        ({"targets": spoilt(TARGETS, float("inf"))}, "targets should be finite and not empty, found NaN or infinite"),
        ({"targets": torch.arange(B)}, "classes, up to 47, but an answer has 2 numbers; hand over .* as floating point numbers"),
        ({"targets": torch.full((B,), -100)}, "targets are integers, which count as classes, up to -100"),
    ],
)
def test_an_argument_that_is_something_else_is_refused(options, sentence):
    refused(sentence, network(inputs=2), **options)


class Answering(nn.Module):
    """A recurrent part, whose states are made into answers by a function."""

    def __init__(self, answer, *, recurrent=None, **options):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.answer = nn.GRU(2, 5, **options).double() if recurrent is None else recurrent, answer

    def forward(self, inputs):
        return self.answer(self.recurrent(inputs)[0])


class Carrying(nn.Module):
    """An LSTM that goes on from the state of the call before."""

    def __init__(self):
        super().__init__()
        self.recurrent, self.state = nn.LSTM(2, 5).double(), None

    def forward(self, inputs):
        states, self.state = self.recurrent(inputs, self.state)
        return states[-1]


def mean(answers, targets):
    return answers.square().mean()


STEPWISE, BOTH = {"every_step": True, "targets": noise(T, B, 2)}, {"every_step": True, "batch_first": True}


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (Answering(lambda s: s.flatten(0, 1)), STEPWISE, r"the answers .* have the shape \(432, 5\); they should be \(T, B, "),
        (
            Answering(lambda s: s.mT, batch_first=True),
            {**BOTH, "inputs": SERIES.transpose(0, 1), "targets": noise(B, T)},
            r"have the shape \(48, 5, 9\); they should be \(B, T, ",
        ),
        (Answering(lambda s: s), {}, r"the answers to 48 sequences of 9 steps have the shape \(9, 48, 5\); they should be \(B, "),
        (
            Answering(lambda s: s, batch_first=True),
            {"batch_first": True, "inputs": SERIES.transpose(0, 1)},
            r"the model answers at each step, \(48, 9, 5\): set every_step=True, or return the last answer alone",
        ),
        (Answering(lambda s: (s[-1], s)), {}, "the model should return its answers alone, .*, found tuple"),
        (Answering(lambda s: s[-1].detach()), {}, "the model should return its answers alone, .* without a gradient"),
        (Answering(lambda s: dropout(s[-1], 0.5)), {}, "the model answers the same inputs differently from call to call"),
        (Carrying(), {}, "the model answers the same inputs differently from call to call"),
        (Answering(lambda s: s[-1] - s[-1].mean(0)), {}, "depends on the other sequences of its batch; see batch_first="),
        (Answering(lambda s: s, batch_first=True), {"every_step": True, "targets": noise(T, B)}, "see batch_first="),
        (
            Answering(lambda s: s),
            {**BOTH, "targets": noise(T, B)},
            r"should get inputs \(T, B, .* not \(8, 48, 2\); see batch_first=",
        ),
        (
            Answering(lambda s: s, recurrent=Linear(torch.eye(5), noise(5, 2)).double()),
            {**BOTH, "targets": noise(T, B)},
            "depends on the other sequences of its batch; see batch_first=",
        ),
        (
            Answering(lambda s: s[:, -1], batch_first=True),
            {"inputs": noise(64, 64, 2), "targets": noise(64)},
            r"should get inputs \(B, T, .* not \(64, 63, 2\); see batch_first=",
        ),
    ],
)
def test_a_model_whose_answers_are_of_another_kind_is_refused(model, options, sentence):
    part = {} if isinstance(model.recurrent, nn.RNNBase) else {"recurrent": model.recurrent}
    refused(sentence, model, **{"loss": mean} | part | options)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_answers_that_are_broadcast_against_the_targets_of_all_sequences_are_refused(offset):
    """(B, 1) - (B,) is (B, B); the same shapes, weights of classes and targets far from 0 are measured."""
    model, targets = Answering(lambda s: s[-1][:, :1]), TARGETS[:, 0] + offset
    refused(
        r"loss compares each answer with the targets of all sequences: \(48, 1\) and \(48,\) are broadcast",
        model,
        targets=targets,
        loss=lambda answers, values: (answers - values).square().mean(),
    )
    assert ask(model, SERIES, targets[:, None], loss=mse_loss)["readout_score"] >= 0
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0, 1.0, 1.0, 1.0]).double())
    assert ask(Answering(lambda s: s[-1]), SERIES, (TARGETS[:, 0] > 0).long(), loss=weighted)["readout_score"] >= 0


def test_sequences_of_which_all_are_padded_at_the_last_step_are_refused():
    """The gradient of the last step would be 0; some that are as long as the others are short of it suffice."""
    targets = (noise(T, B) > 0).long()
    targets[-1] = -100
    loss = lambda answers, values: cross_entropy(answers.flatten(0, 1), values.flatten())  # noqa: E731
    refused("the targets of the last step are negative", Answering(lambda s: s), targets=targets, loss=loss, every_step=True)
    targets[-1, ::4] = 1
    assert np.isfinite(ask(Answering(lambda s: s), SERIES, targets, loss=loss, every_step=True)["credit_mean"])


class Part(nn.Module):
    """A recurrent part around a GRU, which gives the states in some form."""

    def __init__(self, form, hand_over=lambda inner, x: inner(x)):
        super().__init__()
        self.inner, self.form, self.hand_over = nn.GRU(2, 5).double(), form, hand_over

    def forward(self, inputs):
        return self.form(*self.hand_over(self.inner, inputs))


@pytest.mark.parametrize(
    ("form", "read", "sentence"),
    [
        (lambda s, h: s[-1], lambda s: s, r"should return states \(T, B, .* not \(48, 5\)"),
        (lambda s, h: (h, s), lambda s: s[1][-1], r"should return states \(T, B, .* not \(1, 48, 5\)"),
        (lambda s, h: s.transpose(0, 1), lambda s: s[:, -1], r"should return states \(T, B, .* not \(48, 9, 5\)"),
        (lambda s, h: {"s": s}, lambda s: s["s"][-1], "should return its states .*, found dict"),
        (lambda s, h: [s, h], lambda s: s[0][-1], "should return its states .*, found list"),
    ],
)
def test_a_recurrent_part_that_gives_something_else_is_refused(form, read, sentence):
    model = nn.Sequential(Part(form), Then(read))
    refused(f"the recurrent part {sentence}", model, loss=mean, recurrent=model[0])


class Then(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


@pytest.mark.parametrize(
    ("hand_over", "found"),
    [
        (lambda inner, x: inner(input=x), "none"),
        (lambda inner, x: inner(nn.utils.rnn.pack_sequence(x.unbind(1))), "PackedSequence"),
    ],
)
def test_what_enters_the_recurrent_part_otherwise_than_as_a_tensor_in_the_first_place_is_refused(hand_over, found):
    model = Part(lambda s, h: h[-1], hand_over)
    refused(f"the first positional argument of the recurrent part should be .*, found {found};", model, loss=mean)


def changed(change, **options):
    """A model after a change that it does not survive."""
    model = network(inputs=2, **options)
    change(model)
    return model


def hold(model, thing):
    model.thing = thing


def hook(model, kind):
    getattr(model.head.weight, kind)(lambda gradient: None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.requires_grad_(False), "all parameters of the model are frozen"),
        (lambda m: m.head.bfloat16(), "head.weight is torch.bfloat16; trained parameters should be float32 or float64"),
        (lambda m: hook(m, "register_hook"), "head.weight has a gradient hook, which a copy of it loses"),
        (lambda m: hook(m, "register_post_accumulate_grad_hook"), "head.weight has a gradient hook"),
        (lambda m: hold(m, nn.BatchNorm1d(5)), "the running statistics of thing have seen no data"),
        (lambda m: hold(m, nn.LazyLinear(5)), "weights whose shapes are not known yet; call it once first"),
        (lambda m: hold(m, threading.Lock()), r"the model and the optimiser cannot be copied: .* \(TypeError\)"),
        (lambda m: hold(m, m.head.weight * 1), r"the model and the optimiser cannot be copied: .* \(RuntimeError\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_model_that_a_copy_would_not_stand_for_is_refused(change, sentence):
    model = changed(change)
    refused(sentence, model, optimiser=torch.optim.SGD(model.parameters(), lr=0.1))


class Own(torch.optim.SGD):
    """An optimiser with an attribute that torch does not copy."""

    factor = 1

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1)
        self.factor = 0.5


@pytest.mark.parametrize(
    ("optimiser", "sentence"),
    [
        (lambda m: torch.optim.SGD(network().parameters()), "the optimiser holds no trained parameter of this model"),
        (
            lambda m: torch.optim.SGD(m.head.parameters()),
            "does not hold recurrent.weight_ih_l0, one of 4 such parameters; freeze",
        ),
        (lambda m: Own(m.parameters()), "a copy of Own loses its attribute factor; keep it in the groups"),
        (lambda m: torch.optim.SparseAdam(m.parameters()), r"the network cannot be measured: SparseAdam .* \(RuntimeError\)"),
    ],
)
def test_an_optimiser_of_other_parameters_or_that_cannot_take_a_step_is_refused(optimiser, sentence):
    model = network(inputs=2)
    refused(sentence, model, optimiser=optimiser(model))


PENALTY = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (
            lambda a, y: (a - y).square().sum(),
            "loss should be a mean over sequences: it is .*, but .* of the same sequences twice",
        ),
        (lambda a, y: (a - y).square(), r"loss should be a mean over sequences, .* found a tensor \(.*\) of torch.float64"),
        (lambda a, y: squares(a.detach(), y).item(), "loss should be a mean over sequences, .* found float"),
        (lambda a, y: squares(a.detach(), y), "loss should be a mean over sequences, .* with a gradient, found"),
        (lambda a, y: squares(a, y)[None], r"loss should be a mean over sequences, .* found a tensor \(1,\)"),
        (lambda a, y: squares(a, y) + PENALTY.square(), "loss has a gradient of its own, such as that of a penalty on weights"),
        (lambda a, y: squares(dropout(a), y), "loss gives .* for the same answers; it should not be random"),
        (lambda a, y: cross_entropy(a, y[0, 0]), r"loss does not run on the answers and targets: .* \(\w+Error\)"),
    ],
)
def test_a_loss_that_is_no_mean_of_the_answers_alone_is_refused(loss, sentence, every_step):
    targets = noise(T, B, 2, seed=4) if every_step else TARGETS
    refused(sentence, network(inputs=2, every_step=every_step), targets=targets, loss=loss, every_step=every_step)


def test_autocast_around_the_call_is_refused():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused("torch.autocast is on; call early_measurements outside of it", network(inputs=2))


# What is measured all the same


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_the_caller_does_with_gradients_changes_no_number(mode):
    model = network(inputs=2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    expected = ask(model, SERIES, TARGETS, optimiser=optimiser)
    with mode():
        assert ask(model, SERIES.clone(), TARGETS.clone(), optimiser=optimiser) == expected
    assert ask(model, SERIES.clone().requires_grad_() * 1, TARGETS, optimiser=optimiser) == expected


@pytest.mark.parametrize("chance", [torch.tensor(1.0), np.float32(1), 1])
def test_numbers_are_pythons_own_whatever_kind_chance_is(chance):
    found = ask(network(inputs=2), SERIES, TARGETS, chance=chance, batch_size=np.int64(8), clip_norm=torch.tensor(0))
    assert {type(value) for value in found.values()} == {float}
    assert found == ask(network(inputs=2), SERIES, TARGETS)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([100.0, 1.0]).double()),
        nn.CrossEntropyLoss(ignore_index=0),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda a, y: binary_cross_entropy_with_logits(a[:, 0], y.double()),
    ],
)
def test_weighted_means_and_two_classes_with_one_output_are_measured(loss):
    classes = (torch.arange(B) % 7 > 0).long()
    model = network(inputs=2, outputs=2 if isinstance(loss, nn.Module) else 1)
    assert np.isfinite(ask(model, SERIES, classes, loss=loss)["step_ratio"])


@pytest.mark.parametrize("high", [False, True])
def test_the_lag_of_many_tokens_is_that_of_the_frequent_ones(high):
    """700 rare tokens, and 8 frequent ones in the last three steps, one of which decides: below or above the rare ones."""
    few, rare = (torch.randint(n, (10, 400), generator=seeded(n)) for n in (8, 700))
    tokens = torch.cat([rare[:7] + (0 if high else 8), few[7:] + (700 if high else 0)])
    model = nn.Sequential(nn.Embedding(708, 4), Answering(lambda s: s[-1], recurrent=nn.GRU(4, 5)))
    assert ask(model, tokens, (few[-3] >= 4).long(), loss=cross_entropy)["lag_needed"] == 2


def test_a_language_model_of_many_words_is_measured():
    tokens = torch.randint(5000, (13, 40), generator=seeded(1))
    model = nn.Sequential(nn.Embedding(5000, 4), Answering(nn.Linear(5, 5000), recurrent=nn.GRU(4, 5)))
    loss = lambda a, y: cross_entropy(a.flatten(0, 1), y.flatten())  # noqa: E731
    found = ask(model, tokens[:-1], tokens[1:], loss=loss, every_step=True, chance=8.5)
    assert np.isfinite(list(found.values())).all()
