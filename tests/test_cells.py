"""Each cell against its equations written out by hand, and stacks against torch's own."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pipeline import cells
from pipeline.cells import Stack
from pipeline.cells.elman import Elman
from pipeline.cells.gru import GRU
from pipeline.cells.lstm import LSTM
from pipeline.errors import ConfigError


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def scalars(gates, **values):
    """Parameters of a cell with one unit and one input; a value is one number, or one a gate."""
    shapes = {"weight_ih": (gates, 1), "weight_hh": (gates, 1), "bias_ih": (gates,), "bias_hh": (gates,)}
    return {n: torch.tensor(values[n], dtype=torch.float64).reshape(shapes[n]) for n in shapes}


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_elman_by_hand():
    params = scalars(1, weight_ih=0.5, weight_hh=-0.3, bias_ih=0.1, bias_hh=0.2)
    total = 0.5 * 2 - 0.3 * 0.7 + 0.1 + 0.2
    for name, value in (("tanh", math.tanh(total)), ("relu", total)):
        found = Elman(1, 1, nonlinearity=name).step(params, row(0.7), row(2.0)).item()
        assert found == pytest.approx(value, abs=1e-15)  # one rounding of a number near 1


def test_elman_with_relu_is_zero_below():
    params = scalars(1, weight_ih=-0.5, weight_hh=-0.3, bias_ih=0.1, bias_hh=0.2)
    assert Elman(1, 1, nonlinearity="relu").step(params, row(0.7), row(2.0)).item() == 0


def test_lstm_by_hand_with_gates_in_the_order_input_forget_cell_output():
    params = scalars(
        4,
        weight_ih=[0.5, -0.4, 0.3, 0.2],
        weight_hh=[0.1, 0.6, -0.7, 0.8],
        bias_ih=[0.0, 1.0, 0.2, -0.1],
        bias_hh=[0.3, 0.0, 0.1, 0.4],
    )
    x, h, c = 2.0, 0.7, -0.9
    i = sigmoid(0.5 * x + 0.1 * h + 0.3)
    f = sigmoid(-0.4 * x + 0.6 * h + 1.0)
    g = math.tanh(0.3 * x - 0.7 * h + 0.3)
    o = sigmoid(0.2 * x + 0.8 * h + 0.3)
    c = f * c + i * g
    cell = LSTM(1, 1)
    found = cell.step(params, row(h, -0.9), row(x))
    assert_close(found, row(o * math.tanh(c), c), rtol=0, atol=1e-15)
    assert cell.output(found).tolist() == [[found[0, 0].item()]]


def test_gru_by_hand_with_gates_in_the_order_reset_update_new_and_reset_after_the_product():
    params = scalars(3, weight_ih=[0.5, -0.4, 0.3], weight_hh=[0.1, 0.6, -0.7], bias_ih=[0.0, 1.0, 0.2], bias_hh=[0.3, 0.0, 0.5])
    x, h = 2.0, 0.7
    r = sigmoid(0.5 * x + 0.1 * h + 0.3)
    z = sigmoid(-0.4 * x + 0.6 * h + 1.0)
    n = math.tanh(0.3 * x + 0.2 + r * (-0.7 * h + 0.5))
    assert GRU(1, 1).step(params, row(h), row(x)).item() == pytest.approx((1 - z) * n + z * h, abs=1e-15)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_cell_without_biases_equals_one_with_zero_biases(name):
    cell = cells.get(name)(2, 3)
    params = cell.init(torch.Generator().manual_seed(0))
    without = {n: p for n, p in params.items() if n.startswith("weight")}
    zero = without | {n: torch.zeros_like(p) for n, p in params.items() if n.startswith("bias")}
    state, x = torch.full((2, cell.state_size), 0.3), torch.full((2, 2), 0.5)
    assert torch.equal(cell.step(without, state, x), cell.step(zero, state, x))


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_stack_equals_torchs_layers(name, layers):
    kind = cells.get(name)
    module = kind.torch_module(2, 3, layers).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.8, 0.8, generator=generator)
    stack = Stack(tuple(kind(2 if n == 0 else 3, 3) for n in range(layers)))
    params = [{n.removesuffix(f"_l{k}"): p for n, p in module.named_parameters() if n.endswith(f"_l{k}")} for k in range(layers)]
    inputs = torch.randn(30, 4, 2, generator=generator, dtype=torch.float64)
    state = torch.zeros(4, stack.state_size, dtype=torch.float64)
    outputs = []
    for x in inputs:
        state = stack.step(params, state, x)
        outputs.append(stack.output(state))
    expected, last = module(inputs)
    assert_close(torch.stack(outputs), expected, rtol=0, atol=1e-12)  # rounding of some 30 * 3 sums of numbers near 1
    parts = last if isinstance(module, nn.LSTM) else (last,)
    assert_close(torch.stack(stack.split(state)), torch.cat(parts, dim=-1), rtol=0, atol=1e-12)


def test_torchs_three_cells_are_there():
    assert {"elman", "gru", "lstm"} <= set(cells.names())
    assert cells.names() == sorted(cells.names())


def test_unknown_cell_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no cell 'lstn' in pipeline/cells; there are .*elman.*gru.*lstm"):
        cells.get("lstn")


def test_private_file_is_no_cell():
    with pytest.raises(ConfigError, match="no cell '_stack'"):
        cells.get("_stack")
