"""Prepares a task's sequences: `python -m stages.prepare TASK`."""

from pathlib import Path

from pipeline import config, stage, tasks


def main(task: str) -> None:
    """Write data/TASK.safetensors and say what is in it."""
    settings = config.load()
    data = tasks.get(task).prepare(task, settings.prepare.size, settings.seed)
    data.save(Path("data") / f"{task}.safetensors")
    print(data.summary())


if __name__ == "__main__":
    stage.main(main)
