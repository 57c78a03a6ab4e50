"""The formulas that torch is told for its GPU kernels, against torch's own cells on the CPU."""

import pytest
import torch
from draws import module_of, noise
from torch import nn
from torch.func import jvp, vmap
from torch.nn.functional import linear
from torch.testing import assert_close

from pipeline.spectrum.kernels import differentiate_cells


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_kernels_have_the_forward_derivatives_of_torchs_cells(kind, bias):
    differentiate_cells()
    differentiate_cells()  # the second call does nothing
    cell, x, rows = module_of(kind, 3, 4, scale=0.8, bias=bias), noise(2, 3), noise(5, 2, 8, seed=4)
    pair = kind is nn.LSTMCell
    kernel = torch.ops.aten._thnn_fused_lstm_cell if pair else torch.ops.aten._thnn_fused_gru_cell
    biases = (cell.bias_ih, cell.bias_hh) if bias else (None, None)

    def fused(state):
        h, c = state.chunk(2, dim=1)
        given = linear(x, cell.weight_ih), linear(h, cell.weight_hh), c if pair else h
        return torch.cat(kernel(*given, *biases)[: 2 if pair else 1], dim=1)

    def own(state):
        h, c = state.chunk(2, dim=1)
        return torch.cat(cell(x, (h, c)), dim=1) if pair else cell(x, h)

    state = noise(2, 8, seed=3)
    with torch.no_grad():
        found, expected = (vmap(lambda v, f=f: torch.cat(jvp(f, (state,), (v,)), dim=1))(rows) for f in (fused, own))
    assert_close(found, expected, rtol=0, atol=1e-14)  # a few roundings of numbers below 10


def test_without_a_derivative_the_kernels_stay_what_they_are():
    differentiate_cells()
    gates = noise(2, 8)
    with pytest.raises(NotImplementedError, match="_thnn_fused_lstm_cell"):  # there is none for the CPU
        torch.ops.aten._thnn_fused_lstm_cell(gates, gates, gates[:, :2])
