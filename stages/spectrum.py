"""Measures the spectra of a task's trials: `python -m stages.spectrum TASK`."""

from pipeline.core import stage
from pipeline.measuring import spectra


def main(run: stage.Run, task: str) -> None:
    """Write spectra/TASK/, one file per trial; spectra that are there already are kept."""
    run.complete(spectra.jobs(run.settings, task), failed=spectra.diverged)


if __name__ == "__main__":
    stage.main(main, sections=("device", "spectrum"), words=("task",))
