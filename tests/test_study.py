"""The study as its users run it, through `dvc`, with small parameters in a clone of the repository."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, YAML_1_2

from pipeline.core.records import TrialResult, trials_in
from pipeline.predictor import inputs

pytestmark = pytest.mark.slow
TASKS = ("fulda_runoff", "mnist_rows")

(UGRNN,) = [b for b in re.findall(r"```python\n(.*?)```", (ROOT / "docs/extend.md").read_text(), re.DOTALL) if "class UGRNN" in b]


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
    params = YAML_1_2.load(path.read_text())
    for key, value in sections.items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    YAML_1_2.dump(params, path)


def clone(folder):
    """The files that git would track, with small parameters, as a repository of its own."""
    listed = call("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith("dvc.lock"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    edit(
        folder,
        tasks=list(TASKS),
        cells=["elman", "gru"],
        train={"trials": 4, "epochs": 1, "hidden_size": [4, 8]},
        spectrum={"sequences": 2, "transient": 4, "steps": 20},
        fixed_points={"seeds": 8},
        predictor={"bootstrap": 100},
    )
    call("git", "init", "-q", cwd=folder)
    commit(folder)
    return folder


def runs(folder, kind):
    """Names of the runs of trials, or of stages, that are not deleted; sweeps are the stages above their trials."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        query = (
            "SELECT r.name FROM runs r JOIN tags t ON r.run_uuid = t.run_uuid AND t.key = 'kind' "
            "WHERE r.lifecycle_stage = 'active' AND (t.value = 'trial') = ? ORDER BY r.name"
        )
        return [name for (name,) in store.execute(query, (kind == "trials",))]


def files(folder, pattern="*/*.safetensors"):
    """Times of the last change of result files: an unchanged file was not made again."""
    return {p: p.stat().st_mtime_ns for kind in ("trials", "spectra") for p in (folder / kind).glob(pattern)}


def ran(answer):
    """Instances that DVC ran."""
    return ran_by(answer.stdout)


