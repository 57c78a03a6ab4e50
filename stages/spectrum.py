"""Measures the spectra of a task's and a cell's trials: `python -m stages.spectrum TASK CELL`."""

from pathlib import Path

from pipeline import config, execution, stage, training
from pipeline.training.measure import measure, measurements
from pipeline.artefacts import TrialSpectra, trials_in


def main(task: str, cell: str) -> None:
    """Write spectra/TASK-CELL/, a file a trial; files that are there already are kept."""
    settings = config.load()
    data = Path("data") / f"{task}.safetensors"
    trials = Path("trials") / f"{task}-{cell}"
    execution.complete(
        measure,
        measurements(trials, data, settings.spectrum, Path("spectra") / f"{task}-{cell}", training.device(settings.device)),
        label=f"spectrum {task} {cell}",
        processes=execution.process_count(settings.processes),
        on_file=lambda path: TrialSpectra.load(path).diverged,
    )


if __name__ == "__main__":
    stage.main(main)
