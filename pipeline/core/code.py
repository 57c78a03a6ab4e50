"""Hashes of code: results are made again when the code that they depend on changes, and not when a comment does."""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from .registry import LIBRARY

CORE = LIBRARY / "core"


def code_hash(*paths: str) -> str:
    """Hash (12 hex digits) of files of the library and of all files of it that these import, directly or not.

    It covers the syntax trees without docstrings and comments. Files of `core` do not count: they hold no science.
    Paths are relative to the library, such as "training/loop.py".
    """
    return hash_of((LIBRARY / path for path in paths), LIBRARY)


def content_hash(content: Any) -> str:
    """16 hex digits that differ between contents, which JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def hash_of(files: Iterable[Path], root: Path, *, without: Iterable[Path] = (CORE,)) -> str:
    """The same of any files and of all that they import from their own folder or from the library.

    Args:
        files: where to begin.
        root: folder that holds all the files; their paths count from there.
        without: files, or folders of files, that do not count.
    """
    found: set[Path] = set()
    todo, without = list(files), tuple(without)
    while todo:
        file = todo.pop()
        if file not in found and not any(file.is_relative_to(place) for place in without):
            found.add(file)
            todo += imported(file)
    total = hashlib.sha256()
    for file in sorted(found):
        total.update(f"{file.relative_to(root).as_posix()}\0{_tree(file)}\0".encode())
    return total.hexdigest()[:12]


@cache
def imported(file: Path) -> tuple[Path, ...]:
    """The files that a file's relative imports, and its imports from the library, load; lazy imports included."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    return tuple(dict.fromkeys(path for node in nodes for path in _targets(file, node)))


def _targets(file: Path, node: ast.ImportFrom) -> Iterator[Path]:
    parts = (node.module or "").split(".") if node.module else []
    names = [alias.name for alias in node.names]
    if node.level:
        base = file.parents[node.level - 1].joinpath(*parts)
    elif parts[0] == LIBRARY.name:
        base = LIBRARY.joinpath(*parts[1:])
    else:
        return
    if base == LIBRARY:  # whose own names are loaded from its rooms when they are asked for
        names = [_public().get(name, name) for name in names]
    for place in (base, *(base / name for name in names)):
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if candidate.exists() and candidate != LIBRARY / "__init__.py":
                yield candidate


def _public() -> dict[str, str]:
    """Public name of the library -> the room that defines it."""
    public: dict[str, str] = import_module(__name__.removesuffix(".core.code"))._PUBLIC
    return public


@cache
def _tree(file: Path) -> str:
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)
