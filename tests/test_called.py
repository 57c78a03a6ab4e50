"""Models as people build them: whatever a call computes is measured, compared with dense Jacobians of those calls."""

import copy
import dataclasses
import threading
import warnings
from typing import NamedTuple

import pytest
import torch
from draws import exact, module_of, noise
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.testing import assert_close

from pipeline import fixed_points, lyapunov_spectra, lyapunov_spectrum
from pipeline.core.errors import ModuleError, SurrogateWarning
from pipeline.spectrum.engine import random_basis

SMALL = 1e-9  # rounding of some dozen steps of small networks


def truth(step, state, inputs):
    """(B, S) exponents of step (S,), (I,) -> (S,) by dense reverse-mode Jacobians and a QR at each step."""
    rows = []
    for s, xs in zip(state, inputs.unbind(1), strict=True):
        basis, total = random_basis(len(s), len(s), s).T, torch.zeros(len(s), dtype=torch.float64)
        for x in xs:
            jacobian = torch.autograd.functional.jacobian(lambda z, x=x: step(z, x), s)
            s = step(s, x).detach()
            basis, triangle = torch.linalg.qr(jacobian @ basis)
            total += triangle.diagonal().abs().log()
        rows.append(total / len(xs))
    rows = torch.stack(rows)
    return rows[:, rows.mean(0).argsort(descending=True, stable=True)]


def measured(model, inputs, **options):
    return lyapunov_spectrum(model, inputs, transient=0, every=1, **options).per_sequence


# torch's modules are what a call of them computes

GIVEN = noise(12, 2, 3)


def gru(**options):
    return module_of(nn.GRU, 3, 4, **options)


def calls(module):
    """A step (S,), (I,) -> (S,) that calls one of torch's modules."""

    def step(state, x):
        return module(x[None, None], state.view(-1, 1, module.hidden_size))[1].reshape(-1)

    return step


def restored(derive):
    """A network whose derived weights are those of an earlier one until it is called."""
    trained, fresh = derive(module_of(nn.GRU, 3, 4, seed=8)), derive(gru())
    trained(GIVEN), fresh(GIVEN)
    fresh.load_state_dict(trained.state_dict())
    return fresh.eval()


def stepped(derive):
    """A network right after an update of its weights."""
    network = derive(gru())
    network(GIVEN)[0].sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.3).step()
    return network.eval()


def pruned(network):
    return prune.l1_unstructured(network, "weight_hh_l0", 0.4)


