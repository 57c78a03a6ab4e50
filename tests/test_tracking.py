import json
import logging
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import requests
import study
from conftest import ROOT
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from requests.exceptions import ConnectionError as NoConnection

from pipeline import tracking
from pipeline.core import layout
from pipeline.core.cards import Card, Estimate, Judgement, Recipe
from pipeline.core.errors import TrackingError
from pipeline.core.execution import Here
from pipeline.core.files import digest, save_table
from pipeline.core.hyper_parameters import DECLARED
from pipeline.core.records import CHECKPOINTS, CURVES, StageRecord, TaskData
from pipeline.predictor import StabilityPredictor, decision, evidence, feature_table, features, inputs, packaged, splits, trials
from pipeline.predictor.inputs import BEFORE, EPOCH
from pipeline.tracking import metrics, notes, registry, shown, store, ui, update, views

UNUSED = count()
COMMIT = "mlflow.source.git.commit"


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A new database, which takes seconds to make."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    store._create(path)
    return path


@pytest.fixture(scope="module")
def shared(blank, tmp_path_factory):
    return shutil.copy(blank, tmp_path_factory.mktemp("shared") / "mlflow.db")


@pytest.fixture(autouse=True)
def here(shared, tmp_path, monkeypatch):
    """An empty working folder, and a store that all tests share, each for a task of its own."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_store(blank, here, monkeypatch):
    """A store that no other test uses, whose registry is empty."""
    shutil.copy(blank, here / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    return store.connect()


@pytest.fixture
def task():
    """A task that no other test uses."""
    return f"task_{next(UNUSED)}"


def saved(result):
    """A trial's result in its file."""
    result.save(result.trial.path(layout.trials(result.trial.task)))
    return result


def sweep(task, number=3, **changes):
    return [saved(study.result(task=task, index=index, **changes)) for index in range(number)]


def saved_spectra(task, index=0, *, lowest=-2.0, **changes):
    """Spectra of a trial, whose smallest exponent may be another."""
    spectra = study.spectra(np.tile([0.5, -0.25, -1.0, lowest], (3, 2, 1)), task=task, index=index, **changes)
    spectra.save(layout.spectra(task) / f"{index}.safetensors")
    return spectra


def saved_record(stage, *words, seconds=20.0, **settings):
    """What a run of a stage instance leaves."""
    origin = {COMMIT: "a" * 40, "git.dirty": "no"}
    StageRecord(stage, list(words), 1000.0, seconds, 0.0, settings, origin).save(layout.record(stage, *words))


def saved_answers(results, **changes):
    """The predictor's answers for trials; the set that answers, other sets, and answers under another split."""
    answer = {"score": 0.5, "success": False, "expected_score": 0.25, "probability_of_success": 0.125} | changes
    rows = [
        {"trial": result.trial.id, "split": split, "moment": moment, "inputs": name}
        | answer
        | ({} if name == served and split == "over trials" else {"score": 9.0, "expected_score": 9.0})
        | ({"probability_of_success": 0.0625} if moment == BEFORE else {})
        for result in results
        for split in ("one task left out", "over trials")
        for moment, served in (("before training", "measurements"), ("an eighth of an epoch", "loss"), ("one epoch", "all"))
        for name in ("measurements", "loss", "all")
    ]
    save_table(layout.PREDICTIONS, pd.DataFrame(rows))
    served = {"over trials": {BEFORE: "measurements", EPOCH: "all"}, "one task left out": {EPOCH: "loss"}}
    Judgement([], [], served, None, None, [], {}, {}).save(layout.EVIDENCE)
    for path in shown.JUDGED:
        path.parent.mkdir(exist_ok=True)
        path.touch()


def opened_store():
    """The store, looked at as it is: once it has been opened, nothing is checked again."""
    return opened_at(store.address())


@cache
def opened_at(address):
    return store.connect()


def runs(where, experiment=views.TRIALS):
    """Runs of trials, or those of all stages."""
    opened = opened_store()
    found = opened.client.search_runs(list(opened.experiments.values()), where)
    return [run for run in found if (run.data.tags["kind"] == "trial") == (experiment == views.TRIALS)]


def only(where, experiment=views.TRIALS):
    (run,) = runs(where, experiment)
    return run


def synced(task, index=0):
    """The run of a trial of a task, after an update."""
    tracking.sync()
    return only(f"tags.task = '{task}' and params.`index` = '{index}'")


def points(run, metric):
    """All points of a metric, also those that are logged twice."""
    return sorted((point.step, point.value) for point in opened_store().client.get_metric_history(run.info.run_id, metric))


def artifacts(run, folder=None):
    return {file.path for file in opened_store().client.list_artifacts(run.info.run_id, folder)}


def everything(where):
    """All that the store shows of some runs, their ids included."""
    listed = [*runs(where), *runs(where, views.STAGES)]
    return {
        run.info.run_id: (run.data.params, {m: points(run, m) for m in run.data.metrics}, run.data.tags, artifacts(run))
        for run in listed
    }


# Trials


def test_a_trials_run_has_its_hyper_parameters_curves_outcome_and_what_the_predictor_that_had_not_seen_it_expected(task):
    saved_answers(sweep(task, 1, learning_rate=0.0125, hidden_size=7, options={"leak": 0.5}))
    run = synced(task)
    assert set(DECLARED) | {"seed", "epochs", "state", "torch", "chance"} <= set(run.data.params)
    assert [run.data.params[name] for name in ("learning_rate", "hidden_size", "option.leak")] == ["0.0125", "7", "0.5"]
    assert not [name for name in run.data.params if "hash" in name]
    assert points(run, "validation_loss") == [(0, 2.0), (1, 1.5), (2, 1.0), (3, 0.5)]
    assert points(run, "gradient_norm") == [(1, 0.1), (2, 0.2), (3, 0.3)]  # not measured before training
    assert set(CURVES) <= set(run.data.metrics)
    outcome = {"diverged": 0, "seconds": 1, "test_loss": 0.6, "test_metric": 0.7, "parameter_count": 37}
    answers = {"score": 0.5, "success": 0, "expected_score": 0.25, "probability_of_success": 0.125}
    answers |= {"expected_score_before_training": 0.25, "probability_of_success_before_training": 0.0625}
    assert (outcome | answers).items() <= run.data.metrics.items()


def test_a_trials_run_names_its_trial_its_data_its_code_its_commit_and_its_sweep(task):
    (result,) = sweep(task, 1)
    saved_record("train", task)
    run = synced(task)
    assert (run.info.run_name, run.info.status) == (f"{task} elman 00", "FINISHED")
    written = result.trial.path(layout.trials(task)).stat().st_mtime_ns // 1_000_000
    assert (run.info.start_time, run.info.end_time) == (written - 1000, written)
    parent = only(f"tags.task = '{task}'", views.STAGES).info.run_id
    expected = {"trial.id": result.trial.id, "data.hash": "d" * 64, "code.hash": "c" * 12, "dvc.stage": f"train@{task}"}
    assert (expected | {COMMIT: "a" * 40, "mlflow.parentRunId": parent}).items() <= run.data.tags.items()
    assert not artifacts(run)


def test_no_number_in_the_store_is_nan_or_infinite(task):
    saved(study.result(losses=(2.0, 9.0, math.inf, math.nan), diverged=True, task=task))
    study.spectra(np.full((3, 2, 4), [np.nan, np.nan, np.nan, -np.inf]), task=task).save(layout.spectra(task) / "0.safetensors")
    run = synced(task)
    assert (run.data.metrics["diverged"], run.data.tags["diverged"]) == (1, "yes")
    assert points(run, "validation_loss") == [(0, 2.0), (1, 9.0)]
    with closing(sqlite3.connect(store.database(store.address()))) as database:
        assert not database.execute("SELECT key FROM metrics WHERE is_nan OR ABS(value) > 1e300").fetchall()


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [
        (
            [0.5, -0.25, -1.0, -np.inf],  # Kaplan-Yorke dimension 2 + (0.5 - 0.25) / 1
            {"exponent_1": 0.5, "positive_sum": 0.5, "kaplan_yorke_dimension": 2.25, "lost_count": 1},
        ),
        (np.linspace(0, -3, 400), {"exponent_1": 0.0, "lost_count": 0}),  # more points than MLflow takes at once
    ],
)
def test_whole_spectra_are_metrics_by_number_and_their_summaries_by_epoch(task, exponents, expected):
    sweep(task, 1)
    study.spectra(np.tile(exponents, (3, 2, 1)), task=task).save(layout.spectra(task) / "0.safetensors")
    run = synced(task)
    for checkpoint in CHECKPOINTS:
        ranked = list(enumerate(np.maximum(exponents, features.FLOOR), start=1))
        assert points(run, f"spectrum/{checkpoint}") == [
            (rank, pytest.approx(value, rel=5e-4)) for rank, value in ranked
        ]  # four digits
    assert {name: points(run, name) for name in expected} == {name: [(t, x) for t in (0, 1, 3)] for name, x in expected.items()}


