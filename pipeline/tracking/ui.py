"""Updates MLflow, starts its UI and prints links to its views: `python -m pipeline.tracking.ui`."""

import os
import sys

from ..core import layout
from ..core.errors import PipelineError
from . import store, update

# By default MLflow starts ten processes, which take 2 GB, for background jobs that this project does not have.
_SMALL = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Show the results on disk, print the links, then become the server, on 127.0.0.1 at the port PORT (5000).

    Where MLFLOW_TRACKING_URI names a server, that server has the UI, and none is started.
    """
    port = os.environ.get("PORT", "5000")
    if any(place("any").parent.exists() for place in (layout.data, layout.trials, layout.spectra)):
        _update()
    try:
        opened = store.connect()
    except PipelineError as error:
        sys.exit(f"ERROR: ui: {error}")
    remote = opened.address.startswith(("http://", "https://"))
    _say(store.links(opened.address.rstrip("/") if remote else f"http://127.0.0.1:{port}"))
    if not remote:
        os.execve(sys.executable, _command(opened, port), os.environ | _SMALL)


def _update() -> None:
    try:
        _say(update.sync())
    except PipelineError as error:
        sys.stderr.write(f"WARNING: {error}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # before the server takes the place of this process


def _command(opened: store.Store, port: str) -> list[str]:
    artifacts = store.artifacts(opened.address).as_uri()
    options = ["--backend-store-uri", opened.address, "--default-artifact-root", artifacts, "--host", "127.0.0.1", "--port", port]
    return [sys.executable, "-m", "mlflow", "server", *options, "--workers", "1"]


if __name__ == "__main__":
    main()
