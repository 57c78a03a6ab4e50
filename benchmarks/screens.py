"""Takes the screenshots of the docs: `python -m benchmarks.screens` writes docs/screens from the study in the current folder.

It needs Chromium (CHROMIUM names it, by default `chromium`) and a finished study; it starts `make ui`'s server for itself.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCREENS = ROOT / "docs/screens"
PORT, SECONDS = "5099", 120


def main() -> None:
    """Write report.png and mlflow.png."""
    SCREENS.mkdir(exist_ok=True)
    shoot(Path("report/index.html").resolve(strict=True).as_uri(), SCREENS / "report.png")
    with served() as address:
        shoot(address, SCREENS / "mlflow.png", width=1600, patience=20)


def shoot(address: str, file: Path, *, width: int = 1300, patience: int = 5) -> None:
    """A screenshot of the first screen of a page, after so many seconds of the browser's own clock."""
    browser = os.environ.get("CHROMIUM", "chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900"]
    words = [browser, *options, f"--virtual-time-budget={1000 * patience}", f"--screenshot={file}", address]
    subprocess.run(words, check=True, capture_output=True, timeout=SECONDS)
    print(f"{file.relative_to(ROOT)}: {address}")


@contextmanager
def served():
    """MLflow's UI on the study, as `make ui` starts it; the address of the trials, which is the first that it prints."""
    environment = os.environ | {"PORT": PORT, "PYTHONPATH": str(ROOT), "BROWSER": "true"}  # `true` opens nothing
    command = [sys.executable, "-m", "pipeline.tracking.ui"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as server:
        try:
            address = next(found[0] for line in server.stdout if (found := re.search(rf"http://\S+:{PORT}/\S+", line)))
            _wait(f"http://127.0.0.1:{PORT}/health")
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _wait(address: str) -> None:
    for _ in range(SECONDS):
        with suppress(OSError):
            urllib.request.urlopen(address).close()
            return
        time.sleep(1)
    raise SystemExit(f"ERROR: nothing answers at {address}")


if __name__ == "__main__":
    main()