def old_weight_norm(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(network, "weight_hh_l0")


def old_spectral_norm(network):
    return nn.utils.spectral_norm(network, "weight_hh_l0")


def with_hook(*, after=None):
    """A network with a hook that scales the input, or one that changes the answer."""
    network = gru()
    if after is None:
        network.register_forward_pre_hook(lambda _, given: (3 * given[0], *given[1:]))
    else:
        network.register_forward_hook(after)
    return network


def with_forward_of_its_own():
    network = gru()
    original = network.forward
    network.forward = lambda x, state=None: original(2 * x, state)
    return network


class Scaled(nn.GRU):
    def forward(self, x, state=None):
        return super().forward(2 * x, state)


class Squeezed(nn.GRU):
    """Changes the state once in a call, however many steps that has."""

    def forward(self, x, state=None):
        out, new = super().forward(x, state)
        return out, new.tanh()


class Named(nn.GRU):
    """A subclass that adds nothing to what is computed."""

    def flops(self):
        return 1


class Override(nn.GRU):
    """Changes the state in a part of the call that is not forward."""

    def permute_hidden(self, hx, permutation):
        return 0.9 * super().permute_hidden(hx, permutation)


def named(derive):
    """A function of torch that needs the weight's name, for one network."""
    return lambda network: derive(network, "weight_hh_l0")


DERIVED = {
    "old weight_norm": old_weight_norm,
    "old spectral_norm": old_spectral_norm,
    "weight_norm": named(parametrizations.weight_norm),
    "spectral_norm": named(parametrizations.spectral_norm),
    "pruned": pruned,
}
BUILT = {
    **{f"{name}, restored": (lambda d=d: restored(d)) for name, d in DERIVED.items()},
    **{f"{name}, after a step": (lambda d=d: stepped(d)) for name, d in DERIVED.items()},
    "orthogonal": lambda: parametrizations.orthogonal(gru(), "weight_ih_l0").eval(),
    "hook on the input": with_hook,
    "hook on the output": lambda: with_hook(after=lambda _, __, out: (3 * out[0], out[1])),
    "hook that only looks": lambda: with_hook(after=lambda *_: None),
    "forward of the instance": with_forward_of_its_own,
    "subclass": lambda: Scaled(3, 4).double(),
    "subclass that adds nothing": lambda: Named(3, 4).double(),
}
ONCE_A_CALL = {
    "hook on the state": lambda: with_hook(after=lambda _, __, out: (out[0], 0.5 * out[1])),
    "subclass": lambda: Squeezed(3, 4).double(),
    "subclass that overrides a part of the call": lambda: Override(3, 4).double(),
}


@pytest.mark.parametrize("name", BUILT)
def test_module_of_torch_is_what_a_call_computes(name):
    torch.manual_seed(4)
    network = BUILT[name]()
    before = {n: v.clone() for n, v in network.state_dict().items()}
    found = measured(network, GIVEN)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert_close(found, truth(calls(network), torch.zeros(2, 4).double(), GIVEN), rtol=0, atol=SMALL)


@pytest.mark.parametrize("name", ONCE_A_CALL)
def test_what_is_done_once_a_call_and_not_once_a_step_is_refused(name):
    with pytest.raises(ModuleError, match="several steps at once"):
        lyapunov_spectrum(ONCE_A_CALL[name](), GIVEN)


def test_hook_for_all_modules_is_part_of_the_model():
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda m, given: (2 * given[0], *given[1:]) if isinstance(m, nn.GRU) else None
    )
    try:
        found = measured(gru(), GIVEN)
    finally:
        handle.remove()
    assert_close(found, measured(gru(), 2 * GIVEN), rtol=0, atol=SMALL)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cell_with_a_hook_is_called(kind):
    cell = module_of(kind, 3, 4)
    cell.register_forward_pre_hook(lambda _, given: (2 * given[0], *given[1:]))
    assert_close(measured(cell, GIVEN), measured(module_of(kind, 3, 4), 2 * GIVEN), rtol=0, atol=SMALL)


def test_projected_lstm_is_measured():
    network = module_of(nn.LSTM, 3, 4, proj_size=2)

    def step(state, x):
        new = network(x[None, None], (state[:2].view(1, 1, 2), state[2:].view(1, 1, 4)))[1]
        return torch.cat([part.reshape(-1) for part in new])

    assert_close(measured(network, GIVEN), truth(step, torch.zeros(2, 6).double(), GIVEN), rtol=0, atol=SMALL)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_parallel_and_scripted_modules_equal_the_plain_one(kind, batch_first):
    network = module_of(kind, 3, 4, 2, batch_first=batch_first)
    laid = GIVEN.transpose(0, 1) if batch_first else GIVEN
    plain = measured(network, laid)
    in_place = copy.deepcopy(network)
    in_place.compile(backend="eager")
    wrapped = [torch.compile(network, backend="eager"), nn.DataParallel(network), torch.jit.script(network), in_place]
    for wrapper in wrapped:
        assert_close(measured(wrapper, laid), plain, rtol=0, atol=SMALL)


def test_models_of_an_ensemble_with_hooks_are_measured_one_by_one():
    plain, scaled = gru(), gru()
    for network in (plain, scaled):
        network.register_forward_pre_hook(lambda _, given: (2 * given[0], *given[1:]))
    found = lyapunov_spectra([plain, scaled], GIVEN, transient=0, every=1)
    assert_close(found[0].per_sequence, measured(gru(), 2 * GIVEN), rtol=0, atol=SMALL)
    assert torch.equal(found[0].per_sequence, found[1].per_sequence)


