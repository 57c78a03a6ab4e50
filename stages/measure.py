"""Measures a task's trials: `python -m stages.measure TASK`."""

from pipeline.core import stage
from pipeline.jobs import measurements, spectra
from pipeline.training import choose_device


def main(run: stage.Run, task: str) -> None:
    """Write spectra/TASK/ and measurements/TASK/, one file per trial; files that are there already are kept."""
    run.device = choose_device(run.settings)
    run.complete(spectra.jobs(run.settings, task), failed=spectra.diverged)
    run.complete(measurements.jobs(run.settings, task))


if __name__ == "__main__":
    stage.main(main, sections=("device", "spectrum"), words=("task",))
