"""The run of one stage instance: found by its key, made once, replaced when what it shows has changed."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from ..artefacts import TrialResult, TrialSpectra, digest, load_json, load_table
from ..config import Config
from ..errors import TrackingError
from . import loading_seconds, provenance, store, trial_runs, trials
from .content import Content, Source, predicted, swept
from .trial_runs import Draw, TrialRuns

# The parts of params.yaml that a stage depends on.
_SECTIONS = {
    "prepare": ("prepare", "seed"),
    "train": ("train", "seed"),
    "spectrum": ("spectrum",),
    "fixed_points": ("fixed_points", "spectrum", "seed"),
    "features": ("success",),
    "predictor": ("predictor", "success", "seed"),
}


@contextmanager
def stage_run(
    stage: str, *words: str, settings: Config, parts: Iterable[str | Path] = (), timing: Path | None = None
) -> Iterator["StageRun"]:
    """The run of one stage instance, open as long as the block.

    A failure of the store within the block is kept: what follows is not tracked, and the block ends with the error.

    Args:
        stage: its name.
        *words: of the command line.
        settings: of the study.
        parts: what the instance works on (names, hashes); with its parameters they are the run's key.
        timing: the file timings/<instance>.json, when artefacts of an earlier time are tracked.

    Raises:
        TrackingError: the store cannot be used, at the start or at the end.
    """
    run = StageRun(stage, words, settings, parts, timing)
    try:
        yield run
    except KeyboardInterrupt:
        run.close("KILLED")
        raise
    except BaseException:
        run.close("FAILED")
        raise
    run.close("FINISHED")
    if run.error is not None:
        raise run.error


class StageRun:
    """The run of one stage instance.

    Attributes:
        id: of the run.
        seconds: spent in tracking.
        error: the first failure of the store, after which nothing is tracked.
    """

    def __init__(
        self, stage: str, words: tuple[str, ...], settings: Config, parts: Iterable[str | Path], timing: Path | None
    ) -> None:
        begin = time.perf_counter()
        self.error: TrackingError | None = None
        self._store = store.connect()
        self._began, self._ended = _span(timing)
        self._name = " ".join([stage, *words])
        self._parameters = _parameters(settings, _SECTIONS.get(stage, ()))
        self._tags = provenance.tags(stage, words) | dict(zip(("task", "cell"), words, strict=False))
        self._tags |= {
            "key": _hash([self._name, self._parameters, sorted(map(str, parts))]),
            "parameters.hash": _hash(self._parameters),
        }
        self._tracked: list[tuple[str, dict[str, float]]] = []  # digest and figures of each trial
        with store.speaking(self._store.address):
            self._open()
            self._trials = TrialRuns(self._store, words)
        self.seconds = time.perf_counter() - begin + loading_seconds()

    @property
    def _client(self) -> MlflowClient:
        return self._store.client

    def trial(self, path: Path) -> bool:
        """Track a trial's file; whether the trial diverged."""
        result = TrialResult.load(path)
        self._tracked.append((digest(path), trials.figures(result)))
        self._attempt(lambda: self._trials.train(path, result, self.id))
        return bool(result.outcome["diverged"])

    def spectra(self, path: Path, results: Path, draw: Draw) -> bool:
        """Track a file of spectra, whose trial lies in the folder `results`; whether a state was not finite.

        `draw` makes the picture (PNG) of a trial's spectra; it is called only where the run has none.
        """
        spectra = TrialSpectra.load(path)
        self._tracked.append((digest(path), trials.figures_of_spectra(spectra)))
        self._attempt(lambda: self._trials.measure(path, spectra, results / f"{spectra.trial['id']}.safetensors", draw))
        return spectra.diverged

    def record(self, content: Content) -> None:
        """Show what the stage made, unless the run shows it already."""
        self._attempt(lambda: self._record(content))

    def predictor(self, folder: Path, features: Path, result: Mapping[str, Any]) -> None:
        """Show the predictor's evidence, and on each trial's run what was expected of it; register the predictor.

        Args:
            folder: of the predictor.
            features: the feature table.
            result: what metrics/predictor.json holds.
        """
        from . import registry  # imports scikit-learn, which the other stages need not wait for

        predictions = load_table(folder / "predictions.parquet")
        self.record(predicted(result, folder, features, registry.verdict(result)))
        self._attempt(lambda: trial_runs.score(self._store, predictions))
        self._attempt(lambda: registry.register(self._store, self.id, folder, features, result))

    def close(self, status: str) -> None:
        """End the run."""
        if status == "FINISHED" and self._tracked:
            self.record(swept(self._tracked))
        if not self._settled:
            self._attempt(lambda: self._end(status))

    def __str__(self) -> str:
        """What was tracked, and where, for people."""
        many = f"{len(self._tracked)} trials" if self._tracked else self._name
        return f"MLflow: {many} tracked in {store.readable(self._store.address)} ({self.seconds:.1f} s)"

    def _attempt(self, act: Callable[[], object]) -> None:
        """Do it, unless something failed before; remember a failure."""
        begin = time.perf_counter()
        try:
            if self.error is None:
                with store.speaking(self._store.address):
                    act()
        except TrackingError as error:
            self.error = error
        finally:
            self.seconds += time.perf_counter() - begin

    def _open(self) -> None:
        """Find the run by its key, if it was finished; make it otherwise."""
        self._settled, self._shown = False, ""
        for run in trial_runs.found(self._store, store.STAGES, f"tags.key = '{self._tags['key']}'"):
            if run.info.status == "FINISHED" and not self._settled:
                self.id, self._settled, self._shown = run.info.run_id, True, run.data.tags.get("digest", "")
            elif not provenance.works(run.data.tags.get("process", "")):
                self._client.delete_run(run.info.run_id)  # left by a stage that was killed
        if not self._settled:
            self._make()

    def _make(self) -> None:
        experiment = self._store.experiments[store.STAGES]
        self.id = self._client.create_run(experiment, self._began, self._tags, self._name).info.run_id
        self._client.log_batch(self.id, params=[Param(*item) for item in self._parameters.items()])

    def _record(self, content: Content) -> None:
        if self._shown == content.digest:
            return
        if self._shown:  # the run is of an earlier time, and shows something else
            former, self._settled = self.id, False
            self._client.delete_run(former)
            self._make()
            self._trials.move(former, self.id)
        self._show(content)
        self._shown = content.digest

    def _show(self, content: Content) -> None:
        tags = {**content.tags, "mlflow.note.content": content.note, "digest": content.digest}
        for folder, paths in content.files.items():
            for path in paths:
                self._client.log_artifact(self.id, str(path), folder or None)
        for name, table in content.tables.items():
            self._client.log_text(self.id, table.to_json(orient="split", index=False), name)
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": name, "type": "table"}])
        self._client.log_inputs(self.id, [_input(source) for source in content.sources])
        metrics = [Metric(name, value, self._began, step) for name, value, step in content.points]
        self._client.log_batch(self.id, metrics, tags=[RunTag(*item) for item in tags.items()])

    def _end(self, status: str) -> None:
        end = self._ended or int(time.time() * 1000)
        self._client.log_batch(self.id, [Metric("stage_seconds", (end - self._began) / 1000, end, 0)])
        self._client.set_terminated(self.id, status, end)


def files(*folders: Path) -> list[Path]:
    """The files of results in folders."""
    return sorted(path for folder in folders for path in folder.glob("*.safetensors"))


def _span(timing: Path | None) -> tuple[int, int]:
    """Begin and end of the stage in milliseconds; end is 0 while it works."""
    if timing is None or not timing.exists():
        return int(time.time() * 1000), 0
    figures = load_json(timing)
    return int(1000 * figures["began"]), int(1000 * (figures["began"] + figures["seconds"]))


def _parameters(settings: Config, sections: Iterable[str]) -> dict[str, str]:
    """Parts of params.yaml by their keys' full paths."""
    return dict(_flat(settings.model_dump(mode="json", include=set(sections))))


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", str(value)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _input(source: Source) -> DatasetInput:
    data = Dataset(source.name, source.digest, "local", source.place, source.schema, source.profile)
    return DatasetInput(data, [InputTag("mlflow.data.context", "study")])
