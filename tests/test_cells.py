"""Cells against their equations written out by hand, stacks against torch's layers, and the range checks of options."""

import math
from dataclasses import fields

import pytest
import torch
from draws import module_of, noise, seeded
from torch import nn
from torch.testing import assert_close

from pipeline import cells
from pipeline.cells import Cell, Stack
from pipeline.cells.elman import Elman
from pipeline.cells.gru import GRU
from pipeline.cells.lstm import LSTM
from pipeline.core.errors import ConfigError


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def scalars(gates, **values):
    """Parameters of a cell with one unit and one input; each value is one number, or one number per gate."""
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
    params = cell.init(seeded(0))
    without = {n: p for n, p in params.items() if n.startswith("weight")}
    zero = without | {n: torch.zeros_like(p) for n, p in params.items() if n.startswith("bias")}
    state, x = torch.full((2, cell.state_size), 0.3), torch.full((2, 2), 0.5)
    assert torch.equal(cell.step(without, state, x), cell.step(zero, state, x))


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_stack_equals_torchs_layers(name, layers):
    kind = cells.get(name)
    module = module_of(kind.torch_module, 2, 3, layers, scale=0.8)
    stack = Stack(tuple(kind(2 if n == 0 else 3, 3) for n in range(layers)))
    params = [{n.removesuffix(f"_l{k}"): p for n, p in module.named_parameters() if n.endswith(f"_l{k}")} for k in range(layers)]
    inputs = noise(30, 4, 2)
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
    with pytest.raises(ConfigError, match=r"no cell 'lstn'; there are .*elman.*gru.*lstm"):
        cells.get("lstn")


def test_folder_of_shared_code_is_no_cell():
    assert "base" not in cells.names()
    with pytest.raises(ConfigError, match="no cell 'base'"):
        cells.get("base")


# Options


WRONG = [  # cell, option, wrong value, what is right
    ("antisymmetric", "step_size", 0, "above 0"),
    ("antisymmetric", "diffusion", -0.1, "at least 0"),
    ("cornn", "step_size", math.inf, "above 0"),
    ("cornn", "stiffness", -1.0, "at least 0"),
    ("cornn", "damping", -1.0, "at least 0"),
    ("elman", "nonlinearity", "sigmoid", "tanh or relu"),
    ("esn", "leak", 0.0, "in (0, 1]"),
    ("esn", "spectral_radius", 0.0, "above 0"),
    ("fastrnn", "start", math.nan, "a finite number"),
    ("indrnn", "nonlinearity", 1, "tanh or relu"),
    ("leaky", "leak", 1.5, "in (0, 1]"),
    ("leaky", "leak", "half", "in (0, 1]"),
    ("leaky", "leak", True, "in (0, 1]"),
    ("lem", "step_size", -1, "above 0"),
    ("lipschitz", "step_size", 0.0, "above 0"),
    ("lipschitz", "skew", 1.1, "in [0, 1]"),
    ("lipschitz", "diffusion", None, "at least 0"),
    ("lru", "inner_radius", -0.1, "in [0, 1]"),
    ("lru", "outer_radius", 1.1, "in (0, 1]"),
    ("lru", "largest_phase", 7.0, "in (0, 6.28319]"),
    ("sbo_gradient", "step_size", 0.0, "above 0"),
    ("sbo_gradient", "rank", 0, "a whole number above 0"),
    ("sbo_heavy_ball", "rank", 2.5, "a whole number above 0"),
    ("sbo_nesterov", "step_size", "1e-3", "above 0"),
    ("scornn", "negative_share", 1.01, "in [0, 1]"),
    ("unicornn", "step_size", 0.0, "above 0"),
    ("unicornn", "stiffness", -1, "at least 0"),
]


def own_options(name):
    """Names of the fields that a cell adds to those of all cells."""
    return {f.name for f in fields(cells.get(name))} - {f.name for f in fields(Cell)}


@pytest.mark.parametrize(("name", "option", "value", "right"), WRONG)
def test_an_option_out_of_its_range_is_refused_in_one_sentence(name, option, value, right):
    with pytest.raises(ConfigError) as raised:
        cells.get(name)(2, 3, **{option: value})
    assert str(raised.value) == f"cell {name}: {option} is {value!r}; it should be {right}"


def test_every_option_of_every_cell_is_in_the_table():
    checked = {(name, option) for name, option, *_ in WRONG}
    sbo = {(f"sbo_{kind}", option) for kind in ("gradient", "heavy_ball", "nesterov") for option in ("step_size", "rank")}
    assert checked | sbo == {(name, option) for name in cells.names() for option in own_options(name)}  # sbo cells share theirs


@pytest.mark.parametrize("name", cells.names())
def test_default_options_are_in_their_range_at_both_ends_of_the_sizes(name):
    for size in (1, 200):
        assert cells.get(name)(size, size).hidden_size == size


@pytest.mark.parametrize(
    ("name", "options"), [("leaky", {"leak": 1}), ("lipschitz", {"skew": 0}), ("lru", {"inner_radius": 1.0})]
)
def test_the_closed_ends_of_a_range_belong_to_it(name, options):
    cells.get(name)(2, 3, **options)


def test_a_ring_is_no_wider_inside_than_outside():
    with pytest.raises(ConfigError, match=r"cell lru: inner_radius is 0.9; it should be in \[0, 0.5\]"):
        cells.get("lru")(2, 3, inner_radius=0.9, outer_radius=0.5)
