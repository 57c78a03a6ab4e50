"""Lyapunov exponents by the textbook's algorithm, written for reading: the definition that the engine is tested against."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacrev


@torch.no_grad()
def reference_spectrum(
    step: Callable[[Tensor, Tensor], Tensor], state: Tensor, inputs: Tensor, deviations: Tensor, *, transient: int = 0
) -> Tensor:
    """The Lyapunov exponents along one driven trajectory, in nats per step.

    Each step multiplies small deviations from the trajectory by its Jacobian, and a QR decomposition makes them
    orthonormal again. The diagonal of R holds the factors by which they grew, and an exponent is the mean logarithm of
    one of these factors (Benettin et al. 1980; for recurrent networks Engelken et al. 2023). Nothing here is fast: the
    Jacobian is a dense matrix, by reverse-mode differentiation.

    Args:
        step: state (S,), input (I,) -> state (S,).
        state: (S,) where the trajectory starts; its dtype is that of the computation, preferably float64.
        inputs: (T, I).
        deviations: (S, k) orthonormal columns to start from, 1 <= k <= S.
        transient: number of steps that align the deviations and are not counted, below T.

    Returns:
        (k,) exponents in the order of the deviations: largest first after a long transient, but not sorted. -inf for a
        direction that a counted Jacobian annihilates exactly; one that is lost only to rounding gets a finite, meaningless
        number. NaN if a state is not finite.
    """
    total = state.new_zeros(deviations.shape[1])
    for t, x in enumerate(inputs):
        jacobian = jacrev(step)(state, x)
        state = step(state, x)
        deviations, triangle = torch.linalg.qr(jacobian @ deviations)  # later Jacobians multiply from the left
        if t >= transient:
            total += triangle.diagonal().abs().log()
    return total / (len(inputs) - transient)
