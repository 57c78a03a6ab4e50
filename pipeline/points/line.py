"""Statistics of line attractors, lines of slow points that integrate evidence (Maheswaranathan et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import ModuleError
from .points import FixedPoints


@dataclass(frozen=True, eq=False)
class Line:
    """How close N points are to a line attractor whose position a readout reads.

    Attributes:
        share: share of the points' variance in the first principal component; 1 on a straight line, NaN for fewer than 2 points.
        moduli: (N, 2) moduli of the two largest eigenvalues; on a line attractor the first is near 1 and the second well below.
        alignment: (N,) |cosine| of the angle between the readout and the first right eigenvector, the tangent of the line.
        pushes: (N, W) how far each input moves the state along the line, l_1' J_inp (x - at); positive towards the readout.
        correlation: (N,) Pearson correlation between the pushes and the valences of the inputs; NaN if either is constant.
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
        readout: (S,) weights of the readout; zeros for parts of the state that are not read, such as an LSTM's c.
        inputs: (W, I), one input vector per word.
        valences: (W,), the contribution of each word to the right answer.

    Returns:
        A Line.

    Raises:
        ModuleError: if the sizes do not match those of the points.
    """
    if not isinstance(points, FixedPoints):
        raise ModuleError(f"points should be FixedPoints, as slow_points returns them, found {type(points).__name__}")
    for name, given_ in (("readout", readout), ("inputs", inputs), ("valences", valences)):
        if not isinstance(given_, Tensor) or not given_.isfinite().all():
            found = "NaN or infinite values" if isinstance(given_, Tensor) else type(given_).__name__
            raise ModuleError(f"{name} should be a tensor of finite numbers, found {found}")
    size, width = points.driven.shape[1:]
    wanted = (size,), (len(inputs), width), (len(inputs),)
    given = tuple(readout.shape), tuple(inputs.shape), tuple(valences.shape)
    if given != wanted:
        raise ModuleError(f"readout, inputs and valences should have the shapes {wanted}, found {given}")
    readout, inputs, valences = (t.detach().to(points.states) for t in (readout, inputs, valences))
    tangent, across = points.right[..., 0], points.left[:, 0]
    along = tangent @ readout.to(tangent)
    phase = along / along.abs()  # eigenvectors are defined up to a factor; choose the direction of the readout
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
    """Pearson correlation (N,) of each row (N, W) with the values (W,)."""
    rows, values = rows - rows.mean(-1, keepdim=True), values - values.mean()
    return (rows @ values) / (rows.norm(dim=-1) * values.norm())
