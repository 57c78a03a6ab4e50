"""The spectra of a trial in one chart, as SVG: MLflow's page of a run draws one chart per metric."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Pixels: with a line of text, MLflow folds a note whose picture is higher.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 54, 44, 420, 4, 50
_POINTS = 64  # of a curve, at most
_COLOURS = ("#999999", "#e69f00", "#0072b2")  # before, early in and after training; told apart by colour-blind people


def spectra(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """A picture of spectra (S,) by what the legend says of them; what is not finite is left out, "" if nothing is finite."""
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves.values()])
    if not finite.size:
        return ""
    size = max(len(curve) for curve in curves.values())
    low, high = min(float(finite.min()), -1e-9), max(float(finite.max()), 0.0)

    def x(rank: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (rank - 1) / max(1, size - 1)

    def y(value: float) -> float:
        return _TOP + (_BOTTOM - _TOP) * (high - value) / (high - low)

    parts = [f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}M{_LEFT} {y(0):.1f}H{_RIGHT}" stroke="#666" fill="none"/>']
    # 0 and the smallest exponent
    parts += [f'<text x="{_LEFT - 4}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>' for v in (0.0, low)]
    for place, (name, curve) in enumerate(curves.items()):
        colour, at = _COLOURS[place % len(_COLOURS)], 15 + 17 * place
        ranks = [rank for rank in _chosen(len(curve)) if np.isfinite(curve[rank - 1])]
        dots = " ".join(f"{x(rank):.1f},{y(curve[rank - 1]):.1f}" for rank in ranks)
        parts.append(f'<polyline points="{dots}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<path d="M{_RIGHT + 14} {at - 4}h16" stroke="{colour}" stroke-width="4"/>')
        parts.append(f'<text x="{_RIGHT + 36}" y="{at}">{name}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
    return f'{head}font-family="sans-serif" font-size="11.5"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'


def _chosen(size: int) -> Sequence[int]:
    """Numbers of the exponents that are drawn."""
    return sorted({int(rank) for rank in np.linspace(1, size, min(size, _POINTS)).round()})
