"""dvc.yaml against the code, and the shape of the code. Which room may import which is held by `lint-imports`."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest
from conftest import ROOT, YAML_1_2

from pipeline.core import config, layout

STAGES = YAML_1_2.load((ROOT / "dvc.yaml").read_text())["stages"]
TASK = "fulda_runoff"
NOT_FOLLOWED = {  # imports that run in no stage, or that change no result
    ("pipeline.core.stage", "pipeline.tracking"),  # tracking is a projection of results
    ("stages.report", "pipeline.tracking.addresses"),  # the page links to that projection
    ("pipeline.predictor.predictor", "pipeline.tracking"),  # to load a registered model
    ("pipeline.predictor.predictor", "pipeline.spectrum"),  # to assess a user's network
    ("pipeline.predictor.network", "pipeline.spectrum"),  # types of that
}


def filled(text):
    return text.replace("${item.task}", TASK)


def deps(stage):
    return [filled(d) for d in STAGES[stage]["deps"]]


@cache
def graph():
    return grimp.build_graph("pipeline", "stages", cache_dir=None)


def file_of(module):
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def closure(stage):
    """Files of the project that a stage imports, directly or not, lazily or not, with the packages that hold them.

    A registry's files are not followed: the task of an instance is named by its matrix, and cells and heads are folders.
    """
    todo, seen = [f"stages.{stage}"], set()
    while todo:
        module = todo.pop()
        if module in seen or module in ("pipeline", "stages"):  # whose own files hold names alone
            continue
        seen.add(module)
        todo += [m for m in graph().find_modules_directly_imported_by(module) if (module, m) not in NOT_FOLLOWED]
        todo += [module.rpartition(".")[0]] if "." in module else []
    return {file_of(m).relative_to(ROOT) for m in seen}


def covers(dep, file):
    return file == dep or dep in file.parents


@pytest.mark.parametrize("stage", list(STAGES))
def test_the_deps_of_a_stage_are_the_files_that_it_imports(stage):
    code = [Path(d) for d in deps(stage) if d.startswith(("pipeline", "stages"))]
    files = closure(stage)
    assert not [f for f in files if not any(covers(d, f) for d in code)]
    instance = {Path(f"pipeline/tasks/{TASK}.py")} if "matrix" in STAGES[stage] else set()
    others = {Path("pipeline/cells"), Path("pipeline/heads"), Path("pipeline/data")}  # imported by name, and no code
    unused = [d for d in code if not any(covers(d, f) for f in files | instance) and d not in others]
    assert not unused


@pytest.mark.parametrize("stage", [s for s in STAGES if "matrix" in STAGES[s]])
def test_an_instance_depends_on_its_task_and_on_no_other(stage):
    tasks = [d for d in deps(stage) if re.fullmatch(r"pipeline/tasks/[a-z]\w*\.py", d)]
    assert tasks == [f"pipeline/tasks/{TASK}.py"]
    assert list(STAGES[stage]["matrix"]) == ["task"]


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_dependency_exists_or_is_made_by_an_earlier_stage(stage):
    names = list(STAGES)
    outs = [
        filled(o if isinstance(o, str) else next(iter(o)))
        for name in names[: names.index(stage)]
        for kind in ("outs", "metrics", "plots")
        for o in STAGES[name].get(kind, [])
    ]
    for dep in deps(stage):
        made = any(o == dep or Path(dep) in Path(o).parents for o in outs)
        assert made or ((ROOT / dep).exists() and not dep.startswith(("data", "trials", "spectra"))), dep


@pytest.mark.parametrize("stage", list(STAGES))
def test_every_stage_depends_on_the_versions_of_its_packages(stage):
    assert "constraints.txt" in deps(stage)


def call_of_main(stage):
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text())
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in ("stage.main", "main")]
    return {keyword.arg: keyword.value for keyword in call.keywords}


@pytest.mark.parametrize("stage", list(STAGES))
def test_the_sections_that_a_stage_asks_for_are_its_params(stage):
    sections = ast.literal_eval(call_of_main(stage)["sections"])
    assert set(sections) == set(STAGES[stage]["params"])
    assert set(sections) <= set(config.Config.model_fields)
    source = (ROOT / f"stages/{stage}.py").read_text()
    assert "config" not in source  # what a stage reads of params.yaml it gets from `stage.main`


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_matrix_gives_the_words_that_a_stage_takes(stage):
    words = ast.literal_eval(call_of_main(stage)["words"]) if "words" in call_of_main(stage) else ()
    assert list(words) == list(STAGES[stage].get("matrix", {}))
    command = f"python -m stages.{stage} {' '.join(f'${{item.{w}}}' for w in words)}"
    assert STAGES[stage]["cmd"] == command.rstrip()


def test_every_stage_is_described():
    assert all(len(stage["desc"].split()) > 5 for stage in STAGES.values())


def test_the_stages_are_those_of_the_layout_in_their_order():
    assert tuple(STAGES) == layout.STAGES


def test_outs_are_paths_of_the_layout():
    outs = {
        filled(o if isinstance(o, str) else next(iter(o)))
        for s in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for o in s.get(kind, [])
    }
    by_task = [layout.data, layout.trials, layout.spectra, layout.measurements, layout.fixed_points]
    whole = [layout.FEATURES, layout.FEATURES_CSV, layout.CURVES, layout.EXPONENTS, layout.PREDICTOR]
    whole += [layout.METRICS, layout.PAGE, layout.FIGURES]
    assert outs == {p.as_posix() for p in [*(f(TASK) for f in by_task), *whole]}


@pytest.mark.parametrize(("profile", "most"), [(None, 16), ("wide", 30)])
def test_a_study_has_tens_of_stages(profile, most):
    path = ROOT / "profiles" / f"{profile}.yaml" if profile else None
    tasks = len(config.load(path=ROOT / "params.yaml", profile=path).tasks)
    assert sum(tasks if "matrix" in s else 1 for s in STAGES.values()) <= most


@pytest.mark.slow
def test_dvc_reads_the_graph_of_the_design():
    answer = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot"], cwd=ROOT, capture_output=True, text=True, check=True)
    edges = {tuple(re.sub(r"@.*", "", n) for n in e) for e in re.findall(r'"([^"]+)" -> "([^"]+)"', answer.stdout)}
    assert edges == {
        ("prepare", "train"),
        ("prepare", "measure"),
        ("prepare", "fixed_points"),
        ("prepare", "report"),
        ("train", "measure"),
        ("train", "fixed_points"),
        ("train", "features"),
        ("train", "report"),
        ("measure", "features"),
        ("measure", "report"),
        ("fixed_points", "report"),
        ("features", "predictor"),
        ("features", "report"),
        ("predictor", "report"),
    }


SOURCES = sorted((ROOT / "pipeline").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_package_imports_itself_relatively(path):
    """It is called `rnn_stability` wherever it is installed."""
    tree = ast.parse(path.read_text())
    absolute = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level]
    absolute += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [m for m in absolute if m.split(".")[0] in ("pipeline", "stages")]


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda p: p.stem)
def test_a_stage_is_a_recipe(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    tree = ast.parse(path.read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)]
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [m for m in imported if m.split(".")[0] in ("torch", "numpy", "pandas", "mlflow", "ruamel")]
