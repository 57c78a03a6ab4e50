"""Where runs go: the store's address, its creation, and its failures as one sentence.

`MLFLOW_TRACKING_URI` names a store. Without it, it is `mlflow.db` with the folder `mlartifacts` at the root of the
workspace; all addresses are absolute, so that a stage in one of DVC's temporary folders writes to the same place.
"""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow loads
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import ExperimentTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from ..errors import TrackingError
from . import views

TRIALS, STAGES = views.TRIALS, views.STAGES
FAILURES = (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError)
# Unless the user chose otherwise: mlflow alone would ask a server that does not answer for minutes.
_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_ELSEWHERE = "or set MLFLOW_TRACKING_URI to another store"
# What an error's text holds -> what is wrong and what would be right, the first that fits.
_SENTENCES = {
    (
        "readonly",
        "read-only",
        "permission denied",
        "unable to open",
        "not a directory",
        "file exists",
    ): f"cannot be written; allow it, {_ELSEWHERE}",
    ("operation not permitted",): f"lies on a file system without hard links, {_ELSEWHERE}",
    ("is full", "no space left", "quota"): f"is on a full disk; make room, {_ELSEWHERE}",
    ("not a database", "malformed", "no such table"): (
        "is corrupt or no MLflow database; move it away and run `python -m stages.track` to fill a new one"
    ),
    ("revision", "out-of-date"): f"was made by another version of MLflow; run `mlflow db upgrade` on it, {_ELSEWHERE}",
    ("locked",): "is locked; end the process that holds it, then run again",
    ("refused", "max retries", "timed out", "not connect", "name or service", "failed to establish", "not resolve"): (
        "does not answer; start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"
    ),
}


@dataclass(frozen=True)
class Store:
    """A store that has been made ready.

    Attributes:
        address: its URI.
        client: speaks to it.
        experiments: TRIALS and STAGES -> the experiment's id.
    """

    address: str
    client: MlflowClient
    experiments: Mapping[str, str]


def address() -> str:
    """The URI of the store."""
    named = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    kind, separator, path = named.partition(":///")
    return f"{kind}{separator}{root() / path}" if kind == "sqlite" else named


def root() -> Path:
    """The workspace: DVC_ROOT, which DVC sets in temporary folders too, or the nearest folder that holds .dvc, or this."""
    here = Path.cwd()
    named = os.environ.get("DVC_ROOT")
    return Path(named).resolve() if named else next((p for p in (here, *here.parents) if (p / ".dvc").is_dir()), here)


def connect() -> Store:
    """The store, created if need be; TrackingError if it cannot be used."""
    return _connect(address())


def links(base: str = "http://127.0.0.1:5000") -> str:
    """The addresses of the good views in the UI at `base`, for people."""
    return views.page(connect().experiments, base)


@contextmanager
def speaking(uri: str) -> Iterator[None]:
    """A block in which a failure of the store becomes a TrackingError, soon and in one sentence."""
    missing = {name: value for name, value in _MANNERS.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    except FAILURES as error:
        raise TrackingError(_sentence(uri, error)) from None
    finally:
        for name in missing:
            os.environ.pop(name, None)


def readable(uri: str) -> str:
    """A store's address without its password."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


@lru_cache
def _connect(uri: str) -> Store:
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every table they make
    with speaking(uri):
        path = database(uri)
        if path is not None:
            _make(path)
            _check(path)
        client = MlflowClient(uri)
        return Store(uri, client, {name: _experiment(client, name, _artifacts(uri, name)) for name in (TRIALS, STAGES)})


def database(uri: str) -> Path | None:
    """The file of an SQLite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _make(path: Path) -> None:
    """Create the database under another name and link it: processes that start together overwrite nothing."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        draft = Path(folder) / path.name
        uri = f"sqlite:///{path}"
        store = SqlAlchemyStore(f"sqlite:///{draft}", str(path.parent / "mlartifacts"))
        for name in (TRIALS, STAGES):
            # with its tags: processes that start together would each add them
            tags = [ExperimentTag(*item) for item in views.tags(name).items()]
            store.create_experiment(name, _artifacts(uri, name), tags)
        store.engine.dispose()
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers
        with suppress(FileExistsError):
            os.link(draft, path)


def _check(path: Path) -> None:
    """Fail at once where mlflow would try for a minute: no database, another's, or one that cannot be written."""
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE probe (x)")
        connection.rollback()


def artifacts(uri: str) -> Path:
    """The folder of the artifacts of a store that is no server."""
    path = database(uri)
    return (path.parent if path else root()) / "mlartifacts"


def _artifacts(uri: str, name: str) -> str | None:
    """Where an experiment's artifacts lie; a server has its own place."""
    if urlsplit(uri).scheme in ("http", "https"):
        return None
    return (artifacts(uri) / name.replace(" ", "-")).as_uri()


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The experiment's id; it is created, and given its description and views, if need be."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            client.create_experiment(name, artifacts)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):  # another process was first
                raise
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment {name!r} was deleted; run `mlflow experiments restore -x {found.experiment_id}`"
        )
    for tag, value in views.tags(name).items():
        if found.tags.get(tag) != value:
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def _sentence(uri: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    place = f"the MLflow store {readable(uri)}"
    for signs, sentence in _SENTENCES.items():
        if any(sign in text.lower() for sign in signs):
            return f"{place} {sentence}"
    return f"{place} failed: {text[:300]}; put it right, {_ELSEWHERE}, then run `python -m stages.track`"
