"""Models that the adapter accepts and refuses; it does not change its arguments."""

import copy
import math

import oracles
import pytest
import torch
from draws import module_of, noise
from torch import nn
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.core.errors import ModuleError

MODULES = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]


# Torch's modules


FORMS = [(nn.RNN, {}), (nn.RNN, {"nonlinearity": "relu"}), (nn.LSTM, {}), (nn.GRU, {})]
CELL_FORMS = [(nn.RNNCell, {}), (nn.RNNCell, {"nonlinearity": "relu"}), (nn.LSTMCell, {}), (nn.GRUCell, {})]
NAMES = ["tanh", "relu", "lstm", "gru"]


def positive(module):
    """The module with positive weights: for positive states and inputs, ReLU units are always active and no direction is lost."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    return module


def dense_spectra(module, flat, inputs, *, transient):
    """(B, S) exponents of torch's own module by the reference algorithm, in the order of their means."""
    dense = oracles.reference_of_module(module, flat, inputs, transient=transient)
    return dense[:, dense.mean(0).argsort(descending=True)]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize(("kind", "options"), FORMS, ids=NAMES)
def test_module_has_the_spectrum_of_its_dense_jacobians(kind, options, layers, bias, batch_first):
    module = module_of(kind, 2, 3, layers, scale=0.9, bias=bias, batch_first=batch_first, **options)
    inputs = noise(8, 2, 2)
    start = noise(2 if kind is nn.LSTM else 1, layers, 2, 3, seed=8)  # h, or h and c: (layers, B, H) as torch takes them
    if options:
        module, inputs, start = positive(module), inputs.abs(), start.abs()
    given = tuple(start) if kind is nn.LSTM else start[0]
    laid = inputs.transpose(0, 1) if batch_first else inputs
    found = lyapunov_spectrum(module, laid, state=given, transient=2, every=1)
    size = found.exponents.shape[0]
    assert size == (6 if kind is nn.LSTM else 3) * layers
    flat = start.permute(2, 1, 0, 3).reshape(2, size)
    # rounding errors of a basis grow by the ratio of neighbouring growth factors, a few powers of ten at most over 8 steps
    assert_close(found.per_sequence, dense_spectra(module, flat, inputs, transient=2), rtol=0, atol=1e-9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "options"), CELL_FORMS, ids=NAMES)
def test_cell_has_the_spectrum_of_its_dense_jacobians(kind, options, bias):
    cell = module_of(kind, 2, 3, scale=0.9, bias=bias, **options)
    inputs, parts = noise(8, 2, 2), noise(2 if kind is nn.LSTMCell else 1, 2, 3, seed=8)
    if options:
        cell, inputs, parts = positive(cell), inputs.abs(), parts.abs()
    given = tuple(parts) if kind is nn.LSTMCell else parts[0]
    found = lyapunov_spectrum(cell, inputs, state=given, transient=2, every=1)
    dense = dense_spectra(cell, torch.cat(list(parts), dim=-1), inputs, transient=2)
    assert_close(found.per_sequence, dense, rtol=0, atol=1e-9)  # as above


@pytest.mark.parametrize("bias", [False, True])
def test_relu_network_that_is_never_off_has_the_determinant_of_its_weights(bias):
    module = positive(module_of(nn.RNN, 2, 3, nonlinearity="relu", bias=bias, seed=11))
    found = lyapunov_spectrum(module, noise(10, 1, 2).abs(), transient=0, every=1).exponents
    # the map is linear; rounding of 30 logs
    assert found.sum().item() == pytest.approx(module.weight_hh_l0.slogdet().logabsdet.item(), abs=1e-12)


def test_relu_units_that_are_off_lose_their_directions():
    module = module_of(nn.RNN, 2, 3, scale=0.1, nonlinearity="relu")
    with torch.no_grad():
        module.bias_ih_l0.copy_(torch.tensor([9.0, -9.0, 9.0]))  # the other terms are at most 0.3 + 0.2 max(h), and max(h) < 12
    found = lyapunov_spectrum(module, noise(10, 1, 2).clamp(-1, 1), transient=0)
    assert found.lost == 1


