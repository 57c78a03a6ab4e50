"""All systems with known exponents; as a program, prints docs/oracles.md, which compares exact and measured exponents."""

import platform
import sys
from datetime import date

import torch
from maps import MAPS
from networks import NETWORKS

SYSTEMS = (*MAPS, *NETWORKS)


def page(systems):
    """The systems, measured now, as Markdown."""
    yield "# Systems with known exponents"
    yield ""
    yield f"Measured by `make docs` on {date.today()}: CPU ({processor()}), float64, torch {torch.__version__}; nats per step."
    yield "The same definitions (`tests/maps.py`, `tests/networks.py`) are the tests of `tests/test_oracles.py`. Products in the"
    yield "wrong order, J_1 J_2 ... J_T, have the same sum of exponents, and for many systems the same exponents: few see them."
    yield ""
    yield "| system | exponents, exact | found | largest error | tolerance | sees wrong order | exact by |"
    yield "|---|---|---|---|---|---|---|"
    for system in systems:
        yield row(system)


def row(system):
    """The table row of one system, with | escaped."""
    measured = system.measure()
    cells = [
        system.name,
        listed(measured.exact),
        listed(measured.found),
        f"{measured.errors.max():.1e}",
        f"{system.tolerance:.1e}: {system.because}",
        system.sees_order,
        system.source,
    ]
    return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |"


def listed(values):
    """Up to three values, or the first two, the last and the number of values."""
    texts = [f"{v:.7g}" if abs(v) > 1e-9 else "0" for v in values.tolist()]
    return ", ".join(texts) if len(texts) <= 3 else f"{texts[0]}, {texts[1]} ... {texts[-1]} ({len(texts)})"


def processor():
    """The name of the processor, or the architecture if that is unknown."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write("\n".join(page(SYSTEMS)) + "\n")
