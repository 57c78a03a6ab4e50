"""The dimension of an attractor from its Lyapunov exponents; without torch, for tables and tensors alike."""

import math
from collections.abc import Sequence


def kaplan_yorke_dimension(exponents: Sequence[float], state_size: int | None = None) -> float:
    """The Kaplan-Yorke dimension j + (l_1 + ... + l_j) / |l_{j+1}| of exponents sorted from the largest.

    Kaplan and Yorke 1979. j is the largest number of exponents whose sum is not negative; if all of them together have
    no negative sum, the dimension is their number.

    Args:
        exponents: nats per step, the largest first.
        state_size: S; NaN is returned if fewer exponents than that are given and their sum is not negative. By default
            the spectrum is taken to be complete.

    Returns:
        The dimension, NaN if an exponent is NaN.
    """
    if any(math.isnan(exponent) for exponent in exponents):
        return math.nan
    total = 0.0
    for count, exponent in enumerate(exponents):
        if total + exponent < 0:
            return float(count + total / -exponent)
        total += exponent
    return math.nan if state_size is not None and len(exponents) < state_size else float(len(exponents))
