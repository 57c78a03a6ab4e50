"""Where runs go: the store's address, its creation, and its failures as one sentence.

`MLFLOW_TRACKING_URI` names a store. Without it, the store is `mlflow.db` with the folder `mlartifacts` at the root of the
workspace; all addresses are absolute, so that a stage in one of DVC's temporary folders writes to the same place.
"""

import errno
import fcntl
import logging
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from uuid import uuid4

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow loads
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import Experiment
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
# A connection that is kept would go on writing to a database that was removed.
_FILE = {"MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool"}
_LOUD = ("alembic", "mlflow", "mlflow.store.db.utils", "sqlalchemy", "urllib3")  # log pages about what becomes one sentence
PATIENCE = 20.0  # seconds to wait for another program that writes to the database
WORKSPACE = "workspace"  # the tag of runs that names the workspace that made them
DEFAULT = "mlflow.db"
# Where the database holds addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_ELSEWHERE = "or set MLFLOW_TRACKING_URI to another store"
_CORRUPT = "is corrupt or no MLflow database; move it away and run `python -m stages.track` to fill a new one"
# How the name of an error begins, SQLite's, the system's, MLflow's or Python's -> what is wrong and what would be right.
_SENTENCES = {
    ("SQLITE_NOTADB", "SQLITE_CORRUPT"): _CORRUPT,
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"): (
        f"cannot be written; allow it, {_ELSEWHERE}"
    ),
    ("SQLITE_FULL", "ENOSPC", "EDQUOT"): f"cannot be written: the disk of {{full}} is full; make room, {_ELSEWHERE}",
    ("SQLITE_BUSY", "SQLITE_LOCKED"): "is locked; end the process that holds it, then run again",
    ("UNAUTHENTICATED", "PERMISSION_DENIED"): (
        "refuses these credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of a user who may write"
    ),
    ("ResponseError",): "answers with errors ({error}); see the server's log, then run again",
    ("ReadTimeout",): "is too slow; run again when it is less busy, or set MLFLOW_HTTP_REQUEST_TIMEOUT to more than 15 seconds",
    ("ConnectionError", "ConnectTimeout"): ("does not answer; start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"),
    ("ModuleNotFoundError", "ImportError", "NoSuchModuleError"): f"needs another package ({{error}}); install it, {_ELSEWHERE}",
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
    """The URI of the store.

    Raises:
        TrackingError: MLFLOW_TRACKING_URI names none.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT}"
    if not named.startswith("sqlite"):
        return _checked(named)
    path = named.removeprefix("sqlite:///")
    if path in (named, ""):
        raise TrackingError(f"MLFLOW_TRACKING_URI is {named}; an SQLite store is a file, such as sqlite:///{DEFAULT}")
    place = root() / path
    return f"sqlite:///{place.parent.resolve() / place.name}"  # the same by whatever links it is reached


def root() -> Path:
    """The workspace: DVC_ROOT, which DVC sets in temporary folders too, or the nearest folder that holds .dvc, or this."""
    here = Path.cwd()
    named = os.environ.get("DVC_ROOT")
    return Path(named).resolve() if named else next((p for p in (here, *here.parents) if (p / ".dvc").is_dir()), here)


def workspace() -> str:
    """The identity of this workspace: it keeps it where it is moved to, and a copy gets its own."""
    return _identity()[0]


def _identity() -> tuple[str, str]:
    """The workspace's identity, and that of the workspace of which it is a copy, or "".

    They are in a file beside the default database, with the number of the folder for which it was written.
    """
    path, folder = root() / f"{DEFAULT}.{WORKSPACE}", str(root().stat().st_ino)
    name, former, made_for = (*(path.read_text().split(",") if path.exists() else ()), "", "", "")[:3]
    if made_for != folder:
        name, former = uuid4().hex, name
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(f"{name},{former},{folder}")
        draft.replace(path)
    return name, former


@contextmanager
def writing() -> Iterator[Store]:
    """The store, created if need be, for a block in which no other process of this workspace writes to it.

    If the store is a file, no process of another workspace does so either.

    Raises:
        TrackingError: it cannot be used.
    """
    uri = address()
    with failures(uri), _alone(database(uri) or root() / DEFAULT):
        yield _opened(uri)


def connect() -> Store:
    """The store, created if need be; TrackingError if it cannot be used."""
    with writing() as store:
        return store


def offer(store: Store, experiment: str, offered: Iterable[views.View]) -> None:
    """Add views to those that an experiment of a store has."""
    tags = views.saved(offered)
    if tags:
        _tag(store.client, store.client.get_experiment(store.experiments[experiment]), tags)


@contextmanager
def failures(uri: str) -> Iterator[None]:
    """A block in which a failure of the store becomes a TrackingError, soon and in one sentence."""
    wanted = _SOON | (_FILE if database(uri) else {})
    missing = {name: value for name, value in wanted.items() if name not in os.environ}
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    os.environ.update(missing)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError, ImportError) as error:
        raise TrackingError(_sentence(uri, error)) from None
    finally:
        for name in missing:
            os.environ.pop(name, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def readable(uri: str) -> str:
    """A store's address without what may be secret: the user, the password or token, and the options of a database."""
    return uri if database(uri) else re.sub(r"(?<=://).*@|(?<=\?).*", lambda found: f"***{'@' * found[0].endswith('@')}", uri)


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


