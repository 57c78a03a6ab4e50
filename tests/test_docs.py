"""The documentation: the code of its pages runs, and what they say of it is true."""

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks import tutorial
from pipeline.spectrum import reference

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BEFORE = """
import torch, warnings
torch.manual_seed(0)
warnings.simplefilter("ignore")  # the examples' data are short
"""


@pytest.fixture
def output_of(tmp_path):
    """What a program prints that runs in an empty folder, with the library under its installed name."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library/rnn_stability").symlink_to(ROOT / "pipeline")

    def run(program):
        (tmp_path / "mine.py").write_text(program)
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "library"), "OMP_NUM_THREADS": "1"}
        answer = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return run


def blocks(page, language="python"):
    """The blocks of code of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.S)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("index.md", "LSTM (H = 32): all 64 exponents"),
        ("predict.md", "(one epoch, from "),
        ("screening.md", "rank  expected score"),
        ("engine.md", "tensor(["),
    ],
)
def test_the_code_of_a_page_runs_from_top_to_bottom(output_of, page, shown):
    assert shown in output_of(BEFORE + "\n".join(blocks(page)))


def test_the_loop_on_the_page_of_the_engine_is_that_of_the_reference():
    (loop,) = blocks("engine.md", "py")
    source = inspect.getsource(reference.reference_spectrum)
    assert textwrap.indent(loop, "    ") == source[source.index("    total = ") :]


CLAIMS = """
assert 0.9 < error < 1.2 and better < 0.2, "the LSTM fails, and learns with a forget bias of 4"
assert memories[0] < 4 and memories[1] < 15 and memories[4] > 60
seen = [point for found in points.values() for point in found]
assert all(error > 0.9 for left, error in seen if left < 1e-10)
assert all(error < 0.2 for left, error in seen if left > 1e-2)
assert (sum(left < 1e-10 for left, _ in seen), sum(left > 1e-2 for left, _ in seen), len(seen)) == (3, 9, 15)
assert after.probability < 0.05 < 0.1 < before.probability > better_before.probability and better_after.probability > 0.2
assert "relative loss" in " ".join(after.reasons[:4]) and "growth over lag" in " ".join(after.reasons[:4])
"""


@pytest.mark.slow
def test_what_the_tutorial_says_is_true_when_its_notebook_runs(output_of, tmp_path):
    cells = json.loads((DOCS / "tutorial.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    printed = output_of(f"import warnings\nwarnings.simplefilter('error')\n{code}\n{CLAIMS}")
    assert "none of 64 remembers a whole sequence" in printed
    assert "it vanishes" in printed
    assert (tmp_path / "tutorial.png").stat().st_size > 10_000


def test_page_and_notebook_of_the_tutorial_are_the_same():
    page = tutorial.parts((DOCS / "tutorial.md").read_text())
    assert (DOCS / "tutorial.ipynb").read_text() == tutorial.notebook(page), "run `python -m benchmarks.tutorial`"


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_citation_names_the_version_of_the_package():
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
