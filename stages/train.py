"""Trains the sweep of a task and a cell: `python -m stages.train TASK CELL`."""

from pathlib import Path

from pipeline import config, execution, stage, training
from pipeline.artefacts import TaskData, TrialResult


def main(task: str, cell: str) -> None:
    """Write trials/TASK-CELL/, a file a trial; trials that are there already are kept."""
    settings = config.load()
    data = Path("data") / f"{task}.safetensors"
    folder = Path("trials") / f"{task}-{cell}"
    about = TaskData.load(data).about
    trials = training.draw(settings.train, settings.seed, cell, about, training.device(settings.device))
    execution.complete(
        training.train,
        {trial.path(folder): (trial, data, folder) for trial in trials},
        label=f"train {task} {cell}",
        processes=execution.process_count(settings.processes),
        on_file=lambda path: TrialResult.load(path).outcome["diverged"],
    )


if __name__ == "__main__":
    stage.main(main)
