"""A hand-written baseline: analytic Jacobians of all sequences at once by broadcasting, and a QR decomposition at every step.

It represents what an experienced programmer would write without further optimisation: the Jacobian is an explicit dense
matrix (B, S, S), which is multiplied with the deviations.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .systems import random_columns


class Weights(NamedTuple):
    """The parameters of M torch networks: (M, G H, I), (M, G H, H) and two biases (M, 1, G H), for a cell with G gates."""

    into: Tensor
    within: Tensor
    bias_into: Tensor
    bias_within: Tensor


def exponents(module: nn.RNNBase, inputs: Tensor, count: int, transient: int, *, basis: Tensor | None = None) -> Tensor:
    """Exponents (B, k) of each sequence in nats per step, float64, in the order of the directions (Benettin et al. 1980).

    Args:
        module: a tanh RNN, LSTM or GRU with one layer, one direction and biases. Its initial state is zero.
        inputs: (T, B, I); the computation runs on their device.
        count: the number of exponents k.
        transient: number of steps that are not counted.
        basis: (S, k) orthonormal columns to start from; by default random columns, the same in every call.
    """
    return exponents_of_all([module], inputs, count, transient, basis=basis)[0]


@torch.no_grad()
def exponents_of_all(
    modules: Sequence[nn.RNNBase], inputs: Tensor, count: int, transient: int, *, basis: Tensor | None = None
) -> Tensor:
    """Exponents (M, B, k) of M modules of one kind and size, driven by the same inputs in one batch; see `exponents`."""
    inputs = inputs.double()
    step, parts = STEPS[type(modules[0])]
    weights = _weights(modules, inputs)
    size = parts * modules[0].hidden_size
    basis = random_columns(size, count) if basis is None else basis
    basis = basis.to(inputs).expand(len(modules), inputs.shape[1], size, count)
    state = inputs.new_zeros(basis.shape[:-1])
    total = inputs.new_zeros(*basis.shape[:2], count)
    for t, x in enumerate(inputs):
        state, jacobian = step(weights, state, x)
        basis, triangle = torch.linalg.qr(jacobian @ basis)
        if t >= transient:
            total += triangle.diagonal(dim1=-2, dim2=-1).abs().log()
    return total / (len(inputs) - transient)


def _weights(modules: Sequence[nn.RNNBase], like: Tensor) -> Weights:
    """The parameters with dtype and device of `like`; ValueError for a module that the formulas below do not cover."""
    for module in modules:
        if module.num_layers != 1 or module.bidirectional or module.proj_size or not module.bias:
            raise ValueError("the module should have one layer, one direction, no projection and biases")
        if getattr(module, "nonlinearity", "tanh") != "tanh":
            raise ValueError("the RNN's nonlinearity should be tanh")
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    stacked = [torch.stack([getattr(module, name).detach() for module in modules]).to(like) for name in names]
    return Weights(*stacked[:2], *(bias.unsqueeze(1) for bias in stacked[2:]))


def _drives(weights: Weights, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The contributions of the input and of the hidden units to all gates: two tensors (M, B, G H)."""
    return x @ weights.into.mT + weights.bias_into, h @ weights.within.mT + weights.bias_within


def _gates(weights: Weights, number: int) -> tuple[Tensor, ...]:
    """The recurrent weights of each gate, (M, 1, H, H), which broadcast over the sequences."""
    return weights.within.unsqueeze(1).chunk(number, dim=-2)


def _rows(factors: Tensor, matrix: Tensor) -> Tensor:
    """The product diag(factors) matrix, (M, B, H, H), computed by scaling the rows."""
    return factors.unsqueeze(-1) * matrix


def _elman(weights: Weights, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    from_x, from_h = _drives(weights, state, x)
    new = (from_x + from_h).tanh()
    return new, _rows(1 - new * new, *_gates(weights, 1))


def _lstm(weights: Weights, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The state is h and c, concatenated; the gates are i, f, g and o."""
    h, c = state.chunk(2, dim=-1)
    from_x, from_h = _drives(weights, h, x)
    i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new_c = f * c + i * g
    squashed = new_c.tanh()
    w_i, w_f, w_g, w_o = _gates(weights, 4)
    c_by_h = _rows(g * i * (1 - i), w_i) + _rows(c * f * (1 - f), w_f) + _rows(i * (1 - g * g), w_g)
    slope = o * (1 - squashed * squashed)
    h_by_h = _rows(squashed * o * (1 - o), w_o) + _rows(slope, c_by_h)
    upper = torch.cat([h_by_h, (slope * f).diag_embed()], dim=-1)
    lower = torch.cat([c_by_h, f.diag_embed()], dim=-1)
    return torch.cat([o * squashed, new_c], dim=-1), torch.cat([upper, lower], dim=-2)


def _gru(weights: Weights, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gates are r, z and n; the reset gate is applied after the recurrent product, to the bias as well."""
    from_x, from_h = _drives(weights, state, x)
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=-1), from_h.chunk(3, dim=-1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    n = (n_x + r * n_h).tanh()
    w_r, w_z, w_n = _gates(weights, 3)
    share = (1 - z) * (1 - n * n)
    jacobian = _rows((state - n) * z * (1 - z), w_z) + _rows(share * n_h * r * (1 - r), w_r) + _rows(share * r, w_n)
    return n + z * (state - n), jacobian + z.diag_embed()


Step = Callable[[Weights, Tensor, Tensor], tuple[Tensor, Tensor]]  # state (M, B, S), x (B, I) -> state, (M, B, S, S)
STEPS: dict[type[nn.RNNBase], tuple[Step, int]] = {nn.RNN: (_elman, 1), nn.LSTM: (_lstm, 2), nn.GRU: (_gru, 1)}