# Modules that hold torch's modules


class Net(nn.Module):
    """The usual model: a recurrent module and a readout."""

    def __init__(self, kind=nn.GRU, layers=1, batch_first=False):
        super().__init__()
        self.rnn, self.readout = module_of(kind, 3, 4, layers, batch_first=batch_first), nn.Linear(4, 1).double()

    def forward(self, x, state=None):
        out, state = self.rnn(x, state)
        return self.readout(out), state


@pytest.mark.parametrize("given", ["state", "none"])
@pytest.mark.parametrize("sequences", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_module_that_holds_a_module_of_torch_equals_it(kind, batch_first, layers, sequences, given):
    net, inputs = Net(kind, layers, batch_first), noise(10, sequences, 3)
    laid = inputs.transpose(0, 1) if batch_first else inputs
    zeros = torch.zeros(layers, sequences, 4)
    state = None if given == "none" else (zeros, zeros) if kind is nn.LSTM else zeros
    found = measured(net, laid, state=state)
    if state is None:  # the first input makes the state
        begin, rest = net.rnn(laid[:, :1] if batch_first else laid[:1])[1], laid[:, 1:] if batch_first else laid[1:]
        expected = measured(net.rnn, rest, state=begin)
    else:
        expected = measured(net.rnn, laid)
    assert found.shape == (sequences, layers * (8 if kind is nn.LSTM else 4))
    # the same numbers in another order of the state's parts: sums are equal, and so are all directions once aligned
    assert_close(found.sum(-1), expected.sum(-1), rtol=0, atol=SMALL)


@pytest.mark.parametrize("sequences", [1, 2, 5])
def test_state_without_the_axis_of_layers_is_accepted_where_there_is_one_layer(sequences):
    net, inputs = Net(), noise(10, sequences, 3)
    assert_close(measured(net, inputs, state=torch.zeros(sequences, 4)), measured(net.rnn, inputs), rtol=0, atol=SMALL)


@pytest.mark.parametrize("sequences", [2, 3])
def test_state_for_too_few_layers_is_refused(sequences):
    with pytest.raises(ModuleError, match=r"holds rnn, GRU, whose state is \(2, B, 4\)"):
        lyapunov_spectrum(Net(layers=2), noise(10, sequences, 3), state=torch.zeros(sequences, 4))


class Looped(nn.Module):
    """A sequence module written out, time first or batch first, with (layers, B, H) or (B, H) states."""

    def __init__(self, time):
        super().__init__()
        self.cell, self.time = module_of(nn.GRUCell, 3, 4), time

    def forward(self, x, state=None):
        out = []
        for step in x.unbind(self.time):
            state = self.cell(step, state)
            out.append(state)
        return torch.stack(out, self.time), state


@pytest.mark.parametrize("given", ["state", "none"])
@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize(("sequences", "steps"), [(1, 10), (2, 10), (3, 10), (4, 4)])
def test_module_that_loops_over_time_is_taken_by_sequences(time, sequences, steps, given):
    inputs = noise(steps, sequences, 3)
    module = Looped(time)
    found = measured(module, inputs.transpose(0, time), state=None if given == "none" else torch.zeros(sequences, 4))
    rest, begin = (inputs[1:], module.cell(inputs[0])) if given == "none" else (inputs, None)
    assert_close(found, measured(module.cell, rest, state=begin), rtol=0, atol=SMALL)


class Padded(nn.Module):
    """Looks at the whole sequence: its forward is no repetition of a step."""

    def __init__(self):
        super().__init__()
        self.rnn = module_of(nn.GRU, 3, 4)

    def forward(self, x, state=None):
        return self.rnn(x - x.mean(0), state)


def test_module_whose_sequences_are_no_steps_is_refused():
    for state in (None, torch.zeros(1, 2, 4)):
        with pytest.raises(ModuleError, match="several steps at once"):
            lyapunov_spectrum(Padded(), GIVEN, state=state)


# States of any structure


class Pair(NamedTuple):
    h: torch.Tensor
    c: torch.Tensor


@dataclasses.dataclass
class Memory:
    h: torch.Tensor
    c: torch.Tensor


STRUCTURES = {
    "tuple": (lambda h, c: (h, c), lambda s: (s[0], s[1])),
    "list": (lambda h, c: [h, c], lambda s: (s[0], s[1])),
    "dict": (lambda h, c: {"h": h, "c": c}, lambda s: (s["h"], s["c"])),
    "named tuple": (Pair, lambda s: (s.h, s.c)),
    "data class": (Memory, lambda s: (s.h, s.c)),
    "nested": (lambda h, c: ((h,), {"c": [c]}), lambda s: (s[0][0], s[1]["c"][0])),
    "with a constant": (lambda h, c: (h, c, 3, None), lambda s: (s[0], s[1])),
    "matrices": (lambda h, c: (h.reshape(-1, 2, 2), c), lambda s: (s[0].reshape(-1, 4), s[1])),
    "second axis": (lambda h, c: (h[None], c[None]), lambda s: (s[0][0], s[1][0])),
}


class Structured(nn.Module):
    def __init__(self, name, output):
        super().__init__()
        self.cell, self.output = module_of(nn.LSTMCell, 3, 4), output
        self.build, self.split = STRUCTURES[name]

    def forward(self, x, state):
        new = self.build(*self.cell(x, self.split(state)))
        return (x.sum(-1), new) if self.output else new


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_of_a_state_does_not_matter(name, output):
    module = Structured(name, output)
    begin = STRUCTURES[name][0](torch.zeros(2, 4), torch.zeros(2, 4))
    expected = measured(module.cell, GIVEN)
    assert_close(measured(module, GIVEN, state=begin), expected, rtol=0, atol=SMALL)
    if not output:
        assert_close(measured(lambda s, x: module(x, s), GIVEN, state=begin), expected, rtol=0, atol=SMALL)


@pytest.mark.parametrize("form", [lambda h: (h,), lambda h: [h], lambda h: {"h": h}, lambda h: (h.sum(-1), h, h.mean())])
def test_new_state_may_come_alone_in_a_container(form):
    class Returns(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = module_of(nn.GRUCell, 3, 4)

        def forward(self, x, state):
            return form(self.cell(x, state))

    module = Returns()
    assert_close(measured(module, GIVEN, state=torch.zeros(2, 4)), measured(module.cell, GIVEN), rtol=0, atol=SMALL)


def test_number_that_counts_steps_in_the_state_is_refused():
    def step(state, x):
        return state[0].tanh() + x, state[1] + 1

    with pytest.raises(ModuleError, match="int64 that a step changes"):
        lyapunov_spectrum(step, GIVEN, state=(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)))


def test_cache_that_grows_is_refused():
    with pytest.raises(ModuleError, match=r"keep the state's shape \(B, 3\), found \(2, 6\)"):
        lyapunov_spectrum(lambda s, x: torch.cat([s, x], dim=-1), GIVEN, state=torch.zeros(2, 3))


# Complex numbers


def test_complex_state_counts_twice():
    rotation = torch.polar(exact(0.9, 0.5), exact(0.5, 2.0))
    found = measured(lambda s, x: rotation * s + x[:, :1], GIVEN, state=torch.zeros(2, 2, dtype=torch.complex64))
    # the deviations of a normal map are distributed over its directions, but their volumes are exact
    assert found.shape == (2, 4)
    assert_close(found.sum(-1), 2 * exact(0.45, 0.45).log(), rtol=0, atol=SMALL)


class Rotating(nn.Module):
    """z' = lambda z + B x with complex weights, in a complex state or in one of pairs of reals."""

    def __init__(self, kept):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.rates = nn.Parameter(torch.polar(torch.linspace(0.5, 0.95, 4), torch.linspace(0.3, 2.5, 4)))
        self.into = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64, generator=generator))
        self.kept = kept

    def forward(self, x, state):
        z = state if self.kept == "complex" else torch.view_as_complex(state.view(len(state), 4, 2))
        z = self.rates * z + x.to(self.into.dtype) @ self.into.T
        return z if self.kept == "complex" else torch.view_as_real(z).flatten(-2)