def is_displaced(path: Path) -> bool:
    """Whether a database was moved or copied since its addresses of artifacts were written."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        return bool(_displaced(connection, path))


def _checked(uri: str) -> str:
    """An address that is no SQLite file, if it can be taken apart without cutting up its password."""
    user = _user(uri)
    try:
        urlsplit(uri)
        whole = not set("/?#@[]").intersection(user)
    except ValueError:
        whole = False
    if not whole:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI is no address: {readable(uri)}; it should be one like http://host:5000, in which "
            "/ ? # @ [ ] of a password are written as %2F %3F %23 %40 %5B %5D"
        )
    return uri


def _user(uri: str) -> str:
    """The part of an address before its host."""
    return uri.partition("://")[2].rpartition("@")[0]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """A block that one process at a time is in: two that create a database corrupt it, two that write double runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _opened(uri: str) -> Store:
    if path := database(uri):
        if not path.exists() or not path.stat().st_size:  # SQLite makes an empty file of one that was removed meanwhile
            _create(path)
        _check(path)
    client = MlflowClient(uri)
    return Store(uri, client, {name: _experiment(client, uri, name) for name in (views.TRIALS, views.STAGES)})


def _create(path: Path) -> None:
    """Create the database under another name, so that a process that is killed meanwhile leaves none."""
    prefix = f"{path.name}.new-"
    for left in path.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        draft = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{draft}", str(path.parent / "mlartifacts")).engine.dispose()
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # the UI reads while a stage writes
        for rest in ("-wal", "-shm"):  # of a database that was removed; SQLite would apply them to this one
            path.with_name(path.name + rest).unlink(missing_ok=True)
        draft.replace(path)


def _check(path: Path) -> None:
    """Fail at once where mlflow would try for a minute: no database, another's, or one that cannot be written."""
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            raise TrackingError(f"the MLflow store sqlite:///{path} {_CORRUPT}")
        connection.execute("BEGIN IMMEDIATE")
        for name, old, new in _displaced(connection, path):
            _settle(connection, name, old, new)
        connection.commit()


def _place(uri: str, experiment: str) -> Path:
    """The folder of an experiment's artifacts in a store that is no server."""
    return artifacts(uri) / experiment.replace(" ", "-")


