"""The library as other people install it: another name, no repository, and a `pipeline` of their own."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from study import card, study

from pipeline.predictor import StabilityPredictor, feature_table
from pipeline.predictor.trials import trial_inputs

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

BEFORE = """
import pipeline, sys, torch, warnings
assert pipeline.MINE
torch.manual_seed(0)
warnings.simplefilter("ignore")  # the example's data are short
"""
AFTER = """
assert verdict.moment == "one epoch" and epoch <= 19
assert not [m for m in sys.modules if m.startswith("pipeline.")]
"""
WATCHED = "watched.before()"  # is in the README's second example


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed library."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "pipeline"):
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, source]
    answer = subprocess.run(pip, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A folder with a small predictor."""
    inputs = trial_inputs(feature_table.table(*study(trials=8), 0.8)).assign(study="evidence")
    folder = tmp_path_factory.mktemp("predictor")
    StabilityPredictor(inputs, card(inputs)).save(folder)
    return folder


def test_every_package_of_the_folder_is_in_the_wheel_and_every_file_with_it(installed):
    kinds = ("*.py", "*.j2", "*.npz", "*.parquet", "*.json", "py.typed")
    there = {p.relative_to(ROOT / "pipeline") for e in kinds for p in (ROOT / "pipeline").rglob(e)}
    kept = {Path("data/trials.parquet"), Path("data/judgement.json")}  # in the repository alone
    found = {p.relative_to(installed / "rnn_stability") for e in kinds for p in (installed / "rnn_stability").rglob(e)}
    assert found == there - kept
    assert sum(p.stat().st_size for p in (installed / "rnn_stability/data").iterdir()) <= 1e6


def examples(page):
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


def example_with(words):
    """The one Python block of the README that has these words."""
    (block,) = [b for b in examples("README.md") if words in b]
    return block


