"""Linear equations, inverses and determinants of stacks of matrices, right on any number of threads."""

from collections.abc import Callable

import torch
from torch import Tensor

# Torch's LU of a stack runs several matrices at once on a CPU with several threads. From 151 rows on they disturb each other
# in MKL, which gives wrong numbers, raises or hangs (pytorch #142815). One at a time, 512 systems of 64 rows take as long as
# the stack (13 ms on one thread), those of 128 and 256 rows 0.7 and 0.8 times as long; of 16 rows, ten times as long.
STACKED_ROWS = 64


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """The solutions (N, S) of matrices (N, S, S) times solution = right (N, S); any numbers where a matrix is singular."""
    return _each(lambda a, b: torch.linalg.solve_ex(a, b[..., None])[0][..., 0], matrices, right)


def inverse(matrices: Tensor) -> Tensor:
    """The inverses of matrices (N, S, S); NaN where a matrix is singular."""

    def invert(matrix: Tensor) -> Tensor:
        found, failed = torch.linalg.inv_ex(matrix)
        return torch.where((failed == 0)[..., None, None], found, torch.nan)

    return _each(invert, matrices)


def sign_of_determinant(matrices: Tensor) -> Tensor:
    """The signs (N,) of the determinants of matrices (N, S, S)."""
    return _each(lambda a: torch.linalg.slogdet(a).sign, matrices)


def _each(function: Callable[..., Tensor], matrices: Tensor, *others: Tensor) -> Tensor:
    """A function of matrices (N, S, S) and other stacks (N, ...): of the whole stacks if that is safe, else one at a time."""
    if matrices.device.type != "cpu" or matrices.shape[-1] <= STACKED_ROWS or not len(matrices):
        return function(matrices, *others)
    return torch.stack([function(*parts) for parts in zip(matrices, *others, strict=True)])
