"""Measures tracking under load: `python -m benchmarks.tracking > docs/tracking.md`; with `--quick`, in a minute or two.

Records of synthetic trials are brought into an SQLite store and into an MLflow server with passwords in front of PostgreSQL:
by one process, then by four at once. Afterwards nothing may be lost or doubled, and no password may be found anywhere.
"""

import argparse
import multiprocessing
import os
import platform
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.core import layout
from pipeline.core.config import SpectrumSettings
from pipeline.core.hyper_parameters import DECLARED, HyperParameters
from pipeline.core.records import CHECKPOINTS, CURVES, UPDATES, Outcome, Trial, TrialMeasurements, TrialResult, TrialSpectra
from pipeline.core.stage import LIVE
from pipeline.core.tables import Table

TRIALS, QUICK, WRITERS, SAMPLE = 2000, 80, 4, 20
TASKS, CELLS, EPOCHS, STATE = ("one", "two", "three", "four"), ("elman", "gru"), 50, 48
JOB = 5.5  # seconds that 50 epochs of a small trial take: docs/benchmarks.md has 24 trials of 6 epochs in 15.8 s
HYPER_PARAMETERS = {name: 1 if declared.default is None else declared.default for name, declared in DECLARED.items()}
NEEDED = ("initdb", "pg_ctl", "postgres")
ABOUT = """# Tracking under load

`{command}` makes this page. {date}, {machine}, {cores} cores, MLflow {mlflow}; average load of the machine {load:.0f}.

{trials:,} trials of {epochs} epochs, each with {curves} curves, {measured} measurements at two moments, spectra of {state}
exponents at three checkpoints, and their summaries: {points} points per trial. One process brings them into an empty
store. Then {writers} processes, each with {part:,} other trials in a folder of its own, do the same at once. The server is
MLflow's own, with one worker and basic authentication, in front of PostgreSQL, all on this machine. It remembers for a
minute that a password was right (`auth_cache_ttl_seconds`): by default it hashes the password again for every request,
which takes it 0.2 s, and a trial takes three requests.
"""


RULES = """
## What holds

- **Clones with one store.** A workspace writes to the runs that it made, and to no others; their tag `workspace` names it. A
  run that another clone made is used where it shows the same parameters, metrics and files. Otherwise each clone has its own.
  If two clones make the same run at the same moment on a server, there are two of it until the next update (`make track`)
  of the clone that made the one with the larger id; that clone removes it.
- **Digits.** Metrics and parameters have four significant digits, and counts all of theirs; the tag `hyper_parameters` has what a
  trial was given to all digits, and its file, which the tag `weights` names, has all numbers.
- **Interruptions.** If a process is killed, or the store fails or is locked, results on disk are not affected. The next update
  removes what is half-made and adds what is missing. Afterwards, the store holds what an undisturbed one holds.
- **Moving and copying.** A study that is moved or copied together with `mlflow.db` and `mlartifacts/` uses its new folder from
  the next update on; the original is not written to. Without `mlartifacts/`, the update is refused.
- **Removing.** If `mlflow.db` is removed, even while a study runs, the next update makes it again.
- **Passwords.** Addresses are shown without user, password, token and options, also in messages of other libraries. Characters
  such as `/` and `@` of a password in MLFLOW_TRACKING_URI have to be written as `%2F` and `%40`.
- **Trust.** `mlflow.pyfunc.load_model` runs code from the registry: load models from registries that you trust.
  `StabilityPredictor.load("models:/rnn-stability/latest")` reads numbers and text alone.
"""


@dataclass(frozen=True)
class Written:
    """What one process did.

    Attributes:
        begin, end: of the first update, in seconds since 1970.
        moments: when the last run of a stage was complete, and then each run of a trial.
        unchanged: seconds of a second update, which changes nothing.
        points: that the store should hold of this process.
        sample: identity -> metric -> its points, of some trials.
        said: all sentences.
    """

    begin: float
    end: float
    moments: list[float]
    unchanged: float
    points: int
    sample: dict[str, dict[str, list[tuple[int, float]]]]
    said: str


@dataclass(frozen=True)
class Place:
    """A store under load.

    Attributes:
        name: in the table.
        uri: for the writers.
        database: of the store, for SQLAlchemy.
        passwords: that may be found nowhere.
        texts: gives all other text that the store's processes wrote.
    """

    name: str
    uri: str
    database: str
    passwords: Sequence[str] = ()
    texts: Callable[[], str] = str


