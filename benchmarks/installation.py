"""Installs the wheel into an empty environment: `python -m benchmarks.installation > docs/installation.md` says what that brings.

It runs the README's examples there, without a network where the system can take it away (`unshare --net`).
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.tables import Table

ROOT = Path(__file__).parent.parent
REPEATS = 5
IMPORTS = {
    "torch alone": "import torch",
    "lyapunov_spectrum": "from rnn_stability import lyapunov_spectrum",
    "fixed_points": "from rnn_stability import fixed_points",
    "StabilityPredictor.load()": "from rnn_stability import StabilityPredictor; StabilityPredictor.load()",
    "watch": "from rnn_stability import watch",
}
ABOUT = """# What an installation brings

`python -m benchmarks.installation` makes this page: it builds the wheel, installs it with pip into an empty environment, with the
pinned versions of `constraints.txt`, and runs the README's examples there.
"""


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(sys.executable, "-m", "build", "-q", "--wheel", "--outdir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        python = folder / "venv/bin/python"
        _run(sys.executable, "-m", "venv", folder / "venv")
        empty = _size(folder / "venv")
        install = _seconds(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
        listed = [line.split("==") for line in _run(python, "-m", "pip", "list", "--format=freeze").splitlines()]
        packages = {package: version for package, version in listed if package != "pip"}
        print(ABOUT)
        print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}.\n")
        size, torch = _size(folder / "venv") - empty, _size(_package(python, "torch"))
        data = _size(_package(python, "rnn_stability") / "data")
        print(f"- **Packages:** {len(packages)}: {', '.join(f'{p} {v}' for p, v in packages.items())}.")
        print(f"- **Size:** {size / 1e6:.0f} MB, of which torch is {torch / 1e6:.0f} MB; the wheel itself is")
        print(f"  {wheel.stat().st_size / 1e6:.1f} MB, of which the predictor's trials and card are {data / 1e6:.2f} MB.")
        print(f"- **Installation:** {install:.0f} s.")
        for line in _example(python, folder):
            print(line)
        rows = [[what, f"{_best(python, code):.2f} s"] for what, code in IMPORTS.items()]
        print(f"\nTimes of a new process, the least of {REPEATS}:\n")
        print(Table(["imported", "time"], rows).markdown())


def _example(python: Path, folder: Path) -> list[str]:
    """What the README's two examples take, `summary` and `watch`, as one program."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    (folder / "example.py").write_text("\n".join(blocks), "utf-8")
    alone = _without_network()
    times = [_seconds(*alone, python, folder / "example.py", cwd=folder) for _ in range(2)]
    where = "without a network" if alone else "with a network, since this system cannot take it away"
    return [f"- **The README's examples**, {where}: {times[0]:.1f} s the first time, {times[1]:.1f} s after that."]


def _without_network() -> tuple[str, ...]:
    """The words that run a command without a network, if there are such."""
    words = ("unshare", "--net", "--map-root-user")
    if shutil.which("unshare") and not subprocess.run([*words, "true"], capture_output=True).returncode:
        return words
    return ()


def _package(python: Path, name: str) -> Path:
    return Path(_run(python, "-c", f"import importlib.util as u; print(u.find_spec({name!r}).origin)").strip()).parent


def _size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _best(python: Path, code: str) -> float:
    return min(_seconds(python, "-c", code) for _ in range(REPEATS))


def _seconds(*words: object, cwd: Path | None = None) -> float:
    begin = time.perf_counter()
    _run(*words, cwd=cwd)
    return time.perf_counter() - begin


def _run(*words: object, cwd: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    answer = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, env=environment)
    if answer.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed: {answer.stderr}")
    return answer.stdout


if __name__ == "__main__":
    main()
