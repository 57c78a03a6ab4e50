"""Runs the tutorial: `python -m benchmarks.tutorial` writes what its code prints into docs/tutorial.md, and docs/tutorial.ipynb.

The page is the source. Every block of Python runs, in one program from top to bottom; what a block prints follows it as a block
of text. The notebook has the same cells.
"""

import contextlib
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import pipeline

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.S)
Part = tuple[str, str | None, str]  # prose, then code (None after the last) and what it prints


def main() -> None:
    """Run the page, and write it again with what it prints, and the notebook."""
    page = DOCS / "tutorial.md"
    sys.modules["rnn_stability"] = pipeline  # what it is called where it is installed
    os.chdir(DOCS)  # where the code saves its figure
    done = list(executed(parts(page.read_text())))
    page.write_text("".join(map(_markdown, done)))
    page.with_suffix(".ipynb").write_text(notebook(done))


def parts(text: str) -> Iterable[Part]:
    """The page in parts, each with the code that follows it."""
    end = 0
    for block in BLOCK.finditer(text):
        yield text[end : block.start()], block["code"], block["output"] or ""
        end = block.end()
    yield text[end:], None, ""


def executed(of: Iterable[Part]) -> Iterable[Part]:
    """The same parts, with what their code prints now."""
    names: dict[str, object] = {"__name__": "tutorial"}
    for prose, code, _ in of:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(action="error"):
            exec(compile(code or "", "docs/tutorial.md", "exec"), names)
        yield prose, code, printed.getvalue()


def _markdown(part: Part) -> str:
    prose, code, output = part
    shown = f"\n```text\n{output}```\n" if output else ""
    return prose + (f"```python\n{code}```\n{shown}" if code else "")


def notebook(of: Iterable[Part]) -> str:
    """The parts as a Jupyter notebook, in JSON."""
    cells: list[dict[str, object]] = []
    for prose, code, output in of:
        if prose.strip():
            cells.append({"cell_type": "markdown", "source": _lines(prose.strip())})
        if code:
            outputs = [{"output_type": "stream", "name": "stdout", "text": _lines(output)}] if output else []
            count = sum(cell["cell_type"] == "code" for cell in cells) + 1
            cells.append({"cell_type": "code", "execution_count": count, "source": _lines(code.rstrip()), "outputs": outputs})
    numbered = [{"id": f"cell-{number}", "metadata": {}} | cell for number, cell in enumerate(cells)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": numbered, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    main()
