"""Prepares a task's sequences: `python -m stages.prepare TASK`."""

from pathlib import Path

from pipeline import config, stage, tasks, tracking


def main(task: str) -> dict[str, float]:
    """Write data/TASK.safetensors and say what is in it."""
    settings = config.load()
    with tracking.stage_run("prepare", task, settings=settings) as run:
        data = tasks.get(task).prepare(task, settings.prepare.size, settings.seed)
        data.save(Path("data") / f"{task}.safetensors")
        run.record(tracking.prepared(data))
    print(data.summary(), run, sep="\n")
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
