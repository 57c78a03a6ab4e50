"""Where results come from: the commit, the experiment of DVC, the user, the versions."""

import getpass
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "scikit-learn", "numpy", "scipy", "pandas", "matplotlib", "mlflow", "dvc")


@cache
def git_state() -> tuple[str, bool]:
    """The commit, and whether a tracked file differs from it; ("", False) outside a repository."""
    commit = _git("rev-parse", "HEAD")
    return commit, bool(commit and _git("status", "--porcelain", "--untracked-files=no"))


def origin() -> dict[str, str]:
    """The code, the experiment and the user of this process, under the names that MLflow shows where it has one."""
    commit, dirty = git_state()
    tags = {
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "mlflow.user": _user(),
        "mlflow.source.git.commit": commit,
        "git.dirty": ("yes" if dirty else "no") if commit else "",
    }
    return {name: value for name, value in tags.items() if value}


def versions() -> dict[str, str]:
    """Machine, Python, and versions of the packages that results depend on."""
    machine = {"machine": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}
    return machine | {name: _version(name) for name in PACKAGES}


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
