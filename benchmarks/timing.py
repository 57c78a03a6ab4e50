"""Medians of interleaved repeats, a description of the machine, and Markdown tables."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


def interleaved(candidates: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of each candidate. After one warm-up they run in turn, so that drift affects all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats + 1):
        for name, candidate in candidates.items():
            begin = time.perf_counter()
            candidate()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in seconds.items()}


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run the block with this number of torch threads, and restore the previous number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The date, the processor, the GPU if any, the number of cores and of default threads, and torch's version."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    devices = [models[0] if models else "unknown processor"]
    if torch.cuda.is_available():
        devices.append(torch.cuda.get_device_name())
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads by default"
    return f"{datetime.now(UTC):%Y-%m-%d}, {' and '.join(devices)}, {cores}, torch {torch.__version__}"


def write(page: Callable[[Any], Iterator[str]], full: Any, quick: Any, options: Sequence[str]) -> None:
    """Print the blocks of a page with the full sizes, or with the quick ones if the options ask for them."""
    tiny = "--quick" in options
    for block in page(quick if tiny else full):
        print(f"{block}\n", flush=True)
    if tiny:
        print("These numbers have no meaning, because --quick uses tiny sizes.")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table in which all columns but the first contain numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
