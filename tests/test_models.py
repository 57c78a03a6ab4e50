"""The libraries of docs/models.md: each block runs, and its exponents sum to what dense Jacobians of the same step give."""

import copy
import importlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.testing import assert_close
from torch.utils._pytree import tree_flatten, tree_unflatten

import pipeline
from pipeline.core.errors import ModuleError, RoundingWarning, SurrogateWarning

PAGE = (Path(__file__).parent.parent / "docs/models.md").read_text()
TITLES = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
BLOCKS = {
    f"{title} {number}": code.replace("rnn_stability", "pipeline")
    for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), start=1)
}

# The dense computation: nothing in it is the library's


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


def double(module):
    return copy.deepcopy(module).double().eval()


def dense_jacobians(step, state, inputs):
    """Jacobians (T, S, S) along a trajectory of one sequence; step takes and returns a state of a batch of one."""
    parts, structure = tree_flatten(state)
    shapes, sizes = [p.shape for p in parts], [p.numel() for p in parts]

    def flat(state):
        return torch.cat([p.reshape(-1) for p in tree_flatten(state)[0]])

    def flat_step(vector, x):
        pieces = [p.reshape(shape).clone() for p, shape in zip(vector.split(sizes), shapes, strict=True)]
        return flat(step(tree_unflatten(pieces, structure), x))

    vector, found = flat(state).detach(), []
    for x in inputs:
        found.append(jacobian(lambda v, x=x: flat_step(v, x), vector, vectorize=True))
        vector = flat_step(vector, x).detach()
    return torch.stack(found)