@pytest.mark.parametrize("kept", ["complex", "pairs"])
def test_complex_weights_keep_their_imaginary_parts(kept):
    state = torch.zeros(2, 4, dtype=torch.complex64) if kept == "complex" else torch.zeros(2, 8)
    found = measured(Rotating(kept), noise(80, 2, 3), state=state)
    assert_close(
        found.sum(-1), 2 * torch.linspace(0.5, 0.95, 4).double().log().sum().expand(2), rtol=0, atol=1e-6
    )  # float32 weights
    spectrum = lyapunov_spectrum(Rotating(kept), noise(800, 2, 3), state=state).exponents
    assert_close(spectrum, torch.linspace(0.95, 0.5, 4).double().log().repeat_interleave(2), rtol=0, atol=3e-3)  # aligned in time


def test_real_state_of_a_complex_step_is_refused():
    rotation = torch.polar(torch.tensor(0.9).double(), torch.tensor(0.5).double())
    with pytest.raises(ModuleError, match=r"complex128 instead of torch\.float64"):
        lyapunov_spectrum(lambda s, x: rotation * s + x, GIVEN, state=torch.zeros(2, 3))


def test_spectral_filter_is_differentiated():
    def step(state, x):
        spectrum = torch.fft.rfft(state)
        return torch.fft.irfft(spectrum * torch.tensor([0.9, 0.5j, 0.3]), n=4).tanh() + 0.1 * x[:, :1]

    begin = torch.zeros(2, 4).double()
    expected = truth(lambda s, x: step(s[None], x[None])[0], begin, GIVEN)
    assert_close(measured(step, GIVEN, state=begin), expected, rtol=0, atol=SMALL)


