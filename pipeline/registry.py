"""How cells, tasks and heads are found: the folder is the registry, the file's name is the name."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from .errors import ConfigError


def names(package: str) -> list[str]:
    """Names of the public modules in a room ("cells", "tasks" or "heads"), sorted; imports none of them."""
    return sorted(m.name for m in iter_modules([str(Path(__file__).parent / package)]) if not m.name.startswith("_"))


def get(package: str, name: str, base: type) -> type:
    """The one subclass of `base` that `package/name.py` defines; ConfigError listing what there is otherwise."""
    if name not in names(package):
        raise ConfigError(f"there is no {package[:-1]} {name!r} in pipeline/{package}; there are {', '.join(names(package))}")
    module = import_module(f".{package}.{name}", __package__)
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, base) and c.__module__ == module.__name__]
    if len(found) != 1:
        raise ConfigError(
            f"pipeline/{package}/{name}.py defines {len(found)} subclasses of {base.__name__}; it should define one"
        )
    return found[0]


def sources(package: str, name: str) -> list[str]:
    """The files, relative to the library, that `package/name.py` is made of: it, and the room's private ones it imports."""
    found = [f"{package}/{name}.py"]
    for path in found:  # which grows while it is walked
        private = re.findall(r"^from \.(_\w+) import", (Path(__file__).parent / path).read_text(encoding="utf-8"), re.MULTILINE)
        found += [f for p in private if (f := f"{package}/{p}.py") not in found]
    return sorted(found)
