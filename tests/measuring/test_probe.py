"""The probe: what it leaves alone, what the optimiser's step is, and models of any layout."""

import copy
import math

import numpy as np
import pytest
import torch
from draws import noise, seeded
from probed import Linear, Quadratic, Reader, drawn, head_of, network, orthogonal, probe, squares
from torch import nn

from pipeline import measuring
from pipeline.core.errors import ModuleError

OPTIMISERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01, weight_decay=0.1, amsgrad=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
    "fused": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, fused=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01, momentum=0.5, centered=True),
    "ascent": lambda groups: torch.optim.SGD(groups, lr=0.05, maximize=True),
}
INPUTS, TARGETS = noise(6, 64, 3), noise(64, 2, seed=5)


def trained(optimiser, *, steps, clip=0.0, rates=False, double=True):
    """A model after some steps of training, with its optimiser; the head learns three times as fast if `rates`."""
    model = network(double=double)
    groups = [{"params": model.recurrent.parameters()}, {"params": model.head.parameters()}]
    given = OPTIMISERS[optimiser](groups if rates else model.parameters())
    if rates:
        given.param_groups[1]["lr"] *= 3
    for _ in range(steps):
        learn(model, given, clip)
    return model, given


def learn(model, optimiser, clip=0.0, inputs=INPUTS, targets=TARGETS):
    dtype = next(model.parameters()).dtype
    optimiser.zero_grad()
    squares(model(inputs.to(dtype)), targets.to(dtype)).backward()
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()


def everything(given):
    """All that the measurements ask of a probe."""
    return {column: value for name in measuring.names() for column, value in measuring.get(name).measure(given).items()}


# The update


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("clip", [0.0, 0.01])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_update_is_the_optimisers_next_step(optimiser, steps, clip, rates):
    """Of a copy that really takes it, with the mean gradient of all 64 sequences."""
    model, given = trained(optimiser, steps=steps, clip=clip, rates=rates)
    one = probe(model, INPUTS, TARGETS, optimiser=given, clip_norm=clip)
    before = copy.deepcopy(list(model.parameters()))
    rate = given.param_groups[0]["lr"]
    learn(model, given, clip)
    taken = [(p - b).detach() / rate for p, b in zip(model.parameters(), before, strict=True)]
    assert len(one.update) == len(taken)
    # the order of sums moves a gradient g by some 10 eps of its terms; Adam's first step divides by |g| + 1e-8
    for ours, theirs in zip(one.update, taken, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimiser", ["momentum", "adamw", "fused", "rmsprop"])
def test_the_update_of_a_float32_model_is_that_of_float64(optimiser):
    model, given = trained(optimiser, steps=3, double=False)
    one = probe(model, INPUTS.float(), TARGETS.float(), optimiser=given)
    assert all(u.dtype == torch.float64 for u in one.update)
    before = [p.detach().double().clone() for p in model.parameters()]
    learn(model, given)
    for ours, parameter, old in zip(one.update, model.parameters(), before, strict=True):
        step = one.learning_rate * ours
        # the real step is rounded to float32: half a unit of parameters below 1, 6e-8, and the gradient's own rounding
        torch.testing.assert_close(old + step, parameter.detach().double(), rtol=0, atol=2e-7 + 1e-4 * step.abs().max().item())


def test_a_parameter_that_is_not_trained_is_not_moved():
    model, _ = trained("sgd", steps=0)
    model.recurrent.weight_hh_l0.requires_grad_(False)
    given = probe(model, INPUTS, TARGETS, optimiser=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1))
    assert len(given.update) == len(given.gradient) == len(given.parameters) == 5
    assert given.in_recurrence == [True] * 3 + [False] * 2
    assert given.loss_after(0.1) != given.loss


def test_a_loss_after_a_step_is_that_of_the_moved_model():
    model, optimiser = trained("adamw", steps=2)
    given = probe(model, INPUTS, TARGETS, optimiser=optimiser)
    for step in (0.0, 0.01, 0.7):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for parameter, u in zip(moved.parameters(), given.update, strict=True):
                parameter += step * u
            answers = moved(INPUTS)
        assert given.loss_after(step) == pytest.approx(squares(answers, TARGETS).item(), rel=1e-12)
        order = given._chosen
        torch.testing.assert_close(given.answers_after(step), answers[order], rtol=1e-12, atol=1e-12)
    assert given.loss == given.loss_after(0.0)  # it went back


# What is left alone


class Noisy(nn.Module):
    """An LSTM with dropout and batch normalisation: what a forward pass in training mode would change."""

    def __init__(self):
        super().__init__()
        self.recurrent, self.norm, self.drop, self.head = nn.LSTM(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2)

    def forward(self, inputs):
        return self.head(self.drop(self.norm(self.recurrent(inputs)[0][-1])))


