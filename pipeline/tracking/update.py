"""Brings MLflow to the state that the results on disk describe: each run made once, completed, or replaced."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from ..core import layout
from ..core.errors import ArtefactError, TrackingError
from ..core.files import digest, load_table
from ..core.records import Judgement, StageRecord, TaskData, TrialFixedPoints, TrialResult, TrialSpectra
from . import shown, store
from .shown import Instance, Series, Shown
from .views import STAGES, TRIALS

IDENTITY = {TRIALS: "trial.id", STAGES: "key"}  # the tag that holds Shown.key
ORIGIN = ("dvc.experiment", "mlflow.user", "mlflow.source.git.commit", "git.dirty")
PARENT, NOTE, HASH, SERIES = "mlflow.parentRunId", "mlflow.note.content", "shown", "shown.series"
ABOUT = layout.PREDICTOR / "about.json"
JUDGED = (layout.EVIDENCE, ABOUT, layout.PREDICTIONS)  # files of the predictor's stage
T = TypeVar("T")


def sync(*_instance: str) -> str:
    """Bring MLflow up to date with all results in the working folder, and say so in one sentence.

    What is up to date already is left as it is; so it makes no difference which stage instance asks.

    Raises:
        TrackingError: the store cannot be used.
    """
    begin = time.perf_counter()
    try:
        with store.writing() as opened:
            results = Results()
            stages, trials = list(results.stages()), list(results.trials())
            made = _Runs(opened, STAGES).show(stages)
            _Runs(opened, TRIALS).show(trials, parents=made)
            if results.judgement is not None and "predictor" in made:
                from . import registry

                registry.register(opened, made["predictor"], results.judgement)
    except ArtefactError as error:
        raise TrackingError(f"MLflow is not up to date: {error}") from None
    where, seconds = store.readable(opened.address), time.perf_counter() - begin
    text = f"MLflow: {len(trials)} trials and {len(stages)} stages in {where} are up to date ({seconds:.1f} s)"
    return f"{text}; files left out: {len(results.problems)}, such as {results.problems[0]}" if results.problems else text


class Results:
    """The results in the working folder, each read once.

    Attributes:
        judgement: of the predictor; None unless all of its files are there.
        problems: what cannot be read, one sentence per file.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        whole = len(_there(JUDGED)) == len(JUDGED)
        self.judgement = self._read(Judgement.load, [layout.EVIDENCE]).get(layout.EVIDENCE) if whole else None
        self._records = {(r.stage, *r.words): r for r in self._read(StageRecord.load, layout.RECORDS.glob("*.json")).values()}
        self._trials = {task: self._read(TrialResult.load, _files(layout.trials(task))) for task in _tasks(layout.trials)}
        self._spectra = {task: self._read(TrialSpectra.load, _files(layout.spectra(task))) for task in _tasks(layout.spectra)}

    def trials(self) -> Iterator[Shown]:
        """The runs of all trials."""
        spectra = {s.trial.id: s for files in self._spectra.values() for s in files.values()}
        answers = self._read(_answers, [layout.PREDICTIONS]).get(layout.PREDICTIONS, {})
        for task, results in self._trials.items():
            for path, result in results.items():
                name = result.trial.id
                yield shown.trial(self._instance("train", task, of=[path]), result, spectra.get(name), answers.get(name))

    def stages(self) -> Iterator[Shown]:
        """The runs of all stage instances that have ended."""
        for path, info in self._read(TaskData.info_of, map(layout.data, _tasks(layout.data))).items():
            yield shown.prepared(self._instance("prepare", info.task, of=[path]), info)
        for task, results in self._ended("train", self._trials):
            yield shown.trained(self._instance("train", task, of=results), list(results.values()))
        for task, spectra in self._ended("spectrum", self._spectra):
            measured = {path.name: s for path, s in spectra.items()}
            yield shown.measured(self._instance("spectrum", task, of=spectra), measured)
        searched = {task: _files(layout.fixed_points(task)) for task in _tasks(layout.fixed_points)}
        points = {task: self._read(TrialFixedPoints.load, files) for task, files in searched.items()}
        for task, located in self._ended("fixed_points", points):
            portraits = _there(layout.portrait(task, r.trial.cell) for r in located.values())
            yield shown.located(self._instance("fixed_points", task, of=located), located, portraits)
        yield from self._of_all_tasks()

    def _of_all_tasks(self) -> Iterator[Shown]:
        for path, table in self._read(load_table, [layout.FEATURES]).items():
            files = [path, *_there([layout.FEATURES_CSV])]
            yield shown.tabulated(self._instance("features", of=files), table, files)
            if self.judgement is not None:
                instance, identity = self._instance("predictor", of=JUDGED), digest(layout.EVIDENCE, ABOUT)
                yield shown.judged(instance, self.judgement, identity, table, [layout.PREDICTIONS])
        for page in _there([layout.PAGE]):
            yield shown.reported(self._instance("report", of=[page]), page, sorted(layout.FIGURES.glob("*.png")))

    def _ended(self, stage: str, results: Mapping[str, dict[Path, T]]) -> Iterator[tuple[str, dict[Path, T]]]:
        """Task and results of the instances of a stage that are not at work, and were not interrupted."""
        for task, files in results.items():
            record = self._records.get((stage, task))
            if files and (record is None or record.seconds > 0):
                yield task, files

    def _instance(self, stage: str, *words: str, of: Iterable[Path]) -> Instance:
        written = max((path.stat().st_mtime_ns for path in _there(of)), default=0) // 1_000_000
        return Instance(stage, words, written, self._records.get((stage, *words)))

    def _read(self, load: Callable[[Path], T], paths: Iterable[Path]) -> dict[Path, T]:
        """The records in the files that are there and can be read."""
        records = {}
        for path in _there(paths):
            try:
                records[path] = load(path)
            except ArtefactError as error:
                self.problems.append(str(error))
        return records


