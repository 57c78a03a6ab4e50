import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study
from mlflow.exceptions import MlflowException

from pipeline import config, tracking
from pipeline.artefacts import CHECKPOINTS, CURVES, TaskData, digest, save_json, save_table
from pipeline.config import PredictorSettings
from pipeline.errors import TrackingError
from pipeline.predictor import StabilityPredictor, evaluation, features, inputs
from pipeline.tracking import content, disk, provenance, registry, store, ui, views

ROOT = Path(__file__).parent.parent
PICTURE = b"\x89PNG\r\n\x1a\n"
UNUSED = count()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with one store, which all tests share, each for a task of its own."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture
def here(workspace, monkeypatch):
    """The workspace as working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture
def task(here):
    """A task that no other test uses."""
    return f"task_{next(UNUSED)}"


@pytest.fixture
def settings(small_params):
    return config.load(small_params())


def saved(result):
    """The file of a trial's result."""
    path = Path("trials") / f"{result.trial['task']}-{result.trial['cell']}" / f"{result.trial['id']}.safetensors"
    result.save(path)
    return path


def saved_spectra(spectra, name=None):
    path = Path("spectra") / f"{spectra.trial['task']}-{spectra.trial['cell']}" / f"{name or spectra.trial['id']}.safetensors"
    spectra.save(path)
    return path


def results(task, number=3, **changes):
    return [saved(study.result(task=task, index=i, **changes)) for i in range(number)]


def made_spectra(task, index=0, *, lowest=-2.0, name=None):
    exponents = np.tile([0.5, -0.25, -1.0, lowest], (3, 2, 1))
    return saved_spectra(study.spectra(exponents, task=task, index=index), name)


def train(settings, paths, parts=None):
    """Track a sweep as the stage would."""
    with tracking.stage_run("train", *paths[0].parent.name.split("-"), settings=settings, parts=parts or paths) as run:
        for path in paths:
            run.trial(path)
    return run


def measure(settings, paths, draw=lambda *_: PICTURE):
    """Track spectra as the stage would."""
    task, cell = paths[0].parent.name.split("-")
    with tracking.stage_run("spectrum", task, cell, settings=settings, parts=paths) as run:
        for path in paths:
            run.spectra(path, Path("trials") / f"{task}-{cell}", draw)
    return run


def runs(where, experiment=store.TRIALS):
    opened = store.connect()
    return opened.client.search_runs([opened.experiments[experiment]], where)


def trial_runs(task):
    return runs(f"tags.task = '{task}'")


def only_run(task):
    (run,) = trial_runs(task)
    return run


def history(run, metric):
    return {point.step: point.value for point in store.connect().client.get_metric_history(run.info.run_id, metric)}


def artifacts(run, folder=None):
    return {file.path for file in store.connect().client.list_artifacts(run.info.run_id, folder)}


# Trials


def test_a_trials_run_has_its_curves_by_epoch(task, settings):
    train(settings, results(task, 1))
    run = only_run(task)
    assert history(run, "validation_loss") == {0: 2.0, 1: 1.5, 2: 1.0, 3: 0.5}
    assert set(CURVES) <= set(run.data.metrics)


def test_what_was_not_measured_is_left_out(task, settings):
    train(settings, results(task, 1))
    assert set(history(only_run(task), "gradient_norm")) == {1, 2, 3}


def test_a_trials_run_has_its_choices_as_parameters_and_what_became_of_it_as_metrics(task, settings):
    train(settings, results(task, 1, learning_rate=0.0125, hidden_size=7))
    run = only_run(task)
    assert (run.data.params["learning_rate"], run.data.params["hidden_size"]) == ("0.0125", "7")
    assert {k: run.data.metrics[k] for k in ("diverged", "seconds", "test_loss", "test_metric", "parameter_count")} == {
        "diverged": 0,
        "seconds": 1,
        "test_loss": 0.6,
        "test_metric": 0.7,
        "parameter_count": 37,
    }


def test_a_trials_run_says_what_it_came_from(task, settings):
    (path,) = results(task, 1)
    parent = train(settings, [path])
    run = only_run(task)
    assert run.info.run_name == f"{task} elman 00"
    assert run.info.status == "FINISHED"
    assert run.data.tags["trial.id"] == path.stem
    assert run.data.tags["digest"] == digest(path)
    assert run.data.tags["dvc.stage"] == f"train@{task}-elman"
    assert run.data.tags["mlflow.parentRunId"] == parent.id
    ((data,),) = [[i.dataset for i in run.inputs.dataset_inputs]]
    assert (data.name, data.digest) == (task, "d" * 12)