def frozen(model, optimiser):
    """Bits of all that could change: parameters, buffers, gradients, modes, hooks, the optimiser's state, random numbers."""
    tensors = {**model.state_dict(), **{f"{n}.grad": p.grad for n, p in model.named_parameters()}}
    for place, state in enumerate(optimiser.state.values()):
        tensors |= {f"{place}.{n}": v for n, v in state.items()}
    modules = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    bits = {n: v.numpy().tobytes() for n, v in tensors.items() if v is not None}
    groups = [{n: v for n, v in g.items() if n != "params"} for g in optimiser.param_groups]
    return bits, [n for n, v in tensors.items() if v is None], modules, str(groups), torch.get_rng_state().numpy().tobytes()


@pytest.mark.parametrize("optimiser", ["momentum", "fused", "rmsprop"])
def test_model_optimiser_gradients_and_random_numbers_are_left_to_the_bit(optimiser):
    model = drawn(Noisy()).train()
    given = OPTIMISERS[optimiser](model.parameters())
    for _ in range(2):
        learn(model, given)
    pointers = [p.data_ptr() for p in model.parameters()]
    inputs, targets = INPUTS.float(), TARGETS.float()
    before, data = frozen(model, given), (inputs.clone(), targets.clone())
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    found = everything(probe(model, inputs, targets, optimiser=given))
    assert all(map(math.isfinite, found.values()))
    assert frozen(model, given) == before
    assert pointers == [p.data_ptr() for p in model.parameters()]
    assert torch.equal(inputs, data[0])
    assert torch.equal(targets, data[1])
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002


def test_a_probe_keeps_what_its_model_was():
    """The user may train on: the copy was taken when the probe was made."""
    model, optimiser = trained("momentum", steps=1)
    given, later = (probe(model, INPUTS, TARGETS, optimiser=optimiser) for _ in range(2))
    first = everything(given)
    learn(model, optimiser)
    assert everything(later) == first
    assert everything(probe(model, INPUTS, TARGETS, optimiser=optimiser)) != first


def test_the_order_of_the_measurements_changes_nothing():
    model, optimiser = trained("momentum", steps=1)
    one, other = (probe(model, INPUTS, TARGETS, optimiser=optimiser) for _ in range(2))
    backwards = [measuring.get(name).measure(other) for name in reversed(measuring.names())]
    assert everything(one) == {column: value for found in backwards for column, value in found.items()}


def test_layers_behave_as_in_evaluation():
    """Dropout is off: the loss is that of the model in evaluation mode."""
    model = drawn(Noisy()).train()
    given = probe(model, INPUTS.float(), TARGETS.float())
    with torch.no_grad():
        expected = squares(copy.deepcopy(model).eval()(INPUTS.float()), TARGETS.float()).item()
    assert given.loss == pytest.approx(expected, rel=1e-5)


# Layouts


class Language(nn.Module):
    """Tokens -> embedding -> recurrent network -> linear layer, of the last state or of each."""

    def __init__(self, kind, *, batch_first, every_step, inside=None):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = kind(4, 6, batch_first=batch_first if inside is None else inside)
        self.head, self.batch_first, self.every_step = nn.Linear(6, 7), batch_first, every_step

    def forward(self, tokens):
        swaps = self.recurrent.batch_first != self.batch_first  # the recurrent part has the other layout
        x = self.embedding(tokens)
        states = self.recurrent(x.transpose(0, 1) if swaps else x)[0]
        states = states.transpose(0, 1) if swaps else states
        return self.head(states if self.every_step else states[:, -1] if self.batch_first else states[-1])


def crossed(answers, targets):
    return nn.functional.cross_entropy(answers.flatten(0, -2), targets.flatten())


def language(kind, *, every_step, batch_first, inside=None):
    model = drawn(Language(kind, batch_first=batch_first, every_step=every_step, inside=inside).double(), scale=0.6)
    tokens = torch.randint(0, 7, (9, 40), generator=seeded(6))
    targets = torch.randint(0, 7, (9, 40) if every_step else (40,), generator=seeded(7))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    layout = lambda values: values.T.contiguous() if batch_first and values.dim() == 2 else values  # noqa: E731
    return probe(
        model,
        layout(tokens),
        layout(targets),
        loss=crossed,
        optimiser=optimiser,
        chance=math.log(7),
        every_step=every_step,
        batch_first=batch_first,
        lags=[0.2] * 5 + [0] * 4,
    )