# Inputs


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.cell = nn.Embedding(7, 3).double(), module_of(nn.GRUCell, 3, 4)

    def forward(self, token, state):
        return self.cell(self.embedding(token), state)


def test_tokens_stay_whole_numbers():
    tokens = torch.randint(7, (12, 2), generator=torch.Generator().manual_seed(1))
    module = Tokens()
    found = measured(module, tokens, state=torch.zeros(2, 4))
    assert_close(found, measured(module.cell, module.embedding(tokens)), rtol=0, atol=SMALL)


@pytest.mark.parametrize("build", [lambda: module_of(nn.GRU, 3, 4), lambda: Net(), lambda: Looped(0), lambda: Looped(1)])
@pytest.mark.parametrize("every", [1, 4, None])
def test_sequences_of_unequal_length_equal_each_alone(build, every):
    model, inputs, lengths = build(), noise(40, 4, 3), torch.tensor([40, 23, 31, 23])
    batch_first = getattr(model, "time", 0) == 1
    laid = inputs.transpose(0, 1) if batch_first else inputs
    found = lyapunov_spectrum(model, laid, lengths=lengths, transient=5, every=every, local=True)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    if not batch_first:
        of_packed = lyapunov_spectrum(model, packed, transient=5, every=every)
        assert_close(of_packed.per_sequence, found.per_sequence, rtol=0, atol=1e-12)
    for number, length in enumerate(lengths):
        alone = lyapunov_spectrum(
            model,
            laid[number : number + 1, :length] if batch_first else laid[:length, number : number + 1],
            transient=5,
            every=every,
        )
        order = found.per_sequence[number].argsort(descending=True)
        assert_close(found.per_sequence[number][order], alone.per_sequence[0], rtol=0, atol=1e-7)
        used = int(not isinstance(model, nn.GRU))
        assert found.local[length - 5 - used :, number].isnan().all()
        assert found.local[: length - 5 - used, number].isfinite().all()
    assert_close(found.exponents, found.per_sequence.mean(0), rtol=0, atol=1e-12)
    assert (found.standard_error > 0).all()


