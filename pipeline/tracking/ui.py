"""Updates MLflow, starts its UI and prints links to its views: `python -m pipeline.tracking.ui`."""

import os
import sys

from ..core.errors import PipelineError
from . import store, update

# By default MLflow starts ten processes, which take 2 GB, for background jobs that this project does not have.
_SMALL = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Show the results on disk, print the links, then become the server, on 127.0.0.1 at the port PORT (5000).

    Where MLFLOW_TRACKING_URI names a server, that server has the UI, and none is started.
    """
    try:
        _say(update.sync())
    except PipelineError as error:
        sys.stderr.write(f"WARNING: {error}\n")
    try:
        address = store.connect().address
    except PipelineError as error:
        sys.exit(f"ERROR: ui: {error}")
    port = os.environ.get("PORT", "5000")
    server = store.is_server(address)
    base = store.readable(address).replace("***@", "").rstrip("/") if server else f"http://127.0.0.1:{port}"
    _say(store.links(base))
    if not server:
        options = ["--default-artifact-root", store.artifacts(address).as_uri()]
        options += ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
        environment = os.environ | _SMALL | {"MLFLOW_BACKEND_STORE_URI": address}  # other users can read command lines
        os.execve(sys.executable, [sys.executable, "-m", "mlflow", "server", *options], environment)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # before the server takes the place of this process


if __name__ == "__main__":
    main()