@pytest.mark.parametrize(("cell", "kind"), list(zip(CELLS, MODULES, strict=True)))
def test_cell_form_equals_the_module_form(cell, kind):
    single = module_of(cell, 2, 3)
    module = kind(2, 3).double()
    module.load_state_dict({f"{n}_l0": p for n, p in single.state_dict().items()})
    inputs = noise(15, 2, 2)
    start = noise(1, 2, 3), noise(1, 2, 3, seed=9)
    given = (start, tuple(s[0] for s in start)) if kind is nn.LSTM else (start[0], start[0][0])
    of_module = lyapunov_spectrum(module, inputs, state=given[0])
    of_cell = lyapunov_spectrum(single, inputs, state=given[1])
    assert torch.equal(of_module.per_sequence, of_cell.per_sequence)  # the same sums in the same order
    at_rest = lyapunov_spectrum(module, inputs)
    assert not torch.equal(at_rest.per_sequence, of_module.per_sequence)  # the start was used


@pytest.mark.parametrize("kind", MODULES + CELLS)
def test_training_and_evaluation_mode_and_single_precision_weights_give_the_same_bits(kind):
    module = module_of(kind, 2, 3).float()  # rounded once; the computation is float64 whatever the weights are
    inputs = noise(15, 2, 2)
    of_double = lyapunov_spectrum(copy.deepcopy(module).double(), inputs)
    assert of_double.exponents.dtype == torch.float64
    for training in (True, False):
        assert torch.equal(lyapunov_spectrum(module.train(training), inputs).per_sequence, of_double.per_sequence)


def test_unbatched_input_equals_a_batch_of_one():
    module = module_of(nn.LSTM, 2, 3, batch_first=True)
    inputs, h, c = noise(12, 2), noise(1, 3), noise(1, 3, seed=8)
    alone = lyapunov_spectrum(module, inputs, state=(h, c))
    batch = lyapunov_spectrum(module, inputs[None], state=(h[:, None], c[:, None]))
    assert torch.equal(alone.per_sequence, batch.per_sequence)
    assert not torch.equal(alone.per_sequence, lyapunov_spectrum(module, inputs).per_sequence)


class Own(nn.Module):
    """A custom module in the accepted forms."""

    def __init__(self, cell, answer):
        super().__init__()
        self.cell, self.answer = cell, answer

    def forward(self, x, state):
        new = self.cell(x, state)
        return new if self.answer == "state" else (x.sum(-1), new)


@pytest.mark.parametrize("answer", ["state", "output and state"])
@pytest.mark.parametrize("kind", CELLS)
def test_module_of_ones_own_has_the_spectrum_of_the_cell_it_wraps(kind, answer):
    cell = module_of(kind, 2, 3)
    inputs = noise(15, 2, 2)
    state = (noise(2, 3), noise(2, 3, seed=9)) if kind is nn.LSTMCell else noise(2, 3)
    found = lyapunov_spectrum(Own(cell, answer), inputs, state=state, transient=0, every=1)
    # 15 steps of rounding, amplified by at most a few powers of ten
    assert_close(
        found.per_sequence, lyapunov_spectrum(cell, inputs, state=state, transient=0, every=1).per_sequence, rtol=0, atol=1e-10
    )


def test_step_function_equals_the_module_it_writes_out():
    module = module_of(nn.RNN, 2, 3)
    step = lambda s, x: (x @ module.weight_ih_l0.T + module.bias_ih_l0 + s @ module.weight_hh_l0.T + module.bias_hh_l0).tanh()  # noqa: E731
    inputs = noise(15, 2, 2)
    found = lyapunov_spectrum(step, inputs, state=torch.zeros(2, 3), every=1)
    assert_close(found.per_sequence, lyapunov_spectrum(module, inputs, every=1).per_sequence, rtol=0, atol=1e-11)


# The caller's objects are not changed


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_module_inputs_and_random_state_are_left_as_they_were(kind, training):
    module = module_of(kind, 2, 3, 2).float().train(training)
    module.weight_hh_l0.requires_grad_(False)
    inputs = noise(10, 2, 2).float().requires_grad_()
    before, held, kept = copy.deepcopy(module.state_dict()), inputs.detach().clone(), torch.get_rng_state()
    lyapunov_spectrum(module, inputs)
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(before[n], p) and p.dtype == before[n].dtype for n, p in module.state_dict().items())
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["weight_hh_l0"]
    assert all(p.grad is None for p in module.parameters())
    assert module.training is training
    assert torch.equal(inputs, held)
    assert inputs.grad is None
    assert torch.equal(torch.get_rng_state(), kept)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("training", [False, True])
