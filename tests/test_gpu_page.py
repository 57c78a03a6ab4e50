"""The page of a GPU is written without one, but for its device; a part that fails leaves the others."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pretended import Pretended

from benchmarks import gpu, gpu_parts

ROOT = Path(__file__).parent.parent
# Packages that are hidden from a program, which then finds stand-ins for them.
HIDDEN = """
import importlib.util, sys
find, hidden = importlib.util.find_spec, {"pydantic", "ruamel", "tqdm", "safetensors"}
importlib.util.find_spec = lambda name, *more: None if name in hidden else find(name, *more)
from benchmarks import gpu
gpu.LIMITS = dict.fromkeys(gpu.LIMITS, 600)
sys.exit(gpu.main("--device", "cpu", "--quick", "every_cell", "trained", "training", "study", "ensemble"))
"""


@pytest.fixture
def patient(monkeypatch):
    """A busy machine may take longer than a GPU."""
    monkeypatch.setattr(gpu, "LIMITS", dict.fromkeys(gpu.LIMITS, 600))


@pytest.mark.usefixtures("patient")
def test_every_part_of_the_page_is_written(capsys):
    assert gpu.main("--device", "cpu", "--quick") == 0
    page = capsys.readouterr().out
    assert page.partition("## What this means")[0].count("\n## ") == len(gpu.LIMITS) + 2  # one has two, and the result
    assert "Everything is as it should be." in page
    assert page.count("| yes |") > 15
    assert "**no**" not in page
    assert page.endswith(gpu.PAGE.read_text().partition("## What this means")[2])  # that is kept


def test_the_parts_take_less_than_eight_minutes():
    assert sum(gpu.LIMITS.values()) < 480
    assert all(callable(getattr(gpu_parts, part)) for part in gpu.LIMITS)


@pytest.mark.slow
def test_the_page_needs_no_package_of_the_study():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", HIDDEN], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Packages with stand-ins: pydantic, ruamel, tqdm, safetensors." in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_the_page_is_written_on_a_pretended_gpu(capsys):
    with Pretended() as gpu_used:
        assert gpu.main("--quick", "every_cell", "trained", "training", "study", "ensemble", "graphs") == 0
    page = capsys.readouterr().out
    assert "a pretended GPU, driver unknown" in page
    assert "| 3 | lstm, H = 3 |" in page
    assert page.count("| yes |") > 15  # of which some say that a CUDA graph was captured
    assert sum(gpu_used.copies.values()) > 100


def parts(**functions):
    return SimpleNamespace(FULL=None, QUICK=None, **functions)


def test_a_part_that_fails_or_takes_too_long_says_so_and_leaves_what_it_had(monkeypatch, capsys):
    def failing(sizes, device, wrong):
        yield "first line"
        raise RuntimeError("no kernel\nfor this")

    def endless(sizes, device, wrong):
        yield "begun"
        time.sleep(60)

    def off(sizes, device, wrong):
        yield gpu_parts.compared("a number", 2e-9, 1e-9, wrong)

    monkeypatch.setattr(gpu, "LIMITS", {"failing": 5, "endless": 0.05, "off": 5})
    monkeypatch.setattr(gpu, "import_module", lambda name: parts(failing=failing, endless=endless, off=off))
    assert gpu.main("--device", "cpu") == 1
    page = capsys.readouterr().out
    assert "first line\n\n**failing failed: RuntimeError: no kernel for this**" in page
    assert "begun\n\n**endless failed: TimeoutError: it took longer than 0.05 s**" in page
    assert "| a number | 2.0e-09 | 1e-09 | **no** |" in page
    assert page.partition("## Result\n\n")[2].splitlines()[0].endswith("a number: 2.0e-09, above 1.0e-09")


def test_nan_is_not_close_to_a_number():
    assert gpu_parts.apart([1.0, float("nan")], [1.0, float("nan")]) == 0
    assert gpu_parts.apart([1.0, float("nan")], [1.0, 2.0]) == float("inf")
    assert gpu_parts.apart([float("-inf")], [float("-inf")]) == 0
    assert gpu_parts.apart([float("-inf")], [0.0]) == float("inf")
    assert gpu_parts.apart([1.0, 2.0], [1.5, 2.25]) == 0.5
