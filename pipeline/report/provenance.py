"""With what and when the report was made."""

import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from ..artefacts import TrialResult

PACKAGES = ("torch", "scikit-learn", "numpy", "scipy", "pandas", "matplotlib", "skops", "mlflow", "dvc")


def facts(trials: Iterable[TrialResult]) -> dict[str, str]:
    """Date, commit, device and versions, as text."""
    return {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "commit": commit(),
        "device": ", ".join(sorted({t.trial["device"] for t in trials})),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def commit() -> str:
    """The repository's commit, and whether tracked files differ from it; "none" outside a repository."""
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return "none"
    return f"{found} with changes" if _git("status", "--porcelain", "--untracked-files=no") else found


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
