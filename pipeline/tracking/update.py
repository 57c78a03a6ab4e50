"""Brings MLflow to the state that the results on disk describe: each run made once, completed, or replaced."""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from ..core import layout
from ..core.cards import Judgement
from ..core.errors import ArtefactError, TrackingError
from ..core.files import load_table
from ..core.records import StageRecord, TaskData, TrialMeasurements
from . import metrics, notes, shown, store, views
from .shown import Instance, Series, Shown
from .views import KIND, STAGES, TRIALS

PARENT, HASH, OWNER, NOTE = "mlflow.parentRunId", "shown", store.WORKSPACE, "mlflow.note.content"
PAGE = 250  # runs that are asked for at once: four clients that ask a busy server for thousands wait longer than for an answer
KNOWN = "over trials"  # the split whose answers trials show; its own module takes a second to import
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
            sweeps = [item for item in stages if item.kind == "sweep"]
            others = _Runs(opened, STAGES)
            runs = _Runs(opened, TRIALS, others)
            runs.show(trials, runs.show(sweeps))
            runs.link(sweeps)
            rest = [item for item in stages if item.kind != "sweep"]
            made = others.show(rest)
            others.link(rest)
            store.offer(opened, views.TRIALS, [view for item in sweeps for view in views.of_task(item.tags["task"])])
            if results.judgement is not None and "predictor" in made:
                from . import registry

                registry.register(opened, made["predictor"], results.judgement)
    except ArtefactError as error:  # a file was removed meanwhile
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
        whole = all(path.exists() for path in shown.JUDGED)
        self.judgement = self._read(Judgement.load, [layout.EVIDENCE]).get(layout.EVIDENCE) if whole else None
        self._records = self._read(StageRecord.load, layout.RECORDS.glob("*.json"))
        self._measurements = self._folders(TrialMeasurements.load, layout.measurements)
        self._by_task = {stage: self._folders(load, place) for stage, (load, place, _) in shown.BY_TASK.items()}

    def trials(self) -> Iterator[Shown]:
        """The runs of all trials."""
        spectra = {s.trial.id: s for files in self._by_task["measure"].values() for s in files.values()}
        measured = {m.trial.id: m for files in self._measurements.values() for m in files.values()}
        answers = self._answers()
        for task, results in self._by_task["train"].items():
            places = shown.standings(results.values())
            for path, result in results.items():
                name = result.trial.id
                instance = self._instance("train", task, of=[path])
                known = (spectra.get(name), measured.get(name), answers.get(name), places[name])
                yield shown.trial(instance, result, *known)

    def stages(self) -> Iterator[Shown]:
        """The runs of all stage instances that have ended and whose files can be read."""
        for path, info in self._read(TaskData.info_of, Path().glob(str(layout.data("*")))).items():
            yield from self._whole(shown.prepared, self._instance("prepare", info.task, of=[path]), info)
        for stage, (_, _, show) in shown.BY_TASK.items():
            for instance, files in self._ended(stage):
                yield from self._whole(show, instance, files)
        for path, table in self._read(load_table, [layout.FEATURES]).items():
            yield from self._whole(shown.tabulated, self._instance("features", of=[path]), table)
            if self.judgement is not None:
                yield from self._whole(shown.judged, self._instance("predictor", of=shown.JUDGED), self.judgement, table)
        if layout.PAGE.exists():
            figures = sorted(layout.FIGURES.glob("*.png"))
            yield from self._whole(shown.reported, self._instance("report", of=[layout.PAGE]), figures)

    def _whole(self, show: Callable[..., Shown], *results: Any) -> Iterator[Shown]:
        """What is shown of results, unless one of its files cannot be read."""
        try:
            item = show(*results)
            item.hash  # noqa: B018 - reads the files
        except ArtefactError as error:
            self.problems.append(str(error))
        else:
            yield item

    def _answers(self) -> dict[str, dict[str, float]]:
        """Trial -> its score and success, and the answers over trials of the sets that answer, which had not seen it."""
        answers: defaultdict[str, dict[str, float]] = defaultdict(dict)
        served = self.judgement.served.get(KNOWN, {}) if self.judgement else {}
        for table in self._read(_predictions, [layout.PREDICTIONS] if served else []).values():
            for moment, ending in metrics.ASKED.items():
                own = (table["split"] == KNOWN) & (table["moment"] == moment) & (table["inputs"] == served.get(moment))
                known = table[own].set_index("trial")
                names = {name: name for name in metrics.OUTCOME} | {name: f"{name}{ending}" for name in metrics.ANSWERED}
                for trial, row in known[list(names)].rename(columns=names).astype(float).iterrows():
                    answers[str(trial)] |= dict(row)
        return answers

    def _ended(self, stage: str) -> Iterator[tuple[Instance, dict[Path, Any]]]:
        """The instances of a stage that are not at work, and were not interrupted, with their results."""
        for task, files in self._by_task[stage].items():
            instance = self._instance(stage, task, of=files)
            if instance.record is None or instance.record.seconds > 0:
                yield instance, files

    def _instance(self, stage: str, *words: str, of: Iterable[Path]) -> Instance:
        written = max(path.stat().st_mtime_ns for path in of) // 1_000_000
        return Instance(stage, words, written, self._records.get(layout.record(stage, *words)))

    def _folders(self, load: Callable[[Path], T], place: Callable[[str], Path]) -> dict[str, dict[Path, T]]:
        """Task -> file -> the record in it, of the folders at a place of the layout."""
        tasks: defaultdict[str, dict[Path, T]] = defaultdict(dict)
        for path, record in self._read(load, Path().glob(f"{place('*')}/*.safetensors")).items():
            tasks[path.parent.name][path] = record
        return tasks

    def _read(self, load: Callable[[Path], T], paths: Iterable[Path]) -> dict[Path, T]:
        """The records in the files that are there and can be read, sorted by path."""
        records = {}
        for path in sorted(path for path in paths if path.exists()):
            try:
                records[path] = load(path)
            except ArtefactError as error:
                self.problems.append(str(error))
        return records