def main() -> None:
    """Print the page; one sentence takes the place of what needs a program that is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking")
    parser.add_argument("--quick", dest="trials", action="store_const", const=QUICK, help=f"{QUICK} trials")
    parser.set_defaults(trials=TRIALS)  # which both options set
    parser.add_argument("--trials", type=int, help="of the first writer, a multiple of four")
    number = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name, _workers() as pool:
        root = Path(name)
        root.chmod(0o755)  # for the user that runs PostgreSQL
        jobs = _folders(root, number)
        results = [_loaded(Place("SQLite", f"sqlite:///{root}/mlflow.db", f"sqlite:///{root}/mlflow.db"), jobs, pool)]
        missing = [*(p for p in NEEDED if not shutil.which(p)), *(p for p in ("psycopg", "flask_wtf") if not find_spec(p))]
        if not missing:
            with _server(root) as place:
                results.append(_loaded(place, jobs, pool))
    _print(number, results)
    if missing:
        print(f"\nThe server was not measured: {', '.join(missing)} is missing (PostgreSQL, psycopg, mlflow[auth]).")
    print(RULES, end="")


def _print(number: int, results: Sequence[dict[str, Any]]) -> None:
    from importlib.metadata import version

    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": platform.machine(), "cores": os.cpu_count()}
    about |= {"command": " ".join(["python -m benchmarks.tracking", *sys.argv[1:]]), "load": os.getloadavg()[2]}
    sizes = {"curves": len(CURVES), "measured": 6, "epochs": EPOCHS, "state": STATE, "points": results[0].pop("points")}
    print(ABOUT.format(mlflow=version("mlflow"), trials=number, writers=WRITERS, part=number // WRITERS, **about, **sizes))
    rows = [[label, *(str(result.get(label, "")) for result in results)] for label in results[0] if label != "store"]
    print(Table(["", *(result["store"] for result in results)], rows).markdown())
    print(
        f"\nA trial of {EPOCHS} epochs of the default study takes about {JOB} s of one process; the share of the job's time is "
        f"relative to this. While a study runs, it is brought up to date every {LIVE:.0f} s."
    )


def _loaded(place: Place, jobs: Sequence[Path], pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The lines of the page about a store: one writer, then the others at once."""
    with _process_lists() as lists:
        first, *rest = jobs
        alone = pool.submit(_write, first, place.uri).result()
        together = [future.result() for future in [pool.submit(_write, folder, place.uri) for folder in rest]]
        wrong = pool.submit(_refused, first, place.uri).result() if place.passwords else ""
    each = [b - a for a, b in pairwise(alone.moments)]
    number, quarter = len(each), len(each) // 4
    seconds = max(w.end for w in together) - min(w.begin for w in together)
    every = [alone, *together]
    text = "\n".join([*(w.said for w in every), wrong, *lists, place.texts(), held := _held(place.database)])
    found = _counts(place.database)
    return {
        "store": place.name,
        "points": alone.points // number,
        "trials per second, one writer": f"{number / (alone.end - alone.begin):.1f}",
        "seconds per trial, by quarter": ", ".join(
            f"{statistics.fmean(each[i * quarter : (i + 1) * quarter]):.3f}" for i in range(4)
        ),
        "share of the job's time": f"{(alone.end - alone.begin) / number / JOB:.1%}",
        f"seconds of an update that changes nothing, {number:,} trials": f"{alone.unchanged:.1f}",
        "share of the time between two updates": f"{alone.unchanged / LIVE:.1%}",
        f"trials per second, {WRITERS} writers at once": f"{number / seconds:.1f}",
        "trials, runs of trials, points expected, points found": _fitting(
            sum(len(w.moments) - 1 for w in every), found["trials"], sum(w.points for w in every), found["points"]
        ),
        "trials of a sample of which any point differs": _differing(place.database, [w.sample for w in every]),
        "places where a password was found": _leaks(place, text, held),
    }


def _fitting(trials: int, runs: int, expected: int, points: int) -> str:
    verdict = "nothing lost or doubled" if (trials, expected) == (runs, points) else "WRONG"
    return f"{trials:,}, {runs:,}, {expected:,}, {points:,}: {verdict}"


def _leaks(place: Place, text: str, held: str) -> str:
    """How often a password is in what was written, said or listed; that all was looked at is seen by its size."""
    if not place.passwords:
        return ""
    assert held
    forms = {form for password in place.passwords for form in (password, quote(password, safe=""))}
    return f"{sum(text.count(form) for form in forms)} in {len(text):,} characters of logs, tags, errors and process lists"


