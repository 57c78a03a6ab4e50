"""Which room may import which, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMON = {"artefacts", "config", "errors", "registry", "execution", "stage"}
ARROWS = {  # room -> other rooms it may import; the files of COMMON are open to all
    "artefacts": set(),
    "config": set(),
    "errors": set(),
    "registry": set(),
    "execution": set(),
    "stage": set(),
    "__init__": set(),
    "cells": set(),
    "heads": set(),
    "tasks": set(),
    "spectrum": {"cells"},
    "points": {"spectrum"},  # what adopts users' modules, and the tangent dynamics
    "training": {"cells", "heads", "tasks", "spectrum", "points"},
    "predictor": {"spectrum", "tracking"},  # both inside functions: for a user's module, and to fetch a registered model
    "report": {"predictor"},
    "tracking": {"predictor"},
}
ONLY = {"mlflow": {"tracking"}, "yaml": {"config"}, "multiprocessing": {"execution"}, "concurrent": {"execution"}, "dvc": set()}


def imports(path, package):
    """(module imported, absolute; whether at the top of the file) of every import statement."""
    tree = ast.parse(path.read_text())
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module, node in top
                continue
            base = package[: len(package) - node.level + 1]
            name = ".".join([*base, *([node.module] if node.module else [])])
            names = [name] if node.module else [f"{name}.{alias.name}" for alias in node.names]
            yield from ((n, node in top) for n in names)


def sources(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path, path.relative_to(ROOT).parent.parts


def room(path):
    parts = path.relative_to(ROOT / "pipeline").parts
    return parts[0].removesuffix(".py")


PIPELINE = [pytest.param(path, package, id=str(path.relative_to(ROOT))) for path, package in sources("pipeline")]


@pytest.mark.parametrize(("path", "package"), PIPELINE)
def test_rooms_import_only_along_the_arrows(path, package):
    mine = room(path)
    for name, _ in imports(path, package):
        parts = name.split(".")
        if parts[0] == "pipeline" and len(parts) > 1:
            assert parts[1] in {mine} | COMMON | ARROWS[mine], f"{path} imports {name}"


@pytest.mark.parametrize(("path", "package"), PIPELINE)
def test_the_package_imports_itself_relatively(path, package):
    tree = ast.parse(path.read_text())
    absolute = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level]
    absolute += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [m for m in absolute if m.split(".")[0] in ("pipeline", "stages")]


@pytest.mark.parametrize(("path", "package"), PIPELINE)
def test_engines_have_one_owner(path, package):
    for name, _ in imports(path, package):
        owners = ONLY.get(name.split(".")[0])
        assert owners is None or room(path) in owners, f"{path} imports {name}"


@pytest.mark.parametrize(
    "name", ["predictor/features.py", "predictor/inputs.py", "predictor/model.py", "artefacts.py", "report/page.py"]
)
def test_what_follows_the_spectra_needs_no_torch(name):
    path = ROOT / "pipeline" / name
    assert not [m for m, _ in imports(path, path.relative_to(ROOT).parent.parts) if m.split(".")[0] == "torch"]


@pytest.mark.parametrize("room_", ["cells", "heads", "tasks"])
def test_files_of_a_registry_do_not_import_one_another(room_):
    for path, package in sources(f"pipeline/{room_}"):
        for name, _ in imports(path, package):
            parts = name.split(".")
            if parts[:2] == ["pipeline", room_] and len(parts) > 2 and not path.name.startswith("_"):
                assert parts[2].startswith("_"), f"{path} imports {name}"


def test_stages_hold_no_loops_over_trials_and_no_formula():
    for path, _ in sources("stages"):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) <= 60, f"{path} has {len(lines)} lines; a stage is a recipe"
        assert not [n for n, _ in imports(path, ("stages",)) if n.split(".")[0] in ("torch", "numpy", "mlflow", "yaml")]
