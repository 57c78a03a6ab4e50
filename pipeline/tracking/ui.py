"""Updates MLflow, starts its UI and, once it answers, prints the address that opens the study: `python -m pipeline.tracking.ui`.

By itself, MLflow's UI opens in the mode for language models, with an assistant beside each page. Both are settings that it
keeps in the browser; so the address is a page that sets them and goes on to the trials.
"""

import os
import socket
import sys
import threading
import warnings
from pathlib import Path

from ..core import layout
from ..core.errors import PipelineError, TrackingError
from . import notes, store, update, views

HOST = "127.0.0.1"
# Job execution would be ten processes, which take 2 GB, for background jobs that this project does not have.
_SMALL = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "ERROR"}
# Settings of MLflow's UI, by their names in the storage of the browser.
_SETTINGS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Study</title>
<noscript>MLflow's pages need JavaScript.</noscript>
<script>{settings}
location.replace("/{target}")</script></html>
"""


def main() -> None:
    """Show the results on disk, then serve MLflow's UI on 127.0.0.1 at the port PORT (5000) until it is interrupted.

    Where MLFLOW_TRACKING_URI names a server, that server has the UI, and none is started.
    """
    try:
        _say(update.sync())
    except PipelineError as error:
        sys.stderr.write(f"WARNING: {error}\n")
    try:
        opened = store.connect()
        if store.is_server(opened.address):
            base = store.readable(opened.address).replace("***@", "").rstrip("/")
            _say(f"{base}/{trials(opened)}")
        else:
            serve(opened, _port())
    except PipelineError as error:
        sys.exit(f"ERROR: ui: {error}")


def trials(opened: store.Store) -> str:
    """The address of the table of all trials, after that of the UI."""
    return views.link(opened.experiments[views.TRIALS], "trials")


def serve(opened: store.Store, port: int) -> None:
    """Be the server of a store until interrupted; the last line says where it answers."""
    address = f"http://{HOST}:{port}/{notes.SERVED}"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
        except OSError:
            raise TrackingError(
                f"port {port} is taken; end the server that has it, or choose another with PORT={port + 1}"
            ) from None
    warnings.simplefilter("ignore")
    os.environ |= _SMALL
    import uvicorn
    from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    # in the environment alone: other users can read command lines
    os.environ |= {BACKEND_STORE_URI_ENV_VAR: opened.address, ARTIFACT_ROOT_ENV_VAR: store.artifacts(opened.address).as_uri()}
    from mlflow.server.fastapi_app import app

    _add_pages(trials(opened), store.root())
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="error"))
    threading.Thread(target=_announce, args=(server, address), daemon=True).start()
    server.run()


def _add_pages(target: str, root: Path) -> None:
    """Add the page that opens the trials, and the report and the trials' files, to which notes of runs link."""
    from flask import send_from_directory
    from mlflow.server import app

    settings = "\n".join(f"localStorage.setItem({name!r}, {value!r})" for name, value in _SETTINGS.items())
    page = _PAGE.format(settings=settings, target=target)
    app.add_url_rule(f"/{notes.SERVED}", "study", lambda: page)
    for top in (layout.REPORT.name, layout.trials("").name):
        app.add_url_rule(
            f"/{notes.SERVED}/{top}/<path:name>", f"study-{top}", lambda name, top=top: send_from_directory(root / top, name)
        )


def _announce(server: "uvicorn.Server", address: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    while not (server.started or server.should_exit):
        threading.Event().wait(0.1)
    if server.started:
        _say(f"The study in MLflow, until Ctrl-C: {address}")


def _port() -> int:
    named = os.environ.get("PORT", "5000")
    if not (named.isdecimal() and 0 < int(named) < 65536):
        raise TrackingError(f"PORT is {named}; it should be a number from 1 to 65535, such as 5000")
    return int(named)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
