"""Reorthonormalisation: orthonormal deviations, and how much each of the given ones had grown."""

import torch
from torch import Tensor

PANEL = 32  # rows per Cholesky factor: 16 is not faster; 64 is hardly faster and less accurate


def reorthonormalise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, S) that span the same flag, and the log growth (..., k) of each.

    The method is Householder QR, so the result is orthonormal for any finite input. A direction is lost, with growth
    -inf, if its component orthogonal to the preceding ones is below the rounding error of its own length (Higham 2002,
    section 19.3). A sequence whose deviations are not finite gets NaN growth and a fresh basis. No values of the input
    raise an error.
    """
    finite = deviations.isfinite().all(-1).all(-1)[..., None, None]
    rows = torch.where(finite, deviations, torch.eye(*deviations.shape[-2:], dtype=deviations.dtype, device=deviations.device))
    basis, triangle = torch.linalg.qr(rows.mT)
    grown = triangle.diagonal(dim1=-2, dim2=-1).abs()
    below = rows.shape[-1] * torch.finfo(rows.dtype).eps * torch.linalg.vector_norm(rows, dim=-1)
    log = torch.where(grown > below, grown.log(), -torch.inf)
    return basis.mT, torch.where(finite[..., 0], log, torch.nan)


def triangularise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, S), and the upper triangular R (..., k, k) that maps them back to the given ones.

    The given deviation j is the sum over i <= j of R[i, j] times the new deviation i. The diagonal of R is the growth
    that `reorthonormalise` returns: 0 for a lost direction, otherwise positive. R is NaN for a sequence that is not
    finite.
    """
    rows, log = reorthonormalise(deviations)
    products = rows @ deviations.mT  # as accurate as the QR itself: within the rounding of each length
    signs = torch.where(products.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(rows)[..., None]
    triangle = (signs * products).triu(1) + log.exp().diag_embed()
    return rows * signs, torch.where(log.isnan()[..., None], torch.nan, triangle)


def reorthonormalise_fast(deviations: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Make deviations (N, k, S) nearly orthonormal in place; returns each one's growth (N, k) and which sequences succeeded (N,).

    The method is block Gram-Schmidt by recursive halving; panels of up to 32 rows are made orthonormal by a Cholesky
    factor of their Gram matrix, so that everything outside the panels is matrix products. Every operation on the rows is
    triangular and backward stable row by row. The flag is therefore as accurate as Householder's, and a small loss of
    orthogonality is made up for by the growth of the next call: in a series of calls, only the last one must be repeated
    (for Cholesky QR applied twice see Yamamoto et al. 2015). A sequence fails if the condition number of a panel exceeds
    about eps ** -1/2, 18 nats in float64, or if it is not finite.

    `probe` (N, P, k) is transformed like the rows. Random numbers of the size of each row's rounding error become numbers
    of the size of the new rows' errors along their own directions, and thereby of the errors of the log growth.
    """
    count = deviations.shape[-2]
    if count <= PANEL:
        triangle, failed = torch.linalg.cholesky_ex(deviations @ deviations.mT)
        deviations.copy_(torch.linalg.solve_triangular(triangle, deviations, upper=False))
        probe.copy_(torch.linalg.solve_triangular(triangle.mT, probe, upper=True, left=False))
        return triangle.diagonal(dim1=-2, dim2=-1), failed == 0
    half = _half(count)
    first, rest, first_probe, rest_probe = deviations[:, :half], deviations[:, half:], probe[..., :half], probe[..., half:]
    grown, succeeded = reorthonormalise_fast(first, first_probe)
    shares = rest @ first.mT
    rest.baddbmm_(shares, first, alpha=-1)
    rest_probe.baddbmm_(first_probe, shares.mT, alpha=-1)
    rest_grown, rest_succeeded = reorthonormalise_fast(rest, rest_probe)
    return torch.cat([grown, rest_grown], dim=-1), succeeded & rest_succeeded


def _half(count: int) -> int:
    """About half of the rows: a whole number of panels."""
    return max(1, count // PANEL // 2) * PANEL
