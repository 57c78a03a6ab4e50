"""Prepares a task's sequences: `python -m stages.prepare TASK`."""

from pipeline import tasks
from pipeline.core import layout, stage


def main(run: stage.Run, task: str) -> None:
    """Write data/TASK.safetensors and print what is in it."""
    data = tasks.get(task).prepare(task, run.settings.prepare.size, run.settings.seed)
    data.save(layout.data(task))
    print(data.info.summary())


if __name__ == "__main__":
    stage.main(main, sections=("seed", "prepare"), words=("task",))
