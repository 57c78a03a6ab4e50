"""Range checks of the cells' own options, each with an error of one sentence."""

import math
from numbers import Integral, Real
from typing import NoReturn

from ...core.errors import ConfigError


def check_number(
    cell: object, option: str, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """ConfigError if an option of a cell is not a finite number > above, >= least and <= most."""
    value = getattr(cell, option)
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and above < number and least <= number <= most):
        _refuse(cell, option, _range(above, least, most))


def check_count(cell: object, option: str) -> None:
    """ConfigError if an option of a cell is not a whole number above 0."""
    value = getattr(cell, option)
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        _refuse(cell, option, "a whole number above 0")


def check_choice(cell: object, option: str, choices: tuple[str, ...]) -> None:
    """ConfigError if an option of a cell is not one of the choices."""
    if getattr(cell, option) not in choices:
        _refuse(cell, option, " or ".join(choices))


def _range(above: float, least: float, most: float) -> str:
    """The allowed values, as they complete the sentence "it should be ..."."""
    if math.isfinite(most):
        return f"in ({above:g}, {most:g}]" if math.isfinite(above) else f"in [{least:g}, {most:g}]"
    if math.isfinite(above):
        return f"above {above:g}"
    return f"at least {least:g}" if math.isfinite(least) else "a finite number"


def _refuse(cell: object, option: str, right: str) -> NoReturn:
    name = type(cell).__module__.rpartition(".")[2]
    raise ConfigError(f"cell {name}: {option} is {getattr(cell, option)!r}; it should be {right}")
