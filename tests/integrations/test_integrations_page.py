"""The page docs/integrations.md: each block runs as it is, in a process of its own."""

import importlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/integrations.md").read_text()
BLOCKS = dict(re.findall(r"^### (.+?)\n(?:(?!^### ).)*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
LIBRARIES = {
    "A loop of your own": "torch",
    "Lightning": "lightning",
    "Optuna": "optuna",
    "Ray Tune": "ray",
    "transformers": "transformers",
    "MLflow": "mlflow",
}
MODULES = {
    "lightning": ("lightning", "lightning.pytorch", "pytorch_lightning"),
    "optuna": ("optuna",),
    "ray": ("ray", "ray.tune"),
    "transformers": ("transformers",),
}
PRINTED = {
    "A loop of your own": r"(success with probability .*){2}",
    "Lightning": r"success with probability \d\.\d\d, expected score \d\.\d\d \(one epoch",
    "Optuna": r"\{'hidden': \d+, 'lr': [\d.e-]+\} \d",
    "Ray Tune": r"\{'lr': 1e-06\} 1 .*\{'lr': 0.01\} 5 ",
    "transformers": r"success with probability \d\.\d\d, expected score \d\.\d\d \(one epoch",
    "MLflow": r"\{.*'stability/probability': 0\.\d+.*\}",
}


def test_each_section_has_one_block():
    assert list(BLOCKS) == re.findall(r"^### (.+)$", PAGE, re.MULTILINE) == list(LIBRARIES)
    assert PAGE.count("```python") == len(BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize("title", LIBRARIES)
def test_a_block_runs_as_it_is(title, tmp_path):
    if find_spec(LIBRARIES[title]) is None:
        pytest.skip(f"{LIBRARIES[title]} is not installed; `make models` installs it")
    (tmp_path / "rnn_stability").symlink_to(ROOT / "pipeline")
    (tmp_path / "program.py").write_text(BLOCKS[title])
    settings = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PRINTED[title], done.stdout, re.DOTALL), done.stdout


@pytest.mark.parametrize(("module", "libraries"), MODULES.items())
def test_a_library_that_is_missing_is_named_with_its_install_command(module, libraries, monkeypatch):
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)  # an import of it then fails as if it were not installed
    monkeypatch.delitem(sys.modules, f"pipeline.integrations.{module}", raising=False)
    install = re.search(rf"^\| .* \| `('rnn-stability\[{module}\]')` \|", PAGE, re.MULTILINE)[1]
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"is not installed: pip install {install}")):
        importlib.import_module(f"pipeline.integrations.{module}")