def output_of(program, folder, installed):
    """What a program prints that runs in the folder and finds the installed library."""
    (folder / "mine.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}  # threads would wait for busy cores
    answer = subprocess.run([sys.executable, "mine.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_examples_of_the_readme_run_beside_a_foreign_package_named_pipeline(installed, tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").write_text("MINE = True\n")
    printed = output_of(BEFORE + "\n".join(examples("README.md")) + AFTER, tmp_path, installed)
    assert printed.startswith("LSTM (H = 32): all 64 exponents, from 4 sequences of 150 steps")
    assert printed.count("success with probability") == 2
    assert "(before training, from " in printed
    assert "(one epoch, from " in printed


def test_the_readme_shows_what_its_first_example_prints(installed, tmp_path):
    block, *_ = examples("README.md")
    printed = output_of(f"import torch\ntorch.manual_seed(0)\n{block}", tmp_path, installed).splitlines()
    (shown,) = re.findall(r"```\n(stable: .*?)```", (ROOT / "README.md").read_text(), re.S)
    words = [re.escape(line).replace(r"\(\.\.\.\)", ".*") for line in shown.splitlines()]
    digits = [re.sub(r"\d+", r"\\d+", line) for line in words]  # the last ones depend on the processor
    assert len([p for p in digits if any(re.fullmatch(p, line) for line in printed)]) == len(words) == 3


MEASURING = """
import sys, torch, rnn_stability
from rnn_stability import StabilityPredictor, early_measurements, network_inputs
assert {*rnn_stability.__all__} <= {*dir(rnn_stability)}
assert all(getattr(rnn_stability, name) for name in rnn_stability.__all__)

class Last(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent, self.head = torch.nn.GRU(3, 16, batch_first=True), torch.nn.Linear(16, 1)
    def forward(self, inputs):
        return self.head(self.recurrent(inputs)[0][:, -1])

torch.manual_seed(0)
model, inputs = Last(), torch.randn(64, 20, 3)
targets = inputs[:, -3, :1]
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
task = {"loss": torch.nn.functional.mse_loss, "optimiser": optimiser, "chance": 1.0, "batch_size": 8, "batch_first": True}
measurements = early_measurements(model, inputs, targets, **task)
predictor = StabilityPredictor.load(sys.argv[1])
before = predictor.assess(model.recurrent, inputs, measurements=measurements)
losses = []
for batch in range(8):
    optimiser.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs[batch::8]), targets[batch::8])
    loss.backward()
    optimiser.step()
    losses.append(loss.detach())
known = {"chance": 1.0, "updates": 80, "updates_per_epoch": 8, "initial_measurements": measurements}
row = network_inputs(steps=20, losses=losses[:2], **known)
after = predictor.assess(model.recurrent, inputs, losses=losses, **known)
print(before.moment, predictor.verdict(row).moment, after.moment, sep="; ")
"""


def test_measurements_and_losses_of_a_strangers_network_are_answered_at_every_moment(installed, predictor, tmp_path):
    printed = output_of(MEASURING.replace("sys.argv[1]", repr(str(predictor))), tmp_path, installed)
    assert printed == "before training; an eighth of an epoch; one epoch\n"


def test_the_first_example_of_the_page_on_spectra_runs_as_it_stands(installed, tmp_path):
    block, *_ = examples("docs/spectrum.md")
    *lines, last = output_of(block, tmp_path, installed).splitlines()
    found = [re.fullmatch(r"(-?\d\.\d{3}) \+- (\d\.\d{3}) nats per step", line) for line in lines]
    exponents = [float(f[1]) for f in found]
    assert len(exponents) == 5
    assert exponents == sorted(exponents, reverse=True)
    # torch's own start: every direction shrinks by about its forget gate, near a half, so nothing fills a dimension
    assert -math.log(4) < exponents[0] < 0
    assert last == "256 exponents, Kaplan-Yorke dimension 0.00"


def test_spectra_and_fixed_points_import_torch_and_numpy_only(installed, tmp_path):
    output_of(
        "import sys\nimport rnn_stability.spectrum, rnn_stability.points\n"
        "from rnn_stability import fixed_points, lyapunov_spectrum\n"
        "others = {'scipy', 'sklearn', 'pandas', 'safetensors', 'click', 'pydantic', 'matplotlib'} & {*sys.modules}\n"
        "assert not others, others\n",
        tmp_path,
        installed,
    )


HENON = """
import math
assert abs(chaotic.exponents.sum() - math.log(0.3)) < 1e-4  # what accuracy=1e-5 allows two exponents, and float32's 0.3
assert abs(chaotic.exponents[0] - 0.4192) < 4 * chaotic.standard_error[0] + 1e-4  # Sprott 2003, its last digit
assert (spectrum.diverged.any(), spectrum.lost, len(others)) == (False, 0, 2)
assert (first.vectors.shape, first.local.shape) == ((40, 4, 3, 16), (40, 4, 3))
"""
LEAKY = """
from typing import ClassVar
import torch
from rnn_stability.cells import Stack
from rnn_stability.cells.leaky import Leaky
from rnn_stability.spectrum.tangent import Tangent

class ByHand(Leaky):
    by_hand: ClassVar = True
ByHand.linearise, ByHand.push = linearise, push
stacks = [Stack((kind(3, 4), kind(4, 5))) for kind in (ByHand, Leaky)]
drawn = [[c.init(torch.Generator().manual_seed(s)) for s in (1, 2)] for c in stacks[0].cells]
params = [{name: torch.stack([n[name] for n in two]).double() for name in two[0]} for two in drawn]
inputs, start, deviations = (torch.randn(s).double() for s in ((1, 5, 3), (2, 5, 9), (2, 5, 6, 9)))
pushed = []
for stack in stacks:
    tangent, out = Tangent(stack, params), torch.empty_like(deviations)
    tangent.push(tangent.linearise(tangent.trajectory(start, inputs), inputs)[0], deviations, out)
    pushed.append(out)
torch.testing.assert_close(*pushed, rtol=0, atol=1e-13)  # some hundred roundings of numbers near 1
"""


def test_the_page_on_spectra_runs_from_top_to_bottom(installed, tmp_path):
    _, *blocks = examples("docs/spectrum.md")
    lines = output_of("import torch\ntorch.manual_seed(0)\n" + "\n".join(blocks) + HENON, tmp_path, installed).splitlines()
    assert re.fullmatch(r"-?\d\.\d{3}, from -?\d\.\d{3} to -?\d\.\d{3}; \d+ steps, converged: (True|False)", lines[0])
    (by_hand,) = [b for b in blocks if "def push" in b]
    output_of(by_hand + LEAKY, tmp_path, installed)  # its derivative against the automatic one


def test_the_pins_are_within_the_ranges_that_the_package_declares():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {"constraints.txt": [*project["dependencies"], *extras["study"], *extras["dev"]]}
    for file, requirements in (declared | {"constraints-docs.txt": extras["docs"]}).items():
        pins = dict(line.strip().lower().split("==") for line in (ROOT / file).read_text().splitlines() if line.strip())
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
        assert not [p for p in pins.values() if "+" in p], "a local build's version is on no index"


def test_the_readme_is_short_and_has_no_gaps_and_every_file_that_it_names_exists():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 100
    assert not re.findall(r"@[A-Z]+@", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert linked
    assert not [link for link in linked if not (ROOT / link).exists()]


SKLEARN = ("1.5.2", "1.7.2", None)  # the oldest that is supported, one between, and the newest


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The Python of an environment in which nothing but the wheel and what it needs is installed, and the folder of the wheel."""
    folder = tmp_path_factory.mktemp("alone")
    _run(sys.executable, "-m", "build", "-q", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    assert list((folder / "dist").glob("*.tar.gz"))
    _run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv/bin/python"
    _run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    return python, folder


def _run(*words, **options):
    answer = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_wheel_brings_few_packages_and_none_of_the_extras(alone):
    python, _ = alone
    listed = [line.split("==")[0].lower() for line in _run(python, "-m", "pip", "list", "--format=freeze").splitlines()]
    assert {"rnn-stability", "torch", "numpy", "scikit-learn"} <= set(listed)
    assert not {"mlflow", "pyarrow", "pandas", "dvc", "skops", "matplotlib", "pydantic"} & set(listed)
    assert len([name for name in listed if name != "pip"]) <= 25


@pytest.mark.parametrize("version", SKLEARN)
def test_the_wheel_answers_beside_foreign_packages_and_with_every_scikit_learn(alone, tmp_path, version):
    python, folder = alone
    for name in ("pipeline", "stages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    path, other = [], folder / f"scikit-learn-{version}"
    if version:
        install = ("install", "-q", "--no-deps", "--target", other, f"scikit-learn=={version}")
        _run(python, "-m", "pip", *install)
        path = [str(other)]
    check = f"import sklearn, stages\nassert stages.MINE\nassert {version!r} in (None, sklearn.__version__)\n"
    (tmp_path / "mine.py").write_text(BEFORE + check + example_with(WATCHED) + AFTER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    assert "success with probability" in _run(python, "mine.py", cwd=tmp_path, env=environment)
