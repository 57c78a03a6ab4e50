"""Measures the spectra of a task's and a cell's trials: `python -m stages.spectrum TASK CELL`."""

from functools import partial
from pathlib import Path

from pipeline import config, execution, stage, tracking, training
from pipeline.report.figures import trial_spectrum
from pipeline.training.measure import measure, measurements


def main(task: str, cell: str) -> dict[str, float]:
    """Write spectra/TASK-CELL/, a file a trial; files that are there already are kept."""
    settings = config.load()
    data = Path("data") / f"{task}.safetensors"
    trials = Path("trials") / f"{task}-{cell}"
    work = measurements(trials, data, settings.spectrum, Path("spectra") / f"{task}-{cell}", training.device(settings.device))
    processes = execution.process_count(settings.processes)
    with (
        execution.completing(measure, work, label=f"spectrum {task} {cell}", processes=processes) as complete,
        tracking.stage_run("spectrum", task, cell, settings=settings, parts=work) as run,
    ):
        complete(partial(run.spectra, results=trials, draw=trial_spectrum))
    print(run)
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
