"""Orthonormal deviations and how much each had grown."""

import torch
from torch import Tensor


def reorthonormalise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, B, S) that span the same flag, and the log of each one's growth (..., B, k).

    Householder QR: what comes out is orthonormal for any finite input. A direction is lost, growth -inf, where its
    part orthogonal to the ones before it is below the rounding of its own length (Higham 2002, section 19.3); a
    sequence whose deviations are not finite gets NaN growth and a fresh basis. Never raises for numbers.
    """
    columns = deviations.movedim(-3, -1)  # (..., B, S, k)
    finite = columns.isfinite().all(-1).all(-1)[..., None]
    columns = torch.where(finite[..., None], columns, torch.eye(*columns.shape[-2:], dtype=columns.dtype, device=columns.device))
    basis, triangle = torch.linalg.qr(columns)
    grown = triangle.diagonal(dim1=-2, dim2=-1).abs()
    rounding = columns.shape[-2] * torch.finfo(columns.dtype).eps * columns.norm(dim=-2)
    log = torch.where(grown > rounding, grown.log(), -torch.inf)
    return basis.movedim(-1, -3), torch.where(finite, log, torch.nan)


def triangularise(deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal deviations (..., k, B, S) and the triangle R (..., B, k, k) that leads from them back to the given ones.

    Given deviation j is the sum over i <= j of R[i, j] times new deviation i; the diagonal is the growth that
    `reorthonormalise` says, so 0 for a lost direction and else positive; R is NaN for a sequence that is not finite.
    """
    rows, log = reorthonormalise(deviations)
    products = torch.einsum("...ibs,...jbs->...bij", rows, deviations)  # errs like the QR itself: rounding of each length
    signs = torch.where(products.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(rows)  # (..., B, k)
    triangle = (signs[..., None] * products).triu(1) + log.exp().diag_embed()
    triangle = torch.where(log.isnan()[..., None], torch.nan, triangle)
    return rows * signs.movedim(-1, -2)[..., None], triangle
