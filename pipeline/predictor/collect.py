"""Puts the trials of the last study into those that come with the library: `python -m pipeline.predictor.collect`."""

import sys

from ..core import config, layout
from ..core.errors import PipelineError
from ..core.files import load_table
from . import trials


def main() -> None:
    """Replace the trials of the study of params.yaml in pipeline/data/trials.parquet."""
    settings = config.load("study")
    rows = trials.collect(load_table(layout.FEATURES), settings.study)
    sys.stdout.write("".join(f"{name}: {count} trials\n" for name, count in trials.studies(rows).items()))


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
