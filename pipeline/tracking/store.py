"""Where runs go: the store's address, its creation, and its failures as one sentence.

`MLFLOW_TRACKING_URI` names a store. Without it, the store is `mlflow.db` with the folder `mlartifacts` at the root of the
workspace; all addresses are absolute, so that a stage in one of DVC's temporary folders writes to the same place.
"""

import errno
import fcntl
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow loads
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import TrackingError
from . import views

# Unless the user chose otherwise: mlflow alone would ask a server that does not answer for minutes.
_SOON = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PATIENCE = 20.0  # seconds to wait for another program that writes to the database
_ELSEWHERE = "or set MLFLOW_TRACKING_URI to another store"
_CORRUPT = "is corrupt or no MLflow database; move it away and run `python -m stages.track` to fill a new one"
# How the name of an error begins, SQLite's, the system's or Python's -> what is wrong and what would be right.
_SENTENCES = {
    ("SQLITE_NOTADB", "SQLITE_CORRUPT"): _CORRUPT,
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"): (
        f"cannot be written; allow it, {_ELSEWHERE}"
    ),
    ("SQLITE_FULL", "ENOSPC", "EDQUOT"): f"is on a full disk; make room, {_ELSEWHERE}",
    ("SQLITE_BUSY", "SQLITE_LOCKED"): "is locked; end the process that holds it, then run again",
    ("ConnectionError", "ConnectTimeout", "ReadTimeout"): (
        "does not answer; start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"
    ),
}


@dataclass(frozen=True)
class Store:
    """A store that has been made ready.

    Attributes:
        address: its URI.
        client: of MLflow.
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


@contextmanager
def writing() -> Iterator[Store]:
    """The store, created if need be, for a block in which no other process of this library writes to it, if it is a file.

    Raises:
        TrackingError: it cannot be used.
    """
    uri = address()
    with failures(uri), _alone(database(uri)):
        yield _opened(uri)


def connect() -> Store:
    """The store, created if need be; TrackingError if it cannot be used."""
    with writing() as store:
        return store


def links(base: str = "http://127.0.0.1:5000") -> str:
    """The addresses of the saved views in the UI at `base`, human-readable."""
    return views.page(connect().experiments, base)


@contextmanager
def failures(uri: str) -> Iterator[None]:
    """A block in which a failure of the store becomes a TrackingError, soon and in one sentence."""
    missing = {name: value for name, value in _SOON.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
        raise TrackingError(_sentence(uri, error)) from None
    finally:
        for name in missing:
            os.environ.pop(name, None)


def readable(uri: str) -> str:
    """A store's address without its password."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def database(uri: str) -> Path | None:
    """The file of an SQLite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def is_server(uri: str) -> bool:
    """Whether a store is a server, which has its own place for artifacts and its own UI."""
    return uri.startswith(("http://", "https://"))


def artifacts(uri: str) -> Path:
    """The folder of the artifacts of a store that is no server."""
    path = database(uri)
    return (path.parent if path else root()) / "mlartifacts"


@contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """A block that one process at a time is in: two that create a database corrupt it, two that write double runs."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@lru_cache
def _opened(uri: str) -> Store:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it names every table that it makes
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints tracebacks of what becomes one sentence
    if path := database(uri):
        if not path.exists():
            _create(path)
        _check(path)
    client = MlflowClient(uri)
    return Store(uri, client, {name: _experiment(client, uri, name) for name in (views.TRIALS, views.STAGES)})


def _create(path: Path) -> None:
    """Create the database under another name, so that a process that is killed meanwhile leaves none."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        draft = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{draft}", str(path.parent / "mlartifacts")).engine.dispose()
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # the UI reads while a stage writes
        draft.replace(path)


def _check(path: Path) -> None:
    """Fail at once where mlflow would try for a minute: no database, another's, or one that cannot be written."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            raise TrackingError(f"the MLflow store sqlite:///{path} {_CORRUPT}")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created, and given its description and views, if need be."""
    place = None if is_server(uri) else (artifacts(uri) / name.replace(" ", "-")).as_uri()
    known = client.get_experiment_by_name(name) or client.get_experiment(client.create_experiment(name, place))
    number = str(known.experiment_id)
    if known.lifecycle_stage != "active":
        raise TrackingError(f"the MLflow experiment {name!r} was deleted; run `mlflow experiments restore -x {number}`")
    for tag, value in views.tags(name).items():
        if known.tags.get(tag) != value:
            client.set_experiment_tag(number, tag, value)
    return number


def _sentence(uri: str, error: Exception) -> str:
    names = [name for cause in _causes(error) for name in _names(cause)]
    known = [sentence for name in names for begins, sentence in _SENTENCES.items() if name.startswith(begins)]
    other = f"failed: {' '.join(str(error).split())[:300]}; put it right, {_ELSEWHERE}, then run `python -m stages.track`"
    return f"the MLflow store {readable(uri)} {[*known, other][0]}"


def _names(error: BaseException) -> tuple[str, ...]:
    number = getattr(error, "errno", None)
    return getattr(error, "sqlite_errorname", ""), errno.errorcode.get(number or 0, ""), type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