def test_a_trial_that_diverged_is_a_run_like_any_other(task, settings):
    (path,) = [saved(study.result(losses=(2.0, 9.0, math.inf, math.nan), diverged=True, task=task))]
    with tracking.stage_run("train", task, "elman", settings=settings, parts=[path]) as run:
        assert run.trial(path)
    run = only_run(task)
    assert run.data.metrics["diverged"] == 1
    assert run.data.tags["diverged"] == "yes"
    assert history(run, "validation_loss") == {0: 2.0, 1: 9.0}


def test_no_number_in_the_store_is_nan_or_infinite(task, settings):
    paths = [saved(study.result(losses=(2.0, 9.0, math.inf, math.nan), diverged=True, task=task))]
    train(settings, paths)
    measure(settings, [saved_spectra(study.spectra(np.full((3, 2, 4), [np.nan, np.nan, np.nan, -np.inf]), task=task))])
    with closing(sqlite3.connect("mlflow.db")) as database:
        rows = database.execute("SELECT key, value FROM metrics WHERE is_nan OR ABS(value) > 1e300").fetchall()
    assert not rows


# Spectra


def test_whole_spectra_are_metrics_by_the_exponents_number(task, settings):
    train(settings, results(task, 1))
    measure(settings, [made_spectra(task)])
    for checkpoint in CHECKPOINTS:
        assert history(only_run(task), f"spectrum/{checkpoint}") == {1: 0.5, 2: -0.25, 3: -1.0, 4: -2.0}


def test_summaries_of_the_spectra_are_metrics_by_the_epoch_of_the_checkpoint(task, settings):
    train(settings, results(task, 1))
    measure(settings, [made_spectra(task)])
    run = only_run(task)
    assert history(run, "largest_exponent") == {0: 0.5, 1: 0.5, 3: 0.5}
    assert history(run, "kaplan_yorke_dimension") == {0: 2.25, 1: 2.25, 3: 2.25}  # 2 + (0.5 - 0.25) / 1
    assert history(run, "positive_sum") == {0: 0.5, 1: 0.5, 3: 0.5}


def test_exponents_of_minus_infinity_are_clipped_and_counted(task, settings):
    train(settings, results(task, 1))
    measure(settings, [made_spectra(task, lowest=-np.inf)])
    run = only_run(task)
    assert history(run, "spectrum/early")[4] == features.FLOOR
    assert history(run, "lost_exponents") == {0: 1, 1: 1, 3: 1}


def test_the_picture_of_the_spectra_is_an_artifact(task, settings):
    train(settings, results(task, 1))
    measure(settings, [made_spectra(task)])
    assert artifacts(only_run(task)) == {"spectrum.png"}


def test_spectra_complete_the_run_that_is_there(task, settings):
    train(settings, results(task, 1))
    before = only_run(task).info.run_id
    measure(settings, [made_spectra(task)])
    assert only_run(task).info.run_id == before


def test_other_spectra_make_the_run_anew_below_the_same_sweep(task, settings):
    parent = train(settings, results(task, 1))
    measure(settings, [made_spectra(task)])
    before = only_run(task).info.run_id
    measure(settings, [made_spectra(task, lowest=-3.0)])
    run = only_run(task)
    assert run.info.run_id != before
    assert run.data.tags["mlflow.parentRunId"] == parent.id
    assert history(run, "spectrum/final")[4] == -3.0
    assert history(run, "validation_loss")[3] == 0.5


def test_spectra_of_a_trial_that_was_never_tracked_bring_its_run_along(task, settings):
    results(task, 1)
    measure(settings, [made_spectra(task)])
    assert {"validation_loss", "spectrum/final"} <= set(only_run(task).data.metrics)


def test_pictures_are_drawn_only_where_a_run_has_none(task, settings):
    train(settings, results(task, 1))
    path = made_spectra(task)
    measure(settings, [path])
    measure(settings, [path], draw=lambda *_: pytest.fail("drawn again"))


# Once and only once


def everything(task):
    """All that the store shows of a task, but for the times."""
    shown = []
    for run in [*trial_runs(task), *runs(f"tags.task = '{task}'", store.STAGES)]:
        metrics = {name: history(run, name) for name in run.data.metrics if name != "stage_seconds"}
        shown.append((run.info.run_id, run.data.params, metrics, run.data.tags, artifacts(run)))
    return sorted(shown, key=lambda item: item[0])


def test_tracking_the_same_artefacts_twice_changes_nothing(task, settings):
    paths, spectra = results(task), [made_spectra(task, i) for i in range(3)]
    train(settings, paths)
    measure(settings, spectra)
    before = everything(task)
    train(settings, paths)
    measure(settings, spectra)
    assert everything(task) == before


def test_a_trial_whose_file_changed_replaces_its_run(task, settings):
    train(settings, results(task))
    before = {r.data.tags["trial.id"]: r.info.run_id for r in trial_runs(task)}
    changed = saved(study.result(losses=(2.0, 1.5, 1.0, 0.25), task=task, index=1))
    train(settings, tracking.files(changed.parent))
    after = {r.data.tags["trial.id"]: r.info.run_id for r in trial_runs(task)}
    assert {trial for trial in before if before[trial] != after[trial]} == {changed.stem}


