"""Writes the report: `python -m stages.report`."""

from pipeline.core import stage
from pipeline.report import page
from pipeline.report.study import Study


def main(run: stage.Run) -> None:
    """Write report/index.html and report/figures/."""
    page.write(Study.load(run.settings))


if __name__ == "__main__":
    stage.main(
        main,
        sections=(
            "study",
            "seed",
            "device",
            "tasks",
            "cells",
            "prepare",
            "train",
            "spectrum",
            "fixed_points",
            "success",
            "predictor",
        ),
    )
