"""The study as its users run it, through `dvc`, on small parameters in a clone of the repository."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.artefacts import TrialResult, trials_in
from pipeline.predictor import inputs

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

(UGRNN,) = [b for b in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "class UGRNN" in b]


def environment():
    """Without the variables that DVC, coverage or a person may have set, and with this Python first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_", "COV_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}


def call(*words, cwd, check=True):
    answer = subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True)
    assert not check or answer.returncode == 0, f"{words} gave {answer.returncode}:\n{answer.stdout}\n{answer.stderr}"
    return answer


def dvc(*words, cwd, check=True):
    return call(sys.executable, "-m", "dvc", *words, cwd=cwd, check=check)


def commit(folder):
    call("git", "add", "-A", cwd=folder)
    call("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "state", "--allow-empty", cwd=folder)


def edit(folder, **sections):
    """Change params.yaml: values replace, dicts are merged."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in sections.items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(params))


def clone(folder):
    """The files that git would track, with small parameters, as a repository of its own."""
    listed = call("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith("dvc.lock"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    edit(
        folder,
        tasks=["fulda_runoff", "mnist_rows"],
        cells=["elman", "gru"],
        train={"trials": 4, "epochs": 1, "hidden_size": [4, 8]},
        spectrum={"sequences": 2, "transient": 4, "steps": 20},
        fixed_points={"seeds": 8},
        predictor={"outer_folds": 2, "inner_folds": 2, "trees": 4, "bootstrap": 100},
    )
    call("git", "init", "-q", cwd=folder)
    commit(folder)
    return folder


def runs(folder, experiment):
    """Names of the runs that are not deleted."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        query = (
            "SELECT r.name FROM runs r JOIN experiments e ON r.experiment_id = e.experiment_id "
            "WHERE r.lifecycle_stage = 'active' AND e.name = ? ORDER BY r.name"
        )
        return [name for (name,) in store.execute(query, (f"rnn-stability {experiment}",))]


def files(folder, pattern="*/*.safetensors"):
    """Times of the last change of result files: an unchanged file was not made again."""
    return {p: p.stat().st_mtime_ns for kind in ("trials", "spectra") for p in (folder / kind).glob(pattern)}