class _Runs:
    """The runs of one experiment, of which this workspace writes to its own alone.

    Clones with one store share runs that are the same in all that is shown, and otherwise have runs of their own.
    """

    def __init__(self, opened: store.Store, experiment: str, other: "_Runs | None" = None) -> None:
        """Read them, and remove those whose process died: while this one is here, no other of the workspace makes runs.

        Runs that an earlier version made in another experiment take part; what is shown of them here replaces them.
        """
        self._client, self._experiment, self._owner = opened.client, opened.experiments[experiment], store.workspace()
        self._address, self._other, self._notes = opened.address, other, dict[str, str]()
        self.ids: dict[str, str] = {}  # key -> run
        self._known: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self._listed():
            if self._is_own(run) and run.info.status != "FINISHED":
                self._client.delete_run(run.info.run_id)
            else:
                self._known[run.data.tags.get("trial.id") or run.data.tags.get("key", "")].append(run)

    def _listed(self) -> list[Run]:
        """All runs; one that comes on two pages, since another clone made runs meanwhile, counts once."""
        runs: dict[str, Run] = {}
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], "", max_results=PAGE, page_token=token or None)
            runs |= {str(run.info.run_id): run for run in page}
            token = page.token or None
        return list(runs.values())

    def show(self, items: Iterable[Shown], parents: Mapping[str, str] | None = None) -> dict[str, str]:
        """Make, complete or replace the runs of what is to be shown; name -> id.

        Trials lie below the run of their sweep, if `parents`, name -> id, has it.
        """
        return {item.name: self._show(item, (parents or {}).get(f"train {item.tags.get('task')}")) for item in items}

    def link(self, items: Iterable[Shown]) -> None:
        """Link the notes of runs that are shown to those that were shown after them."""
        for item in items:
            run = self.ids[item.key]
            note = self._note(item, run)
            if run in self._notes and self._notes[run] != note:
                self._client.set_tag(run, NOTE, note)

    def _note(self, item: Shown, run: str) -> str:
        return notes.linked(item.note, run, self.ids, self._experiment, local=not store.is_server(self._address))

    def _show(self, item: Shown, parent: str | None) -> str:
        """Two clones that made the same run at the same time choose the same one; the owner of the other removes it."""
        below = {PARENT: parent} if parent else {}
        known = sorted(self._known[item.key], key=_order)
        own = [run for run in known if self._is_own(run)]
        kept = next((run for run in known if _is_whole(run, item)), None) or next((r for r in own if _is_part(r, item)), None)
        moved = [run for run in self._other._known[item.key] if self._is_own(run)] if self._other else []
        former = [run for run in [*own, *moved] if run is not kept and _is_of(run, item)]
        if kept is None:
            name = self._make(item, below, former)
        else:
            name = self._complete(kept, item, below) if kept in own else str(kept.info.run_id)
        for run in former:
            self._client.delete_run(run.info.run_id)
        self.ids[item.key] = name
        return name

    def _is_own(self, run: Run) -> bool:
        return bool(run.data.tags.get(OWNER) == self._owner)

    def _make(self, item: Shown, below: Mapping[str, str], former: Sequence[Run]) -> str:
        """Make a run; one of the same results keeps the origin of the run that it replaces."""
        tags = item.origin | (former[0].data.tags if former else {}) | {**_tags(item), OWNER: self._owner, **below}
        made = self._client.create_run(self._experiment, item.begin, tags)
        run = str(made.info.run_id)
        self._notes[run] = self._note(item, run)
        self._log(run, item, item.metrics, item.params, {NOTE: self._notes[run]})
        self._attach(made, item)
        self._client.set_terminated(run, "FINISHED", item.end)
        return run

    def _complete(self, run: Run, item: Shown, below: Mapping[str, str]) -> str:
        """Add what a run lacks; its tags come last, so that an update that was interrupted is seen by its metrics."""
        name, known, tags = str(run.info.run_id), run.data, {**below, **item.place}
        added = {metric: series for metric, series in item.metrics.items() if metric not in known.metrics}
        params = {param: value for param, value in item.params.items() if param not in known.params}
        self._log(name, item, added, params)
        if known.tags[HASH] != item.hash:
            self._attach(run, item)
            tags |= _tags(item)
        if item.kind == "trial":
            tags[NOTE] = self._note(item, name)
        else:  # links to runs that are still to be made
            self._notes[name] = known.tags.get(NOTE, "")
        changed = [RunTag(tag, value) for tag, value in tags.items() if known.tags.get(tag) != value]
        if changed:
            self._client.log_batch(name, tags=changed)
        return name

    def _log(
        self,
        run: str,
        item: Shown,
        curves: Mapping[str, Series],
        params: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        points = [Metric(name, value, item.end, step) for name, series in curves.items() for step, value in series.items()]
        if points or params or tags:
            named = [RunTag(*pair) for pair in (tags or {}).items()]
            self._client.log_batch(run, points, [Param(*pair) for pair in params.items()], named)

    def _attach(self, run: Run, item: Shown) -> None:
        """Log files, tables, texts and datasets; those that are there already are replaced."""
        for folder, paths in item.files.items():
            for path in paths:
                self._client.log_artifact(run.info.run_id, str(path), folder or None)
        for name, table in item.tables.items():
            self._client.log_text(run.info.run_id, table.to_json(orient="split", index=False), name)
        if item.texts:
            self._log_texts(run, item.texts)
        if item.datasets:
            context = [InputTag("mlflow.data.context", "study")]
            self._client.log_inputs(run.info.run_id, [DatasetInput(dataset, context) for dataset in item.datasets])

    def _log_texts(self, run: Run, texts: Mapping[str, str]) -> None:
        """As `log_text` does, which would read the run first, once for each trial."""
        place = get_artifact_repository(run.info.artifact_uri, self._address)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in texts.items():
                path = Path(folder) / name
                path.write_text(text)
                place.log_artifact(str(path))


def _tags(item: Shown) -> dict[str, str]:
    """All tags of a run but its origin, its parent and its note."""
    own = {item.identity: item.key, KIND: item.kind, HASH: item.hash, "mlflow.runName": item.name}
    tables = json.dumps([{"path": name, "type": "table"} for name in item.tables])
    return {**item.tags, **item.place} | own | ({"mlflow.loggedArtifacts": tables} if item.tables else {})


def _order(run: Run) -> tuple[int, int, str]:
    """What sorts runs of the same in every workspace alike: first those with the most parameters and metrics."""
    return -len(run.data.params), -len(run.data.metrics), run.info.run_id


def _is_of(run: Run, item: Shown) -> bool:
    """Whether a run of the same results is also of the same settings; those of a trial are part of its identity.

    The settings of a stage without a record are not known.
    """
    known = run.data.params
    same = bool(item.params or not known) and all(item.params.get(name, value) == value for name, value in known.items())
    return item.kind == "trial" or same


def _is_whole(run: Run, item: Shown) -> bool:
    """Whether a run was made to the end and shows all that is to be shown."""
    known = run.data
    named = item.params.items() <= known.params.items() and item.metrics.keys() <= known.metrics.keys()
    return run.info.status == "FINISHED" and known.tags.get(HASH) == item.hash and named


def _is_part(run: Run, item: Shown) -> bool:
    """Whether a run was made to the end, and all its parameters and metrics are what is to be shown: the others can be added."""
    known = run.data
    params = not item.params or known.params.items() <= item.params.items()
    return run.info.status == "FINISHED" and params and known.tags.get(HASH, "").endswith(item.metrics_hash(known.metrics))


def _predictions(path: Path) -> pd.DataFrame:
    """The answers for trials that were held out."""
    table = load_table(path)
    if not {"trial", "split", "moment", "inputs", *metrics.OUTCOME, *metrics.ANSWERED} <= set(table.columns):
        raise ArtefactError(f"{path} was written by another version; run `dvc repro` again")
    return table