def test_a_sweep_one_of_whose_files_changed_shows_the_new_sums_and_keeps_its_trials(task, settings):
    train(settings, results(task))
    saved(study.result(losses=(2.0, 1.5, 1.0, 0.25), task=task, index=1))
    run = train(settings, tracking.files(Path(f"trials/{task}-elman")))
    (sweep,) = runs(f"tags.task = '{task}'", store.STAGES)
    assert sweep.data.metrics["best_validation_loss"] == 0.25
    assert {r.data.tags["mlflow.parentRunId"] for r in trial_runs(task)} == {sweep.info.run_id} == {run.id}


def test_a_sweep_that_was_killed_and_run_again_has_each_trial_once_below_the_run_that_finished(task, settings):
    paths = results(task)
    killed = tracking.StageRun("train", (task, "elman"), settings, paths, None)
    killed.trial(paths[0])
    killed.trial(paths[1])
    finished = train(settings, paths)
    (sweep,) = runs(f"tags.task = '{task}'", store.STAGES)
    assert (sweep.info.run_id, sweep.info.status) == (finished.id, "FINISHED")
    assert sorted(r.data.tags["trial.id"] for r in trial_runs(task)) == sorted(p.stem for p in paths)
    assert {r.data.tags["mlflow.parentRunId"] for r in trial_runs(task)} == {finished.id}


def test_a_run_that_was_left_half_made_is_made_anew(task, settings):
    (path,) = results(task, 1)
    train(settings, [path])
    half = only_run(task).info.run_id
    store.connect().client.update_run(half, "RUNNING")
    train(settings, [path])
    assert only_run(task).info.run_id != half


def test_a_longer_sweep_takes_the_trials_of_the_shorter_one_over(task, settings):
    paths = results(task)
    train(settings, paths[:2])
    longer = train(settings, paths)
    assert {r.data.tags["mlflow.parentRunId"] for r in trial_runs(task)} == {longer.id}
    assert len(trial_runs(task)) == 3


def test_other_parameters_are_another_run_of_the_stage(task, small_params):
    paths = results(task, 1)
    train(config.load(small_params()), paths)
    train(config.load(small_params({"train.epochs": 5})), paths)
    assert {r.data.params["train.epochs"] for r in runs(f"tags.task = '{task}'", store.STAGES)} == {"2", "5"}


def test_a_stage_that_fails_leaves_a_run_that_says_so(task, settings):
    with pytest.raises(ZeroDivisionError), tracking.stage_run("train", task, "elman", settings=settings):
        raise ZeroDivisionError
    (run,) = runs(f"tags.task = '{task}'", store.STAGES)
    assert run.info.status == "FAILED"


def test_a_sweeps_run_sums_its_trials_up(task, settings):
    good = results(task, 2)
    bad = saved(study.result(diverged=True, task=task, index=2))
    train(settings, [*good, bad])
    (run,) = runs(f"tags.task = '{task}'", store.STAGES)
    assert {k: run.data.metrics[k] for k in ("trials", "diverged", "median_validation_loss")} == {
        "trials": 3,
        "diverged": 1,
        "median_validation_loss": 0.5,
    }
    assert run.data.params["train.learning_rate.low"] == "0.0001"


def test_the_time_that_tracking_took_is_counted(task, settings):
    begin = time.perf_counter()
    run = train(settings, results(task))
    assert 0 < run.seconds < time.perf_counter() - begin + 30


# From disk


def artefacts(folder, settings, monkeypatch):
    """A small study's artefacts in a folder, which becomes the working folder."""
    monkeypatch.chdir(folder)
    for task in settings.tasks:
        about = {"task": task, "title": task, "description": "", "metric": "accuracy", "size": "packaged", "steps": 10}
        about |= {"input_size": 2, "output_size": 1, "sequences": {"train": 3, "validation": 2, "test": 1}, "chance": 2.0}
        about |= {"source": "made", "licence": "none", "hash": "d" * 64}
        TaskData({}, about).save(Path("data") / f"{task}.safetensors")
    made, measured = study.study(trials=2, tasks=settings.tasks, cells=settings.cells)
    for result in made:
        saved(result)
    for spectra in measured:
        saved_spectra(spectra)
    table = features.table(made, measured, 0.8)
    save_table(Path("features/features.parquet"), table)
    save_table(Path("features/features.csv"), table)


