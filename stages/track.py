"""Brings MLflow up to date with the results on disk, without doubling a run: `python -m stages.track`.

For results that DVC restored from its cache, for those of a time when the store was down, and to show what a newer
version of this library shows of them.
"""

import sys

from pipeline import tracking
from pipeline.core.errors import PipelineError

if __name__ == "__main__":
    try:
        print(tracking.sync())
    except PipelineError as error:
        sys.exit(f"ERROR: track: {error}")
