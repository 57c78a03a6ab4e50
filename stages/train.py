"""Trains the trials of a task: `python -m stages.train TASK`."""

from pipeline import training
from pipeline.core import stage


def main(run: stage.Run, task: str) -> None:
    """Write trials/TASK/, one file per trial; trials that are there already are kept."""
    training.check_data(run.settings.spectrum, task)
    run.most = training.sharing(run.settings, training.TRAINING)
    run.complete(training.jobs(run.settings, task), failed=training.diverged)


if __name__ == "__main__":
    stage.main(main, sections=("seed", "device", "cells", "train", "spectrum"), words=("task",))
