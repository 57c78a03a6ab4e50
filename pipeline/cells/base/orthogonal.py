"""Orthogonal and unitary recurrent weights, as torch parametrises them, and nonlinearities that preserve the norm."""

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import orthogonal


def _parametrisation(name: str) -> nn.Module:
    """Torch's map from a triangle X to base f(X - X^H); the sizes, dtype and base are those of each call."""
    with torch.device("cpu"):  # whatever the default device is
        holder = nn.Module()
        holder.weight = nn.Parameter(torch.eye(1))
        return orthogonal(holder, "weight", orthogonal_map=name).get_submodule("parametrizations.weight.0")


MAPS = {name: _parametrisation(name) for name in ("cayley", "matrix_exp")}


def orthogonal_matrix(name: str, triangle: Tensor, base: Tensor) -> Tensor:
    """The base (H, H) times f(A), orthogonal if the base is, unitary for complex numbers; A is the triangle minus its adjoint.

    Args:
        name: "cayley", f(A) = (I - A / 2)^-1 (I + A / 2), or "matrix_exp".
        triangle: (H, H), zero above the diagonal.
        base: (H, H) and orthogonal; a real f(A) has determinant 1, so that the base determines the sign of the determinant.
    """
    return functional_call(MAPS[name], {"base": base}, (triangle,))


def triangle(values: Tensor, size: int, diagonal: bool = False) -> Tensor:
    """The matrix (H, H) with the values row by row below its diagonal, or also on it, and zeros elsewhere."""
    places = torch.tril_indices(size, size, 0 if diagonal else -1, device=values.device)
    return values.new_zeros(size, size).index_put(tuple(places), values)


def rotations(entries: Tensor, size: int) -> Tensor:
    """Values (H (H - 1) / 2,) for `triangle` such that A consists of 2 x 2 blocks with the given entries (H // 2,)."""
    matrix = entries.new_zeros(size, size)
    second = torch.arange(1, size, 2)
    matrix[second, second - 1] = entries
    return matrix[tuple(torch.tril_indices(size, size, -1))]


def angles(size: int, generator: Generator, low: float = 0.0, high: float = torch.pi / 2) -> Tensor:
    """Angles (H // 2,) of the initial rotations; uniform(0, pi / 2) in Helfrich et al. 2018."""
    return torch.empty(size // 2).uniform_(low, high, generator=generator)


def uniform(shape: tuple[int, ...], scale: float, generator: Generator) -> Tensor:
    """Numbers drawn uniformly between -scale and scale, float32."""
    return torch.empty(shape).uniform_(-scale, scale, generator=generator)


def modrelu(z: Tensor, bias: Tensor) -> Tensor:
    """The function modReLU, sign(z) max(|z| + b, 0) (Arjovsky et al. 2016); its slope is 1 or 0, and 1 at z = 0 if b >= 0.

    It is computed as z + b sign(z), because sign(z) (|z| + b) would have slope 0 at z = 0, where every network stays while
    its input is 0.
    """
    return torch.where(z.abs() + bias < 0, 0.0, z + bias * z.sign())  # which keeps NaN


def complex_modrelu(z: Tensor, bias: Tensor) -> Tensor:
    """The function modReLU of complex z (B, 2 H), real before imaginary parts: keeps phases, sets moduli to max(|z| + b, 0).

    The modulus is computed as the root of |z|^2 + 1e-5 (Maduranga et al. 2019), so that the slope at 0 is finite, 1 + 316 b.
    """
    real, imaginary = z.chunk(2, dim=-1)
    modulus = (real.square() + imaginary.square() + 1e-5).sqrt()
    share = (1 + bias / modulus).relu()
    return z * torch.cat([share, share], dim=-1)
