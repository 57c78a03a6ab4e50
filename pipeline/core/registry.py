"""How cells, tasks and heads are found: the folder is the registry, and the name of the file is the name."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from .errors import ConfigError
from .numbers import shown

LIBRARY = Path(__file__).parent.parent


def names(room: str) -> list[str]:
    """Names of the modules in a room ("cells", "tasks" or "heads"), sorted; nothing is imported. Sub-packages are not listed."""
    return sorted(module.name for module in iter_modules([str(LIBRARY / room)]) if not module.ispkg)


def check(room: str, wanted: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse names that are no files of a room, nor among `also`: ConfigError with those that are."""
    there = [*also, *names(room)]
    for name in wanted:
        if name not in there:
            raise ConfigError(f"there is no {room[:-1]} {shown(name)}; there are {', '.join(there)}")


def get(room: str, name: str, base: type) -> type:
    """The one subclass of `base` that `room/name.py` defines; ConfigError with the names there are otherwise."""
    check(room, [name])
    module = import_module(f"...{room}.{name}", __name__)
    classes = [
        c for c in vars(module).values() if isinstance(c, type) and issubclass(c, base) and c.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ConfigError(f"pipeline/{room}/{name}.py defines {len(classes)} subclasses of {base.__name__}; it should define one")
    return classes[0]
