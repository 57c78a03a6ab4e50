"""Whether slow points form a line along which evidence adds up (Maheswaranathan et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ModuleError
from .points import FixedPoints


@dataclass(frozen=True)
class Line:
    """How close N points are to a line attractor that a readout reads.

    Attributes:
        share: of the points' variance in their first principal component; 1 on a straight line, NaN for fewer than two points.
        moduli: (N, 2) of the two largest eigenvalues; on a line attractor the first is near 1 and the second well below.
        alignment: (N,) |cosine| between the readout and the first right eigenvector, the line's tangent.
        pushes: (N, W) how far each input moves the state along the line, l_1' J_inp (x - at), towards the readout where positive.
        correlation: (N,) Pearson's, between the pushes and the inputs' valences; NaN where either does not vary.
    """

    share: float
    moduli: Tensor
    alignment: Tensor
    pushes: Tensor
    correlation: Tensor


def line_attractor(points: FixedPoints, readout: Tensor, inputs: Tensor, valences: Tensor) -> Line:
    """The statistics of a line attractor.

    Args:
        points: N slow points.
        readout: (S,) weights of the answer; zeros for parts of the state that are not read, such as an LSTM's c.
        inputs: (W, I), each word's vector.
        valences: (W,), each word's share in the right answer.

    Raises:
        ModuleError: sizes that do not match the points'.
    """
    size, width = points.driven.shape[1:]
    wanted = (size,), (len(inputs), width), (len(inputs),)
    given = tuple(readout.shape), tuple(inputs.shape), tuple(valences.shape)
    if given != wanted:
        raise ModuleError(f"readout, inputs and valences should have the shapes {wanted}, found {given}")
    readout, inputs, valences = (t.detach().to(points.states) for t in (readout, inputs, valences))
    tangent, across = points.right[..., 0], points.left[:, 0]
    along = tangent @ readout.to(tangent)
    phase = along / along.abs()  # an eigenvector is given up to a factor: the line's direction is that of the readout
    pushes = ((across * phase[:, None])[:, None] @ points.driven.to(across) @ (inputs - points.at).T.to(across))[:, 0].real
    return Line(
        share=first_share(points.states),
        moduli=points.eigenvalues.abs()[:, :2],
        alignment=along.abs() / readout.norm(),
        pushes=pushes,
        correlation=_correlation(pushes, valences),
    )


def first_share(states: Tensor) -> float:
    """The share of the variance of states (N, S) in their first principal component."""
    if len(states) < 2:
        return float("nan")
    squares = torch.linalg.svdvals(states - states.mean(0)).square()
    return float(squares[0] / squares.sum())


def _correlation(rows: Tensor, values: Tensor) -> Tensor:
    """Pearson's correlation (N,) of each of rows (N, W) with values (W,)."""
    rows, values = rows - rows.mean(-1, keepdim=True), values - values.mean()
    return (rows @ values) / (rows.norm(dim=-1) * values.norm())
