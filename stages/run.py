"""Runs the stages that are out of date, and shows where the study stands: `python -m stages.run [PROFILE]`, or `make run`."""

import sys

from pipeline.report import run

if __name__ == "__main__":
    run.main(*sys.argv[1:2])