# Once and only once


def test_updating_twice_changes_nothing_and_writes_nothing(task, monkeypatch):
    results = sweep(task)
    for index in range(3):
        saved_spectra(task, index)
    saved_answers(results)
    saved_record("train", task, train={"epochs": 3})
    assert "3 trials and 2 stages" in tracking.sync()
    before = everything(f"tags.task = '{task}'")
    for name in ("create_run", "log_batch", "set_tag", "delete_run", "set_terminated", "log_artifact"):
        monkeypatch.setattr(type(store.connect().client), name, lambda *_, **__: pytest.fail("written"))
    tracking.sync()
    assert everything(f"tags.task = '{task}'") == before


SPECTRUM = [(1, 0.5), (2, -0.25), (3, -1.0), (4, -3.0)]
MORE, FEWER = (*shown.SUMMARIES, "share_positive"), ("exponent_1",)


def trained_to(task, *losses):
    saved(study.result(losses=losses, task=task, index=1))


@pytest.mark.parametrize(
    ("index", "change", "kept", "metric", "expected"),
    [
        (1, lambda task, *_: saved_spectra(task, 1), True, "exponent_1", [(0, 0.5), (1, 0.5), (3, 0.5)]),
        (1, lambda task, results, _: saved_answers(results), True, "expected_score", [(0, 0.25)]),
        (0, lambda task, results, patch: patch(MORE), True, "share_positive", [(0, 0.25), (1, 0.25), (3, 0.25)]),
        (0, lambda task, results, patch: patch(FEWER), False, "exponent_2", []),  # none is left
        (0, lambda task, *_: saved_spectra(task, lowest=-3.0), False, "spectrum/final", SPECTRUM),
        (0, lambda task, results, _: saved_answers(results[:1], expected_score=0.75), False, "expected_score", [(0, 0.75)]),
        (1, lambda task, *_: trained_to(task, 2.0, 1.5, 1.0, 0.25), False, "validation_loss", [(3, 0.25)]),
        (1, lambda task, *_: trained_to(task, 2.0, 1.5, 0.75, 0.5), False, "validation_loss", [(2, 0.75), (3, 0.5)]),
    ],
)
def test_what_is_added_completes_its_run_and_what_is_changed_replaces_it(
    task, monkeypatch, index, change, kept, metric, expected
):
    """Trial 0 has spectra and answers, trial 1 has none at first."""
    results = sweep(task, 2)
    saved_spectra(task, 0)
    saved_answers(results[:1])
    saved_record("train", task)
    before = [synced(task, 0), synced(task, 1)]
    shutil.rmtree(layout.RECORDS)
    change(task, results, lambda names: monkeypatch.setattr(shown, "SUMMARIES", names))
    tracking.sync()
    once = everything(f"tags.task = '{task}'")
    after = [synced(task, 0), synced(task, 1)]
    assert everything(f"tags.task = '{task}'") == once
    found = points(after[index], metric)
    assert (found[-len(expected) :] if expected else found) == expected
    assert len(points(after[index], "validation_loss")) == 4
    assert after[index].data.tags[COMMIT] == "a" * 40
    same = [old.info.run_id == new.info.run_id for old, new in zip(before, after, strict=True)]
    assert (same[index], same[1 - index]) == (kept, True)


def test_runs_are_read_page_by_page_and_one_that_comes_twice_is_kept(own_store, task, monkeypatch):
    """While pages are read, another clone makes runs, so that the next page begins with the end of the last one."""
    sweep(task, 5)
    tracking.sync()
    before = all_runs()
    monkeypatch.setattr(update, "PAGE", 2)
    search, last = type(own_store.client).search_runs, []

    def overlapping(*words, **named):
        page = search(*words, **named)
        both = PagedList([*last, *page], page.token)
        last[:] = deepcopy(page[-1:]) if page.token else []
        return both

    monkeypatch.setattr(type(own_store.client), "search_runs", overlapping)
    tracking.sync()
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own_store.address)
    assert all_runs() == before


def test_an_update_that_was_interrupted_doubles_nothing(task, monkeypatch):
    sweep(task, 1)
    tracking.sync()
    saved_spectra(task)
    client, calls = type(store.connect().client), []
    with monkeypatch.context() as broke:
        log = client.log_batch
        broke.setattr(client, "log_batch", lambda *words, **tags: broken() if tags else calls.append(log(*words)))
        with pytest.raises(TrackingError):
            tracking.sync()
    assert calls  # the metrics of the spectra, without the tags that say so
    saved_spectra(task, lowest=-3.0)
    assert points(synced(task), "spectrum/final")[3:] == [(4, -3.0)]


def test_runs_that_are_half_made_or_double_are_made_whole_and_single(task):
    sweep(task, 2)
    first, second = synced(task, 0), synced(task, 1)
    client = store.connect().client
    client.update_run(first.info.run_id, "RUNNING")
    double = client.create_run(second.info.experiment_id, tags=second.data.tags)
    assert synced(task, 0).info.run_id != first.info.run_id
    assert synced(task, 1).info.run_id == second.info.run_id != double.info.run_id
    assert len(runs(f"tags.task = '{task}'")) == 2


def test_clones_of_one_study_leave_each_others_runs_alone_but_for_settings_that_they_lack(task):
    """A clone has no records, other wall times and other times of files."""
    results = sweep(task)
    tracking.sync()
    first = only(f"tags.task = '{task}'", views.STAGES)
    saved_record("train", task, train={"epochs": 3})
    tracking.sync()
    run = only(f"tags.task = '{task}'", views.STAGES)
    assert (run.info.run_id, run.data.params) == (first.info.run_id, {"train.epochs": "3"})
    assert run.data.metrics["stage_seconds"] == 20
    before = everything(f"tags.task = '{task}'")
    shutil.rmtree(layout.RECORDS)
    for result in results:
        saved(replace(result, outcome=replace(result.outcome, seconds=7.0)))
    tracking.sync()
    assert everything(f"tags.task = '{task}'") == before


def test_a_sweep_that_was_killed_and_run_again_and_made_longer_has_each_trial_once_below_its_last_run(task):
    sweep(task, 2)
    saved_record("train", task, seconds=0.0)
    early = synced(task)
    assert not runs(f"tags.task = '{task}'", views.STAGES)
    parents = set()
    for number in (3, 4):
        sweep(task, number)
        saved_record("train", task)
        assert synced(task).info.run_id == early.info.run_id
        trials = runs(f"tags.task = '{task}'")
        (parent,) = {run.data.tags["mlflow.parentRunId"] for run in trials}
        parents.add(parent)
        assert (len(trials), {run.info.run_id for run in runs(f"tags.task = '{task}'", views.STAGES)}) == (number, parents)


def test_a_damaged_file_is_named_and_the_others_are_shown(task):
    (bad, *_) = sweep(task)
    bad.trial.path(layout.trials(task)).write_bytes(b"no file of arrays")
    assert f"2 trials and 1 stages in sqlite:///{store.database(store.address())}" in (sentence := tracking.sync())
    assert f"files left out: 1, such as {bad.trial.path(layout.trials(task))} is damaged" in sentence
    assert len(runs(f"tags.task = '{task}'")) == 2


def test_answers_of_another_version_are_named_and_the_trials_are_shown_without_them(task):
    results = sweep(task, 1)
    saved_answers(results)
    save_table(layout.PREDICTIONS, pd.DataFrame({"trial": [results[0].trial.id], "r2": [0.5]}))
    assert "files left out: 1, such as predictor/predictions.parquet was written by another version" in tracking.sync()
    assert "expected_score" not in synced(task).data.metrics


# Several workspaces with one store


@pytest.fixture
def clones(here, own_store, monkeypatch, task):
    """Work in one of two folders that have the same trials of a task, and one store."""

    def work(name, *, sync=True):
        (here / name).mkdir(exist_ok=True)
        monkeypatch.chdir(here / name)
        return tracking.sync() if sync else None

    for name in ("one", "two"):
        work(name, sync=False)
        sweep(task)
    return work


def all_runs():
    """Every run of the store, deleted ones included: id -> all that it shows, and whether it is there."""
    opened = opened_store()
    listed = opened.client.search_runs(list(opened.experiments.values()), run_view_type=ViewType.ALL)
    return {run.info.run_id: (run.info.lifecycle_stage, run.info.status, run.data.to_dictionary()) for run in listed}


