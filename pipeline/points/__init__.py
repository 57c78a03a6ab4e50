"""Where a driven map stands still, and what it does nearby: fixed points, slow points, line attractors."""

from .find import fixed_points, slow_points
from .line import Line, line_attractor
from .points import FixedPoints

__all__ = ["FixedPoints", "Line", "fixed_points", "line_attractor", "slow_points"]
