"""Sums and products of gated cells for any leading axes, for hand-written derivatives."""

from torch import Tensor

from .cell import Params

MANY = 48  # gates times deviations above which mixing is faster, for 32 and for 128 units (LSTM, GRU and one gate, CPU)


def totals(params: Params, side: str, values: Tensor) -> Tensor:
    """The weight times the values, plus the bias if there is one: (..., B, I) -> (..., B, G * H); side is "ih" or "hh"."""
    product = values @ params[f"weight_{side}"].mT
    return product + params[f"bias_{side}"].unsqueeze(-2) if f"bias_{side}" in params else product


def add_weighed(weight: Tensor, slopes: Tensor, deviations: Tensor, out: Tensor) -> None:
    """Add the effect of G gates on deviations to `out`: the sum over gates of slope * (weight @ deviation).

    For many deviations, the weights of the gates are first mixed into one H x I matrix per sequence. For few deviations
    that costs more than it saves, and all sequences are multiplied by the gates' weights at once.

    Args:
        weight: (..., G * H, I), the weights of the gates as torch stacks them.
        slopes: (..., B, G * H), the derivative of the sum with respect to the total of each gate.
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
    """The sum over gates of slope * weight: (..., G, H, I) and (..., B, G, H) -> (..., B, H, I)."""
    (first, slope), *others = zip(weight.unsqueeze(-4).unbind(-3), slopes.unsqueeze(-1).unbind(-3), strict=True)
    matrix = first * slope
    for gate, slope in others:
        matrix.addcmul_(gate, slope)
    return matrix
