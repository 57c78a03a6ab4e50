"""Measures the memory that one spectrum takes: `python -m benchmarks.memory 512 15 6` prints JSON.

The arguments are the numbers of hidden units, sequences and steps. Run it in a fresh process: otherwise memory that the
allocator kept from an earlier measurement would be reused and not be counted.
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
    """Print the resident bytes before computing all exponents of an LSTM, and the peak by the kernel and by sampling."""
    lyapunov_spectrum(network(torch.nn.LSTM, 2), noise(2, 1), transient=0)  # loads everything that is loaded on the first call
    module, inputs = network(torch.nn.LSTM, hidden), noise(steps, sequences)
    before = reset()
    with Sampler() as sampler:
        lyapunov_spectrum(module, inputs, transient=0)
    print(json.dumps({"before": before, "kernel": high_water(), "sampled": sampler.most}))


class Sampler:
    """Records the peak of the resident bytes while the block runs; a thread samples them every few milliseconds."""

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
    """Reset the high-water mark (proc(5), clear_refs) and return the number of bytes that are resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _resident()


def _resident() -> int:
    """The number of bytes that are resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def high_water() -> int:
    """The peak of the resident bytes since `reset`. It is not ru_maxrss, which a process inherits from its parent."""
    (line,) = [entry for entry in Path("/proc/self/status").read_text().splitlines() if entry.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
