"""Orthonormal deviations and how much each had grown."""

import torch
from torch import Tensor

PANEL = 32  # rows of which a Cholesky factor is taken at once: with 16 nothing is faster, with 64 little is, and less is accurate


def reorthonormalise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, S) that span the same flag, and the log of each one's growth (..., k).

    Householder QR: what comes out is orthonormal for any finite input. A direction is lost, growth -inf, where its
    part orthogonal to the ones before it is below the rounding of its own length (Higham 2002, section 19.3); a
    sequence whose deviations are not finite gets NaN growth and a fresh basis. Never raises for numbers.
    """
    finite = deviations.isfinite().all(-1).all(-1)[..., None, None]
    rows = torch.where(finite, deviations, torch.eye(*deviations.shape[-2:], dtype=deviations.dtype, device=deviations.device))
    basis, triangle = torch.linalg.qr(rows.mT)
    grown = triangle.diagonal(dim1=-2, dim2=-1).abs()
    below = rows.shape[-1] * torch.finfo(rows.dtype).eps * torch.linalg.vector_norm(rows, dim=-1)
    log = torch.where(grown > below, grown.log(), -torch.inf)
    return basis.mT, torch.where(finite[..., 0], log, torch.nan)


def triangularise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, S) and the triangle R (..., k, k) that leads from them back to the given ones.

    Given deviation j is the sum over i <= j of R[i, j] times new deviation i; the diagonal is the growth that
    `reorthonormalise` says, so 0 for a lost direction and else positive; R is NaN for a sequence that is not finite.
    """
    rows, log = reorthonormalise(deviations)
    products = rows @ deviations.mT  # errs like the QR itself: rounding of each length
    signs = torch.where(products.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(rows)[..., None]
    triangle = (signs * products).triu(1) + log.exp().diag_embed()
    return rows * signs, torch.where(log.isnan()[..., None], torch.nan, triangle)


def reorthonormalise_fast(deviations: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Make deviations (N, k, S) nearly orthonormal in place; the growth (N, k) of each, and whether each (N,) came through.

    Block Gram-Schmidt by halves down to panels, which a Cholesky factor of their Gram matrix makes orthonormal: all but
    the panels is matrix products. Every operation on the rows is triangular and backward stable row by row, so
    the flag is as accurate as Householder's, and the rows' small loss of orthogonality is paid back by the next call's growth:
    only a last call in a row of calls needs repeating (Yamamoto et al. 2015 for Cholesky-QR, twice). A sequence does not come
    through where a panel's condition number passes about eps ** -1/2, 18 nats in float64, and where it is not finite.

    `probe` (N, P, k) undergoes what the rows do: random numbers of the size of each row's error come out as the size of
    the errors of the new rows in the directions that are their own, and so of the logarithms of their growth.
    """
    count = deviations.shape[-2]
    if count <= PANEL:
        triangle, failed = torch.linalg.cholesky_ex(deviations @ deviations.mT)
        deviations.copy_(torch.linalg.solve_triangular(triangle, deviations, upper=False))
        probe.copy_(torch.linalg.solve_triangular(triangle.mT, probe, upper=True, left=False))
        return triangle.diagonal(dim1=-2, dim2=-1), failed == 0
    half = _half(count)
    first, rest, probed, unprobed = deviations[:, :half], deviations[:, half:], probe[..., :half], probe[..., half:]
    grown, fine = reorthonormalise_fast(first, probed)
    shares = rest @ first.mT
    rest.baddbmm_(shares, first, alpha=-1)
    unprobed.baddbmm_(probed, shares.mT, alpha=-1)
    more, fine_too = reorthonormalise_fast(rest, unprobed)
    return torch.cat([grown, more], dim=-1), fine & fine_too


def _half(count: int) -> int:
    """Half of the rows, in whole panels."""
    return max(1, count // PANEL // 2) * PANEL
