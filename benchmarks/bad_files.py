"""Damages of the files between stages: how each is done, and what the stage that reads the file says."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import tasks
from pipeline.core import config, files, layout, records
from pipeline.core.cards import Card, Judgement
from pipeline.core.errors import PipelineError
from pipeline.core.execution import Here
from pipeline.core.files import ArrayFile, load_table, save_arrays, save_table
from pipeline.core.records import StageRecord, TaskData, TrialFixedPoints
from pipeline.jobs import fixed_points, measurements, spectra
from pipeline.predictor import StabilityPredictor, feature_table, packaged
from pipeline.predictor import study as predictor_of_study
from pipeline.predictor import trials as known
from pipeline.training import draw, train

TASK, FLIPS = "adding", 100
Change = Callable[[Path], object]


@dataclass(frozen=True)
class Artefact:
    """A file of a study.

    Attributes:
        path: of the file in the folder of the study.
        read: what the stages that need it do first; gives all that they see of it.
    """

    path: Path
    read: Callable[[Path], Any]


@dataclass(frozen=True)
class Damage:
    """What happened to a file.

    Attributes:
        of: name of the artefact.
        what: happened.
        change: does it.
        says: what the sentence names, besides the file.
        reason: why the file may be read as before, if it may.
    """

    of: str
    what: str
    change: Change
    says: str = "dvc repro"
    reason: str = ""


def study(folder: Path) -> dict[str, Artefact]:
    """The files of a small study by name: four trials of one task and cell, with the packaged evidence."""
    name = _measure(folder)
    StabilityPredictor.load().save(folder / layout.PREDICTOR)
    known.card().judgement.save(folder / layout.EVIDENCE)
    StageRecord("train", [TASK], 1.0, 2.0, 0.5, {"seed": 1}, {}).save(folder / layout.record("train", TASK))
    results = partial(_features, folder)
    read: dict[str, tuple[Path, Callable[[Path], Any]]] = {
        "data": (layout.data(TASK), TaskData.load),
        "trial": (layout.trials(TASK) / name, results),
        "spectra": (layout.spectra(TASK) / name, results),
        "measurements": (layout.measurements(TASK) / name, results),
        "fixed points": (layout.fixed_points(TASK) / name, TrialFixedPoints.load),
        "features": (layout.FEATURES, _judged),
        "evidence": (layout.EVIDENCE, Judgement.load),
        "predictor's card": (layout.PREDICTOR / packaged.CARD, Card.load),
        "predictor's trials": (layout.PREDICTOR / packaged.TRIALS, lambda path: StabilityPredictor.load(path.parent)),
        "stage record": (layout.record("train", TASK), StageRecord.load),
    }
    return {what: Artefact(folder / path, reader) for what, (path, reader) in read.items()}


def _measure(folder: Path) -> str:
    """Write the results of the trials and their table; the name of the first trial's files."""
    settings = config.load().model_copy(update={"cells": ("elman",)})
    shape = {"trials": 4, "epochs": 2, "hidden_size": (3,)}
    settings = settings.model_copy(update={"train": settings.train.model_copy(update=shape)})
    driving = settings.spectrum.model_copy(update={"sequences": 2, "transient": 4, "steps": 12})
    whole, data = tasks.get(TASK).prepare(TASK, "packaged", settings.seed), folder / layout.data(TASK)
    whole.save(data)
    few = {name: array[:100] if array.ndim == 1 or "targets" in name else array[:, :100] for name, array in whole.arrays.items()}
    results = [train(trial, TaskData(few, whole.info)) for trial in draw(settings, whole.info, "cpu")]
    measured = [spectra.measure(result, data, driving, "cpu") for result in results]
    probed = [measurements.measure(result, data, "cpu") for result in results]
    for place, made in ((layout.trials, results), (layout.spectra, measured), (layout.measurements, probed)):
        for record in made:
            record.save(record.trial.path(folder / place(TASK)))
    points = fixed_points.search(results[0], data, driving, settings.fixed_points, settings.seed)
    points.save(points.trial.path(folder / layout.fixed_points(TASK)))
    save_table(folder / layout.FEATURES, feature_table.table(results, measured, probed, settings.success.threshold))
    return points.trial.path(Path()).name


def _features(folder: Path, path: Path) -> Any:
    """What stage `features` makes of the results; and all that trials hold beside."""
    results = records.trials_in(folder / layout.trials(TASK))
    measured = records.spectra_in(folder / layout.spectra(TASK))
    probed = records.measurements_in(folder / layout.measurements(TASK))
    table = feature_table.table(results, measured, probed, 0.8)
    return table, [(dict(result.weights), dict(result.optimiser)) for result in results], measured, probed