# One writer, in a process of its own


def _write(folder: Path, uri: str) -> Written:
    """Bring a store up to date with a folder, twice, and compare a sample of the runs with the records."""
    tracking, update = _at_work(folder, uri)
    moments: list[float] = []
    client = tracking.store.MlflowClient
    end_run = client.set_terminated

    def ended(self: Any, run: str, *words: Any) -> None:
        end_run(self, run, *words)
        moments.append(time.time())  # the runs of sweeps come first, those of other stages last

    client.set_terminated = ended
    begin = time.time()
    said = [tracking.sync()]
    end = time.time()
    client.set_terminated = end_run
    said += [tracking.sync()]
    unchanged = time.time() - end
    results = update.Results()
    stages, trials = list(results.stages()), list(results.trials())
    sweeps = sum(item.kind == "sweep" for item in stages)
    points = sum(len(series) for item in (*stages, *trials) for series in item.metrics.values())
    sample = {
        item.key: {name: sorted(series.items()) for name, series in item.metrics.items()}
        for item in trials[:: max(1, len(trials) // SAMPLE)][:SAMPLE]
    }
    return Written(begin, end, moments[sweeps - 1 : sweeps + len(trials)], unchanged, points, sample, "\n".join(said))


def _at_work(folder: Path, uri: str) -> tuple[Any, Any]:
    """The room for tracking, in a folder that is a workspace of its own."""
    os.chdir(folder)
    os.environ |= {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": uri}
    from pipeline import tracking
    from pipeline.tracking import store, update  # loads MLflow, whose import is not timed

    assert tracking.store is store
    return tracking, update


def _refused(folder: Path, uri: str) -> str:
    """What is said to a wrong password, and where nothing answers."""
    from pipeline.core.errors import TrackingError

    said = []
    for wrong in (uri.replace("@", "x@"), f"{uri.rpartition(':')[0]}:9"):
        tracking, _ = _at_work(folder, wrong)
        with suppress(TrackingError):
            tracking.sync()
            raise SystemExit("a store that should refuse did not")
        try:
            tracking.sync()
        except TrackingError as error:
            said.append(str(error))
    return "\n".join(said)


# What is in the store


def _query(database: str, statement: str) -> list[tuple[Any, ...]]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(sqlalchemy.text(statement))]
    engine.dispose()
    return rows


def _counts(database: str) -> dict[str, int]:
    """Runs of trials, each by its own identity, and all points of runs that are there."""
    of_trials = "FROM tags JOIN runs USING (run_uuid) WHERE key = 'trial.id' AND lifecycle_stage = 'active'"
    ((runs, trials),) = _query(database, f"SELECT COUNT(*), COUNT(DISTINCT value) {of_trials}")
    ((points,),) = _query(database, "SELECT COUNT(*) FROM metrics JOIN runs USING (run_uuid) WHERE lifecycle_stage = 'active'")
    return {"trials": runs if runs == trials else -runs, "points": points}


def _differing(database: str, samples: Sequence[dict[str, dict[str, list[tuple[int, float]]]]]) -> str:
    """How many trials of samples the store shows otherwise than their records: all points of all metrics are compared."""
    expected = {trial: metrics for sample in samples for trial, metrics in sample.items()}
    listed = ", ".join(f"'{trial}'" for trial in expected)
    found: dict[str, dict[str, list[tuple[int, float]]]] = {trial: {} for trial in expected}
    for trial, name, step, value in _query(
        database,
        "SELECT tags.value, metrics.key, step, metrics.value FROM metrics JOIN runs USING (run_uuid) JOIN tags USING (run_uuid) "
        f"WHERE tags.key = 'trial.id' AND tags.value IN ({listed}) AND lifecycle_stage = 'active' ORDER BY step",
    ):
        found[trial].setdefault(name, []).append((step, value))
    return f"{sum(found[trial] != expected[trial] for trial in expected)} of {len(expected)}"


def _held(database: str) -> str:
    """All text that a store shows of runs, experiments and models."""
    tables = ("runs", "tags", "params", "experiments", "experiment_tags", "registered_models", "model_versions", "logged_models")
    return "\n".join(str(row) for table in tables for row in _query(database, f"SELECT * FROM {table}"))


@contextmanager
def _process_lists() -> Iterator[list[str]]:
    """The command lines of all processes, once a second, while a block runs."""
    lists: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            lists.append(subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lists
    finally:
        done.set()
        thread.join()


# The server


@contextmanager
def _server(root: Path) -> Iterator[Place]:
    """MLflow's server with passwords in front of a new PostgreSQL, both on loopback."""
    passwords = [f"{secrets.token_hex(8)}/#?@{secrets.token_hex(4)}" for _ in range(2)]
    with ExitStack() as stack:
        database = stack.enter_context(_postgres(root, passwords[0]))
        port, log = _free_port(), root / "server.log"
        settings = root / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{root}/auth.db\n"
            "admin_username = admin\nauth_cache_ttl_seconds = 60\n"
        )
        environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--artifacts-destination", str(root / "served")]
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *options]
        process = subprocess.Popen(command, env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=root)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        _await(f"http://127.0.0.1:{port}/health")
        uri = f"http://admin:{quote(passwords[1], safe='')}@127.0.0.1:{port}"
        yield Place(
            "server with PostgreSQL", uri, database, passwords, lambda: log.read_text() + (root / "postgres.log").read_text()
        )


@contextmanager
def _postgres(root: Path, password: str) -> Iterator[str]:
    """The address of a PostgreSQL with a password; the system's own user `postgres` runs it if this process is root."""
    data, port = root / "postgres", _free_port()
    data.mkdir()
    word = data.with_suffix(".password")
    word.write_text(password)
    log = root / "postgres.log"
    log.touch()
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if user:
        for path in (data, word, log):
            shutil.chown(path, "postgres", "postgres")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "check": True, "cwd": data, **user}
    subprocess.run(["initdb", "-D", data, "-U", "study", "-A", "scram-sha-256", f"--pwfile={word}"], **quiet)
    word.unlink()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {data}"
    subprocess.run(["pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start"], **quiet)
    try:
        yield f"postgresql+psycopg://study:{quote(password, safe='')}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(["pg_ctl", "-D", data, "-m", "fast", "-w", "stop"], **quiet)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await(address: str) -> None:
    for _ in range(600):
        with suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"no server at {address}")


