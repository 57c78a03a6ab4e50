"""Forward-mode derivatives of torch's GPU kernels for one step of an LSTM or GRU, which torch lacks."""

import warnings
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor


@cache
def differentiate_cells() -> None:
    """Tell torch the formulas of its kernels, once per process; it reads them where a forward-mode derivative is asked for.

    Without them, the modules inside a user's model would be differentiated backwards on a GPU, once for each number of the
    state. So they are where a version of torch does not take the formulas.
    """
    formulas = {"_thnn_fused_lstm_cell": _lstm, "_thnn_fused_gru_cell": _gru}
    with warnings.catch_warnings(), suppress(AttributeError, RuntimeError, TypeError):
        warnings.simplefilter("ignore")  # scripting is deprecated, but torch takes formulas in no other form
        for name, formula in formulas.items():
            torch.jit._register_decomposition(getattr(torch.ops.aten, name).default, torch.jit.script(formula).graph)


def _lstm(
    from_x: Tensor, from_h: Tensor, c: Tensor, bias_x: Tensor | None = None, bias_h: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The new h and c (B, H), and the totals of the gates (B, 4 H), from the shares of input and state in these."""
    total = from_x + from_h
    if bias_x is not None and bias_h is not None:
        total = total + bias_x + bias_h
    i, f, g, o = torch.chunk(total, 4, dim=1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * new.tanh(), new, total


def _gru(
    from_x: Tensor, from_h: Tensor, h: Tensor, bias_x: Tensor | None = None, bias_h: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The new h (B, H), and what the backward pass would need, from the shares of input and state in the gates (B, 3 H)."""
    if bias_x is not None and bias_h is not None:
        from_x, from_h = from_x + bias_x, from_h + bias_h
    r_x, z_x, n_x = torch.chunk(from_x, 3, dim=1)
    r_h, z_h, n_h = torch.chunk(from_h, 3, dim=1)
    n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
    return n + (z_x + z_h).sigmoid() * (h - n), from_x