def _judged(path: Path) -> Any:
    """What stage `predictor` makes of the feature table before it fits anything."""
    table = load_table(path)
    rows = known.trial_inputs(table)
    if len(rows) < config.LEAST_TRIALS:
        predictor_of_study.judge(rows, rows, packaged.card(), 100, 0, Here())
    return table, rows


def said(damage: Damage, artefact: Artefact) -> str | None:
    """What is said of a damaged file, None if it is read as before; RuntimeError if it gives other values.

    Afterwards the file is as it was.
    """
    path, before = artefact.path, fingerprint(artefact.read(artefact.path))
    kept = {p: p.read_bytes() for p in path.parent.iterdir()}
    try:
        damage.change(path)
        if fingerprint(artefact.read(path)) != before:
            raise RuntimeError(f"{damage.of}, {damage.what}: other values were read, and nothing was said")
    except PipelineError as error:
        return str(error).replace(f"{path.parent}/", "")
    finally:
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        for p, content in kept.items():
            p.write_bytes(content)
    return None


def flips(artefact: Artefact, count: int = FLIPS, seed: int = 0) -> tuple[int, int]:
    """Of single bits that were flipped, how many were noticed, and how many changed nothing; RuntimeError as `said`."""
    path, before = artefact.path, fingerprint(artefact.read(artefact.path))
    content, random, noticed = path.read_bytes(), np.random.default_rng(seed), 0
    for place, bit in zip(random.integers(0, len(content), count).tolist(), random.integers(0, 8, count).tolist(), strict=True):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
        try:
            if fingerprint(artefact.read(path)) != before:
                raise RuntimeError(f"{path.name}: bit {bit} of byte {place} was flipped, and nothing was said")
        except PipelineError:
            noticed += 1
    path.write_bytes(content)
    return noticed, count - noticed


