"""Where the time of a study goes, and how long its stages are expected to take: `python -m pipeline.report.times`."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from ..core import config, layout
from ..core.config import Config
from ..core.errors import ArtefactError, PipelineError
from ..core.records import StageRecord
from ..core.tables import Table, duration

BETWEEN = "between stages"  # DVC at work, and Python starting
_PAUSE = 60.0  # seconds between two stages from which on they belong to different runs


def recorded(tasks: Sequence[str]) -> list[StageRecord]:
    """What the last run of each stage instance left; instances of other tasks and interrupted ones are left out."""
    records = []
    for path in sorted(layout.RECORDS.glob("*.json")):
        with suppress(ArtefactError):  # of another version: its stage has not run since
            records.append(StageRecord.load(path))
    return [record for record in records if record.seconds > 0 and set(record.words) <= set(tasks)]


def expected(settings: Config) -> dict[str, float]:
    """Instance of a stage as DVC names it, such as "train@adding" -> seconds that it took when it last ran to its end.

    It is left out if it had other settings then.
    """
    now = settings.model_dump(mode="json")
    alike = [r for r in recorded(settings.tasks) if all(now.get(name) == section for name, section in r.settings.items())]
    return {"@".join((record.stage, *record.words)): record.seconds for record in alike}


def table(records: Sequence[StageRecord]) -> Table:
    """Wall time by stage, with the gaps between stages; the sum comes last."""
    spent: dict[str, list[tuple[float, float]]] = {stage: [] for stage in layout.STAGES}
    for record in records:
        spent.setdefault(record.stage, []).append((record.seconds, record.tracking_seconds))
    spent[BETWEEN] = [(gap, 0.0) for gap in _gaps(records)]
    spent["sum"] = [pair for pairs in spent.values() for pair in pairs]
    total = sum(seconds for seconds, _ in spent["sum"])
    rows = []
    for stage, pairs in spent.items():
        if pairs:
            seconds, tracking = (sum(column) for column in zip(*pairs, strict=True))
            instances = len(records) if stage == "sum" else "" if stage == BETWEEN else len(pairs)
            rows.append([stage, instances, duration(seconds), f"{100 * seconds / total:.1f} %", duration(tracking)])
    return Table(["stage", "instances", "wall time", "share", "tracking"], rows, total=True)


def _gaps(records: Sequence[StageRecord]) -> list[float]:
    """Seconds between the end of one stage and the beginning of the next, where both belong to one run."""
    spans = sorted((r.began, r.began + r.seconds) for r in records)
    gaps = [begin - end for (_, end), (begin, _) in pairwise(spans)]
    return [gap for gap in gaps if 0 < gap < _PAUSE]


def main() -> None:
    """Print the table."""
    sys.stdout.write(f"{table(recorded(config.load('tasks').tasks)).text()}\n")


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