@pytest.mark.parametrize("inside", [None, "swapped"])
@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_model_that_begins_with_the_batch_measures_as_its_twin(kind, every_step, inside):
    twin = language(kind, every_step=every_step, batch_first=False)
    model = language(kind, every_step=every_step, batch_first=True, inside=None if inside is None else False)
    expected = everything(twin)
    assert all(map(math.isfinite, expected.values()))
    # rounding: 1e-13 of a gradient; correlations with eigenvalues of 0 have 1 / 1e-5 of it
    assert everything(model) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert np.allclose(model.input_gradient, twin.input_gradient, rtol=1e-10, atol=1e-14)
    for ours, theirs in zip(model.states, twin.states, strict=True):
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_gradients_and_states_are_those_of_torch_behind_an_embedding(batch_first):
    """By hand: the embedded tokens as a leaf, and of the loss at all steps the last step's part alone."""
    given = language(nn.GRU, every_step=True, batch_first=batch_first)
    model, order = copy.deepcopy(given._model), given._chosen[: given.whole_batch]
    tokens, targets = (v.T if batch_first else v for v in (given.task.inputs, given.task.targets))
    x = model.embedding(tokens[:, order]).detach().requires_grad_()
    states = model.recurrent(x.transpose(0, 1))[0].transpose(0, 1) if batch_first else model.recurrent(x)[0]
    losses = nn.functional.cross_entropy(model.head(states[-1]), targets[-1, order], reduction="sum")
    (losses / targets[:, order].numel()).backward()  # the mean over 9 steps, of which 8 are constants
    assert np.allclose(given.input_gradient, x.grad.numpy(), rtol=1e-10, atol=1e-15)
    kept, answers = given.states
    count = kept.shape[1]
    with torch.no_grad():
        entered = model.embedding(tokens[:, given._chosen[:count]])
        expected = model.recurrent(entered.transpose(0, 1) if batch_first else entered)[0]
    assert np.allclose(kept, (expected.transpose(0, 1) if batch_first else expected).numpy(), rtol=1e-10, atol=1e-12)
    assert np.array_equal(answers, targets[:, given._chosen[:count]].numpy())


@pytest.mark.parametrize("count", [8, 13, 64, 700])
def test_the_sequences_are_spread_over_all_and_none_counts_twice(count):
    """Inputs that carry their own number: which ones the batch holds."""
    inputs = torch.arange(count, dtype=torch.float64)[None, :, None].repeat(2, 1, 1)
    given = probe(Reader(Linear(orthogonal(1), orthogonal(1)), head_of(noise(1, 1))), inputs)
    numbers = given._batch[0][0, :, 0].tolist()
    assert len(set(numbers)) == len(numbers) == given.whole_batch == 4 * min(16, count // 4)
    assert max(numbers) - min(numbers) >= 0.8 * (count - 1) * (given.whole_batch - 1) / given.whole_batch
    chosen = inputs[0, given._chosen, 0].tolist()
    assert len(set(chosen)) == len(chosen) == min(count, 512)


# What is refused


def refusal(message, **changes):
    model = changes.pop("model", None) or network()
    with pytest.raises(ModuleError, match=message) as error:
        everything(probe(model, changes.pop("inputs", INPUTS), changes.pop("targets", TARGETS), **changes))
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")  # as a phrase within one sentence
    return str(error.value)


@pytest.mark.parametrize("rate", [0.0, math.inf, math.nan])
def test_a_learning_rate_that_is_no_unit_is_refused(rate):
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    optimiser.param_groups[0]["lr"] = rate
    refusal(r"the learning rate is .*should be finite and above 0", model=model, optimiser=optimiser)


@pytest.mark.parametrize("chance", [0.0, -1.0, math.nan, math.inf])
def test_a_chance_that_is_no_unit_is_refused(chance):
    refusal(r"the loss of chance is .*should be finite and above 0", chance=chance)


def test_fewer_than_eight_sequences_are_refused():
    refusal(r"there are 7 training sequences; give 8 or more", inputs=INPUTS[:, :7], targets=TARGETS[:7])


def test_an_optimiser_whose_step_needs_a_closure_is_refused():
    model = network()
    refusal(r"LBFGS cannot be measured: its step needs a closure", model=model, optimiser=torch.optim.LBFGS(model.parameters()))


class Loop(nn.Module):
    """A model that runs a cell at each step, and leaves another part unused."""

    def __init__(self):
        super().__init__()
        self.recurrent, self.head, self.unused = nn.RNNCell(3, 5).double(), nn.Linear(5, 2).double(), nn.RNN(3, 5).double()

    def forward(self, inputs):
        state = inputs.new_zeros(inputs.shape[1], 5)
        for x in inputs:
            state = self.recurrent(x, state)
        return self.head(state)


def test_a_recurrent_part_that_is_not_run_once_is_refused():
    refusal(r"runs its recurrent part 6 times", model=Loop())
    model = Loop()
    refusal(r"runs its recurrent part 0 times", model=model, recurrent=model.unused)


def test_tokens_that_enter_the_recurrent_part_are_refused():
    model = language(nn.GRU, every_step=False, batch_first=False)._model
    tokens, targets = torch.zeros(9, 8, dtype=torch.long), torch.zeros(8, dtype=torch.long)
    refusal(r"give the part after the embedding", model=model, recurrent=model, inputs=tokens, targets=targets, loss=crossed)


# The line search


def test_the_search_goes_from_the_learning_rate_and_takes_at_most_eleven_passes():
    model = Quadratic(noise(3))
    for rate in (1e-8, 1e-3, 1.0, 1e3, 1e8):
        optimiser = torch.optim.SGD(model.parameters(), lr=rate)
        given = probe(model, noise(2, 8, 1), loss=lambda a, t: a.square().mean(), optimiser=optimiser)
        assert rate in given.line_search
        assert len(given.line_search) <= 1 + 7 + 3 + 1
        for step, loss in given.line_search.items():
            assert loss == given.loss_after(step)