def test_module_of_ones_own_is_left_as_it_was(training):
    own = Own(nn.RNNCell(2, 3), "state").train(training)  # float32, while the computation is float64
    own.cell.weight_hh.requires_grad_(False)
    own.cell.weight_ih.grad = torch.ones(3, 2)
    before, kept = copy.deepcopy(own.state_dict()), torch.get_rng_state()
    state = torch.zeros(2, 3, requires_grad=True)
    lyapunov_spectrum(own, noise(10, 2, 2), state=state)
    assert all(torch.equal(before[n], p) and p.dtype == torch.float32 for n, p in own.state_dict().items())
    assert [n for n, p in own.named_parameters() if not p.requires_grad] == ["cell.weight_hh"]
    assert [n for n, p in own.named_parameters() if p.grad is not None] == ["cell.weight_ih"]
    assert torch.equal(own.cell.weight_ih.grad, torch.ones(3, 2))
    assert own.training is training
    assert own.cell.training is training
    assert state.grad is None
    assert torch.equal(torch.get_rng_state(), kept)
    assert torch.is_grad_enabled()


def test_hook_on_a_module_of_ones_own_is_part_of_its_map_and_stays():
    cell = module_of(nn.GRUCell, 2, 3)
    halved, seen = Own(cell, "state"), []
    handle = halved.register_forward_hook(lambda module, given, new: seen.append(module) or new / 2)
    inputs, state = noise(15, 2, 2), noise(2, 3)
    found = lyapunov_spectrum(halved, inputs, state=state, every=1)
    by_hand = lyapunov_spectrum(lambda s, x: cell(x, s) / 2, inputs, state=state, every=1)
    assert_close(found.per_sequence, by_hand.per_sequence, rtol=0, atol=1e-11)  # as above
    assert halved not in seen  # it is a copy that runs
    assert torch.equal(halved(inputs[0], state), cell(inputs[0], state) / 2)
    assert list(halved._forward_hooks) == [handle.id]


# Refusals


class Sleepy(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x, state):
        return self.drop(state) + x


class Holds(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, state=None):
        return self.rnn(x, state)


class Forgetful(nn.Module):
    def forward(self, x, state):
        return state[0]


