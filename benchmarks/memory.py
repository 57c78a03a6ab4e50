"""How much memory one spectrum takes: `python -m benchmarks.memory 512 15 6` (hidden units, sequences, steps) prints JSON.

To be run in a process of its own: what an earlier measurement left with the allocator would not be counted.
"""

import json
import os
import sys
import threading
from pathlib import Path

import torch

from pipeline import lyapunov_spectrum

from .systems import network, noise


def main(hidden: int, sequences: int, steps: int) -> None:
    """Print the bytes resident before, and the most during, all exponents of an LSTM: by the kernel and by sampling."""
    lyapunov_spectrum(network(torch.nn.LSTM, 2), noise(2, 1), transient=0)  # what is loaded at the first call
    module, inputs = network(torch.nn.LSTM, hidden), noise(steps, sequences)
    before = reset()
    with Sampler() as sampler:
        lyapunov_spectrum(module, inputs, transient=0)
    print(json.dumps({"before": before, "kernel": high_water(), "sampled": sampler.most}))


class Sampler:
    """The most bytes resident while the block runs, looked up every few milliseconds in a thread."""

    def __init__(self) -> None:
        self.most = _resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, _resident())


def reset() -> int:
    """Let the high-water mark start anew (proc(5), clear_refs); bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _resident()


def _resident() -> int:
    """Bytes resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def high_water() -> int:
    """The most bytes resident since the mark was set; not ru_maxrss, which a process inherits from the one that started it."""
    (line,) = [entry for entry in Path("/proc/self/status").read_text().splitlines() if entry.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
