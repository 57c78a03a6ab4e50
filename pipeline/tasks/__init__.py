"""Tasks, datasets with their losses, one file per task; the name of the file is the name of the task."""

from ..core.registry import get as _get
from ..core.registry import names as _names
from .base.task import Splits, Task, driving_sequences

__all__ = ["Splits", "Task", "driving_sequences", "get", "names"]


def names() -> list[str]:
    """Names of all tasks."""
    return _names("tasks")


def get(name: str) -> Task:
    """The task that `tasks/<name>.py` defines; ConfigError, listing the existing tasks, if there is none."""
    return _get("tasks", name, Task)()