@pytest.mark.parametrize(
    ("lengths", "options", "words"),
    [
        ([12], {}, "2 whole numbers, one for each sequence"),
        ([12, 5.5], {}, "whole numbers"),
        ("long", {}, "whole numbers"),
        ([12, 13], {}, "sequence 1 of the inputs has 13 steps.*to 12"),
        ([2, 12], {}, "sequence 0 of the inputs has 2 steps.*from 3"),
        ([12, 11], {"tolerance": 0.1}, "equal length"),
        ([12, 11], {"vectors": "covariant"}, "equal length"),
    ],
)
def test_wrong_lengths_are_refused(lengths, options, words):
    with pytest.raises(ModuleError, match=words):
        lyapunov_spectrum(gru(), GIVEN, lengths=lengths, **options)


# Forward mode, reverse mode, surrogates


class Tanh(torch.autograd.Function):
    """A function without forward mode, with the right derivative."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value.tanh())
        return value.tanh()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0].square())


class Spike(torch.autograd.Function):
    """A threshold with a surrogate gradient."""

    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return (value > 0).to(value)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + 10 * ctx.saved_tensors[0].abs()).square()


@pytest.mark.filterwarnings("error")
def test_reverse_mode_is_used_where_forward_mode_is_impossible():
    weight = noise(4, 4)
    step = lambda s, x: Tanh.apply(s @ weight + x.sum(-1, keepdim=True))  # noqa: E731
    plain = lambda s, x: (s @ weight + x.sum(-1, keepdim=True)).tanh()  # noqa: E731
    start = noise(2, 4, seed=5)
    for options in ({}, {"vectors": "covariant", "transient": 3}, {"count": 2}):
        found, expected = (lyapunov_spectrum(f, GIVEN, state=start, **options) for f in (step, plain))
        assert_close(found.per_sequence, expected.per_sequence, rtol=0, atol=SMALL)
    assert_close(found.per_sequence, expected.per_sequence, rtol=0, atol=SMALL)
    points, others = (fixed_points(f, GIVEN, state=start, seeds=16) for f in (step, plain))
    assert_close(points.states, others.states, rtol=0, atol=1e-8)
    assert_close(points.recurrent, others.recurrent, rtol=0, atol=1e-8)


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
def test_surrogate_gradients_are_measured_and_said():
    weight = noise(4, 4)

    def step(state, x):
        spikes, potential = state
        potential = 0.9 * potential + x.sum(-1, keepdim=True) + spikes @ weight
        return Spike.apply(potential - 1), potential

    def flat(state, x):
        return torch.cat(step((state[:4], state[4:]), x))

    start = noise(2, 4, seed=5)
    with pytest.warns(SurrogateWarning, match="surrogate"):
        found = lyapunov_spectrum(step, GIVEN[:, :, :1], state=(torch.zeros(2, 4), start), transient=0, every=1)
    expected = truth(flat, torch.cat([torch.zeros(2, 4), start], dim=-1), GIVEN[:, :, :1])
    kept = expected.isfinite().all(0) & (expected > -20).all(0)
    assert kept.sum() == found.exponents.isfinite().sum()
    assert_close(found.per_sequence[:, : kept.sum()], expected[:, kept], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
def test_attention_inside_a_step_is_measured():
    def step(state, x):
        heads = state.view(len(state), 2, 2, 2)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads).flatten(1) * 0.9 + 0.1 * x.sum(-1, keepdim=True)

    start = noise(2, 8)
    expected = truth(lambda s, x: step(s[None], x[None])[0], start, GIVEN)
    assert_close(measured(step, GIVEN, state=start).sum(-1), expected.sum(-1), rtol=0, atol=1e-6)


# Copies


class Holding(nn.Module):
    def __init__(self, thing):
        super().__init__()
        self.cell, self.thing, self.last, self.scale = module_of(nn.GRUCell, 3, 4), thing, None, torch.ones(4)
        self.parts = [nn.Linear(4, 4)]  # not registered

    def forward(self, x, state):
        self.last = [self.cell(x, state) * self.scale + 0.1 * self.parts[0](state)]
        return self.last[0]


@pytest.mark.parametrize("thing", [threading.Lock(), (i for i in range(3)), None], ids=["lock", "generator", "kept graph"])
def test_module_that_deepcopy_refuses_is_measured_and_left_alone(thing):
    module = Holding(thing)
    module.parts[0].double()
    module(GIVEN[0], noise(2, 4))
    kept, part = module.last, module.parts[0]
    found = measured(module, GIVEN, state=torch.zeros(2, 4))
    step = lambda s, x: (module.cell(x[None], s[None]) + 0.1 * part(s[None]))[0]  # noqa: E731
    assert_close(found, truth(step, torch.zeros(2, 4).double(), GIVEN), rtol=0, atol=SMALL)
    assert module.last is kept
    assert module.thing is thing


def test_tensors_in_plain_attributes_and_unregistered_modules_get_the_precision():
    module = Holding(None).float()
    module.parts[0].float()
    found = measured(module, GIVEN, state=torch.zeros(2, 4))
    assert found.dtype == torch.float64
    assert module.scale.dtype == module.parts[0].weight.dtype == torch.float32


def test_method_of_a_module_is_copied_with_it():
    class Methods(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = module_of(nn.GRUCell, 3, 4).float()

        def advance(self, state, x):
            return self.cell(x, state)

    methods = Methods()
    assert_close(measured(methods.advance, GIVEN, state=torch.zeros(2, 4)), measured(methods.cell, GIVEN), rtol=0, atol=SMALL)
    assert methods.cell.weight_hh.dtype == torch.float32


# The caller's surroundings


def surrounded(name):
    return {
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "inference": torch.inference_mode,
        "no gradients": torch.no_grad,
        "default device": lambda: torch.device("meta"),
    }[name]()


@pytest.mark.parametrize("name", ["autocast", "inference", "no gradients", "default device"])
@pytest.mark.parametrize("build", [lambda: gru(), lambda: Net(), lambda: Structured("tuple", False)], ids=["read", "net", "own"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
def test_surroundings_of_the_caller_do_not_matter(name, build, dtype):
    model = build()
    state = (torch.zeros(2, 4), torch.zeros(2, 4)) if isinstance(model, Structured) else None
    expected = lyapunov_spectrum(model, GIVEN, state=state, dtype=dtype)
    with surrounded(name):
        found = lyapunov_spectrum(model, GIVEN, state=state, dtype=dtype)
    assert torch.equal(found.per_sequence, expected.per_sequence)


def test_default_dtype_of_the_caller_does_not_matter():
    expected = measured(Net(), GIVEN)
    torch.set_default_dtype(torch.float64)
    try:
        found = measured(Net(), GIVEN)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(found, expected, rtol=0, atol=1e-6)  # the readout's weights are drawn in another precision


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
def test_single_precision_with_an_inner_lstm_is_measured():
    net, inputs = Net(nn.LSTM).float(), noise(60, 2, 3)
    found = lyapunov_spectrum(net, inputs, dtype=torch.float32)
    assert found.exponents.dtype == torch.float32
    assert_close(found.exponents[:4].double(), lyapunov_spectrum(net, inputs).exponents[:4], rtol=0, atol=2e-2)
