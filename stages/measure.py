"""Measures a task's trials: `python -m stages.measure TASK`."""

from pipeline.core import stage
from pipeline.jobs import measurements, spectra
from pipeline.training import MEASURING, sharing


def main(run: stage.Run, task: str) -> None:
    """Write spectra/TASK/ and measurements/TASK/, one file per trial; files that are there already are kept."""
    run.most = sharing(run.settings, MEASURING)
    run.complete(spectra.jobs(run.settings, task), failed=spectra.diverged)
    run.complete(measurements.jobs(run.settings, task))


if __name__ == "__main__":
    stage.main(main, sections=("device", "spectrum"), words=("task",))
