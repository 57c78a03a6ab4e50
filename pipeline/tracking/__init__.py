"""MLflow: every artefact of the study as a run that can be read, compared and loaded; the only room that imports mlflow.

What is tracked is a projection of the artefacts: live while the stages work, and again from disk by
`python -m stages.track`, with the same runs and without doubling any. mlflow takes a second to import, so that
nothing of it is loaded before a name of this room is used.
"""

import gc
import time
from importlib import import_module
from typing import Any

_PUBLIC = {
    "stage_run": "runs",
    "StageRun": "runs",
    "files": "runs",
    "Content": "content",
    "prepared": "content",
    "located": "content",
    "tabulated": "content",
    "reported": "content",
    "from_disk": "disk",
    "register": "registry",
    "fetch_model": "registry",
    "links": "store",
}
__all__ = sorted(_PUBLIC)


_loading: list[float] = []  # seconds


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    begin, collects = time.perf_counter(), gc.isenabled()
    gc.disable()  # mlflow loads a fifth faster without
    try:
        value = getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    finally:
        if collects:
            gc.enable()
    _loading.append(time.perf_counter() - begin)
    return value


def loading_seconds() -> float:
    """The time that loading this room took, the first time it is asked for; 0 later."""
    seconds = sum(_loading)
    _loading.clear()
    return seconds


def __dir__() -> list[str]:
    return list(__all__)
