"""What a column of the feature table holds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of the table: its unit, what it holds, and its least and largest possible value."""

    unit: str
    meaning: str
    least: float = -math.inf
    most: float = math.inf
