"""Tracks what lies on disk, without doubling what is tracked: `python -m stages.track`.

For stages that DVC restored from its cache, and for those whose store was dead.
"""

from pipeline import config, stage, tracking
from pipeline.report.figures import trial_spectrum


def main() -> dict[str, float]:
    """Bring the store to the state that the stages themselves would have left."""
    seconds = 0.0
    for run in tracking.from_disk(config.load(), trial_spectrum):
        print(run)
        seconds += run.seconds
    return {"tracking_seconds": seconds}


if __name__ == "__main__":
    stage.main(main)
