"""One file a task, a dataset with its loss; the file's name is the task's name."""

from ..registry import get as _get
from ..registry import names as _names
from ._task import Splits, Task, driving_sequences

__all__ = ["Splits", "Task", "driving_sequences", "get", "names"]


def names() -> list[str]:
    """Names of all tasks."""
    return _names("tasks")


def get(name: str) -> Task:
    """The task that `tasks/<name>.py` defines; ConfigError, listing the tasks there are, if there is none."""
    return _get("tasks", name, Task)()
