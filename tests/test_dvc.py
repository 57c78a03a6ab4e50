"""dvc.yaml against the code: what a stage instance imports is what its deps name."""

import ast
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
import yaml

from pipeline import config, registry

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ITEM = {"task": "fulda_runoff", "cell": "lstm"}


def filled(text):
    return re.sub(r"\$\{item\.(\w+)\}", lambda m: ITEM[m[1]], text)


def deps(name):
    return [filled(d) for d in STAGES[name]["deps"]]


def loaded_by(stage):
    """Project files that importing a stage, and every lazy import written in those files, loads."""
    code = f"import stages.{stage}, sys; print([m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {Path(f).relative_to(ROOT) for f in ast.literal_eval(answer.stdout) if Path(f).is_relative_to(ROOT / "pipeline")}
    return found | {Path(f"stages/{stage}.py")}


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_project_file_a_stage_imports_is_among_its_deps(stage):
    named = [Path(d) for d in deps(stage)]
    missing = [f for f in loaded_by(stage) if not any(f == d or d in f.parents for d in named)]
    assert not missing


@pytest.mark.parametrize("stage", list(STAGES))
def test_the_task_and_the_cell_of_an_instance_are_among_its_deps_and_no_others(stage):
    named = deps(stage)
    keys = STAGES[stage].get("matrix", {})
    for key in ("task", "cell"):
        listed = [d for d in named if re.fullmatch(rf"pipeline/{key}s/[a-z]\w*\.py", d)]
        assert listed == ([f"pipeline/{key}s/{ITEM[key]}.py"] if key in keys else [])


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_dependency_on_code_exists(stage):
    for dep in deps(stage):
        if dep.startswith(("pipeline", "stages")):
            assert (ROOT / dep).exists(), dep


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_dependency_on_data_is_made_by_another_stage(stage):
    outs = {
        filled(o if isinstance(o, str) else next(iter(o)))
        for name, other in STAGES.items()
        if name != stage
        for kind in ("outs", "metrics", "plots")
        for o in other.get(kind, [])
    }
    for dep in deps(stage):
        if not dep.startswith(("pipeline", "stages")):
            assert any(o == dep or Path(dep) in Path(o).parents for o in outs), dep


def test_the_parameters_that_stages_name_exist():
    settings = config.load(ROOT / "params.yaml").model_dump()
    for path in {p for s in STAGES.values() for p in s.get("params", [])}:
        reduce(lambda section, key: section[key], path.split("."), settings)  # KeyError if there is none


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_names_every_section_of_the_parameters_that_it_reads(stage):
    """`settings.<section>` in the stage, but for what cannot change a result."""
    source = (ROOT / f"stages/{stage}.py").read_text()
    read = set(re.findall(r"settings\.(\w+)", source)) - {"processes"}
    given = {p.split(".")[0] for p in STAGES[stage].get("params", [])}
    by_matrix = {f"{key}s" for key in STAGES[stage].get("matrix", {})}
    assert read - by_matrix <= given, read - given


def test_dvc_reads_the_graph_of_the_design():
    answer = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot"], cwd=ROOT, capture_output=True, text=True, check=True)
    edges = {tuple(re.sub(r"@.*", "", n) for n in e) for e in re.findall(r'"([^"]+)" -> "([^"]+)"', answer.stdout)}
    assert edges >= {
        ("prepare", "train"),
        ("prepare", "spectrum"),
        ("train", "spectrum"),
        ("prepare", "fixed_points"),
        ("train", "fixed_points"),
        ("train", "features"),
        ("spectrum", "features"),
        ("features", "predictor"),
        ("predictor", "report"),
    }
    pairs = len(config.load(ROOT / "params.yaml").tasks) * len(config.load(ROOT / "params.yaml").cells)
    assert len(set(re.findall(r'"(train@[^"]+)"', answer.stdout))) == pairs


@pytest.mark.parametrize("stage", ["train", "spectrum"])
def test_what_a_cell_or_a_task_takes_from_its_room_is_among_the_deps(stage):
    for room in ("cells", "tasks"):
        private = {f for name in registry.names(room) for f in registry.sources(room, name) if Path(f).name.startswith("_")}
        assert {f"pipeline/{f}" for f in private} <= set(deps(stage))