def ran_by(text):
    return [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished small study; tests may add to it but leave it up to date."""
    folder = clone(tmp_path_factory.mktemp("study"))
    lines = call(sys.executable, "-m", "stages.run", cwd=folder).stdout.splitlines()  # as `make run` does
    assert [line for line in lines if line.startswith("stage 11 of 11: report")]
    assert [line.split()[0] for line in lines[-5:]] == ["Result:", "Report:", "Trials:", "Log:", "Time:"]
    assert not [line for line in lines if "git add" in line or "lock file" in line]
    assert len(ran_by((folder / "runs/make_run.log").read_text())) == 2 * 4 + 3
    commit(folder)
    return folder


def test_a_study_ends_with_tables_a_report_a_predictor_and_one_run_per_trial(study):
    table = pd.read_parquet(study / "features/features.parquet")
    assert len(table) == 2 * 2 * 4 * 3
    assert (study / "report/index.html").stat().st_size > 100_000
    assert list((study / "report/figures").glob("*.png"))
    assert len(runs(study, "trials")) == 16
    assert len(set(runs(study, "trials"))) == 16
    stages = [f"{stage} {task}" for stage in ("prepare", "train", "measure", "fixed_points") for task in TASKS]
    assert runs(study, "stages") == sorted([*stages, "features", "predictor", "report"])
    shown = dvc("metrics", "show", cwd=study).stdout.splitlines()
    assert shown[1].startswith("metrics.json")
    assert max(map(len, shown)) <= 120
    diff = dvc("plots", "diff", "--json", cwd=study).stdout
    assert all(name in diff for name in ("learning curves", "spectra before training", "spectra after training"))
    assert "figures" in dvc("plots", "show", cwd=study).stdout + " ".join(map(str, (study / "dvc_plots").rglob("*")))
    shutil.rmtree(study / "dvc_plots")
    call(sys.executable, "-m", "pipeline.report.results", cwd=study)
    page = (study / "docs/results.md").read_text()
    assert all(name in page for name in inputs.SETS)
    assert "| sum | " in page


def test_nothing_runs_again_and_no_run_is_added_when_nothing_has_changed(study):
    before = runs(study, "trials"), runs(study, "stages"), files(study)
    assert not ran(dvc("repro", cwd=study))
    assert before == (runs(study, "trials"), runs(study, "stages"), files(study))


def test_a_study_is_handed_on_by_a_remote_and_trains_nothing_there(study, tmp_path):
    remote, elsewhere = ("remote", "add", "--default", "results", str(tmp_path / "remote")), tmp_path / "elsewhere"
    call("git", "clone", "-q", str(study), str(elsewhere), cwd=tmp_path)
    dvc(*remote, cwd=elsewhere)
    before = (study / ".dvc/config").read_text()
    dvc(*remote, cwd=study)
    dvc("push", cwd=study)
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    call("git", *author, "tag", "-a", "rnn-stability@v0.1.0", "-m", "first", cwd=study)  # DVC sees annotated tags alone
    dvc("artifacts", "get", str(study), "rnn-stability", "-o", str(tmp_path / "predictor"), cwd=tmp_path)
    call("git", "tag", "-d", "rnn-stability@v0.1.0", cwd=study)
    (study / ".dvc/config").write_text(before)
    dvc("pull", cwd=elsewhere)
    call(sys.executable, "-m", "stages.track", cwd=elsewhere)
    assert len(runs(elsewhere, "trials")) == 16
    assert not ran(dvc("repro", cwd=elsewhere))
    assert (tmp_path / "predictor/card.json").read_bytes() == (study / "predictor/card.json").read_bytes()


def test_what_is_restored_from_the_run_cache_and_tracked_again_is_there_once(study):
    before = runs(study, "trials"), runs(study, "stages")
    shutil.rmtree(study / "features")
    shutil.rmtree(study / "predictor")
    (study / "metrics.json").unlink()
    (study / "dvc.lock").unlink()
    dvc("repro", "predictor", cwd=study)
    dvc("repro", cwd=study)
    call(sys.executable, "-m", "stages.track", cwd=study)
    assert runs(study, "trials") == before[0]
    assert runs(study, "stages") == before[1]
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
    shown = dvc("exp", "show", "--csv", "--rev", "HEAD", cwd=study).stdout
    assert "1e-05" in shown  # what DVC wrote to params.yaml, and the stages read as a number


def test_a_new_cell_trains_itself_and_nothing_else(study):
    before = files(study)
    (study / "pipeline/cells/ugrnn.py").write_text(UGRNN)
    edit(study, cells=["elman", "gru", "ugrnn"])
    dvc("repro", cwd=study)
    assert {p: t for p, t in files(study).items() if "ugrnn" not in p.name} == before
    assert [t.trial.cell for t in trials_in(study / "trials/fulda_runoff")].count("ugrnn") == 4
    assert len([name for name in runs(study, "trials") if "ugrnn" in name]) == 8
    edit(study, cells=["elman", "gru"])
    (study / "pipeline/cells/ugrnn.py").unlink()
    dvc("repro", cwd=study)
    commit(study)


@pytest.fixture
def source(study):
    """A function that edits a file of the study's library; the file is as before when the test ends."""
    kept = {}

    def replace(path, old, new):
        file = study / path
        kept[file] = file.read_text()
        assert old in kept[file]
        file.write_text(kept[file].replace(old, new))

    yield replace
    for file, text in kept.items():
        file.write_text(text)


def test_a_comment_in_a_cell_trains_nothing_and_measures_nothing(study, source):
    before = files(study)
    source("pipeline/cells/gru.py", "    def step(", "    # a remark\n    def step(")
    assert "train@fulda_runoff" in ran(dvc("repro", "train@fulda_runoff", "measure@fulda_runoff", cwd=study))
    assert files(study) == before


def test_a_change_of_a_cells_equation_trains_its_trials_alone(study, source):
    before = files(study, "fulda_runoff/*.safetensors")
    source("pipeline/cells/elman.py", "    def step(", "    scale: ClassVar = 1.0\n\n    def step(")
    dvc("repro", "train@fulda_runoff", "measure@fulda_runoff", cwd=study)
    after = files(study, "fulda_runoff/*.safetensors")
    assert {p: t for p, t in after.items() if "gru" in p.name} == {p: t for p, t in before.items() if "gru" in p.name}
    assert not {p for p in after if "elman" in p.name} & set(before)
    assert len(after) == len(before)


def test_a_change_of_what_mlflow_shows_runs_nothing_and_reaches_the_runs_that_exist(study, source):
    dvc("repro", cwd=study)
    before = runs(study, "trials"), runs(study, "stages")
    source("pipeline/tracking/views.py", "All trials, best first", "All trials, the best first")
    points = "    points += [(name, value, 0) for name, value in asdict(outcome).items()]\n"
    source("pipeline/tracking/shown.py", points, f'{points}    points.append(("a_new_metric", 1.0, 0))\n')
    assert not ran(dvc("repro", cwd=study))
    call(sys.executable, "-m", "stages.track", cwd=study)
    assert (runs(study, "trials"), runs(study, "stages")) == before
    with closing(sqlite3.connect(study / "mlflow.db")) as store:
        (count,) = store.execute(
            "SELECT COUNT(*) FROM metrics m JOIN runs r ON m.run_uuid = r.run_uuid "
            "WHERE m.key = 'a_new_metric' AND r.lifecycle_stage = 'active'"
        ).fetchone()
    assert count == 16  # those of the study that lies on disk


def test_a_damaged_trial_is_noticed_named_and_made_again(study):
    before, victim = files(study), next((study / "trials/fulda_runoff").glob("gru-*"))
    kept = TrialResult.load(victim)
    weights = {c: dict(kept.weights[c]) for c in kept.weights}
    content = bytearray(victim.read_bytes())
    content[-3] ^= 1
    victim.write_bytes(content)
    answer = dvc("repro", "train@fulda_runoff", cwd=study)
    assert f"{victim.relative_to(study)} is damaged" in answer.stdout
    assert {p for p, t in files(study).items() if before[p] != t} == {victim}
    made = TrialResult.load(victim)
    assert all(np.array_equal(made.weights[c][n], w) for c in weights for n, w in weights[c].items())
    dvc("repro", cwd=study)


def same(one, other):
    """Whether two trials hold the same numbers, bit for bit, but for the time they took."""
    a, b = (TrialResult.load(p) for p in (one, other))
    equal = all(np.array_equal(a.curves[n], b.curves[n], equal_nan=True) for n in a.curves)
    equal &= a.weights_checksum() == b.weights_checksum()
    return equal and a.trial == b.trial and replace(a.outcome, seconds=0.0) == replace(b.outcome, seconds=0.0)


def test_a_killed_sweep_trains_only_what_is_unfinished_and_ends_with_the_same_bits(tmp_path):
    killed, undisturbed = clone_of_a_sweep(tmp_path / "killed"), clone_of_a_sweep(tmp_path / "undisturbed")
    train = [sys.executable, "-m", "stages.train", "fulda_runoff"]
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
    assert 3 <= len(done) < 24
    call(*train, cwd=killed)
    assert {p: t for p, t in files(killed).items() if p in done} == done
    assert {p.name for p in files(killed)} == {p.name for p in files(undisturbed)}
    assert all(same(p, undisturbed / p.relative_to(killed)) for p in files(killed))
    call(sys.executable, "-m", "stages.track", cwd=killed)
    assert len(runs(killed, "trials")) == 24
    assert runs(killed, "stages") == ["prepare fulda_runoff", "train fulda_runoff"]


def clone_of_a_sweep(folder):
    clone(folder)
    edit(folder, train={"trials": 12, "epochs": 2})
    call(sys.executable, "-m", "stages.prepare", "fulda_runoff", cwd=folder)
    return folder


def test_ctrl_c_is_one_sentence_and_keeps_what_is_finished(tmp_path):
    folder = clone_of_a_sweep(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "fulda_runoff"],
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
    answers = [
        call(sys.executable, "-m", module, cwd=study, check=False) for module in ("stages.features", "pipeline.core.config")
    ]
    (study / "params.yaml").write_text(kept)
    for answer in answers:
        assert answer.returncode == 1
        assert sentence in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_damaged_or_missing_artefact_is_one_sentence(study):
    victim = next((study / "spectra/mnist_rows").glob("*"))
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    damaged = call(sys.executable, "-m", "stages.features", cwd=study, check=False)
    victim.unlink()
    missing = call(sys.executable, "-m", "stages.features", cwd=study, check=False)
    victim.write_bytes(content)
    for answer, sentence in ((damaged, f"{victim.name} is damaged"), (missing, "has no spectra")):
        assert answer.returncode == 1
        assert sentence in answer.stderr
        assert "Traceback" not in answer.stderr
