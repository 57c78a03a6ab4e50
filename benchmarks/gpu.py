"""Writes a page about the library on a GPU, in at most eight minutes: `python -m benchmarks.gpu`.

It needs torch, NumPy, SciPy and scikit-learn, and no installation of this library. `--device cpu` tries everything but the
device, `--quick` uses tiny sizes, and names of parts (`oracles every_cell ...`) run these alone. Each part has a time limit and
may fail without the others; results are printed as they come. The exit code is 1 if a part failed or a number is not as it
should be.
"""

import platform
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import FrameType

import torch

from .bare import stand_in

PAGE = Path(__file__).parent.parent / "docs/gpu.md"
# Seconds that each part may take, in their order; the sum is below eight minutes.
LIMITS = {
    "oracles": 120,
    "every_cell": 40,
    "trained": 20,
    "training": 40,
    "study": 20,
    "spectra": 120,
    "ensemble": 70,
    "graphs": 40,
}


def main(*options: str) -> int:
    """Print the page, with what is written by hand at its end; the exit code."""
    words = list(options)
    name = words.pop(words.index("--device") + 1) if "--device" in words else "cuda"
    wanted = [word for word in words if not word.startswith("--")] or list(LIMITS)
    missing, quick = stand_in(), "--quick" in words
    parts = import_module("benchmarks.gpu_parts")
    print("# On a GPU\n")
    print(f"`make gpu` writes this page. {machine(name)}.")
    print(f"Packages with stand-ins: {', '.join(missing) or 'none'}. Differences are the largest absolute ones unless stated.")
    failures = []
    for part in wanted:
        begin = time.perf_counter()
        failures += run(part, parts, parts.QUICK if quick else parts.FULL, torch.device(name))
        print(f"\n({part}: {time.perf_counter() - begin:.1f} s)", flush=True)
    print(f"\n## Result\n\n{'; '.join(failures) or 'Everything is as it should be.'}")
    if quick:
        print("\nThese numbers have no meaning, because --quick uses tiny sizes.")
    print(f"\n{proven()}", end="")
    return bool(failures)


def proven() -> str:
    """The sections of the page that are written by hand."""
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index("## What this means") :]


def run(part: str, parts: object, sizes: object, device: torch.device) -> list[str]:
    """Print the lines of a part; what is wrong with it."""
    wrong: list[str] = []
    print(flush=True)
    try:
        with limit(LIMITS[part]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that runs are short is no part of the page
            for line in getattr(parts, part)(sizes, device, wrong):
                print(line, flush=True)
    except Exception as error:  # the other parts go on
        said = " ".join(str(error).split())[:300]
        wrong.append(f"{part} failed: {type(error).__name__}: {said}")
        print(f"\n**{wrong[-1]}**", flush=True)
    return wrong


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """A context that a TimeoutError ends after so many seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def machine(device: str) -> str:
    """The date, the device with its driver, and torch."""
    found = f"the CPU ({platform.machine()})"
    if device == "cuda":
        found = f"{torch.cuda.get_device_name()}, driver {driver()}, CUDA {torch.version.cuda}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {found}, torch {torch.__version__}, Python {platform.python_version()}"


def driver() -> str:
    """The version of NVIDIA's driver."""
    question = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(question, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
