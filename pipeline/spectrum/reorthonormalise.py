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