def fingerprint(value: Any) -> Any:
    """All that a record, or a table, holds, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.dtype == object else files.array_checksum(value)
    if isinstance(value, pd.DataFrame):
        return files.table_checksum(value)
    if isinstance(value, Mapping):
        return {key: fingerprint(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [fingerprint(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {name: fingerprint(part) for name, part in vars(value).items()}
    return repr(value)


# What can happen to any file


def _instead(make: Callable[[Path], object]) -> Change:
    """Something else in place of the file."""

    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have a hundred letters at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(10 << 30)


def _zeros(path: Path) -> None:
    content = path.read_bytes()
    begin = len(content) // 2
    end = min(begin + 4096, len(content) - 8)
    path.write_bytes(content[:begin] + bytes(end - begin) + content[end:])


ANY: dict[str, Change] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros in place of a page": _zeros,
    "zeros in place of all of it": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "grown to 10 GB of zeros": _sparse,
    "text in its place": lambda path: path.write_text("Lorem ipsum. " * 50),
    "a folder in its place": _instead(Path.mkdir),
    "a pipe in its place": _instead(os.mkfifo),
    "a socket in its place": _instead(_socket),
    "an endless device in its place": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "a link to nothing": _instead(lambda path: path.symlink_to("nothing")),
}


# What only a program can do: the checksums are right


def _header(**changes: Any) -> Change:
    """Other fields in the header of an array file; None removes one, and a dict changes fields of a field."""

    def change(path: Path) -> None:
        file = ArrayFile(path)
        save_arrays(path, file.read(*file.names), json.dumps(_changed(json.loads(file.header), changes)))

    return change


def _changed(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = _changed(content[key], value) if isinstance(value, dict) else value
    return content


def _array(name: str, form: Callable[[Any], Any] | None) -> Change:
    """Another array in an array file, or none."""

    def change(path: Path) -> None:
        file = ArrayFile(path)
        arrays = file.read(*file.names)
        old = arrays.pop(name)
        save_arrays(path, arrays if form is None else arrays | {name: form(old)}, file.header)

    return change


def _another_task(path: Path) -> None:
    _header(trial={"task": "copying"})(path)


def _spectra(path: Path) -> None:
    shutil.copy(next((path.parent.parent / layout.spectra(TASK)).iterdir()), path)


def _twice(path: Path) -> None:
    shutil.copy(path, path.with_name(f"copy-{path.name}"))


def _table(form: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    return lambda path: save_table(path, form(load_table(path)))


def _json(form: Callable[[str], str]) -> Change:
    return lambda path: path.write_text(form(path.read_text()))


def _record(form: Callable[[Any], Any]) -> Change:
    """Other content in a JSON file, without a checksum."""

    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        del content["checksum"]
        path.write_text(json.dumps(form(content)))

    return change


PROGRAMS = [
    Damage("data", "no test targets", _array("arrays/test_targets", None)),
    Damage("data", "fewer training targets than inputs", _array("arrays/train_targets", lambda a: a[:-1])),
    Damage("data", "chance as text", _header(info={"chance": "high"})),
    Damage("data", "the spectra of a trial", _spectra),
    Damage("trial", "a curve that is short", _array("curves/train_loss", lambda a: a[:-1])),
    Damage("trial", "a curve with two axes", _array("curves/train_loss", lambda a: a[:, None])),
    Damage("trial", "no gradient norms", _array("curves/gradient_norm", None)),
    Damage("trial", "updates of different lengths", _array("updates/loss", lambda a: a[:-1])),
    Damage("trial", "no outcome", _header(outcome=None)),
    Damage("trial", "a field that there is not", _header(extra=1)),
    Damage("trial", "a field of the trial that there is not", _header(trial={"extra": 1})),
    Damage("trial", "no seed", _header(trial={"seed": None})),
    Damage("trial", "the seed as text", _header(trial={"seed": "1"})),
    Damage("trial", "seconds that are no number", _header(outcome={"seconds": float("nan")})),
    Damage("trial", "a trial of another task", _another_task),
    Damage("trial", "the same trial under two names", _twice),
    Damage("spectra", "exponents without the axis of sequences", _array("exponents", lambda a: a[:, 0])),
    Damage("spectra", "one checkpoint less", _array("exponents", lambda a: a[:2])),
    Damage("spectra", "an infinite exponent", _array("exponents", lambda a: np.full_like(a, np.inf))),
    Damage("spectra", "errors of fewer exponents", _array("standard_error", lambda a: a[:, 1:])),
    Damage("spectra", "other settings", _header(settings={"steps": 99})),
    Damage("spectra", "settings out of range", _header(settings={"steps": 1})),
    Damage("spectra", "the spectra of another task", _another_task),
    Damage("measurements", "one column less", _array("values", lambda a: a[:, 1:])),
    Damage("measurements", "no values", _array("values", None)),
    Damage("fixed points", "a point more than counted", _array("moduli/zero", lambda a: np.vstack([a, a[:1] + 1, a[:1] + 1]))),
    Damage("fixed points", "a modulus that is no number", _array("moduli/zero", lambda a: np.full_like(a, np.nan))),
    Damage("fixed points", "no counts", _header(counts=None)),
    Damage("features", "written by another program", lambda path: load_table(path).to_parquet(path)),
    Damage("features", "no rows", _table(lambda t: t.iloc[:0]), "0 trials"),
    Damage("features", "a column less", _table(lambda t: t.drop(columns="gradient_norm")), "gradient_norm"),
    Damage("features", "no early rows", _table(lambda t: t[t["checkpoint"] != "early"]), "early row"),
    Damage("evidence", "[]", lambda path: path.write_text("[]")),
    Damage("evidence", "{}", lambda path: path.write_text("{}")),
    Damage("evidence", "null", lambda path: path.write_text("null")),
    Damage("evidence", "100,000 nested lists", lambda path: path.write_text("[" * 100_000)),
    Damage("evidence", "another digit", _json(lambda text: text.replace("0.1", "0.2", 1))),
    Damage("evidence", "NaN", _json(lambda text: text.replace("0.1", "NaN", 1))),
    Damage("evidence", "a key less", _record(lambda content: {k: v for k, v in content.items() if k != "served"})),
    Damage("evidence", "a key more", _record(lambda content: content | {"extra": 1})),
    Damage("evidence", "a list where a name should be", _record(lambda content: content | {"served": []})),
    Damage("predictor's card", "[]", lambda path: path.write_text("[]")),
    Damage("predictor's card", "another digit", _json(lambda text: text.replace("0.8", "0.9", 1))),
    Damage("stage record", "[]", lambda path: path.write_text("[]")),
    Damage("stage record", "another digit", _json(lambda text: text.replace('"seconds": 2.0', '"seconds": 3.0'))),
]


ARCHIVE = ("missing", "half of it", "zeros in place of a page", "grown to 10 GB of zeros", "a pipe in its place")
DAMAGES = [
    *(Damage(of, what, change) for of in ("trial", "features", "evidence") for what, change in ANY.items()),
    *(Damage("predictor's trials", what, ANY[what], packaged.TRIALS) for what in ARCHIVE),
    *PROGRAMS,
]