def live(settings):
    """What the stages track while they work."""
    for task in settings.tasks:
        with tracking.stage_run("prepare", task, settings=settings) as run:
            run.record(tracking.prepared(TaskData.load(Path("data") / f"{task}.safetensors")))
        for cell in settings.cells:
            train(settings, tracking.files(Path("trials") / f"{task}-{cell}"))
            measure(settings, tracking.files(Path("spectra") / f"{task}-{cell}"))
    folders = [Path("spectra") / f"{task}-{cell}" for task in settings.tasks for cell in settings.cells]
    with tracking.stage_run("features", settings=settings, parts=tracking.files(*folders)) as run:
        run.record(tracking.tabulated(Path("features/features.parquet")))


def picture_of(address, monkeypatch):
    """All runs of a store, without what tells one store's runs from another's."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    names = {r.info.run_id: r.info.run_name for r in runs("", store.STAGES)}
    shown = []
    for run in [*runs("", store.TRIALS), *runs("", store.STAGES)]:
        tags = run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"), "")}
        metrics = {name: history(run, name) for name in run.data.metrics if name != "stage_seconds"}
        data = sorted((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs)
        shown.append([run.info.run_name, run.info.status, run.data.params, metrics, tags, sorted(artifacts(run)), data])
    return sorted(shown, key=str)


def test_from_disk_leaves_the_runs_that_the_stages_leave(tmp_path, small_params, monkeypatch):
    settings = config.load(small_params({"tasks": ["mnist_rows"], "cells": ["elman", "gru"]}))
    artefacts(tmp_path, settings, monkeypatch)
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("live", "disk"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", first)
    live(settings)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", second)
    assert len(list(tracking.from_disk(settings, lambda *_: PICTURE))) == 6  # prepare, 2 train, 2 spectrum, features
    assert picture_of(second, monkeypatch) == picture_of(first, monkeypatch)
    list(tracking.from_disk(settings, lambda *_: pytest.fail("drawn again")))
    assert picture_of(second, monkeypatch) == picture_of(first, monkeypatch)


def test_from_disk_takes_begin_and_end_from_the_timings(task, settings, monkeypatch):
    paths = results(task, 1)
    timing = Path("timings") / f"train-{task}-elman.json"
    save_json(timing, {"stage": "train", "began": 1000.0, "seconds": 20.0})
    with tracking.stage_run("train", task, "elman", settings=settings, parts=paths, timing=timing) as run:
        run.trial(paths[0])
    found = store.connect().client.get_run(run.id)
    assert (found.info.start_time, found.info.end_time) == (1_000_000, 1_020_000)
    assert found.data.metrics["stage_seconds"] == 20


# What goes wrong


def broken(*_, **__):
    raise MlflowException("(sqlite3.OperationalError) database or disk is full")


def test_a_store_that_fails_midway_does_not_stop_the_stage_but_ends_it_with_one_sentence(task, settings, monkeypatch):
    paths = results(task)
    done = []

    def stage():
        with tracking.stage_run("train", task, "elman", settings=settings, parts=paths) as run:
            run.trial(paths[0])
            monkeypatch.setattr(type(store.connect().client), "log_batch", broken)
            done.extend([run.trial(paths[1]), run.trial(paths[2])])

    with pytest.raises(TrackingError, match=r"the MLflow store sqlite.* is on a full disk; make room"):
        stage()
    assert done == [False, False]


def test_after_the_first_failure_the_store_is_left_alone(task, settings, monkeypatch):
    paths, calls = results(task), []
    run = tracking.StageRun("train", (task, "elman"), settings, paths, None)
    monkeypatch.setattr(type(store.connect().client), "create_run", lambda *_, **__: calls.append(1) or broken())
    assert [run.trial(path) for path in paths] == [False] * 3
    assert len(calls) == 1


def test_a_store_that_fails_at_the_start_ends_the_stage_before_it_works(task, settings, monkeypatch):
    monkeypatch.setattr(type(store.connect().client), "create_run", broken)
    with pytest.raises(TrackingError, match="full disk"), tracking.stage_run("train", task, "elman", settings=settings):
        pytest.fail("the stage went on")


def test_what_was_missed_is_tracked_by_the_next_run(task, settings, monkeypatch):
    paths = results(task)
    run = tracking.StageRun("train", (task, "elman"), settings, paths, None)
    run.trial(paths[0])
    with monkeypatch.context() as broke:
        broke.setattr(type(store.connect().client), "log_batch", broken)
        run.trial(paths[1])
        run.close("FINISHED")
    assert run.error is not None
    train(settings, paths)
    assert sorted(r.data.tags["trial.id"] for r in trial_runs(task)) == [p.stem for p in paths]
    assert [r.info.status for r in runs(f"tags.task = '{task}'", store.STAGES)] == ["FINISHED"]


@pytest.mark.parametrize(
    ("content_", "sentence"),
    [
        (b"no database at all" * 100, "is corrupt or no MLflow database; move it away"),
        (b"", "is corrupt or no MLflow database; move it away"),
    ],
)
def test_a_file_that_is_no_store_is_refused_in_one_sentence(tmp_path, monkeypatch, content_, sentence):
    (tmp_path / "mlflow.db").write_bytes(content_)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(TrackingError, match=f"the MLflow store .* {sentence}"):
        store.connect()


def test_a_place_that_cannot_be_written_is_refused_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(TrackingError, match="cannot be written; allow it, or set MLFLOW_TRACKING_URI to another store"):
        store.connect()


def test_a_server_that_does_not_answer_is_told_of_within_seconds(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(TrackingError, match=r"the MLflow store http://127.0.0.1:9 does not answer; start the server"):
        store.connect()
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "is on a full disk"),
        (PermissionError(13, "Permission denied"), "cannot be written"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cannot be written"),
        (sqlite3.OperationalError("database is locked"), "is locked"),
        (MlflowException("Detected out-of-date database schema"), "was made by another version of MLflow"),
        (MlflowException("something else"), "failed: something else"),
    ],
)
def test_each_failure_says_what_is_wrong_and_what_would_be_right(error, sentence):
    with pytest.raises(TrackingError, match=sentence), store.speaking("sqlite:////a/mlflow.db"):
        raise error


def test_a_password_is_not_shown():
    with pytest.raises(TrackingError) as told, store.speaking("postgresql://me:secret@host/db"):
        raise OSError("connection refused")
    assert "secret" not in str(told.value)
    assert "postgresql://me:***@host/db" in str(told.value)


def test_waiting_is_cut_short_only_inside_and_unless_the_user_chose(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with store.speaking("http://x"):
        assert (os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == ("2", "77")
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


# Where runs go


def test_the_store_lies_in_the_workspace_that_dvc_names_even_from_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    (tmp_path / "temporary" / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "temporary")
    assert store.address() == f"sqlite:///{tmp_path}/workspace/mlflow.db"


def test_without_dvc_the_store_lies_beside_the_nearest_folder_of_dvc(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "a" / ".dvc").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    assert store.address() == f"sqlite:///{tmp_path}/a/mlflow.db"


def test_the_users_choice_of_store_comes_first_and_a_relative_one_starts_at_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/other.db")
    assert store.address() == f"sqlite:///{tmp_path}/stores/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://server.example")
    assert store.address() == "https://server.example"


def test_artifacts_lie_beside_the_database_wherever_the_process_runs(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = store.connect()
    for name, number in opened.experiments.items():
        place = opened.client.get_experiment(number).artifact_location
        assert place == (here / "mlartifacts" / name.replace(" ", "-")).as_uri()


def test_readers_of_the_store_do_not_wait_for_writers(here):
    with closing(sqlite3.connect(store.database(store.connect().address))) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_processes_that_start_together_make_one_whole_store(tmp_path):
    code = "from pipeline.tracking import store; print(sorted(store.connect().experiments.values()))"
    env = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    env.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate()[0].strip() for process in started]
    assert answers == ["['1', '2']"] * 3
    assert {p.name for p in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm"}


def test_importing_the_room_does_not_load_mlflow():
    code = "import sys, pipeline.tracking; print('mlflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# Where runs came from


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provenance._commit.cache_clear()
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    yield tmp_path
    provenance._commit.cache_clear()


def test_a_run_names_the_commit_and_whether_files_differed_from_it(repository):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    found = provenance.tags("train", ("a", "b"))
    assert (found["mlflow.source.git.commit"], found["git.dirty"]) == (commit, "no")
    (repository / "file").write_text("two")
    provenance._commit.cache_clear()
    assert provenance.tags("train", ("a", "b"))["git.dirty"] == "yes"


def test_a_run_names_the_experiment_of_dvc(here, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "quiet-lake")
    assert provenance.tags("features", ())["dvc.experiment"] == "quiet-lake"
    assert provenance.tags("features", ())["dvc.stage"] == "features"


# The predictor


OPTIONS = PredictorSettings(outer_folds=2, inner_folds=2, trees=2, bootstrap=100)


def made_predictions(rows):
    """Predictions as `evaluation` makes them, by a noise that differs between sets of inputs, and no fits."""
    random = np.random.default_rng(0)
    parts = [
        rows[["trial", "task", "cell", "score", "success"]].assign(
            split=split,
            features=name,
            group="fold 1",
            expected_score=rows["score"] + random.normal(0, 0.05 * place + 0.05, len(rows)),
            probability=random.uniform(0, 1, len(rows)),
            score_model="Ridge",
            success_model="Ridge",
            **{f"drop {family}": 0.1 for family in evaluation.FAMILIES},
        )
        for split in evaluation.SPLITS
        for place, name in enumerate(inputs.SETS)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with a predictor and its feature table, and what the stage writes about it."""
    folder = tmp_path_factory.mktemp("fitted")
    table = features.table(*study.study(trials=6), 0.8)
    save_table(folder / "features.parquet", table)
    rows = inputs.trial_inputs(table)
    predictions = made_predictions(rows)
    result = evaluation.summarise(predictions, OPTIONS, 0)
    StabilityPredictor.fit(rows, result["table"], 0.8, OPTIONS, 0).save(folder / "predictor")
    save_table(folder / "predictor" / "predictions.parquet", predictions)
    return folder, result


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A new database, which takes seconds to make."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    store._make(path)
    return path


