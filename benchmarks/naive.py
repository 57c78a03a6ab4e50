"""The textbook's loop and nothing else: a dense Jacobian by reverse mode for every step of every sequence, then QR."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import jacrev

CELLS: dict[type[nn.RNNBase], type[nn.RNNCellBase]] = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}


def exponents(module: nn.RNNBase, inputs: Tensor, count: int, transient: int, *, basis: Tensor | None = None) -> Tensor:
    """(B, k) exponents of each sequence in nats per step, float64, in the order of the directions (Benettin et al. 1980).

    Args:
        module: one layer, not bidirectional; it starts at zero.
        inputs: (T, B, I).
        count: k.
        transient: steps that are not counted.
        basis: (S, k) orthonormal columns to start from; random ones, always the same, by default.
    """
    step, size = _one_step(module)
    inputs = inputs.double()
    basis = random_basis(size, count).to(inputs) if basis is None else basis
    return torch.stack([_of_sequence(step, sequence, basis, transient) for sequence in inputs.unbind(1)])


def random_basis(size: int, count: int) -> Tensor:
    """Random orthonormal columns (S, k), float64, always the same."""
    return torch.linalg.qr(torch.randn(size, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]


@torch.no_grad()
def _of_sequence(step: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, basis: Tensor, transient: int) -> Tensor:
    """Exponents (k,) along inputs (T, I)."""
    state = basis.new_zeros(len(basis))
    total = basis.new_zeros(basis.shape[1])
    for t, x in enumerate(inputs):
        jacobian = jacrev(step)(state, x)
        state = step(state, x)
        basis, triangle = torch.linalg.qr(jacobian @ basis)  # later Jacobians on the left
        if t >= transient:
            total += triangle.diagonal().abs().log()
    return total / (len(inputs) - transient)


def _one_step(module: nn.RNNBase) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    """The module's step (S,), (I,) -> (S,) by torch's own cell in float64, and S."""
    options = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    cell = CELLS[type(module)](module.input_size, module.hidden_size, bias=module.bias, **options)
    cell.to(next(module.parameters()).device, torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    if not isinstance(cell, nn.LSTMCell):
        return lambda state, x: cell(x, state), module.hidden_size
    return lambda state, x: torch.cat(cell(x, state.chunk(2))), 2 * module.hidden_size
