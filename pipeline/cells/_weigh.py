"""Sums and products of gated cells for any leading axes, for derivatives by hand."""

from torch import Tensor

from ._cell import Params

MANY = 48  # gates times deviations from which the mixture pays, for 32 as for 128 units (LSTM, GRU and one gate, CPU)


def totals(params: Params, side: str, values: Tensor) -> Tensor:
    """Weight times values plus bias, if there is one: (..., B, I) -> (..., B, G * H); side is "ih" or "hh"."""
    product = values @ params[f"weight_{side}"].mT
    return product + params[f"bias_{side}"].unsqueeze(-2) if f"bias_{side}" in params else product


def add_weighed(weight: Tensor, slopes: Tensor, deviations: Tensor, out: Tensor) -> None:
    """Add to `out` (..., B, k, H) what gates do to deviations (..., B, k, I): the sum over gates of slope * (weight @ deviation).

    For many deviations the gates' weights are first mixed into one matrix a sequence, H x I; for few that costs more
    than it saves, and all sequences go through the gates' weights at once.

    Args:
        weight: (..., G * H, I), torch's stack of G gates.
        slopes: (..., B, G * H), the derivative of what is added by each gate's total.
        deviations: (..., B, k, I).
        out: (..., B, k, H), changed in place.
    """
    gates = slopes.shape[-1] // out.shape[-1]
    if gates * deviations.shape[-2] > MANY:
        matrix = _mixture(weight.unflatten(-2, (gates, -1)), slopes.unflatten(-1, (gates, -1)))
        out.view(-1, *out.shape[-2:]).baddbmm_(deviations.flatten(0, -3), matrix.flatten(0, -3).mT)
        return
    total = (deviations.flatten(-3, -2) @ weight.mT).unflatten(-2, deviations.shape[-3:-1])
    for part, slope in zip(total.chunk(gates, dim=-1), slopes.unsqueeze(-2).chunk(gates, dim=-1), strict=True):
        out.addcmul_(part, slope)


def _mixture(weight: Tensor, slopes: Tensor) -> Tensor:
    """Sum over gates of slope * weight: (..., G, H, I) and (..., B, G, H) -> (..., B, H, I)."""
    (first, slope), *others = zip(weight.unsqueeze(-4).unbind(-3), slopes.unsqueeze(-1).unbind(-3), strict=True)
    matrix = first * slope
    for gate, slope in others:
        matrix.addcmul_(gate, slope)
    return matrix