def lives(where):
    return [run.info.run_id for run in runs(where)]


def test_clones_with_the_same_results_share_their_runs(clones):
    clones("one")
    before = all_runs()
    assert len(before) == 4
    clones("two")
    clones("one")
    assert all_runs() == before


def test_clones_with_other_results_keep_apart_and_neither_touches_the_runs_of_the_other(clones, task):
    clones("one")
    first = all_runs()
    clones("two", sync=False)
    trained_to(task, 2.0, 1.5, 1.0, 0.25)  # trial 1 ended otherwise, on another processor
    saved_spectra(task, 0)  # trial 0 has been measured here alone
    clones("two")
    both = all_runs()
    assert {run: both[run] for run in first} == first
    assert len(lives(f"tags.task = '{task}'")) == 5  # one trial is shared, two are apart
    for name in ("one", "two", "one"):
        clones(name)
        assert all_runs() == both
    saved_spectra(task, 0)
    clones("one")  # trial 0 is the same again
    clones("two")
    assert len(lives(f"tags.task = '{task}' and params.`index` = '0'")) == 1
    assert points(only(f"params.`index` = '0' and tags.task = '{task}'"), "validation_loss")[-1] == (3, 0.5)


def test_a_run_that_another_workspace_is_making_is_left_alone(clones, task):
    clones("one")
    made = {name: run.data.tags[name] for run in runs("params.`index` = '2'") for name in ("trial.id", "workspace")}
    unfinished = store.connect().client.create_run(store.connect().experiments[views.TRIALS], tags=made)
    clones("two")
    assert all_runs()[unfinished.info.run_id][:2] == ("active", "RUNNING")
    clones("one")  # whose process has died
    assert all_runs()[unfinished.info.run_id][0] == "deleted"


@pytest.mark.parametrize("last", [("one", "two"), ("two", "one")])
def test_runs_that_two_clones_made_at_once_become_single_whoever_comes_next(clones, task, monkeypatch, last):
    """A server has no lock: while one clone makes its first run of a trial, the other makes all of its own."""
    with monkeypatch.context() as patch:
        make = type(store.connect().client).create_run

        def make_late(self, experiment, begin, tags):
            if "trial.id" in tags:
                patch.setattr(type(self), "create_run", make)
                clones("two")
                clones("one", sync=False)
            return make(self, experiment, begin, tags)

        patch.setattr(store, "_alone", lambda path: nullcontext())
        patch.setattr(type(store.connect().client), "create_run", make_late)
        clones("one")
    doubled = lives("")
    assert len(doubled) == 6
    for name in last:
        clones(name)
    single = sorted(lives(""))
    ends = [min(own) for own in by_trial(doubled).values()]
    assert single == sorted(ends)
    for run in runs(""):
        assert points(run, "validation_loss") == [(0, 2.0), (1, 1.5), (2, 1.0), (3, 0.5)]


def by_trial(names):
    opened, groups = store.connect(), {}
    for name in names:
        groups.setdefault(opened.client.get_run(name).data.tags["trial.id"], []).append(name)
    return groups


@pytest.mark.slow
def test_two_processes_of_two_clones_lose_and_double_nothing(clones, here, task):
    clones("two", sync=False)
    trained_to(task, 2.0, 1.5, 1.0, 0.25)
    code = [sys.executable, "-c", "from pipeline import tracking; tracking.sync(); tracking.sync()"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(code, cwd=here / name, env=environment) for name in ("one", "two")]
    assert [process.wait() for process in started] == [0, 0]
    found = [points(run, "validation_loss")[-1] for run in runs(f"tags.task = '{task}'")]
    assert sorted(found) == [(3, 0.25), (3, 0.5), (3, 0.5), (3, 0.5)]
    assert not [run for run, (stage, *_) in all_runs().items() if stage == "deleted"]


def test_a_moved_workspace_keeps_its_identity_and_a_copy_has_its_own(here, monkeypatch):
    (here / "study").mkdir()
    monkeypatch.chdir(here / "study")
    first = store.workspace()
    assert store.workspace() == first
    (here / "study").rename(here / "moved")
    monkeypatch.chdir(here / "moved")
    assert store.workspace() == first
    shutil.copytree(here / "moved", here / "copy")
    monkeypatch.chdir(here / "copy")
    assert store.workspace() == store.workspace() != first


# A store that is moved, copied or removed


@pytest.fixture
def study_here(here, blank, monkeypatch, task):
    """A study with trials, files of a stage, and its own store in the folder `study`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (here / "study").mkdir()
    monkeypatch.chdir(here / "study")
    shutil.copy(blank, "mlflow.db")
    sweep(task, 2)
    study.fixed_points(task=task).save(layout.fixed_points(task) / "elman.safetensors")
    tracking.sync()
    return here / "study"


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def addresses():
    """All addresses of artifacts in the database, but that of MLflow's own experiment."""
    with closing(sqlite3.connect("mlflow.db")) as database:
        return [
            address
            for table, column in store._ADDRESSES
            for (address,) in database.execute(f"SELECT {column} FROM {table}")
            if address and not address.endswith("/0")
        ]


def test_a_copied_study_writes_into_its_own_folder_and_its_original_stays_as_it_is(study_here, here, monkeypatch, task):
    before = listing(study_here)
    kept = {run.info.run_id for run in runs("")}
    before_copy = listing(study_here)
    shutil.copytree(study_here, here / "copy")
    monkeypatch.chdir(here / "copy")
    sweep(task, 3)
    study.fixed_points(task=task, cell="gru").save(layout.fixed_points(task) / "gru.safetensors")
    tracking.sync()
    assert listing(study_here) == before_copy == before | before_copy
    assert kept < {run.info.run_id for run in runs("")}
    assert addresses()
    assert all(address.startswith((here / "copy" / "mlartifacts").as_uri()) for address in addresses())
    held = sorted(tuple(sorted(artifacts(run))) for run in runs("tags.stage = 'fixed_points'", views.STAGES))
    assert held == [("elman.safetensors",), ("elman.safetensors", "gru.safetensors")]
    before = all_runs()
    tracking.sync()
    assert all_runs() == before


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree], ids=["moved", "copied"])
def test_a_study_elsewhere_replaces_its_own_runs(study_here, here, monkeypatch, task, move):
    move(study_here, here / "elsewhere")
    monkeypatch.chdir(here / "elsewhere")
    trained_to(task, 2.0, 1.5, 1.0, 0.25)
    tracking.sync()
    assert [points(run, "validation_loss")[-1][1] for run in runs("", views.TRIALS)].count(0.25) == 1
    assert len(runs("")) == 2


def test_a_database_that_was_copied_without_its_artifacts_is_refused(study_here, here, monkeypatch, task):
    (here / "copy").mkdir()
    shutil.copy(study_here / "mlflow.db", here / "copy")
    monkeypatch.chdir(here / "copy")
    with pytest.raises(TrackingError, match=r"copied without its artifacts; copy \S+/study/mlartifacts/\S+ to \S+/copy/mlart"):
        tracking.sync()


def test_a_place_of_artifacts_that_the_user_chose_is_left_as_it_is(study_here):
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = 's3://bucket/x' WHERE name = ?", [views.TRIALS])
        database.commit()
    tracking.sync()
    opened = store.connect()
    assert opened.client.get_experiment(opened.experiments[views.TRIALS]).artifact_location == "s3://bucket/x"