# Synthetic studies


@contextmanager
def _workers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def _folders(root: Path, number: int) -> list[Path]:
    """Folders with records: one with all the trials, and WRITERS with as many others between them."""
    part = number // WRITERS
    sizes = [(0, number), *((number + i * part, part) for i in range(WRITERS))]
    folders = [root / f"study_{i}" for i in range(len(sizes))]
    for folder, (first, size) in zip(folders, sizes, strict=True):
        random = np.random.default_rng(first)
        for index in range(first, first + size):
            _save(folder, _trial(index), random)
    return folders


def _save(folder: Path, trial: Trial, random: np.random.Generator) -> None:
    """The records of a trial: result, spectra and measurements."""
    from pipeline import measuring

    weights = {checkpoint: {"cell.bias": np.zeros(1, np.float32)} for checkpoint in CHECKPOINTS}
    updates = {name: np.zeros(EPOCHS, np.float32) for name in UPDATES}
    state = {"cell.bias": {"step": np.zeros(1, np.float32)}}
    curves = {name: random.random(EPOCHS + 1) for name in CURVES}
    outcome = Outcome(diverged=False, seconds=1.0, test_loss=0.5, test_metric=0.5, parameter_count=1000)
    TrialResult(trial, outcome, curves, updates, weights, state).save(trial.path(folder / layout.trials(trial.task)))
    exponents, errors = -np.sort(-random.normal(-1, 1, (3, 6, STATE))), np.full((3, STATE), 0.01)
    settings = SpectrumSettings(sequences=6, transient=40, steps=140)
    spectra = TrialSpectra(trial, settings, 1.0, exponents, errors, errors, np.zeros((3, 140)))
    spectra.save(trial.path(folder / layout.spectra(trial.task)))
    columns = list(measuring.columns())
    measured = TrialMeasurements(trial, {"step_ratio": 0.01}, columns, random.random((2, len(columns))))
    measured.save(trial.path(folder / layout.measurements(trial.task)))


def _trial(index: int) -> Trial:
    return Trial(
        task=TASKS[index % len(TASKS)],
        cell=CELLS[index // len(TASKS) % len(CELLS)],
        index=index,
        draw=index,
        seed=index,
        hyper_parameters=HyperParameters(**HYPER_PARAMETERS),
        options={},
        state="stateless",
        epochs=EPOCHS,
        early_epoch=1,
        input_size=28,
        output_size=10,
        steps=28,
        chance=2.3,
        device="cpu",
        torch="",
        data_hash="",
        code_hash="",
    )


if __name__ == "__main__":
    main()
