"""Starts the MLflow UI on the study's store and says where to look: `python -m pipeline.tracking.ui`."""

import os
import sys

from ..errors import PipelineError
from . import store

# MLflow's own default is ten processes and 2 GB, for jobs that this project has none of.
_SMALL = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Write the links, then become the server, on 127.0.0.1 at the port PORT (5000).

    Where MLFLOW_TRACKING_URI names a server, that server has the UI, and nothing is started.
    """
    port = os.environ.get("PORT", "5000")
    try:
        opened = store.connect()
    except PipelineError as error:
        sys.exit(f"ERROR: ui: {error}")
    remote = opened.address.startswith(("http://", "https://"))
    sys.stdout.write(store.links(opened.address.rstrip("/") if remote else f"http://127.0.0.1:{port}") + "\n")
    sys.stdout.flush()
    if not remote:
        os.execve(sys.executable, _command(opened, port), os.environ | _SMALL)


def _command(opened: store.Store, port: str) -> list[str]:
    artifacts = store.artifacts(opened.address).as_uri()
    options = ["--backend-store-uri", opened.address, "--default-artifact-root", artifacts, "--host", "127.0.0.1", "--port", port]
    return [sys.executable, "-m", "mlflow", "server", *options, "--workers", "1"]


if __name__ == "__main__":
    main()
