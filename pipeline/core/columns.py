"""The description of a column of the feature table."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """The unit and meaning of a column, and its smallest and largest possible value."""

    unit: str
    meaning: str
    least: float = -math.inf
    most: float = math.inf