class _Runs:
    """The runs of one experiment."""

    def __init__(self, opened: store.Store, experiment: str) -> None:
        self._client, self._experiment = opened.client, opened.experiments[experiment]
        self._known: dict[str, list[Run]] = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment], "", max_results=5000, page_token=token)
            for run in page:
                self._known.setdefault(run.data.tags.get(IDENTITY[experiment], ""), []).append(run)
            token = page.token
            if not token:
                break

    def show(self, items: Iterable[Shown], *, parents: Mapping[str, str] | None = None) -> dict[str, str]:
        """Make, complete or replace the runs of what is to be shown; name -> id.

        Trials lie below the run of their sweep, if `parents`, name -> id of the stage runs, has it.
        """
        return {item.name: self._show(item, (parents or {}).get(f"train {item.tags.get('task')}")) for item in items}

    def _show(self, item: Shown, parent: str | None) -> str:
        tags = _tags(item) | ({PARENT: parent} if parent else {})
        runs = sorted(self._known.get(item.key, ()), key=lambda run: (_is_whole(run), run.data.tags.get(HASH) == item.hash))
        for double in runs[:-1]:
            self._client.delete_run(double.info.run_id)
        run = runs[-1] if runs else None
        if run is None or not _extends(item, run):
            return self._replace(run, item, tags)
        known = run.data
        changed = known.tags.get(HASH) != item.hash
        metrics = {name: series for name, series in item.metrics.items() if name not in known.metrics}
        params = {name: value for name, value in (item.params | item.settings).items() if name not in known.params}
        if changed or metrics or params:
            tags = {name: value for name, value in tags.items() if known.tags.get(name) != value}
            self._log(run.info.run_id, item, metrics, params, tags)
            if changed:
                self._attach(run.info.run_id, item)
        elif parent and known.tags.get(PARENT) != parent:
            self._client.set_tag(run.info.run_id, PARENT, parent)
        return str(run.info.run_id)

    def _replace(self, former: Run | None, item: Shown, tags: dict[str, str]) -> str:
        """Make a run; one of the same results keeps the origin of the run that it replaces."""
        origin = dict(item.origin)
        if former is not None:
            origin = {name: former.data.tags[name] for name in ORIGIN if name in former.data.tags} or origin
            self._client.delete_run(former.info.run_id)
        name = str(self._client.create_run(self._experiment, item.begin, origin | tags, item.name).info.run_id)
        self._log(name, item, item.metrics, item.params | item.settings, {})
        self._attach(name, item)
        self._client.set_terminated(name, "FINISHED", item.end)
        return name

    def _log(
        self, run: str, item: Shown, metrics: Mapping[str, Series], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        points = [Metric(name, value, item.end, step) for name, series in metrics.items() for step, value in series.items()]
        self._client.log_batch(run, points, [Param(*pair) for pair in params.items()], [RunTag(*pair) for pair in tags.items()])

    def _attach(self, run: str, item: Shown) -> None:
        """Log files, tables and datasets; those that are there already are replaced."""
        for folder, paths in item.files.items():
            for path in paths:
                self._client.log_artifact(run, str(path), folder or None)
        for name, table in item.tables.items():
            self._client.log_text(run, table.to_json(orient="split", index=False), name)
        if item.datasets:
            self._client.log_inputs(run, [_input(dataset) for dataset in item.datasets])


def _tags(item: Shown) -> dict[str, str]:
    """All tags of a run but its origin and its parent."""
    tables = [{"path": name, "type": "table"} for name in item.tables]
    own = {IDENTITY[item.experiment]: item.key, HASH: item.hash, SERIES: json.dumps(item.series), NOTE: item.note}
    return {**item.tags, **own, **({"mlflow.loggedArtifacts": json.dumps(tables)} if tables else {})}


def _is_whole(run: Run) -> bool:
    """Whether a run was made to the end."""
    return run.info.status == "FINISHED" and HASH in run.data.tags


def _extends(item: Shown, run: Run) -> bool:
    """Whether all parameters and metrics of a run are what is to be shown: those that it lacks can be added."""
    if not _is_whole(run):
        return False
    params, own = run.data.params, item.params | item.settings
    if own and any(own.get(name) != value for name, value in params.items()):
        return False
    series: dict[str, str] = json.loads(run.data.tags.get(SERIES, "{}"))
    return all(
        name in shown.VOLATILE
        or (name in item.metrics and series.get(name) == item.series.get(name) and _is_last(value, item.metrics[name]))
        for name, value in run.data.metrics.items()
    )


def _is_last(value: float, series: Series) -> bool:
    return math.isclose(value, series[max(series)], rel_tol=1e-8)


def _input(dataset: shown.Dataset) -> DatasetInput:
    data = Dataset(dataset.name, dataset.digest, "local", dataset.source, dataset.schema, dataset.profile)
    return DatasetInput(data, [InputTag("mlflow.data.context", "study")])


def _answers(path: Path) -> dict[str, dict[str, float]]:
    """The columns ANSWERS of each trial, of the predictor that sees all inputs and had not seen the trial."""
    table = load_table(path)
    if not {"trial", "split", "inputs", *shown.ANSWERS} <= set(table.columns):
        raise ArtefactError(f"{path} was written by another version; run `dvc repro` again")
    own = table[(table["split"] == "over trials") & (table["inputs"] == "all")].set_index("trial")
    return {str(trial): dict(row) for trial, row in own[list(shown.ANSWERS)].astype(float).iterrows()}


def _tasks(place: Callable[[str], Path]) -> list[str]:
    """The tasks that have a file or folder at a place of the layout."""
    paths = place("any").parent.glob("*")
    return sorted({path.stem for path in paths if path.is_dir() or path.suffix == place("any").suffix != ""})


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _there(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]
