"""Where a run came from: the stage, the experiment of DVC, the commit."""

import getpass
import os
import socket
import subprocess
from functools import lru_cache


def tags(stage: str, words: tuple[str, ...]) -> dict[str, str]:
    """Tags of the code and the command that a run came from, under the names that MLflow shows where it has one."""
    found = {
        "stage": stage,
        "dvc.stage": "@".join(filter(None, [stage, "-".join(words)])),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "mlflow.source.name": f"stages.{stage}",
        "mlflow.source.type": "LOCAL",
        "process": f"{socket.gethostname()} {os.getpid()}",
        "mlflow.user": _user(),
        **_commit(),
    }
    return {name: value for name, value in found.items() if value}


def works(process: str) -> bool:
    """Whether the process of a tag still runs; one of another machine counts as running."""
    host, _, number = process.rpartition(" ")
    if host != socket.gethostname():
        return bool(host)
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, alive
        return True
    return int(number) != os.getpid()


@lru_cache
def _commit() -> dict[str, str]:
    """The commit, and whether a file under version control differs from it; nothing outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    return {"mlflow.source.git.commit": commit, "git.dirty": dirty}


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""
