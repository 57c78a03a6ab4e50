"""Hashes of code: of a small made library whose imports are known, and of the real one's."""

import ast

import pytest

from pipeline.core import code
from pipeline.core.registry import LIBRARY

CELL = '''"""A cell."""

from .base.cell import Base


class Plain(Base):
    """What it is."""

    def step(self, x):
        """One step."""
        return 2 * x  # twice
'''


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A function that writes files of a made library and gives the hashes of those it is asked for."""
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "pipeline")
    files = {
        "cells/plain.py": CELL,
        "cells/other.py": "from .base.cell import Base\n",
        "cells/base/cell.py": "from ...core.errors import Error\nclass Base: pass\n",
        "cells/__init__.py": "",
        "core/errors.py": "class Error(Exception): pass\n",
        "training/loop.py": "from .. import cells\nfrom ..cells import plain\n",
        "training/lazy.py": "def train():\n    from .loop import train\n    return train\n",
        "training/public.py": "from .. import answer\n",
        "answers/__init__.py": "answer = 42\n",
        "__init__.py": "",
    }
    monkeypatch.setattr(code, "_public", lambda: {"answer": "answers"})

    def hashes(*paths, **changed):
        for path, text in (files | changed).items():
            place = tmp_path / "pipeline" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for cached in (code.imported, code._tree):  # a process reads a file once
            cached.cache_clear()
        return [
            code.hash_of([tmp_path / "pipeline" / path], tmp_path / "pipeline", without=[tmp_path / "pipeline/core"])
            for path in paths
        ]

    yield hashes
    for cached in (code.imported, code._tree):
        cached.cache_clear()


def closure(path):
    """Files that a file of the real library depends on, itself included, relative to the library."""
    found, todo = set(), [LIBRARY / path]
    while todo:
        file = todo.pop()
        if file not in found and not file.is_relative_to(code.CORE):
            found.add(file)
            todo += code.imported(file)
    return {file.relative_to(LIBRARY).as_posix() for file in found}


@pytest.mark.parametrize(
    "edited",
    [
        CELL.replace("  # twice", ""),
        CELL.replace("  # twice", "  # two times\n        # and no more"),
        CELL.replace('"""One step."""', '"""The next\n        state."""'),
        CELL.replace('        """One step."""\n', ""),
        CELL.replace('    """What it is."""\n\n', ""),
        CELL.replace('"""A cell."""\n', "# A cell.\n"),
        CELL.replace("2 * x", "(\n            2*x\n        )"),
    ],
)
def test_comments_docstrings_and_format_do_not_change_a_hash(library, edited):
    assert edited != CELL
    assert library("cells/plain.py", **{"cells/plain.py": edited}) == library("cells/plain.py")


@pytest.mark.parametrize(
    "edited",
    [
        CELL.replace("2 * x", "3 * x"),
        CELL.replace("2 * x", "x * 2"),
        CELL.replace("def step(self, x)", "def step(self, x=0)"),
        CELL.replace("return 2 * x", 'return "a string that is no docstring"'),
        CELL + "\nMORE = 1\n",
    ],
)
def test_an_edited_expression_changes_a_hash(library, edited):
    assert edited != CELL
    assert library("cells/plain.py", **{"cells/plain.py": edited}) != library("cells/plain.py")


ALL = ("cells/plain.py", "cells/other.py", "training/loop.py", "training/lazy.py", "training/public.py")


@pytest.mark.parametrize(
    ("path", "text", "changed"),
    [
        ("cells/plain.py", CELL.replace("2", "3"), {"cells/plain.py", "training/loop.py", "training/lazy.py"}),
        ("cells/base/cell.py", "class Base: size = 1\n", {*ALL} - {"training/public.py"}),
        ("cells/other.py", "MORE = 1\n", {"cells/other.py"}),
        ("cells/__init__.py", "MORE = 1\n", {"training/loop.py", "training/lazy.py"}),
        ("training/loop.py", "MORE = 1\n", {"training/loop.py", "training/lazy.py"}),
        ("answers/__init__.py", "answer = 43\n", {"training/public.py"}),
        ("core/errors.py", "class Error(ValueError): pass\n", set()),
        ("__init__.py", "MORE = 1\n", set()),
    ],
)
def test_a_change_reaches_the_hashes_of_the_files_that_import_it_lazily_or_not(library, path, text, changed):
    before, after = library(*ALL), library(*ALL, **{path: text})
    assert {name for name, one, two in zip(ALL, before, after, strict=True) if one != two} == changed


def test_a_hash_covers_the_names_of_files(library):
    text = "VALUE = 1\n"
    one, two = library("cells/one.py", "cells/two.py", **{"cells/one.py": text, "cells/two.py": text})
    assert one != two


def test_a_hash_of_several_files_does_not_depend_on_their_order():
    paths = ("training/loop.py", "cells/lstm.py", "tasks/adding.py")
    assert code.code_hash(*paths) == code.code_hash(*reversed(paths))
    assert len({code.code_hash(*paths), *map(code.code_hash, paths)}) == 4
    assert all(len(code.code_hash(path)) == 12 for path in paths)


def test_a_cell_depends_on_its_base_and_on_no_other_cell():
    found = closure("cells/lstm.py")
    assert found >= {"cells/lstm.py", "cells/base/cell.py", "cells/base/weigh.py"}
    assert not {path for path in found if path.startswith(("core/", "cells/")) and "base" not in path} - {"cells/lstm.py"}


@pytest.mark.parametrize(
    ("path", "covered", "not_covered"),
    [
        (
            "training/loop.py",
            {"training/network.py", "training/policies.py", "cells/base/cell.py", "heads/base/head.py", "tasks/base/task.py"},
            {"training/draw.py", "training/job.py", "cells/lstm.py", "heads/last.py", "tasks/adding.py"},
        ),
        (
            "jobs/spectra.py",
            {"spectrum/engine.py", "spectrum/estimate.py", "spectrum/reorthonormalise.py", "training/network.py"},
            {"jobs/fixed_points.py", "training/draw.py", "cells/lstm.py", "predictor/features.py"},
        ),
    ],
)
def test_results_depend_on_what_makes_them_and_on_nothing_else(path, covered, not_covered):
    found = closure(path)
    assert covered <= found
    assert not not_covered & found


def test_every_relative_import_of_the_library_leads_to_a_file():
    """One that led nowhere would hide a dependency; names of the library itself are the exception."""
    for file in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and [alias.name for alias in node.names] != ["__version__"]:
                assert list(code._targets(file, node)), f"{file}: {ast.unparse(node)}"