def mean_growth(jacobians, count, transient):
    """Mean log growth per step of a volume of `count` dimensions: log |det J| if these are all dimensions.

    Otherwise it does not depend on the volume only if the first `transient` steps leave no more dimensions than `count`.
    """
    if count == jacobians.shape[-1]:
        return jacobians.slogdet().logabsdet[transient:].mean()
    start = torch.randn(jacobians.shape[-1], count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    basis, logs = torch.linalg.qr(start)[0], []
    for j in jacobians:
        basis, triangle = torch.linalg.qr(j @ basis)
        logs.append(triangle.diagonal().abs().log().sum())
    return torch.stack(logs[transient:]).mean()


# What each block measures, written once more: from a block's variables and the number of a sequence to
# (step, state, inputs) for a batch of this one sequence, in float64


def conv_lstm(block, b):
    cell = double(block.cell)
    return lambda s, x: cell(x, s), (zeros(1, 2, 4, 4), zeros(1, 2, 4, 4)), block.inputs[:, b : b + 1].double()


def gluonts(block, b):
    rnn, inputs = double(block.model.rnn), block.model.prepare_rnn_input(**block.batch)[0]
    return lambda s, x: rnn(x[:, None], s)[1], (zeros(2, 1, 8), zeros(2, 1, 8)), inputs[b][:, None].detach().double()


def lightning(block, b):
    lstm, inputs = double(block.model.lstm), block.model.embed(block.tokens[b])[:, None].detach().double()
    return lambda s, x: lstm(x[None], s)[1], lstm(inputs[:1])[1], inputs[1:]


def mamba(block, b):
    layer = zeros(1, 8, 4), zeros(1, 8, 3)
    return lambda s, x: block.model.step(x, list(s))[1], [layer, layer], block.inputs[:, b : b + 1].double()


def mingru(block, b):
    def step(state, x):  # Feng et al. 2024, with the layer's weights
        hidden, gate = (x @ block.model.to_hidden_and_gate.weight.T).chunk(2, dim=-1)
        return state + gate.sigmoid() * (torch.where(hidden >= 0, hidden + 0.5, hidden.sigmoid()) - state)

    return step, zeros(1, 16), block.inputs[:, b : b + 1].double()


def ncps(block, b):
    model = double(block.model)
    return lambda s, x: model(x[None], s)[1], zeros(1, 16), block.inputs[b][:, None].double()


def cuda_lstm(block, b):
    lstm, inputs = double(block.model.lstm), block.model.embedding_net(block.data)[:, b : b + 1]
    return lambda s, x: lstm(x[None], s)[1], (zeros(1, 1, 8), zeros(1, 1, 8)), inputs.double()


def ea_lstm(block, b):
    def step(state, x):  # Kratzert et al. 2019
        h, c = state
        f, o, g = block.model.dynamic_gates(h, x).chunk(3, dim=-1)
        c = f.sigmoid() * c + block.model.input_gate(block.static[b : b + 1]).sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    return step, (zeros(1, 8), zeros(1, 8)), block.inputs[:, b : b + 1].double()


def pytorch_forecasting(block, b):
    rnn, steps = double(block.model.rnn), int(block.x["encoder_lengths"][b]) - 1
    return lambda s, x: rnn(x[None], s)[1], (zeros(2, 1, 8), zeros(2, 1, 8)), block.inputs[b, :steps, None].detach().double()


def silero(block, b):
    cell = torch.nn.LSTMCell(128, 128).double()
    cell.load_state_dict(block.model.decoder.rnn.state_dict())
    return lambda s, x: cell(x, s), (zeros(1, 128), zeros(1, 128)), block.features[:, b : b + 1].detach().double()


def snntorch(block, b):
    return lambda s, x: block.model(x, block.model.fire(s).double(), s)[1], zeros(1, 16), block.inputs[:, b : b + 1].double()


def torchrl(block, b):
    twin = torch.nn.LSTM(4, 8, num_layers=2).double()
    twin.load_state_dict(block.module.lstm.state_dict())
    inputs = block.observations[b][:, None].double()
    return lambda s, x: twin(x[None], s)[1], (zeros(2, 1, 8), zeros(2, 1, 8)), inputs


def xlstm(block, b):
    parts, structure = tree_flatten(block.start)
    start = tree_unflatten([p[b : b + 1].detach() for p in parts], structure)
    return lambda s, x: block.model.step(x, s)[1], start, block.inputs[1:, b : b + 1].double()


@dataclass(frozen=True)
class Library:
    """How a block is tested.

    Attributes:
        packages: the packages that it imports.
        oracle: what it measures.
        transient: steps after which only the dimensions that it asks for are left.
        surrogate: whether it warns of a surrogate derivative.
        rounding: the largest error of a mean of logs that rounding explains.
    """

    packages: tuple[str, ...]
    oracle: Callable
    transient: int = 0
    surrogate: bool = False
    rounding: float = 1e-9  # 60 steps of at most 256 logs, and the condition of a step's Jacobian


LIBRARIES = {
    "ConvLSTM 1": Library(("conv_lstm",), conv_lstm),
    "gluonts 1": Library(("gluonts", "lightning"), gluonts),
    "Lightning 1": Library(("lightning",), lightning),
    "mambapy 1": Library(("mambapy",), mamba, transient=6),  # 3 steps for each layer's shift register
    "minGRU-pytorch 1": Library(("minGRU_pytorch",), mingru),
    "ncps 1": Library(("ncps",), ncps),
    "ncps 2": Library(("ncps",), ncps),
    "neuralhydrology 1": Library(("neuralhydrology",), cuda_lstm),
    "neuralhydrology 2": Library(("neuralhydrology",), ea_lstm),
    "pytorch-forecasting 1": Library(("pytorch_forecasting", "lightning", "pandas"), pytorch_forecasting),
    # its gates are trained and saturate: a step's condition number is up to 9e12, and eps times that, over 30 steps, 7e-5
    "silero-vad 1": Library(("silero_vad",), silero, rounding=7e-5),
    # the surrogate's slope is rounded to float32 in the backward pass of spikes made in float32
    "snnTorch 1": Library(("snntorch",), snntorch, surrogate=True, rounding=1e-5),
    "torchrl 1": Library(("torchrl",), torchrl),
    "xLSTM 1": Library(("xlstm",), xlstm, transient=40),  # until the stabiliser m of each head is that of the input gate
}


def test_every_library_of_the_page_is_tested_and_in_its_table():
    assert list(LIBRARIES) == list(BLOCKS)
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\)", PAGE, re.MULTILINE)
    assert rows == [(title, title.lower()) for title in TITLES]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # other packages' warnings are theirs; ours are counted
