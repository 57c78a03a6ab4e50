"""Finds the fixed points of the best trial of each cell on a task: `python -m stages.fixed_points TASK`."""

from pipeline.core import stage
from pipeline.jobs import fixed_points


def main(run: stage.Run, task: str) -> None:
    """Write fixed_points/TASK/, one file per cell."""
    run.complete(fixed_points.jobs(run.settings, task))


if __name__ == "__main__":
    stage.main(main, sections=("seed", "spectrum", "fixed_points"), words=("task",))
