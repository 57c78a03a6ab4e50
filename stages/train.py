"""Trains the sweep of a task and a cell: `python -m stages.train TASK CELL`."""

from pathlib import Path

from pipeline import config, execution, stage, tracking, training
from pipeline.artefacts import TaskData


def main(task: str, cell: str) -> dict[str, float]:
    """Write trials/TASK-CELL/, a file a trial; trials that are there already are kept."""
    settings = config.load()
    data = Path("data") / f"{task}.safetensors"
    folder = Path("trials") / f"{task}-{cell}"
    about = TaskData.load(data).about
    trials = training.draw(settings.train, settings.seed, cell, about, training.device(settings.device))
    work = {trial.path(folder): (trial, data, folder) for trial in trials}
    processes = execution.process_count(settings.processes)
    with (
        execution.completing(training.train, work, label=f"train {task} {cell}", processes=processes) as complete,
        tracking.stage_run("train", task, cell, settings=settings, parts=work) as run,
    ):
        complete(run.trial)
    print(run)
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
