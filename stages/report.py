"""Writes the report: `python -m stages.report`."""

import sys

from pipeline.core import stage
from pipeline.core.errors import TrackingError
from pipeline.report import page
from pipeline.report.study import Study
from pipeline.tracking import addresses


def main(run: stage.Run) -> None:
    """Write report/index.html and report/figures/."""
    page.write(Study.load(run.settings), _link())


def _link() -> str:
    """Where MLflow shows a trial; "" if its store cannot be used, which costs the page its links alone."""
    try:
        return addresses.of_trial(page.TRIAL)
    except TrackingError as error:
        print(f"WARNING: the report links to no run: {error}.", file=sys.stderr, flush=True)
        return ""


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