def test_the_model_of_a_moved_study_is_found_before_the_next_update(here, blank, fitted, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (here / "study").mkdir()
    monkeypatch.chdir(here / "study")
    shutil.copy(blank, "mlflow.db")
    show_predictor(fitted)
    (here / "study").rename(here / "moved")
    monkeypatch.chdir(here / "moved")
    assert (tracking.fetch_model("models:/rnn-stability/1") / packaged.CARD).exists()


def test_a_database_that_was_removed_is_made_and_filled_again(study_here):
    before = sorted(run.info.run_name for run in runs(""))
    other = sqlite3.connect("mlflow.db")  # as the UI: the log of the old database stays
    other.execute("UPDATE tags SET value = value")
    other.commit()
    layout.Path("mlflow.db").unlink()
    assert "2 trials" in tracking.sync()
    other.close()
    assert layout.Path("mlflow.db").exists()
    assert sorted(run.info.run_name for run in runs("")) == before
    with closing(sqlite3.connect("mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_that_is_removed_during_an_update_is_no_success(study_here, task, monkeypatch):
    sweep(task, 4)
    make = type(store.connect().client).create_run

    def make_and_remove(self, *words):
        run = make(self, *words)
        for path in study_here.glob("mlflow.db*"):
            path.unlink()
        return run

    with monkeypatch.context() as patch:
        patch.setattr(type(store.connect().client), "create_run", make_and_remove)
        with pytest.raises(TrackingError, match="the MLflow store"):
            tracking.sync()
    tracking.sync()
    assert len(runs("")) == 4


def test_what_is_left_of_a_store_whose_making_was_killed_is_swept_away_and_in_no_commit(here):
    left = here / "mlflow.db.new-1"
    left.mkdir()
    (left / "mlflow.db").write_bytes(b"half")
    store._create(here / "mlflow.db")
    assert [path.name for path in here.iterdir()] == ["mlflow.db"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert all(
        any(fnmatch(f"/{name}", line) for line in ignored) for name in (left.name, "mlflow.db.workspace", "mlflow.db.lock")
    )


# Stages


def test_experiments_with_other_settings_and_the_same_results_keep_their_runs(task):
    sweep(task, 1)
    saved_record("train", task, success={"threshold": 0.7})
    tracking.sync()
    first = everything(f"tags.task = '{task}'")
    saved_record("train", task, success={"threshold": 0.6})
    tracking.sync()
    found = everything(f"tags.task = '{task}'")
    stages = {run.data.params["success.threshold"]: run.info.run_id for run in runs(f"tags.task = '{task}'", views.STAGES)}
    assert set(stages) == {"0.7", "0.6"}
    assert found[stages["0.7"]] == first[stages["0.7"]]
    tracking.sync()
    assert everything(f"tags.task = '{task}'") == found
    shutil.rmtree(layout.RECORDS)
    tracking.sync()
    assert [everything(f"tags.task = '{task}'")[run] for run in stages.values()] == [found[run] for run in stages.values()]


def test_a_file_of_a_stage_that_cannot_be_read_is_named_and_all_else_is_shown(task):
    sweep(task, 1)
    study.fixed_points(task=task, cell="gru").save(layout.fixed_points(task) / "gru.safetensors")
    layout.portrait(task, "gru").mkdir(parents=True)  # no picture
    assert "1 trials and 1 stages" in (sentence := tracking.sync())
    assert "files left out: 1, such as cannot read report/figures" in sentence
    assert len(runs(f"tags.task = '{task}'")) == 1


def test_the_run_of_a_sweep_sums_it_up_by_cell_and_has_the_settings_and_times_of_its_record(task):
    sweep(task, 2)
    saved(study.result(diverged=True, task=task, cell="gru"))
    saved_spectra(task)
    saved_record("train", task, train={"learning_rate": {"low": 0.0001}}, cells=["elman", "gru"])
    tracking.sync()
    run = only(f"tags.stage = 'train' and tags.task = '{task}'", views.STAGES)
    expected = {"trials": 3, "diverged": 1, "median_validation_loss": 0.5, "best_validation_loss": 0.5, "gru/diverged": 1}
    assert (expected | {"elman/trials": 2, "stage_seconds": 20}).items() <= run.data.metrics.items()
    assert run.data.params == {"train.learning_rate.low": "0.0001", "cells": "['elman', 'gru']"}
    assert (run.info.start_time, run.info.end_time) == (1_000_000, 1_020_000)
    assert [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs] == [(task, "d" * 12)]
    run = only(f"tags.stage = 'measure' and tags.task = '{task}'", views.STAGES)
    assert {"trials": 1, "median_exponent_1_early": 0.5}.items() <= run.data.metrics.items()


def test_the_run_of_a_tasks_data_shows_its_sizes_chance_source_and_licence(task):
    TaskData({"train_inputs": np.zeros((1, 1, 1))}, study.info(task)).save(layout.data(task))
    tracking.sync()
    run = only(f"tags.task = '{task}'", views.STAGES)
    assert (run.data.metrics["chance"], run.data.metrics["train_sequences"]) == (2, 3)
    assert (run.data.tags["source"], run.data.tags["licence"]) == ("made", "none")


def test_the_run_of_fixed_points_shows_their_counts_and_later_their_picture(task):
    for cell in ("elman", "gru"):
        study.fixed_points(task=task, cell=cell).save(layout.fixed_points(task) / f"{cell}.safetensors")
    tracking.sync()
    before = only(f"tags.task = '{task}'", views.STAGES)
    assert {"elman/zero/fixed_points": 2, "gru/mean/stable": 1}.items() <= before.data.metrics.items()
    assert "elman/mean/slowest_time_constant" not in before.data.metrics  # None
    layout.FIGURES.mkdir(parents=True)
    layout.portrait(task, "gru").write_bytes(b"picture")
    tracking.sync()
    run = only(f"tags.task = '{task}'", views.STAGES)
    assert run.info.run_id == before.info.run_id
    assert artifacts(run) == {"elman.safetensors", "gru.safetensors", "figures"}
    assert artifacts(run, "figures") == {f"figures/{layout.portrait(task, 'gru').name}"}


# The predictor and the report


SPLITS = splits.SPLITS[:3]  # of a study


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with features, a predictor and a report."""
    folder = tmp_path_factory.mktemp("fitted")
    table = feature_table.table(*study.study(trials=6), 0.8)
    rows, random = trials.trial_inputs(table).copy(), np.random.default_rng(0)
    about = {"variant": "", "score_kind": "linear", "success_kind": "linear"}
    answers = pd.concat(
        [
            rows[["trial", "task", "cell", "score", "success"]].assign(
                split=split,
                moment=moment,
                inputs=name,
                group=rows[{"one cell left out": "cell"}.get(split, "task")],
                expected_score=(rows["score"] + random.normal(0, 0.05 * place + 0.05, len(rows))).clip(0, 1),
                probability_of_success=random.uniform(0, 1, len(rows)),
                **about,
            )
            for split in SPLITS
            for moment, sets in inputs.SETS.items()
            for place, name in enumerate(sets)
        ],
        ignore_index=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DRAWS", "PRUNER_DRAWS"):
            patch.setattr(decision, name, 2)
        judgement = evidence.judgement(answers, rows.assign(study="own"), count=100, seed=0, on=Here())
    kept = trials.compact(rows).assign(study="evidence")
    card = Card(
        studies={"evidence": len(kept)},
        tasks=sorted(rows["task"].unique()),
        cells=sorted(rows["cell"].unique()),
        threshold=0.8,
        recipes={
            moment: {name: Recipe(columns, "linear", "linear", (0.0, 1.0)) for name, columns in sets.items()}
            for moment, sets in inputs.SETS.items()
        },
        own_weights={"5": 4.0},
        quantiles=packaged.quantiles(kept),
        judgement=judgement,
        origin={},
    )
    StabilityPredictor(kept, card).save(folder / layout.PREDICTOR)
    judgement.save(folder / layout.EVIDENCE)
    for path, content in [(layout.FEATURES, table), (layout.FEATURES_CSV, table), (layout.PREDICTIONS, answers)]:
        save_table(folder / path, content)
    (folder / layout.FIGURES).mkdir(parents=True)
    (folder / layout.FIGURES / "one.png").write_bytes(b"picture")
    (folder / layout.PAGE).write_text("<html></html>")
    return folder


def show_predictor(fitted, *, beats=False, remark=""):
    """Update a store with the predictor, whose evidence is made to say that the spectra help or not."""
    shutil.copytree(fitted, ".", dirs_exist_ok=True)
    judgement, low = Judgement.load(layout.EVIDENCE), 0.1 if beats else -0.1
    measures = judgement.champion.measures | {"brier": Estimate(0.2, low, 0.3)}
    champion = replace(judgement.champion, measures=measures)
    replace(judgement, champion=champion, volume=Estimate(0.02, 0.01, 0.03)).save(layout.EVIDENCE)
    card = Card.load(layout.PREDICTOR / packaged.CARD)
    replace(card, origin={"remark": remark}).save(layout.PREDICTOR / packaged.CARD)
    tracking.sync()
    return Judgement.load(layout.EVIDENCE)


def test_the_run_of_the_predictor_shows_the_evidence_of_what_answers_beside_its_rival(own_store, fitted):
    judgement = show_predictor(fitted)
    run = only("tags.stage = 'predictor'", views.STAGES)
    for split, folder in zip(SPLITS, ("over_trials", "one_cell_left_out", "one_task_left_out"), strict=True):
        for moment, place in ((BEFORE, "before_training"), (EPOCH, "one_epoch")):
            names = {"": judgement.served[split][moment], "_rival": evidence.RIVALS[moment]}
            for ending, name in names.items():
                measures = judgement.of(split, moment, name).measures
                shown_ = {measure: run.data.metrics[f"{folder}/{place}/{measure}{ending}"] for measure in measures}
                assert shown_ == pytest.approx({measure: estimate.value for measure, estimate in measures.items()}, rel=5e-4)
            assert run.data.tags[f"served/{folder}/{place}"] == names[""]
    gains = {"gain_brier": 0.2, "gain_brier_low": -0.1, "gain_hypervolume_high": 0.03, "is_champion": 0}
    assert gains.items() <= run.data.metrics.items()
    spectra = {"with_spectra": judgement.champion.with_, "without_spectra": judgement.champion.without, "champion": "no"}
    assert spectra.items() <= run.data.tags.items()
    assert artifacts(run) == {"evidence.json", "predictions.parquet"}
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "evidence.json", "type": "table"}]
    assert all(f"| {name} | " in run.data.tags["mlflow.note.content"] for name in ("hyper-parameters, spectrum", "loss", "rival"))


def test_the_table_of_the_evidence_has_every_set_at_every_moment(own_store, fitted, here):
    judgement = show_predictor(fitted)
    run = only("tags.stage = 'predictor'", views.STAGES)
    path = own_store.client.download_artifacts(run.info.run_id, "evidence.json", str(here))
    table = json.loads(layout.Path(path).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == len(SPLITS) * sum(map(len, inputs.SETS.values()))
    found = {(row["split"], row["moment"], row["inputs"]): (row["brier"], row["brier_low"]) for row in rows}
    for e in judgement.evidence:
        brier = e.measures["brier"]
        assert found[e.split, e.moment, e.inputs] == pytest.approx((brier.value, brier.low), rel=1e-9)


def test_a_study_without_a_cell_left_out_is_shown_and_is_no_champion(own_store, fitted):
    shutil.copytree(fitted, ".", dirs_exist_ok=True)
    judgement = Judgement.load(layout.EVIDENCE)
    replace(judgement, champion=None, volume=None, gains=[], decisions=[]).save(layout.EVIDENCE)
    tracking.sync()
    run = only("tags.stage = 'predictor'", views.STAGES)
    assert (run.data.tags["champion"], "gain_brier" in run.data.metrics) == ("no", False)
    (version,) = own_store.client.search_model_versions(f"name = '{views.MODEL}'")
    assert "These trials do not show whether spectra earn their place" in version.description


def test_the_runs_of_features_and_report_hold_their_files(own_store, fitted):
    show_predictor(fitted)
    run = only("tags.stage = 'features'", views.STAGES)
    assert {"trials": 24, "diverged": 0}.items() <= run.data.metrics.items()
    assert artifacts(run) == {"features.parquet", "features.csv"}
    run = only("tags.stage = 'report'", views.STAGES)
    assert artifacts(run) | artifacts(run, "figures") == {"index.html", "figures", "figures/one.png"}


def test_the_predictor_is_registered_once_and_says_that_it_is_no_champion(own_store, fitted):
    judgement = show_predictor(fitted)
    tracking.sync()
    (version,) = own_store.client.search_model_versions(f"name = '{views.MODEL}'")
    rival = f'spectra do not measurably earn their place. Compared with "{judgement.champion.without}", the be'
    assert version.tags["is_champion"] == "no"
    assert rival in version.description
    assert f"| one cell left out | one epoch | {judgement.served['one cell left out'][EPOCH]} |" in version.description
    assert f'StabilityPredictor.load("models:/{views.MODEL}@newest")' in version.description
    assert len(version.description) < 5000
    assert str(own_store.client.get_model_version_by_alias(views.MODEL, "newest").version) == "1"
    with pytest.raises(TrackingError, match=r"there is no champion, since spectra did not .* models:/rnn-stability/latest"):
        tracking.fetch_model("models:/rnn-stability@champion")


def test_the_champion_is_the_last_version_that_beat_its_rival(own_store, fitted):
    client = own_store.client
    show_predictor(fitted, beats=True)
    show_predictor(fitted, remark="second")
    assert str(client.get_model_version_by_alias(views.MODEL, registry.CHAMPION).version) == "1"
    assert "The alias champion stays at version 1" in client.get_model_version(views.MODEL, "2").description
    show_predictor(fitted, beats=True, remark="third")
    assert str(client.get_model_version_by_alias(views.MODEL, registry.CHAMPION).version) == "3"


def test_a_registration_that_was_interrupted_is_completed(own_store, fitted, monkeypatch):
    with monkeypatch.context() as broke:
        broke.setattr(type(own_store.client), "set_registered_model_alias", broken)
        with pytest.raises(TrackingError):
            show_predictor(fitted, beats=True)
    tracking.sync()
    assert len(own_store.client.search_model_versions(f"name = '{views.MODEL}'")) == 1
    assert str(own_store.client.get_model_version_by_alias(views.MODEL, registry.CHAMPION).version) == "1"


def test_a_model_that_is_not_there_is_refused_with_those_that_are_and_no_store_is_made_for_it(
    own_store, fitted, here, monkeypatch
):
    with pytest.raises(TrackingError, match="no rnn-stability is registered; run `dvc repro` to make one"):
        tracking.fetch_model("models:/rnn-stability/1")
    show_predictor(fitted)
    for uri in ("models:/rnn-stability/9", "models:/another/1", "runs:/none/model"):
        sentence = f"there is no model {uri} in .*: there are versions 1; models:/rnn-stability/latest"
        with pytest.raises(TrackingError, match=sentence):
            StabilityPredictor.load(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/none.db")
    with pytest.raises(TrackingError, match="there is no MLflow store at"):
        tracking.fetch_model("models:/rnn-stability/1")
    assert not (here / "none.db").exists()


OUTSIDE = """
import sys

class WithoutTorch:  # as where a model is served
    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, WithoutTorch)
import mlflow, pandas as pd, pipeline
model = mlflow.pyfunc.load_model("models:/rnn-stability/1")
import rnn_stability  # which the model brings along
rows = rnn_stability.trial_inputs(pd.read_parquet("features.parquet")).head(4)
rows.loc[0, [c for c in rows if c.startswith(("early_", "change_", "eighth_", "epoch_"))]] = None  # not measured yet
rows.loc[1, "already_diverged"] = True
answers = [model.predict(rows), pd.concat([model.predict(rows.loc[[i]]) for i in rows.index]), model.predict(rows.iloc[:, ::-1])]
pd.testing.assert_frame_equal(answers[0], answers[1])
pd.testing.assert_frame_equal(answers[0], answers[2])
refused = []
for wrong in ({"task": "countng"}, {"dropout": -1.0}):
    try:
        model.predict(rows.assign(**wrong))
    except mlflow.MlflowException as error:
        refused.append(error.message)
print(answers[0].to_json(orient="records"), *refused, pipeline.MINE, rnn_stability.__file__, sep="|")
"""


@pytest.mark.slow
def test_the_model_loads_without_torch_and_beside_another_package_named_pipeline(own_store, fitted, here):
    show_predictor(fitted)
    outside = here / "outside"
    (outside / "pipeline").mkdir(parents=True)
    (outside / "pipeline" / "__init__.py").write_text("MINE = 'foreign'")
    shutil.copy(layout.FEATURES, outside / "features.parquet")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = [sys.executable, "-c", OUTSIDE]
    done = subprocess.run(code, cwd=outside, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, *refused, mine, place = done.stdout.strip().splitlines()[-1].split("|")
    rows = trials.trial_inputs(pd.read_parquet(layout.FEATURES))
    own = StabilityPredictor.load("models:/rnn-stability/latest").predict(rows).iloc[2]
    first, second, third, _ = json.loads(answer)
    assert (first["moment"], third["moment"]) == (BEFORE, EPOCH)
    assert second == {"expected_score": 0, "probability_of_success": 0, "moment": "divergence", "based_on": "divergence"}
    assert third["based_on"] == own["based_on"]
    assert third["probability_of_success"] == pytest.approx(own["probability_of_success"])  # to the digits of the JSON
    assert third["expected_score"] == pytest.approx(own["expected_score"], rel=1e-6)  # JSON has ten digits
    assert "there is no task 'countng'; did you mean 'counting'?" in refused[0]
    assert "dropout is -1; it should be greater than or equal to 0" in refused[1]
    assert mine == "foreign"
    assert "rnn_stability" in place
    assert str(ROOT) not in place


@pytest.mark.slow
def test_a_server_gets_runs_artifacts_and_the_registered_model(blank, fitted, here, monkeypatch, task):
    shutil.copy(blank, here / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--backend-store-uri",
        f"sqlite:///{here}/mlflow.db",
        "--artifacts-destination",
        str(here / "served"),
        "--workers",
        "1",
    ]
    command = [sys.executable, "-m", "mlflow", "server", *options, "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | ui._SMALL
    with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            await_port(port)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
            sweep(task, 1)
            show_predictor(fitted)
            assert "are up to date" in tracking.sync()
            assert points(only(f"tags.task = '{task}'"), "validation_loss")[-1] == (3, 0.5)
            assert artifacts(only("tags.stage = 'report'", views.STAGES)) == {"index.html", "figures"}
            assert (tracking.fetch_model("models:/rnn-stability/1") / packaged.CARD).exists()
        finally:
            server.terminate()


def await_port(port):
    for _ in range(600):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)


# What goes wrong


def broken(*_, **__):
    raise MlflowException("something else")


def test_a_store_that_fails_midway_is_one_sentence_and_the_next_update_makes_up_for_it(task, monkeypatch):
    sweep(task)
    with monkeypatch.context() as broke:
        broke.setattr(type(store.connect().client), "log_batch", broken)
        with pytest.raises(TrackingError, match=r"the MLflow store sqlite.* failed: something else"):
            tracking.sync()
    tracking.sync()
    assert [run.info.status for run in runs(f"tags.task = '{task}'")] == ["FINISHED"] * 3


WRITES = ("create_run", "log_batch", "log_artifact", "set_terminated", "delete_run", "log_inputs")


def contents():
    """All that a store holds, without ids and times, which differ between two stores."""
    opened, found = opened_store(), []
    names = {run.info.run_id: run.info.run_name for name in views.VIEWS for run in runs("", name)}
    for experiment in views.VIEWS:
        for run in runs("", experiment):
            tags = run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))}
            tags = {tag: re.sub("[0-9a-f]{32}", lambda found: names.get(found[0], found[0]), str(tags[tag])) for tag in tags}
            data = [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs]
            history = {m: points(run, m) for m in run.data.metrics}
            files = {path: digest_of(opened, run, path) for path in artifacts(run)}
            found.append((run.info.run_name, run.info.status, run.data.params, history, sorted(tags.items()), data, files))
    return sorted(found, key=lambda run: run[0])


def digest_of(opened, run, path):
    return digest(layout.Path(opened.client.download_artifacts(run.info.run_id, path)))


@pytest.mark.slow
def test_wherever_an_update_was_interrupted_the_next_one_restores_everything_exactly(here, blank, monkeypatch, task):
    """The store fails at each of its writes, one after the other: at first, and where spectra are added later."""
    (result,) = sweep(task, 1)
    study.fixed_points(task=task).save(layout.fixed_points(task) / "elman.safetensors")
    saved_record("fixed_points", task, fixed_points={"seeds": 4})
    made, seen = fail_at(here / "first", blank, monkeypatch, 0), []
    assert made > 8
    for place in range(1, made + 1):
        fail_at(here / f"first_{place}", blank, monkeypatch, place)
        seen.append(contents())
    saved_spectra(task)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/first/mlflow.db")
    added = fail_at(here / "first", blank, monkeypatch, 0)
    whole = contents()
    for place in range(1, added + 1):
        result.save(result.trial.path(layout.trials(task)))
        shutil.rmtree("spectra")
        fail_at(here / f"more_{place}", blank, monkeypatch, 0)
        saved_spectra(task)
        fail_at(here / f"more_{place}", blank, monkeypatch, place)
        assert contents() == whole
    shutil.rmtree("spectra")
    fail_at(here / "undisturbed", blank, monkeypatch, 0)
    assert all(found == contents() for found in seen)


def fail_at(folder, blank, monkeypatch, place):
    """Update a store that fails at the write with this number, if it is above 0, and again; how many writes there were."""
    folder.mkdir(exist_ok=True)
    if not (folder / "mlflow.db").exists():
        shutil.copy(blank, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    kind, numbers = type(store.connect().client), count(1)
    with monkeypatch.context() as patch:

        def watched(write):
            return lambda *words, **named: broken() if next(numbers) == place else write(*words, **named)

        for name in WRITES:
            patch.setattr(kind, name, watched(getattr(kind, name)))
        if place:
            with pytest.raises(TrackingError):
                tracking.sync()
        tracking.sync()
    return next(numbers) - 1


def of_revision(revision):
    """Makes a database of another version of MLflow."""

    def change(path, blank):
        shutil.copy(blank, path)
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", [revision])
            database.commit()

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "address", "sentence"),
    [
        (
            lambda path, blank: path.write_bytes(b"no database at all" * 100),
            "sqlite:///store",
            "is corrupt or no MLflow database",
        ),
        (lambda path, blank: sqlite_file(path), "sqlite:///store", "is corrupt or no MLflow database; move it away"),
        (
            lambda path, blank: path.touch(),
            "sqlite:///store/mlflow.db",
            "cannot be written; allow it, or set MLFLOW_TRACKING_URI",
        ),
        (of_revision("451aebb31d03"), "sqlite:///store", "failed: .*451aebb31d03"),  # MLflow's first
        (of_revision("0123456789ab"), "sqlite:///store", "failed: .*0123456789ab"),  # one that it does not know
        (lambda path, blank: None, "http://127.0.0.1:9", "does not answer; start the server"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence_within_seconds(blank, here, monkeypatch, make, address, sentence):
    make(here / "store", blank)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    begin = time.monotonic()
    with pytest.raises(TrackingError, match=f"the MLflow store .* {sentence}"):
        tracking.sync()
    assert time.monotonic() - begin < 15


def sqlite_file(path):
    """A database of another program."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE one (x)")


def sqlite_error(*commands, path=":memory:"):
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect(path).executescript(";".join(commands))
    return caught.value


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (lambda: OSError(28, "No space left on device"), r"the disk of \S+ or /a is full"),
        (lambda: PermissionError(13, "Permission denied"), "cannot be written"),
        (lambda: sqlite_error("PRAGMA max_page_count = 1", "CREATE TABLE one (x)"), r"the disk of \S+ or /a is full"),
        (lambda: sqlite_error(path="/none/none.db"), "cannot be written"),
        (lambda: NoConnection("refused"), "does not answer"),
        (lambda: MlflowException("something else"), "failed: something else"),
    ],
)
def test_each_failure_says_what_is_wrong_even_inside_another(error, sentence):
    outer = MlflowException(str(error()))
    outer.__cause__ = error()
    for raised in (error(), outer):
        with pytest.raises(TrackingError, match=sentence), store.failures("sqlite:////a/mlflow.db"):
            raise raised


