"""What tracking costs: `python -m benchmarks.tracking`.

The stages `train` and `spectrum` of one task and cell are run from nothing with tracking and without it, in turn; medians of
the wall time of both processes from start to end.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

REPEATS = 3
ROOT = Path(__file__).parent.parent
WITHOUT = """
import contextlib, types
from pipeline import tracking
from pipeline.artefacts import TrialResult, TrialSpectra
class Nothing:
    seconds = 0.0
    trial = staticmethod(lambda path: TrialResult.load(path).outcome["diverged"])
    spectra = staticmethod(lambda path, **_: TrialSpectra.load(path).diverged)
tracking.stage_run = lambda *_, **__: contextlib.nullcontext(Nothing())
"""
RUN = "import stages.{stage} as s, pipeline.stage; import sys; sys.argv[0] = '{stage}'; pipeline.stage.main(s.main)"


def main(task: str = "mnist_rows", cell: str = "lstm") -> None:
    """Print seconds and the share that tracking adds."""
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copy(ROOT / "params.yaml", folder)
        _run(folder, RUN.format(stage="prepare"), task)
        for _ in range(REPEATS):
            for kind, before in (("with", ""), ("without", WITHOUT)):
                for made in ("trials", "spectra", "mlartifacts"):
                    shutil.rmtree(folder / made, ignore_errors=True)
                begin = time.perf_counter()
                for stage in ("train", "spectrum"):
                    _run(folder, before + RUN.format(stage=stage), task, cell)
                seconds[kind].append(time.perf_counter() - begin)
    medians = {kind: statistics.median(s) for kind, s in seconds.items()}
    print("## What tracking costs\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, train and spectrum of {task} {cell}.\n")
    for kind, median in medians.items():
        print(f"- {kind} tracking: {', '.join(f'{s:.1f}' for s in seconds[kind])} s; median {median:.1f} s")
    print(f"- tracking adds {medians['with'] / medians['without'] - 1:.1%}")


def _run(folder: Path, code: str, *words: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
