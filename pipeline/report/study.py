"""The whole study as the report sees it, and its tables."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ..artefacts import TrialResult, TrialSpectra, load_json
from ..config import Config

BETWEEN = "between stages"  # DVC at work, and Python starting
KINDS = ("prepare", "train", "spectrum", "fixed_points", "features", "predictor", "report", BETWEEN)
_PAUSE = 60.0  # seconds between two stages from which on they are not of one run


@dataclass(frozen=True)
class Study:
    """All artefacts of a run.

    Attributes:
        settings: params.yaml.
        tasks: name -> `TaskData.about`.
        trials, spectra: of all tasks and cells.
        table: features/features.parquet.
        predictions: predictor/predictions.parquet.
        result: metrics/predictor.json.
        timings: a dict a stage instance: stage, seconds and perhaps tracking_seconds.
    """

    settings: Config
    tasks: Mapping[str, Mapping[str, Any]]
    trials: Sequence[TrialResult]
    spectra: Sequence[TrialSpectra]
    table: pd.DataFrame
    predictions: pd.DataFrame
    result: Mapping[str, Any]
    timings: Sequence[Mapping[str, Any]]

    @property
    def titles(self) -> dict[str, str]:
        """Name -> title of each task, in the order of params.yaml."""
        return {name: self.tasks[name]["title"] for name in self.settings.tasks}

    @property
    def final(self) -> pd.DataFrame:
        """A row a trial: the table at the last checkpoint."""
        return self.table[self.table["checkpoint"] == "final"]


def trials_by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Trials, divergences, successes, the best loss and the median score of each task and cell; the order is the table's."""
    final = table[table["checkpoint"] == "final"].groupby(["task", "cell"], sort=False)
    return pd.DataFrame(
        {
            "trials": final.size(),
            "diverged": final["diverged"].sum(),
            "successes": final["success"].sum(),
            "best loss": final["final_loss"].min(),
            "chance": final["chance"].first(),
            "median score": final["score"].median(),
        }
    ).reset_index()


def timings_in(folder: Path, began: float, tracking_seconds: float = 0.0) -> list[dict[str, Any]]:
    """The timings of all stages that have run, and of the report, which has run since `began` (seconds since 1970)."""
    others = [load_json(path) for path in sorted(folder.glob("*.json")) if path.stem != "report"]
    return [*others, {"stage": "report", "began": began, "seconds": time.time() - began, "tracking_seconds": tracking_seconds}]


def timing_rows(timings: Sequence[Mapping[str, Any]], settings: Config) -> pd.DataFrame:
    """A row an instance of a stage: kind, cell (empty if it is for none), seconds, tracking_seconds.

    Instances of tasks and cells that params.yaml no longer names are left out.
    """
    pairs = {f"-{task}-{cell}": cell for task in settings.tasks for cell in settings.cells}
    known = {"": ""} | {f"-{task}": "" for task in settings.tasks} | pairs
    rows = [(BETWEEN, "", gap, 0.0) for gap in _gaps(timings)]
    for timing in timings:
        kind = timing["stage"].split("-")[0]
        rest = timing["stage"].removeprefix(kind)
        if rest in known:
            rows.append((kind, known[rest], float(timing["seconds"]), float(timing.get("tracking_seconds") or 0.0)))
    rows.sort(key=lambda row: KINDS.index(row[0]) if row[0] in KINDS else len(KINDS))
    return pd.DataFrame(rows, columns=["kind", "cell", "seconds", "tracking_seconds"])


def _gaps(timings: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds between the end of one stage and the begin of the next, where they are of one run."""
    spans = sorted((t["began"], t["began"] + t["seconds"]) for t in timings if "began" in t)
    gaps = [begin - end for (_, end), (begin, _) in pairwise(spans)]
    return [gap for gap in gaps if 0 < gap < _PAUSE]


def time_by_kind(timings: Sequence[Mapping[str, Any]], settings: Config) -> pd.DataFrame:
    """Where the time goes: stage, instances, seconds, share, tracking (seconds, contained in the former); the sum last."""
    rows = timing_rows(timings, settings)
    kinds = rows.groupby("kind", sort=False)
    found = pd.DataFrame(
        {"instances": kinds.size(), "seconds": kinds["seconds"].sum(), "tracking": kinds["tracking_seconds"].sum()}
    )
    found.loc["sum"] = found.sum()
    found.insert(2, "share", found["seconds"] / rows["seconds"].sum())
    return found.astype({"instances": int}).reset_index(names="stage")


def time_text(timings: Sequence[Mapping[str, Any]], settings: Config) -> str:
    """The table of where the time goes, for a terminal."""
    found = time_by_kind(timings, settings)
    shown = found.to_string(
        index=False, formatters={"seconds": "{:.1f}".format, "share": "{:.1%}".format, "tracking": "{:.1f}".format}
    )
    total = found.iloc[-1]
    busy = f"{total['tracking']:.0f} s on tracking, mostly while the workers computed"
    return f"{shown}\nWall time in seconds. Of it the main process spent {busy}."