def _displaced(connection: sqlite3.Connection, path: Path) -> list[tuple[str, str, str]]:
    """Experiment, address of its artifacts, and the right one, where a moved or copied database holds an address elsewhere.

    An address that this library did not choose is left as it is.
    """
    known = dict(connection.execute("SELECT name, artifact_location FROM experiments"))
    found = []
    for name in (views.TRIALS, views.STAGES):
        old, place = known.get(name), _place(f"sqlite:///{path}", name)
        if old and old != place.as_uri() and old.endswith("/".join(place.parts[-2:])):
            found.append((name, old, place.as_uri()))
    return found


def _settle(connection: sqlite3.Connection, name: str, old: str, new: str) -> None:
    """Rewrite the addresses of an experiment's artifacts and models; runs of the workspace that was copied become the copy's."""
    own, former = _identity()
    before, after = (Path(unquote(urlsplit(uri).path)) for uri in (old, new))
    if before.exists() and not after.exists():
        raise TrackingError(f"the MLflow store was moved or copied without its artifacts; copy {before} to {after} too")
    for table, column in _ADDRESSES:
        connection.execute(
            f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
            f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
            {"old": old, "new": new},
        )
    connection.execute("UPDATE tags SET value = ? WHERE key = ? AND value = ?", [own, WORKSPACE, former])


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created, and given its description and views, if need be."""
    known = client.get_experiment_by_name(name) or _new_experiment(client, uri, name)
    number = str(known.experiment_id)
    if known.lifecycle_stage != "active":
        raise TrackingError(f"the MLflow experiment {name!r} was deleted; run `mlflow experiments restore -x {number}`")
    tags = views.tags(name)
    _tag(client, known, tags)
    for tag in views.stale(known.tags, tags):
        client.delete_experiment_tag(number, tag)
    return number


def _tag(client: MlflowClient, known: Experiment, tags: Mapping[str, str]) -> None:
    """Give an experiment the tags that it does not have."""
    for tag, value in tags.items():
        if known.tags.get(tag) != value:
            client.set_experiment_tag(known.experiment_id, tag, value)


def _new_experiment(client: MlflowClient, uri: str, name: str) -> Experiment:
    place = None if is_server(uri) else _place(uri, name).as_uri()
    with made_once():
        client.create_experiment(name, place)
    return client.get_experiment_by_name(name)


@contextmanager
def made_once() -> Iterator[None]:
    """A block that makes what another clone may have made meanwhile."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _sentence(uri: str, error: Exception) -> str:
    names = [(name, cause) for cause in _causes(error) for name in _names(cause)]
    known = [(text, cause) for begins, text in _SENTENCES.items() for name, cause in names if name.startswith(begins)]
    other = f"failed: {{error}}; put it right, {_ELSEWHERE}, then run `python -m stages.track`"
    sentence, cause = [*known, (other, error)][0]
    said = sentence.format(full=_full_disk(uri), error=_without_secrets(" ".join(str(cause).split()), uri)[:300])
    return f"the MLflow store {readable(uri)} {said}"


def _full_disk(uri: str) -> str:
    """The folder whose disk is full: that of temporary files, of which MLflow writes many, or that of the store."""
    places = (Path(tempfile.gettempdir()), artifacts(uri).parent)
    full = [place for place in places if place.exists() and shutil.disk_usage(place).free < 1 << 20]
    return " or ".join(dict.fromkeys(map(str, full or places)))


def _without_secrets(text: str, uri: str) -> str:
    """A text without the user and the password of an address, its secret options, and the credentials of the environment."""
    user = _user(uri)
    password = user.partition(":")[2] or (user if is_server(uri) else "")  # a token is a user without a password
    options = [value for name, value in parse_qsl(urlsplit(uri).query) if re.search("pass|secret|token|key", name, re.I)]
    named = [os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("PASSWORD", "TOKEN")]
    secrets = [password, *options, *named]
    for secret in sorted({form for s in secrets for form in (s, unquote(s), quote(s, safe=""))} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _names(error: BaseException) -> tuple[str, ...]:
    number = getattr(error, "errno", None)
    code = getattr(error, "error_code", "")
    return getattr(error, "sqlite_errorname", ""), errno.errorcode.get(number or 0, ""), str(code), type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
