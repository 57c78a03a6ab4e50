"""What a replication returns, its result on disk, and the page of all results."""

import os
import platform
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2 import Template as Prose
from pydantic import TypeAdapter, ValidationError

from pipeline.core.cards import Estimate
from pipeline.core.code import CORE, hash_of
from pipeline.core.files import load_json, save_text
from pipeline.core.registry import LIBRARY
from pipeline.core.tables import MINUS, Table, number, signed, with_interval

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "replications.md"
PICTURES = HERE.parent / "docs" / "replications"
NOT_AVAILABLE = "not available"
REGISTRIES = ("cells", "heads", "tasks")  # whose files are loaded by name, which no import shows
UNCOUNTED = (CORE, LIBRARY / "report", Path(__file__))  # code that no number depends on


@dataclass(frozen=True)
class Row:
    """One row of a system's table."""

    what: str  # the quantity with its sizes, such as "copying T = 100, LSTM of 64 units: mini-batches until solved"
    found: str  # its value here, with the number of seeds
    original: str = NOT_AVAILABLE


@dataclass(frozen=True)
class Outcome:
    """What a replication measured."""

    rows: Sequence[Row]
    facts: Mapping[str, Any]  # what its template says in words: anything that JSON can hold, and `Estimate`


@dataclass(frozen=True)
class Result:
    """A replication's outcome, and how it was obtained."""

    name: str
    code: str  # hash
    machine: str
    date: str  # ISO 8601
    seconds: float  # wall time
    outcome: Outcome

    @property
    def outdated(self) -> bool:
        """Whether code that the outcome depends on has changed."""
        return self.code != code(self.name)


def names() -> list[str]:
    """All replications, sorted."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def run(name: str) -> str:
    """Run a replication at its full size and save its result; a sentence for the terminal."""
    torch.set_num_threads(1)
    begin, version = time.perf_counter(), code(name)
    outcome: Outcome = import_module(f"replications.{name}").run(small=False)
    today = datetime.now(UTC).date().isoformat()
    result = Result(name, version, _machine(), today, time.perf_counter() - begin, outcome)
    save_text(RESULTS / f"{name}.json", TypeAdapter(Result).dump_json(result, indent=2).decode() + "\n")
    return f"{name}: {prose(name, outcome)['summary']} ({result.seconds:.0f} s)"


def results() -> list[Result]:
    """The results on disk, sorted by name; those that another version of this file wrote do not count."""
    found = []
    for path in (RESULTS / f"{name}.json" for name in names()):
        if path.exists():
            with suppress(ValidationError):
                found.append(TypeAdapter(Result).validate_python(load_json(path)))
    return found


def code(name: str) -> str:
    """Hash of the code that a result depends on."""
    files = [path for room in REGISTRIES for path in sorted((LIBRARY / room).glob("*.py"))]
    return hash_of([HERE / f"{name}.py", *files], HERE.parent, without=UNCOUNTED)


def page(of: Iterable[Result]) -> str:
    """The page in Markdown: one row per claim, then a section for each system."""
    systems = [_section(result) for result in of]
    return _ENVIRONMENT.get_template("_page.md.j2").render(systems=systems, overview=overview(systems)) + "\n"


def overview(systems: Iterable[Mapping[str, Any]]) -> str:
    """The table of all claims: a line of a template's block `claims` has the claim, what came out, and the verdict."""
    rows = []
    for system in systems:
        link = f"[{system['title']}](#{system['anchor']})"
        for place, claim in enumerate(system["claims"].splitlines()):
            rows.append((link if not place else "", *claim.split(" | ")))
    return Table(("system", "claim", "what came out", "verdict"), rows, text_columns=4).markdown()


def prose(name: str, outcome: Outcome) -> dict[str, str]:
    """The blocks of a replication's template: title, source, summary, claims, run, discussion, and pictures if it has any."""
    template: Prose = _ENVIRONMENT.get_template(f"{name}.md.j2")
    facts = TypeAdapter(Outcome).dump_python(outcome, mode="json")["facts"]
    context = template.new_context(facts)
    return {"pictures": ""} | {block: _wrapped("".join(write(context)), block) for block, write in template.blocks.items()}


def _wrapped(text: str, block: str) -> str:
    """A block of a template with lines of even length; the discussion has several paragraphs, and each claim its own line."""
    if block == "pictures":
        return text.strip()
    if block == "claims":
        return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    if block != "discussion":
        return " ".join(text.split())
    parts = [p.strip() for p in text.split("\n\n") if p.strip()]
    return "\n\n".join(p if p.startswith(("| ", "- ")) else fill(p, 120, break_on_hyphens=False) for p in parts)


def _section(result: Result) -> dict[str, Any]:
    rows = [(row.what, row.original, re.sub(r"(?<![\w.])-(?=\d|inf)", MINUS, row.found)) for row in result.outcome.rows]
    table = Table(("quantity", "original", "here"), rows, text_columns=3).markdown()
    about = {name: value for name, value in asdict(result).items() if name != "outcome"} | {"seconds": f"{result.seconds:.0f}"}
    anchor = result.name.replace("_", "-")
    return about | prose(result.name, result.outcome) | {"anchor": anchor, "table": table, "outdated": result.outdated}


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, {device}"


def span(values: Iterable[float | None], digits: int = 0) -> str:
    """The least and the largest of the values that exist, or the one that they all are."""
    known = sorted(v for v in values if v is not None and not np.isnan(v))
    return " to ".join(dict.fromkeys(number(v, digits) for v in known[:1] + known[-1:])) or "none"


def several(values: Sequence[float], digits: int = 3) -> str:
    """The mean over seeds with its range."""
    count = f"{len(values)} seed{'s' * (len(values) > 1)}"
    return f"{number(float(np.mean(values)), digits)} ({count if len(values) == 1 else f'{span(values, digits)}, {count}'})"


def verdict(change: Estimate, more: str, less: str, neither: str) -> str:
    """One of three phrases for a change: its interval lies above 0, below 0, or contains 0."""
    if change.low is None or change.high is None:
        return neither
    return more if change.low > 0 else less if change.high < 0 else neither


def _picture(file: str, caption: str) -> str:
    return f"![{caption}](replications/{file})\n\n*{caption}*"


def _environment() -> Environment:
    """Templates that fail where a fact is missing."""
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": number,
        "signed": signed,
        "span": span,
        "several": several,
        "verdict": lambda fact, *phrases: verdict(Estimate(**fact), *phrases),
        "interval": lambda fact, digits=2: with_interval(Estimate(**fact), digits),
        "change": lambda fact, digits=3: with_interval(Estimate(**fact), digits, signed),
    }
    environment.globals["picture"] = _picture
    return environment


_ENVIRONMENT = _environment()
