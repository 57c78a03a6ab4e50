"""The spectra of a trial in one chart, as SVG: MLflow's page of a run draws one chart per metric."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 300, 60, 34, 40
_POINTS = 64  # of a curve, at most
_COLOURS = ("#999999", "#e69f00", "#0072b2")  # before, early in and after training; told apart by colour-blind people


def spectra(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """A picture of spectra (S,) by their names, from the largest exponent to the smallest; what is not finite is left out."""
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves.values()])
    if not finite.size:
        return ""
    size = max(len(curve) for curve in curves.values())
    ticks = _ticks(min(0.0, float(finite.min())), max(0.0, float(finite.max())))
    low, high = ticks[0], ticks[-1]

    def x(rank: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 12) * (rank - 1) / max(1, size - 1)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = []
    for tick in ticks:
        stroke = "#333" if tick == 0 else "#ddd"
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - 12}" stroke="{stroke}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    for place, (name, curve) in enumerate(curves.items()):
        colour, at = _COLOURS[place % len(_COLOURS)], _LEFT + place * (_WIDTH - _LEFT) / len(curves)
        chosen = [rank for rank in _chosen(len(curve)) if np.isfinite(curve[rank - 1])]
        dots = " ".join(f"{x(rank):.1f},{y(curve[rank - 1]):.1f}" for rank in chosen)
        parts.append(f'<polyline points="{dots}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<path d="M{at:.0f} 16h18" stroke="{colour}" stroke-width="4"/><text x="{at + 24:.0f}" y="20">{name}</text>')
    parts += [f'<text x="{x(rank):.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{rank}</text>' for rank in sorted({1, size})]
    middle = (_LEFT + _WIDTH) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">number of the exponent (nats per step, upwards)</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
    return f'{head}font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, 0 among them, from below the lowest value to above the highest."""
    span = max(high - low, 1e-6) / 4
    power = 10.0 ** np.floor(np.log10(span))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= span)
    return [float(step * n) for n in range(int(np.floor(low / step)), max(1, int(np.ceil(high / step))) + 1)]


def _chosen(size: int) -> Sequence[int]:
    """Numbers of the exponents that are drawn."""
    return sorted({int(rank) for rank in np.linspace(1, size, min(size, _POINTS)).round()})