def test_a_database_that_another_process_holds_is_reported_as_locked(own_store, here, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    with closing(sqlite3.connect(here / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackingError, match="is locked; end the process that holds it"):
            store.connect()


def test_a_full_disk_of_temporary_files_is_named(here, monkeypatch):
    full = {layout.Path(tempfile.gettempdir()): 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=full.get(path, 1 << 30)))
    sentence = f"the disk of {tempfile.gettempdir()} is full; make room"
    with pytest.raises(TrackingError, match=sentence), store.failures(f"sqlite:///{here}/mlflow.db"):
        raise OSError(28, "No space left on device")


def test_what_other_libraries_log_about_a_failure_is_not_printed(study_here, task, capfd):
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("DROP TABLE latest_metrics")
    sweep(task, 3)
    before = logging.getLogger("mlflow").level
    with pytest.raises(TrackingError, match=r"failed: .*latest_metrics"):
        tracking.sync()
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("mlflow").level == before


@pytest.fixture
def server(monkeypatch):
    """Makes a server that answers everything alike; its address holds a password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = []

    def start(code, body, delay=0.0):
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(delay)
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        started.append(ThreadingHTTPServer(("127.0.0.1", 0), Answers))
        threading.Thread(target=started[0].serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{started[0].server_port}")

    yield start
    for each in started:
        each.shutdown()
        each.server_close()


CREDENTIALS = "refuses these credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@pytest.mark.parametrize(
    ("code", "body", "sentence"),
    [
        (500, b"oops", r"answers with errors \(too many 500 error responses\); see the server's log"),
        (429, b"later", r"answers with errors \(too many 429 error responses\); see the server's log"),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no database"}', "answers with errors .too many 503 "),
        (401, b"You are not authenticated", CREDENTIALS),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}', CREDENTIALS),
        (404, b"secret http://me:secret@here", r"failed: .* 404 .*'\*\*\* http://me:\*\*\*@here'"),
    ],
)
def test_a_server_that_refuses_is_one_sentence_without_the_password(server, here, code, body, sentence):
    server(code, body)
    with pytest.raises(TrackingError, match=rf"the MLflow store http://\*\*\*@127.0.0.1:\d+ {sentence}") as caught:
        tracking.sync()
    assert "secret" not in str(caught.value)


def test_a_server_that_is_slow_is_not_taken_for_one_that_is_down(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server(404, b"", delay=3.0)
    with pytest.raises(TrackingError, match=r"is too slow; .* or set MLFLOW_HTTP_REQUEST_TIMEOUT"):
        tracking.sync()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql+none://me:secret@host/db", r"postgresql\+none://\*\*\*@host/db needs another package .*none.*; install it"),
        ("http://[::1", "MLFLOW_TRACKING_URI is no address"),
        ("http://me:se/cret@host", r"no address: http://\*\*\*@host; .* are written as %2F"),
        ("postgresql://me:sec@ret@host/db", r"no address: postgresql://\*\*\*@host/db; "),
        ("sqlite://", "MLFLOW_TRACKING_URI is sqlite://; an SQLite store is a file, such as sqlite:///mlflow.db"),
        ("sqlite:///", "an SQLite store is a file"),
        ("sqlite://mlflow.db", "an SQLite store is a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence_without_the_password(monkeypatch, address, sentence):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=sentence) as caught:
        tracking.sync()
    assert not [part for part in ("secret", "se/cret", "sec@", "ret@") if part in str(caught.value)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://me:secret@host:1/a", "http://***@host:1/a"),
        ("https://TOKEN@host", "https://***@host"),
        ("http://me:se/c#r?e@t@host", "http://***@host"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?***"),
        ("postgresql://me:secret@host/db?sslmode=require", "postgresql://***@host/db?***"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_addresses_are_shown_without_users_passwords_tokens_and_options(address, expected):
    assert store.readable(address) == expected


@pytest.mark.parametrize("shown_as", ["secret/", "secret%2F"])
@pytest.mark.parametrize(
    ("address", "environment"),
    [
        ("http://me:secret%2F@host", {}),
        ("http://secret%2F@host", {}),
        ("postgresql://host/db?password=secret%2F", {}),
        ("http://host", {"MLFLOW_TRACKING_PASSWORD": "secret/"}),
        ("http://host", {"MLFLOW_TRACKING_TOKEN": "secret/"}),
    ],
)
def test_the_messages_of_other_libraries_are_shown_without_secrets(monkeypatch, address, environment, shown_as):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrackingError, match=r"failed: before \*\*\* after;"), store.failures(address):
        raise MlflowException(f"before {shown_as} after")


def test_a_password_is_not_shown():
    with pytest.raises(TrackingError) as caught, store.failures("postgresql://me:secret@host/db"):
        raise OSError("connection refused")
    assert "secret" not in str(caught.value)
    assert "postgresql://***@host/db" in str(caught.value)


def test_waiting_is_cut_short_only_inside_and_unless_the_user_chose(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with store.failures("http://x"):
        assert (os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == ("2", "77")
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


# Where runs go


def test_the_store_is_the_users_choice_or_lies_at_the_root_that_dvc_names_or_beside_the_nearest_folder_of_dvc(here, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (here / "a" / ".dvc").mkdir(parents=True)
    (here / "a" / "b").mkdir()
    monkeypatch.chdir(here / "a" / "b")
    assert store.address() == f"sqlite:///{here}/a/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(here))
    assert store.address() == f"sqlite:///{here}/mlflow.db"
    for chosen, address in [("sqlite:///s/other.db", f"sqlite:///{here}/s/other.db"), ("https://a.example", "https://a.example")]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", chosen)
        assert store.address() == address


def test_artifacts_lie_beside_the_database_and_readers_do_not_wait_for_writers(shared):
    opened = store.connect()
    for name, number in opened.experiments.items():
        place = opened.client.get_experiment(number).artifact_location
        assert place == (shared.parent / "mlartifacts" / name.replace(" ", "-")).as_uri()
    with closing(sqlite3.connect(shared)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_processes_that_start_together_make_one_whole_store_without_doubles(here, task):
    sweep(task)
    environment = os.environ | {"DVC_ROOT": str(here), "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}
    command = [sys.executable, "-c", "from pipeline import tracking; print(tracking.sync())"]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].count("3 trials and 1 stages") for process in started] == [1] * 3
    with closing(sqlite3.connect("mlflow.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM runs").fetchone() == (4,)  # deleted ones would count
    assert {path.name for path in here.glob(".mlflow*")} == set()


def test_importing_the_room_does_not_load_mlflow():
    code = "import sys, pipeline.tracking; print('mlflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# The UI


def test_every_column_and_every_axis_of_a_view_is_one_that_runs_have(own_store, fitted):
    results, spectra, probed = study.study(trials=6)
    for result, measured, measurements in zip(results, spectra, probed, strict=True):
        saved(result)
        measured.save(layout.spectra(result.trial.task) / f"{result.trial.id}.safetensors")
        measurements.save(layout.measurements(result.trial.task) / f"{result.trial.id}.safetensors")
    saved(study.result(losses=(2.0, math.nan, math.nan, math.nan), diverged=True, index=99))
    for name in ("counting", "recalling"):
        saved_record("train", name)
    show_predictor(fitted)
    offered = {views.TRIALS: [*views.VIEWS[views.TRIALS], *views.of_task("counting")], views.STAGES: views.VIEWS[views.STAGES]}
    data = [run.data for run in [*runs(""), *runs("", views.STAGES)]]
    known = {f"{kind}.{key}" for kind in ("metrics", "params", "tags") for each in data for key in getattr(each, kind)}
    for view in [view for listed in offered.values() for view in listed]:
        charts = [chart for section in view.sections.values() for chart in section]
        drawn = {f"metrics.{m}" for c in charts for m in [*c.get("selectedMetricKeys", []), *c.get("selectedMetrics", [])]}
        drawn |= {f"params.{name}" for chart in charts for name in chart.get("selectedParams", [])}
        axes = [chart[axis] for chart in charts for axis in ("xaxis", "yaxis") if axis in chart]
        drawn |= {f"{axis['type'].lower()}s.{axis['key']}" for axis in axes}
        assert {column for column in {*view.columns, *drawn} if not column.startswith("attributes")} <= known
    assert {f"params.{name}" for name in DECLARED} <= set(views.VIEWS[views.TRIALS][0].columns)
    assert {name for run in runs("") for name in run.data.metrics} == set(metrics.OF_TRIALS)  # what the UI draws no charts of


def test_views_are_saved_in_the_form_that_the_ui_reads_with_two_charts_a_row_and_none_of_its_own(own_store):
    sweep("counting")
    tracking.sync()
    for experiment, listed in views.VIEWS.items():
        tags = own_store.client.get_experiment(own_store.experiments[experiment]).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        for view in [*listed, *(views.of_task("counting") if experiment == views.TRIALS else ())]:
            saved_view = json.loads(tags[f"mlflow.sharedViewState.{view.key}"])
            state = json.loads(saved_view["state"])
            assert (saved_view["name"], "selectedColumns" in state) == (view.name, True)
            assert len(tags[f"mlflow.sharedViewState.{view.key}"]) < 20_000  # characters that MLflow takes
            if view.sections:
                assert {section["columns"] for section in state["compareRunSections"]} <= {1, 2}
                hidden = {chart["metricKey"] for chart in state["compareRunCharts"] if chart["deleted"]}
                assert {"score", "seconds", "spectrum/final"} <= hidden


def test_a_view_of_an_earlier_version_is_removed_and_one_of_the_user_stays(own_store, monkeypatch):
    number = own_store.experiments[views.TRIALS]
    former = views.saved([replace(views.VIEWS[views.TRIALS][0], key="former")])
    for tag, value in (former | {"mlflow.sharedViewState.mine": '{"createdAt": 5}'}).items():
        own_store.client.set_experiment_tag(number, tag, value)
    tags = store.connect().client.get_experiment(number).tags
    assert "mlflow.sharedViewState.former" not in tags
    assert "mlflow.sharedViewState.mine" in tags


def test_the_ui_reports_in_one_sentence_that_its_store_cannot_be_used(here, monkeypatch):
    (here / "mlflow.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    with pytest.raises(SystemExit, match=r"ERROR: ui: the MLflow store .* is corrupt"):
        ui.main()


def test_a_port_that_is_taken_or_no_port_is_one_sentence(task, monkeypatch):
    sweep(task)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit, match=r"ERROR: ui: port \d+ is taken"):
            ui.main()
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(SystemExit, match=r"ERROR: ui: PORT is http; it should be a number from 1 to 65535"):
        ui.main()


def test_make_ui_prints_last_the_address_that_answers_and_opens_the_trials_without_the_assistant(own_store, here):
    """The server is a process of its own: it imports MLflow's, which changes the process for good."""
    sweep("counting")
    layout.PAGE.parent.mkdir()
    layout.PAGE.write_text("the report")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = os.environ | {"PORT": port, "DVC_ROOT": str(here), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.tracking.ui"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert "3 trials" in server.stdout.readline()
            last = server.stdout.readline()
            address = last.split()[-1]
            assert address == f"http://127.0.0.1:{port}/study"
            page = requests.get(address, timeout=60).text
            trials = views.link(own_store.experiments[views.TRIALS], "trials")
            assert f'location.replace("/{trials}")' in page
            assert "workflowType=machine_learning" in trials
            assert "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')" in page
            assert requests.get(f"{address}/report/index.html", timeout=60).text == "the report"
            weights = only("tags.task = 'counting' and params.`index` = '0'").data.tags["weights"]
            assert requests.get(f"{address}/{weights}", timeout=60).content == (here / weights).read_bytes()
            assert requests.get(f"{address}/trials/%2e%2e/mlflow.db", timeout=60).status_code == 404
            assert requests.get(address, headers={"Host": "elsewhere.example"}, timeout=60).status_code == 403
            # addresses of stores have passwords, and other users can read command lines
            assert store.address() not in Path(f"/proc/{server.pid}/cmdline").read_text()
        finally:
            server.terminate()


def test_where_a_server_keeps_the_store_the_ui_is_that_servers(task, monkeypatch, capsys):
    sweep(task)
    remote = replace(store.connect(), address="https://me:secret@server.example/")
    monkeypatch.setattr(store, "connect", lambda: remote)
    monkeypatch.setattr(update, "sync", broken_sync)
    monkeypatch.setattr(ui, "serve", lambda *_: pytest.fail("started another"))
    ui.main()
    out, err = capsys.readouterr()
    assert out.startswith("https://server.example/#/experiments/")
    assert len(out.splitlines()) == 1
    assert "secret" not in out
    assert err == "WARNING: the store is down\n"


def broken_sync():
    raise TrackingError("the store is down")


# What people read


def test_numbers_have_four_digits_and_counts_all_of_theirs(task):
    saved(study.result(losses=(2.0, 1.23456789, 0.000123456, 123456.789), task=task))
    run = synced(task)
    assert points(run, "validation_loss") == [(0, 2.0), (1, 1.235), (2, 0.0001235), (3, 123500.0)]
    assert points(run, "relative_loss") == [(0, 1.0), (1, 0.6173), (3, 61730.0)]
    assert shown.rounded(1234567.0) == 1234567.0
    assert shown.rounded(1.726202e17) == 1.726e17
    assert shown.rounded(-0.0) == 0.0


def test_hyper_parameters_are_readable_with_their_logarithms_and_the_exact_ones_are_a_tag(task):
    sweep(task, 1, learning_rate=0.012345678, init_scale=0.1)
    data = synced(task).data
    assert (data.params["learning_rate"], data.params["log10_learning_rate"]) == ("0.01235", "-1.908")
    assert data.params["log10_init_scale"] == "-1"
    assert json.loads(data.tags["hyper_parameters"])["learning_rate"] == 0.012345678


def updates_that_end(place, name):
    """Updates of 3 epochs of 4 mini-batches, of which the one at a place is not finite."""
    updates = {"loss": np.ones(12, np.float32), "gradient_norm": np.ones(12, np.float32)}
    updates[name][place] = np.inf
    for values in updates.values():
        values[place + 1 :] = np.nan
    return updates


@pytest.mark.parametrize(
    ("losses", "updates", "expected"),
    [
        ((math.nan,) * 4, {}, (0, "the validation loss before training was not finite")),
        ((2.0, 1.5, math.nan, math.nan), {}, (2, "the validation loss was not finite")),
        (
            (2.0, 1.5, math.nan, math.nan),
            updates_that_end(6, "gradient_norm"),
            (2, "the gradient of mini-batch 3 of 4 was not finite"),
        ),
        ((2.0, 1.5, 1.4, math.nan), updates_that_end(8, "loss"), (3, "the training loss of mini-batch 1 of 4 was not finite")),
    ],
)
def test_a_diverged_trial_says_when_and_why(task, losses, updates, expected):
    result = study.result(losses=losses, diverged=True, task=task)
    saved(replace(result, updates=updates or result.updates))
    run = synced(task)
    assert (int(run.data.tags["diverged_in_epoch"]), run.data.tags["cause"]) == expected
    assert run.data.tags["mlflow.note.content"].startswith(f"**Diverged in epoch {expected[0]} of 3**: {expected[1]}.")
    assert (run.data.tags["standing"], run.data.tags["mlflow.runColor"]) == ("diverged", "#cc79a7")


def test_trials_have_places_with_failures_last_and_the_sweep_names_and_links_the_best_and_the_failures(task):
    for index, loss in enumerate((1.0, 0.25, 0.5, 0.75)):
        saved(study.result(losses=(2.0, 1.5, 1.0, loss), task=task, index=index))
    saved(study.result(losses=(2.0, 0.1, math.nan, math.nan), diverged=True, task=task, index=4))
    tracking.sync()
    known = {run.data.params["index"]: run for run in runs(f"tags.task = '{task}'")}
    assert [known[str(index)].data.tags["place"] for index in range(5)] == [f"{place} of 5" for place in (4, 1, 2, 3, 5)]
    groups = [known[str(index)].data.tags["standing"] for index in range(5)]
    assert groups == ["worst fifth", "best", "middle", "middle", "diverged"]
    parent = only(f"tags.task = '{task}'", views.STAGES)
    assert {run.data.tags["mlflow.parentRunId"] for run in known.values()} == {parent.info.run_id}
    assert {run.info.experiment_id for run in known.values()} == {parent.info.experiment_id}
    note = parent.data.tags["mlflow.note.content"]
    base = f"#/experiments/{parent.info.experiment_id}/runs/"
    assert note.startswith(f"**Best** of 5: [{task} elman 01]({base}{known['1'].info.run_id}), 12% of chance")
    assert f"[{task} elman 04]({base}{known['4'].info.run_id}) (epoch 2)" in note
    assert f"viewStateShareKey=task-{task}&" in note


def test_the_page_of_a_trial_shows_its_three_spectra_in_one_picture_and_links_its_weights(task):
    (result,) = sweep(task, 1)
    saved_spectra(task)
    run = synced(task)
    note = run.data.tags["mlflow.note.content"]
    assert f"(get-artifact?path=spectra.svg&run_uuid={run.info.run_id})" in note
    weights = result.trial.path(layout.trials(task)).as_posix()
    assert f"(study/{weights})" in note
    assert run.data.tags["weights"] == weights
    picture = Path(opened_store().client.download_artifacts(run.info.run_id, "spectra.svg")).read_text()
    assert picture.count("<polyline") == 3
    assert [f"{when}: largest 0.5000" in picture for when in ("before training", "after epoch 1", "after epoch 3")] == [True] * 3


def test_a_server_gets_no_links_to_files_that_it_does_not_have():
    note = "[Weights](study:trials/a.safetensors), [best](run:k), [worst](run:unknown)"
    assert notes.linked(note, "own", {"k": "5"}, "1", local=False) == (
        "Weights (`trials/a.safetensors`), [best](#/experiments/1/runs/5), worst"
    )


def test_a_study_that_an_earlier_version_logged_has_each_run_once_and_sweeps_beside_their_trials(own_store, task, monkeypatch):
    """That version had sweeps in the experiment of the stages, all digits, and other notes and tags."""
    results = sweep(task)
    saved_record("train", task)
    with monkeypatch.context() as earlier:
        earlier.setattr(shown.Shown, "experiment", property(lambda s: views.TRIALS if s.kind == "trial" else views.STAGES))
        earlier.setattr(shown, "rounded", lambda value: value + 1e-6)
        client, number = own_store.client, own_store.experiments
        items = update.Results()
        parents = update._Runs(own_store, views.STAGES).show([item for item in items.stages() if item.kind == "sweep"])
        update._Runs(own_store, views.TRIALS).show(items.trials(), parents)
        assert [len(client.search_runs([number[name]])) for name in (views.TRIALS, views.STAGES)] == [3, 1]
    for _ in range(2):
        tracking.sync()
        assert [len(client.search_runs([number[name]])) for name in (views.TRIALS, views.STAGES)] == [4, 0]
    parent = only(f"tags.task = '{task}'", views.STAGES)
    assert (parent.info.experiment_id, parent.data.tags[COMMIT]) == (number[views.TRIALS], "a" * 40)
    assert {run.data.tags["trial.id"] for run in runs("")} == {result.trial.id for result in results}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs("")} == {parent.info.run_id}