def ran(answer):
    """Instances that DVC ran."""
    return [line.split("'")[1] for line in answer.stdout.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished small study; tests may add to it but leave it up to date."""
    folder = clone(tmp_path_factory.mktemp("study"))
    assert len(ran(dvc("repro", cwd=folder))) == 2 + 4 + 4 + 4 + 3
    commit(folder)
    return folder


def test_a_study_ends_with_tables_a_report_a_predictor_and_a_run_a_trial(study):
    table = pd.read_parquet(study / "features/features.parquet")
    assert len(table) == 2 * 2 * 4 * 3
    assert (study / "report/index.html").stat().st_size > 100_000
    assert list((study / "report/figures").glob("*.png"))
    assert len(runs(study, "trials")) == 16
    assert len(set(runs(study, "trials"))) == 16
    assert {"predictor", "features"} <= set(runs(study, "stages"))
    shown = dvc("metrics", "show", cwd=study).stdout
    assert "metrics/predictor.json" in shown
    assert "figures" in dvc("plots", "show", cwd=study).stdout + " ".join(map(str, (study / "dvc_plots").rglob("*")))
    shutil.rmtree(study / "dvc_plots")
    call(sys.executable, "-m", "pipeline.report.results", cwd=study)
    page = (study / "docs/results.md").read_text()
    assert page.count("| over trials |") == len(inputs.SETS)
    assert "| sum | " in page


def test_nothing_runs_again_and_no_run_is_added_when_nothing_has_changed(study):
    before = runs(study, "trials"), runs(study, "stages"), files(study)
    assert not ran(dvc("repro", cwd=study))
    assert before == (runs(study, "trials"), runs(study, "stages"), files(study))


def test_what_is_restored_from_the_run_cache_and_tracked_again_is_there_once(study):
    before = runs(study, "trials"), runs(study, "stages")
    shutil.rmtree(study / "features")
    shutil.rmtree(study / "predictor")
    (study / "metrics/predictor.json").unlink()
    (study / "dvc.lock").unlink()
    dvc("repro", "predictor", cwd=study)
    dvc("repro", cwd=study)
    call(sys.executable, "-m", "stages.track", cwd=study)
    assert runs(study, "trials") == before[0]
    assert sorted(set(runs(study, "stages"))) == sorted(set(before[1]))
    commit(study)


def test_a_truncated_lock_file_costs_no_finished_trial(study):
    before, lock = files(study), study / "dvc.lock"
    lock.write_text(lock.read_text()[: lock.stat().st_size // 2])
    broken = dvc("repro", cwd=study, check=False)
    if broken.returncode:
        assert "dvc.lock" in broken.stderr
        lock.unlink()
        dvc("repro", cwd=study)
    assert files(study) == before
    assert len(runs(study, "trials")) == 16
    commit(study)


def test_a_temporary_experiment_lands_in_the_workspaces_store_with_its_artifacts(study):
    before = len(runs(study, "trials"))
    dvc(
        "exp",
        "run",
        "--temp",
        "-n",
        "low",
        "-S",
        "train.learning_rate.low=0.00001",
        "-S",
        "tasks=[fulda_runoff]",
        "-S",
        "cells=[elman]",
        cwd=study,
    )
    with closing(sqlite3.connect(study / "mlflow.db")) as store:
        query = (
            "SELECT r.artifact_uri FROM runs r JOIN tags t ON r.run_uuid = t.run_uuid "
            "WHERE r.lifecycle_stage = 'active' AND t.key = 'dvc.experiment' AND t.value = 'low'"
        )
        places = [Path(uri.removeprefix("file://")) for (uri,) in store.execute(query)]
    assert len(runs(study, "trials")) == before + 4
    assert places
    assert all(p.is_relative_to(study / "mlartifacts") for p in places)
    assert any(list(p.rglob("*.png")) for p in places if p.is_dir())
    shown = dvc("exp", "show", "--csv", "--rev", "HEAD", cwd=study).stdout
    assert "1e-05" in shown  # what DVC wrote to params.yaml, and the stages read as a number


def test_a_new_cell_runs_its_own_instances_and_what_follows_and_nothing_else(study):
    before = files(study)
    (study / "pipeline/cells/ugrnn.py").write_text(UGRNN)
    edit(study, cells=["elman", "gru", "ugrnn"])
    stages = ("train", "spectrum", "fixed_points")
    new = {f"{stage}@{task}-ugrnn" for stage in stages for task in ("fulda_runoff", "mnist_rows")}
    assert set(ran(dvc("repro", cwd=study))) == new | {"features", "predictor", "report"}
    assert {p: t for p, t in files(study).items() if "ugrnn" not in str(p)} == before
    assert len(trials_in(study / "trials/fulda_runoff-ugrnn")) == 4


def same(one, other):
    """Whether two trials hold the same numbers, bit for bit, but for the time they took."""
    a, b = (TrialResult.load(p) for p in (one, other))
    equal = all(np.array_equal(a.curves[n], b.curves[n], equal_nan=True) for n in a.curves)
    equal &= all(np.array_equal(a.weights[c][n], b.weights[c][n], equal_nan=True) for c in a.weights for n in a.weights[c])
    return equal and a.trial == b.trial and a.outcome | {"seconds": 0} == b.outcome | {"seconds": 0}


def test_a_killed_sweep_trains_only_what_is_unfinished_and_ends_with_the_same_bits(tmp_path):
    killed, undisturbed = clone_of_a_sweep(tmp_path / "killed"), clone_of_a_sweep(tmp_path / "undisturbed")
    train = [sys.executable, "-m", "stages.train", "fulda_runoff", "gru"]
    call(*train, cwd=undisturbed)
    process = subprocess.Popen(train, cwd=killed, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(files(killed)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(3)  # the workers notice that their parent is gone
    done = files(killed)
    time.sleep(3)
    assert files(killed) == done, "workers outlived their parent"
    assert 3 <= len(done) < 12
    call(*train, cwd=killed)
    assert {p: t for p, t in files(killed).items() if p in done} == done
    assert {p.name for p in files(killed)} == {p.name for p in files(undisturbed)}
    assert all(same(p, undisturbed / p.relative_to(killed)) for p in files(killed))
    assert len(runs(killed, "trials")) == 12
    assert len(runs(killed, "stages")) == 1


def clone_of_a_sweep(folder):
    clone(folder)
    edit(folder, train={"trials": 12, "epochs": 2})
    call(sys.executable, "-m", "stages.prepare", "fulda_runoff", cwd=folder)
    shutil.rmtree(folder / "mlartifacts", ignore_errors=True)
    for part in folder.glob("mlflow.db*"):
        part.unlink()
    return folder


def test_ctrl_c_is_one_sentence_and_keeps_what_is_finished(tmp_path):
    folder = clone_of_a_sweep(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "fulda_runoff", "gru"],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(files(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what had finished is kept" in errors
    assert "Traceback" not in errors
    assert len(files(folder)) >= 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train": {"epoch": 3}}, "train.epoch is unknown; did you mean epochs?"),
        ({"train": {"trials": "six"}}, "train.trials is 'six'"),
        ({"cells": ["elman", "lstn"]}, "there is no cell 'lstn'; there are"),
        ({"success": {"threshold": 2}}, "success.threshold is 2"),
    ],
)
def test_a_mistake_in_the_parameters_is_one_sentence_and_ends_the_run(study, change, sentence):
    kept = (study / "params.yaml").read_text()
    edit(study, **change)
    answers = [call(sys.executable, "-m", module, cwd=study, check=False) for module in ("stages.features", "pipeline.config")]
    (study / "params.yaml").write_text(kept)
    for answer in answers:
        assert answer.returncode == 1
        assert sentence in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_corrupt_or_missing_artefact_is_one_sentence(study):
    victim = next((study / "spectra/mnist_rows-gru").glob("*"))
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    corrupt = call(sys.executable, "-m", "stages.features", cwd=study, check=False)
    victim.unlink()
    missing = call(sys.executable, "-m", "stages.features", cwd=study, check=False)
    victim.write_bytes(content)
    for answer, sentence in ((corrupt, f"{victim.name} is corrupt; delete it"), (missing, "has no spectra")):
        assert answer.returncode == 1
        assert sentence in answer.stderr
        assert "Traceback" not in answer.stderr