@pytest.fixture
def own_store(blank, tmp_path, monkeypatch):
    """A store that no other test uses, whose registry is empty."""
    shutil.copy(blank, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        moved = (blank.parent.as_uri(), tmp_path.as_uri())
        database.execute("UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)", moved)
        database.commit()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return store.connect()


def copied(folder, place, remark):
    """A predictor that differs from the one in `folder` in its description only."""
    place.mkdir()
    for name in ("model.skops", "predictions.parquet"):
        (place / name).write_bytes((folder / "predictor" / name).read_bytes())
    about = json.loads((folder / "predictor" / "about.json").read_text())
    (place / "about.json").write_text(json.dumps(about | {"remark": remark}))
    return place


def track_predictor(settings, fitted, folder=None, *, beats=False):
    path, result = fitted
    result = result | {"champion": result["champion"] | {"beats_rival": beats}}
    with tracking.stage_run("predictor", settings=settings, parts=[str(folder)]) as run:
        run.predictor(folder or path / "predictor", path / "features.parquet", result)
    return store.connect().client.get_run(run.id)


def test_the_predictors_run_shows_its_evidence_beside_the_best_without_spectra(own_store, settings, fitted):
    run = track_predictor(settings, fitted)
    result = fitted[1]
    assert run.data.metrics["over_trials/r2"] == result["all"]["over trials"]["r2"]
    assert run.data.metrics["gain_r2"] == result["champion"]["gain_r2"]
    rival = result["champion"]["rival"]
    (row,) = [r for r in result["table"] if (r["split"], r["features"]) == ("one task left out", rival)]
    assert run.data.metrics["one_task_left_out/r2_without_spectra"] == row["r2"]
    assert artifacts(run) >= {"evidence.json", "predictions.parquet"}
    assert all(name in run.data.tags["mlflow.note.content"] for name in inputs.SETS)


def test_the_predictor_is_registered_once(own_store, settings, fitted):
    track_predictor(settings, fitted)
    track_predictor(settings, fitted)
    assert len(own_store.client.search_model_versions(f"name = '{registry.NAME}'")) == 1


def test_a_predictor_that_does_not_beat_its_rival_is_no_champion_and_says_so(own_store, settings, fitted):
    track_predictor(settings, fitted)
    version = own_store.client.get_model_version(registry.NAME, "1")
    assert version.tags["beats_rival"] == "no"
    assert version.description.startswith("All inputs do not beat")
    with pytest.raises(
        TrackingError, match=r"there is no champion, for the spectra did not beat .* models:/rnn-stability/latest"
    ):
        tracking.fetch_model("models:/rnn-stability@champion")


def test_the_champion_is_the_last_version_that_beat_its_rival(own_store, settings, fitted, tmp_path):
    track_predictor(settings, fitted, beats=True)
    track_predictor(settings, fitted, copied(fitted[0], tmp_path / "second", "second"), beats=False)
    client = own_store.client
    assert str(client.get_model_version_by_alias(registry.NAME, registry.CHAMPION).version) == "1"
    assert "The alias champion stays at version 1" in client.get_model_version(registry.NAME, "2").description
    track_predictor(settings, fitted, copied(fitted[0], tmp_path / "third", "third"), beats=True)
    assert str(client.get_model_version_by_alias(registry.NAME, registry.CHAMPION).version) == "3"


def test_the_registered_predictor_answers_like_the_one_that_was_fitted(own_store, settings, fitted):
    track_predictor(settings, fitted)
    rows = inputs.trial_inputs(pd.read_parquet(fitted[0] / "features.parquet"))
    own = StabilityPredictor.load(fitted[0] / "predictor").predict(rows)
    pd.testing.assert_frame_equal(StabilityPredictor.load("models:/rnn-stability/latest").predict(rows), own)


@pytest.mark.parametrize("uri", ["models:/rnn-stability/9", "models:/another/1", "runs:/none/model"])
def test_a_model_that_is_not_there_is_told_of_with_those_that_are(own_store, settings, fitted, uri):
    track_predictor(settings, fitted)
    with pytest.raises(TrackingError, match=f"there is no model {uri} in .*: there are versions 1; models:/rnn-stability/latest"):
        StabilityPredictor.load(uri)


def test_where_nothing_is_registered_the_sentence_says_how_to_make_one(own_store):
    with pytest.raises(TrackingError, match="no rnn-stability is registered; run `dvc repro` to make one"):
        tracking.fetch_model("models:/rnn-stability/1")


def test_asking_a_store_that_is_not_there_makes_none(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(TrackingError, match="there is no MLflow store at"):
        tracking.fetch_model("models:/rnn-stability/1")
    assert not list(tmp_path.iterdir())


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
answer = model.predict(pd.DataFrame([{"early_exponent_1": -0.1, "early_log_relative_loss": -0.2, "task": None}]).assign(**EXTRA))
import rnn_stability
print(answer.to_json(orient="records"), pipeline.MINE, rnn_stability.__file__, sep="|")
"""


def test_the_model_loads_where_this_repository_and_torch_are_absent_and_pipeline_is_another_package(
    own_store, settings, fitted, tmp_path
):
    track_predictor(settings, fitted)
    outside = tmp_path / "outside"
    (outside / "pipeline").mkdir(parents=True)
    (outside / "pipeline" / "__init__.py").write_text("MINE = 'foreign'")
    rows = inputs.trial_inputs(pd.read_parquet(fitted[0] / "features.parquet"))
    known = rows[list(inputs.SETS["early loss and early spectrum"])].iloc[[0]]
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DVC_ROOT")}
    code = OUTSIDE.replace("EXTRA", repr(known.iloc[0].to_dict()).replace("nan", "float('nan')"))
    done = subprocess.run([sys.executable, "-c", code], cwd=outside, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, mine, place = done.stdout.strip().splitlines()[-1].split("|")
    own = StabilityPredictor.load(fitted[0] / "predictor").predict(known).iloc[0]
    (row,) = json.loads(answer)
    assert row["based_on"] == own["based_on"]
    assert row["expected_score"] == pytest.approx(own["expected_score"], rel=1e-6)
    assert mine == "foreign"
    assert "rnn_stability" in place
    assert str(ROOT) not in place


def test_trials_show_what_the_predictor_expected_of_them(own_store, settings, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, _ = study.study(trials=8)
    paths = [saved(r) for r in made[:2]]
    train(settings, paths)
    track_predictor(settings, fitted)
    rows = pd.read_parquet(fitted[0] / "predictor" / "predictions.parquet")
    rows = rows[(rows["split"] == "over trials") & (rows["features"] == "all")].set_index("trial")
    for run in trial_runs("counting"):
        own = rows.loc[run.data.tags["trial.id"]]
        assert run.data.metrics["score"] == own["score"]
        assert run.data.metrics["expected_score"] == own["expected_score"]
        assert run.data.metrics["probability_of_success"] == own["probability"]


def test_from_disk_tracks_the_predictor_and_the_report_once(own_store, settings, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, result = fitted
    shutil.copytree(folder / "predictor", "predictor")
    Path("features").mkdir()
    for ending in (".parquet", ".csv"):
        save_table(Path("features/features").with_suffix(ending), pd.read_parquet(folder / "features.parquet"))
    save_json(Path("metrics/predictor.json"), result)
    Path("report").mkdir()
    Path("report/index.html").write_text("<html></html>")
    for _ in range(2):
        assert len(list(tracking.from_disk(settings, lambda *_: PICTURE))) == 3
    assert sorted(r.info.run_name for r in runs("", store.STAGES)) == ["features", "predictor", "report"]
    assert len(own_store.client.search_model_versions(f"name = '{registry.NAME}'")) == 1


# The UI


def test_every_metric_that_a_view_shows_is_one_that_runs_have(own_store, settings, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, measured = study.study(trials=8)
    train(settings, [saved(made[0])])
    measure(settings, [saved_spectra(measured[0])])
    predictor = track_predictor(settings, fitted)
    (run,) = trial_runs("counting")
    (sweep,) = runs("tags.stage = 'train'", store.STAGES)
    there = {store.TRIALS: [run], store.STAGES: [sweep, predictor]}
    for experiment, listed in views.VIEWS.items():
        known = {
            f"{kind}.{key}" for r in there[experiment] for kind in ("metrics", "params", "tags") for key in getattr(r.data, kind)
        }
        for view in listed:
            charts = [chart for section in view.sections.values() for chart in section]
            drawn = {f"metrics.{m}" for c in charts for m in [*c.get("selectedMetricKeys", []), *c.get("selectedMetrics", [])]}
            assert {c for c in {*view.columns, *drawn} if not c.startswith("attributes")} <= known


def test_views_are_saved_in_the_form_that_the_ui_reads(own_store):
    for experiment, listed in views.VIEWS.items():
        tags = own_store.client.get_experiment(own_store.experiments[experiment]).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        for view in listed:
            saved_view = json.loads(tags[f"mlflow.sharedViewState.{view.key}"])
            assert saved_view["name"] == view.name
            assert "selectedColumns" in json.loads(saved_view["state"])


def test_links_lead_to_each_view(own_store):
    for view in views.VIEWS[store.TRIALS]:
        assert f"http://host:1/#/experiments/{own_store.experiments[store.TRIALS]}/runs?" in tracking.links("http://host:1")
        assert f"viewStateShareKey={view.key}" in tracking.links("http://host:1")


def test_the_ui_says_in_one_sentence_that_its_store_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(SystemExit, match=r"ERROR: ui: the MLflow store .* is corrupt"):
        ui.main()


def test_the_ui_serves_this_machine_only_with_one_worker(own_store, monkeypatch, capsys):
    started = []
    monkeypatch.setenv("PORT", "5999")
    monkeypatch.setattr(os, "execve", lambda *words: started.append(words))
    ui.main()
    ((program, command, environment),) = started
    assert program == command[0] == sys.executable
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert (options["--host"], options["--port"], options["--workers"]) == ("127.0.0.1", "5999", "1")
    assert options["--backend-store-uri"] == own_store.address
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert "http://127.0.0.1:5999/#/experiments/" in capsys.readouterr().out


def test_where_a_server_keeps_the_store_the_ui_is_that_servers(own_store, monkeypatch, capsys):
    remote = store.Store("https://server.example/", own_store.client, own_store.experiments)
    monkeypatch.setattr(store, "connect", lambda: remote)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started another"))
    ui.main()
    assert "https://server.example/#/experiments/" in capsys.readouterr().out


# Other content


def test_a_tasks_run_shows_its_sizes_source_licence_and_chance(own_store, settings, tmp_path, monkeypatch):
    artefacts(tmp_path, settings, monkeypatch)
    with tracking.stage_run("prepare", "mnist_rows", settings=settings) as run:
        run.record(tracking.prepared(TaskData.load(Path("data/mnist_rows.safetensors"))))
    found = own_store.client.get_run(run.id)
    assert found.data.metrics["chance"] == 2
    assert found.data.metrics["train_sequences"] == 3
    assert (found.data.tags["source"], found.data.tags["licence"]) == ("made", "none")
    assert [(i.dataset.name, i.dataset.digest) for i in found.inputs.dataset_inputs] == [("mnist_rows", "d" * 12)]


def test_the_reports_run_holds_its_page_and_figures(own_store, settings, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.png").write_bytes(PICTURE)
    (tmp_path / "index.html").write_text("<html></html>")
    with tracking.stage_run("report", settings=settings) as run:
        run.record(tracking.reported(tmp_path / "index.html"))
    found = own_store.client.get_run(run.id)
    assert artifacts(found) == {"index.html", "figures"}
    assert artifacts(found, "figures") == {"figures/one.png"}


def test_the_fixed_points_run_shows_their_figures_and_picture_live_and_from_disk(own_store, settings, tmp_path, monkeypatch):
    task, cell = settings.tasks[0], settings.cells[0]
    monkeypatch.chdir(tmp_path)
    data, file = disk.DATA / f"{task}.safetensors", disk.FIXED_POINTS / f"{task}-{cell}.safetensors"
    study.fixed_points(task=task, cell=cell).save(file)
    file.with_suffix(".png").write_bytes(PICTURE)
    data.parent.mkdir()
    data.write_bytes(b"sequences")  # only its digest is read
    with tracking.stage_run("fixed_points", task, cell, settings=settings, parts=[digest(data), f"{task}-{cell}-000"]) as run:
        run.record(tracking.located(file))
    again = disk._fixed_points(settings, task, cell)
    assert again.id == run.id
    (shown,) = runs("tags.stage = 'fixed_points'", store.STAGES)
    assert shown.data.metrics["zero/fixed_points"] == 2
    assert shown.data.metrics["mean/stable"] == 1
    assert "mean/slowest_time_constant" not in shown.data.metrics  # None
    assert shown.data.tags["trial.id"] == f"{task}-{cell}-000"
    assert shown.data.params["fixed_points.seeds"] == str(settings.fixed_points.seeds)
    assert artifacts(shown) >= {f"{task}-{cell}.safetensors", f"{task}-{cell}.png"}


def test_a_metric_that_is_none_is_left_out():
    assert content.Content("x", {"a": None, "b": 1.0, "c": math.nan}).points == [("b", 1.0, 0)]


def test_markdown_has_a_row_a_row():
    table = content.markdown(pd.DataFrame({"a": [1, 2], "b": [0.123456, 2.0]}))
    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 0.1235 |", "| 2 | 2 |"]


def test_disk_reads_the_places_that_the_stages_write():
    places = [
        disk.DATA,
        disk.TRIALS,
        disk.SPECTRA,
        disk.FIXED_POINTS,
        disk.TIMINGS,
        disk.PREDICTOR,
        disk.FEATURES,
        disk.RESULT,
        disk.PAGE,
    ]
    graph = (ROOT / "dvc.yaml").read_text()
    assert not [place for place in places if place.as_posix() not in graph]