@pytest.mark.parametrize("name", LIBRARIES)
def test_exponents_of_a_librarys_model_sum_to_the_growth_of_volumes_by_dense_jacobians(name, monkeypatch):
    library, calls = LIBRARIES[name], []
    for package in library.packages:
        pytest.importorskip(package)

    def recorded(model, inputs, **options):
        calls.append((model, inputs, options))
        return measure(model, inputs, **options)

    measure, block = importlib.import_module("pipeline.spectrum").lyapunov_spectrum, {}
    monkeypatch.setattr(pipeline, "lyapunov_spectrum", recorded, raising=False)
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        exec(compile(BLOCKS[name], "docs/models.md", "exec"), block)
        model, inputs, options = calls[-1]
        exact = measure(model, inputs, **options | {"transient": library.transient, "every": 1})
    ours = {w.category for w in caught} & {SurrogateWarning, RoundingWarning}
    assert ours == ({SurrogateWarning} if library.surrogate else set())

    spectrum, block = block["spectrum"], SimpleNamespace(**block)
    count, size = len(spectrum.exponents), exact.per_sequence.shape[0]
    assert not spectrum.diverged.any()
    assert spectrum.exponents.isfinite().all()
    growth = [mean_growth(dense_jacobians(*library.oracle(block, b)), count, library.transient) for b in range(size)]
    assert_close(exact.per_sequence.sum(-1), torch.stack(growth).detach(), rtol=0, atol=library.rounding)


# What the page says is refused


class Unfit(torch.nn.Module):
    """A plain network whose new state goes through a function that makes it unfit."""

    def __init__(self, unfit):
        super().__init__()
        self.weights, self.unfit, self.kept = torch.nn.Linear(3 + 4, 4), unfit, torch.zeros(2, 4)

    def forward(self, x, state):
        return self.unfit(self, self.weights(torch.cat([x, state], dim=-1)).tanh())


class LooksAhead(torch.nn.GRU):
    """A network that subtracts the mean over the whole sequence."""

    def forward(self, x, state=None):
        return super().forward(x - x.mean(0), state)


def keep(module, new):
    module.kept = module.kept + new
    return module.kept


START = torch.zeros(2, 4)
REFUSED = {  # the messages, and what makes a model and a state that meet with them
    "active dropout": lambda: (torch.nn.GRU(3, 4, num_layers=2, dropout=0.5), None),
    "draws random numbers": lambda: (Unfit(lambda _, new: new + torch.randn_like(new)), START),
    "when it is called again": lambda: (Unfit(keep), START),
    "sequences mix": lambda: (Unfit(lambda _, new: new - new.mean(0)), START),
    "needs `state=`": lambda: (Unfit(lambda _, new: new), None),
    "positional argument": lambda: (torch.nn.Linear(3, 4), START),
    "over several steps at once": lambda: (LooksAhead(3, 4), None),
    "a bidirectional network": lambda: (torch.nn.GRU(3, 4, bidirectional=True), None),
    "keep its structure": lambda: (lambda state, x: {"h": state["h"], "output": state["h"]}, {"h": START}),
    "keep the state's shape": lambda: (Unfit(lambda _, new: new[:, :3]), START),
    "instead of torch.float64": lambda: (Unfit(lambda _, new: new.float()), START),
    "in a lower precision": lambda: (Unfit(lambda _, new: new.float().double()), START),
    "is not that of its values": lambda: (Unfit(lambda _, new: new + new.detach()), START),
}


def test_every_refusal_of_the_page_is_tested():
    assert list(REFUSED) == re.findall(r'^\| "(.+?)" \|', PAGE, re.MULTILINE)


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_says_is_refused_is_refused_with_that_message(message):
    torch.manual_seed(0)
    model, state = REFUSED[message]()
    inputs = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ModuleError, match=re.escape(message)):
        pipeline.lyapunov_spectrum(model, inputs, state=state)
