"""The runs of a sweep's trials: one search for all, then each is made, completed, kept or replaced."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from ..artefacts import TrialResult, TrialSpectra, digest
from . import provenance, trials
from .store import TRIALS, Store
from .trials import Part

PARENT = "mlflow.parentRunId"
# Column of the predictions -> metric of a trial's run.
_SCORES = {"score": "score", "success": "success", "expected_score": "expected_score", "probability": "probability_of_success"}
Draw = Callable[[TrialResult, TrialSpectra], bytes]


@dataclass
class _Known:
    """A trial's run as it is in the store: without its digest if it was left half made."""

    run: str
    artifacts: str
    tags: dict[str, str]


class TrialRuns:
    """The runs of one task's and one cell's trials."""

    def __init__(self, store: Store, words: tuple[str, ...]) -> None:
        """Find them; `words` are task and cell, and without them there is nothing to find."""
        self._store = store
        self._known: dict[str, _Known] = {}
        if len(words) == 2:
            self._origin = provenance.tags("train", words)
            for run in found(store, TRIALS, f"tags.task = '{words[0]}' and tags.cell = '{words[1]}'"):
                self._note(run)

    def train(self, path: Path, result: TrialResult, parent: str) -> None:
        """Make a trial's run below its sweep's, unless it is there."""
        mark, known = digest(path), self._known.get(result.trial["id"])
        if known is None or known.tags.get("digest") != mark:
            self._make(path, result, mark, parent)
        elif known.tags.get(PARENT) != parent:
            self._adopt(known, parent)

    def measure(self, path: Path, spectra: TrialSpectra, result_path: Path, draw: Draw) -> None:
        """Complete a trial's run with its spectra; make it anew if it shows other ones, or another result."""
        mark, own = digest(path), digest(result_path)
        known = self._known.get(spectra.trial["id"])
        tags = known.tags if known else {}
        if (tags.get("spectra.digest"), tags.get("digest")) == (mark, own):
            return
        result = TrialResult.load(result_path)
        if known is None or tags.get("digest") != own or "spectra.digest" in tags:
            known = self._make(result_path, result, own, tags.get(PARENT))
        part = trials.measured(result, spectra, mark)
        self._picture(known, draw(result, spectra))
        self._write(known, part, path)
        known.tags |= part.tags

    def move(self, former: str, parent: str) -> None:
        """Put the runs below a sweep's run below another."""
        for known in self._known.values():
            if known.tags.get(PARENT) == former:
                self._adopt(known, parent)

    def _note(self, run: Run) -> None:
        trial, tags = run.data.tags.get("trial.id"), dict(run.data.tags)
        if trial is None:  # somebody else's
            return
        if trial in self._known:  # two processes made it at once
            self._store.client.delete_run(run.info.run_id)
            return
        if run.info.status != "FINISHED":  # half made
            tags.pop("digest", None)
        self._known[trial] = _Known(run.info.run_id, run.info.artifact_uri, tags)

    def _make(self, path: Path, result: TrialResult, mark: str, parent: str | None) -> _Known:
        trial, client = result.trial, self._store.client
        if trial["id"] in self._known:
            client.delete_run(self._known[trial["id"]].run)
        part, end = trials.trained(result, mark), milliseconds(path)
        tags = self._origin | self._former(trial["id"], mark) | part.tags | ({PARENT: parent} if parent else {})
        begin = end - round(1000 * result.outcome["seconds"])
        info = client.create_run(self._store.experiments[TRIALS], begin, tags, trials.name(trial)).info
        known = _Known(info.run_id, info.artifact_uri, tags)
        self._write(known, Part(part.points, part.parameters), path)
        data = Dataset(trial["task"], trial["data_hash"][:12], "local", f"data/{trial['task']}.safetensors")
        client.log_inputs(known.run, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        client.set_terminated(known.run, "FINISHED", end)
        self._known[trial["id"]] = known
        return known

    def _former(self, trial: str, mark: str) -> dict[str, str]:
        """Where the same result came from, if its run is only made anew."""
        tags = self._known[trial].tags if trial in self._known else {}
        kept = ("mlflow.source.git.commit", "git.dirty", "dvc.experiment")
        return {name: tags[name] for name in kept if name in tags} if tags.get("digest") == mark else {}

    def _write(self, known: _Known, part: Part, path: Path) -> None:
        """Log in one call; the time is the file's, so that points that are written twice are the same points."""
        when = milliseconds(path)
        metrics = [Metric(name, value, when, step) for name, value, step in part.points]
        params = [Param(*item) for item in part.parameters.items()]
        self._store.client.log_batch(known.run, metrics, params, [RunTag(*item) for item in part.tags.items()])

    def _picture(self, known: _Known, png: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "spectrum.png"
            file.write_bytes(png)
            get_artifact_repository(known.artifacts).log_artifact(str(file))

    def _adopt(self, known: _Known, parent: str) -> None:
        self._store.client.set_tag(known.run, PARENT, parent)
        known.tags[PARENT] = parent


def score(store: Store, predictions: pd.DataFrame) -> None:
    """Show on each trial's run its score, and what the predictor that had not seen it expected, unless it shows just that."""
    own = predictions[(predictions["split"] == "over trials") & (predictions["features"] == "all")].set_index("trial")
    rows = own[list(_SCORES)].rename(columns=_SCORES).astype(float).to_dict(orient="index")
    now = int(time.time() * 1000)
    for run in found(store, TRIALS, ""):
        values = rows.get(run.data.tags.get("trial.id"), {})
        new = [Metric(name, value, now, 0) for name, value in values.items() if run.data.metrics.get(name) != value]
        if new:
            store.client.log_batch(run.info.run_id, new)


def found(store: Store, experiment: str, where: str) -> list[Run]:
    """All runs of an experiment that a filter finds."""
    runs: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs([store.experiments[experiment]], where, max_results=5000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def milliseconds(path: Path) -> int:
    """When a file was written, as MLflow counts."""
    return path.stat().st_mtime_ns // 1_000_000