IN = noise(10, 2, 2)
ZERO = torch.zeros(2, 2)
WITH_NAN = torch.where(torch.arange(10)[:, None, None] == 4, math.nan, IN)
REFUSALS = {
    "bidirectional": (lambda: nn.GRU(2, 3, bidirectional=True), IN, {}, "bidirectional.*future"),
    "dropout between layers": (lambda: nn.LSTM(2, 3, 2, dropout=0.5), IN, {}, r"dropout.*eval\(\)"),
    "dropout in a custom module": (Sleepy, IN, {"state": ZERO}, r"dropout.*eval\(\)"),
    "width of a module": (lambda: nn.RNN(5, 3), IN, {}, r"input size 5.*\(10, 2, 2\)"),
    "width of a cell": (lambda: nn.GRUCell(5, 3), IN, {}, r"input size 5.*\(10, 2, 2\)"),
    "width of an unbatched input": (lambda: nn.RNN(5, 3), IN[:, 0], {}, "input size 5"),
    "too many axes": (lambda: nn.RNN(2, 3), IN[None], {}, "input size 2"),
    "transient of all steps": (lambda: nn.RNN(2, 3), IN, {"transient": 10}, "transient is 10.*from 0 to 9"),
    "negative transient": (lambda: nn.RNN(2, 3), IN, {"transient": -1}, "transient is -1.*from 0 to 9"),
    "every of none": (lambda: nn.RNN(2, 3), IN, {"every": 0}, "every is 0"),
    "more exponents than states": (lambda: nn.LSTM(2, 3), IN, {"count": 7}, "count is 7.*1 to.*6"),
    "count that is a truth value": (lambda: nn.RNN(2, 3), IN, {"count": True}, "count is True"),
    "no exponent": (lambda: nn.RNN(2, 3), IN, {"count": 0}, "count is 0"),
    "inputs with NaN": (lambda: nn.RNN(2, 3), WITH_NAN, {}, "inputs.*finite"),
    "inputs with infinity": (lambda: nn.RNN(2, 3), IN / 0, {}, "inputs.*finite"),
    "inputs that are a list": (lambda: nn.RNN(2, 3), IN.tolist(), {}, "inputs should be a tensor.*list"),
    "inputs that are NumPy": (lambda: nn.RNN(2, 3), IN.numpy(), {}, "inputs should be a tensor.*ndarray"),
    "inputs of no step": (lambda: nn.RNN(2, 3), IN[:0], {}, r"at least one step.*\(0, 2, 2\)"),
    "state with NaN": (lambda: nn.RNN(2, 2), IN, {"state": torch.full((1, 2, 2), math.nan)}, "state.*finite"),
    "state of another shape": (lambda: nn.RNN(2, 3), IN, {"state": torch.zeros(1, 2, 4)}, r"\(1, 2, 3\).*\(1, 2, 4\)"),
    "one tensor for an LSTM": (lambda: nn.LSTM(2, 3), IN, {"state": torch.zeros(1, 2, 3)}, "2 tensor"),
    "no state for a custom module": (lambda: Own(nn.RNNCell(2, 3), "state"), IN, {}, "state="),
    "no state for a function": (lambda: torch.add, IN, {}, "state="),
    "state of other sequences": (lambda: torch.add, IN, {"state": torch.zeros(3, 2)}, r"2 sequences.*\(3, 2\)"),
    "flat state": (lambda: torch.add, IN, {"state": torch.zeros(2)}, r"state's shape \(B,\), found \(2, 2\)"),
    "step that changes the shape": (
        lambda: lambda s, x: s[:, :1],
        IN,
        {"state": ZERO},
        r"keep the state's shape \(B, 2\), found \(2, 1\)",
    ),
    "module that drops half the state": (
        Forgetful,
        IN,
        {"state": (ZERO, ZERO)},
        "keep its structure, a tuple of 2.*found a tensor",
    ),
    "step that gives no tensor": (lambda: lambda s, x: (s, x), IN, {"state": ZERO}, "step.*tuple of 2"),
    "state that is text": (lambda: nn.RNN(2, 3), IN, {"state": "zero"}, "state.*str"),
    "inputs of no sequence": (lambda: nn.RNN(2, 3), IN[:, :0], {}, r"one sequence.*\(10, 0, 2\)"),
    "whole numbers": (lambda: nn.RNN(2, 3), IN, {"dtype": torch.int64}, "dtype.*float64"),
    "half precision": (lambda: nn.RNN(2, 3), IN, {"dtype": torch.float16}, "dtype.*float64"),
    "class": (lambda: nn.RNN, IN, {}, "function, found the class RNN"),
    "a device that is not there": (lambda: nn.RNN(2, 3), IN, {"device": "xpu:9"}, "cannot be used together"),
    "weights without values": (lambda: nn.RNN(2, 3, device="meta"), IN, {}, "meta tensor"),
    "sparse inputs": (lambda: nn.RNN(2, 3), IN.to_sparse(), {}, "cannot be used together"),
    "complex inputs": (lambda: nn.RNN(2, 3), IN + 0j, {}, "RNN should be real, found torch.complex128"),
    "module that takes no state": (lambda: nn.Sequential(nn.RNN(2, 3)), IN, {}, r"needs `state=`.*holds 0, RNN.*\(1, B, 3\)"),
    "bidirectional inside": (lambda: Holds(nn.GRU(2, 3, bidirectional=True)), IN, {}, "holds rnn, a bidirectional GRU.*future"),
    "no model": (lambda: 3, IN, {}, "torch.nn.Module or a function.*int"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_says_what_was_found_and_what_would_be_right(case):
    model, inputs, options, words = REFUSALS[case]
    with pytest.raises(ModuleError, match=f"(?s){words}") as raised:
        lyapunov_spectrum(model(), inputs, **options)
    assert "\n" not in str(raised.value)


def test_dropout_is_accepted_in_evaluation_mode():
    module = module_of(nn.LSTM, 2, 3, 2, dropout=0.5).eval()
    plain = module_of(nn.LSTM, 2, 3, 2)
    assert torch.equal(lyapunov_spectrum(module, IN).per_sequence, lyapunov_spectrum(plain, IN).per_sequence)
