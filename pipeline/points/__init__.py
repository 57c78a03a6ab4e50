"""Fixed points, slow points and line attractors of driven maps, with the linear maps near them."""

from .find import fixed_points, slow_points
from .line import Line, line_attractor
from .points import FixedPoints

__all__ = ["FixedPoints", "Line", "fixed_points", "line_attractor", "slow_points"]
