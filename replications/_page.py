"""docs/replications.md from the results."""

from collections.abc import Sequence
from typing import Any

from ._outcome import Outcome

INTRODUCTION = """# Replications

Each related system works in this library, and was held to what its paper claims, at sizes that two cores can do. This page
is written by `make replications` from what `python -m replications NAME` measured; a small form of each is in the test suite.
What the original reports is given where the paper or its code could be read; "not available" is not a guess. Seconds are
wall time of one core, here on a machine that did other work at the same time."""


def page(results: Sequence[dict[str, Any]]) -> str:
    """The page, in Markdown: a table of all systems, then each one's figures."""
    lines = [INTRODUCTION, "", "| system | what came out | seconds |", "|---|---|---|"]
    outcomes = [Outcome.from_description(r["outcome"]) for r in results]
    for result, outcome in zip(results, outcomes, strict=True):
        lines.append(f"| [{outcome.title}](#{result['name'].replace('_', '-')}) | {outcome.summary} | {result['seconds']:.0f} |")
    for result, outcome in zip(results, outcomes, strict=True):
        lines += ["", f'<a id="{result["name"].replace("_", "-")}"></a>', "", *section(result, outcome)]
    return "\n".join(lines) + "\n"


def section(result: dict[str, Any], outcome: Outcome) -> list[str]:
    """The lines of one system."""
    command = f"`python -m replications {result['name']}`, {result['machine']}, {result['date']}, {result['seconds']:.0f} s"
    lines = [f"## {outcome.title}", "", f"{outcome.source}", "", f"**Run:** {outcome.ran} ({command}.)", ""]
    if result["outdated"]:
        lines += ["**Code has changed since this was run.**", ""]
    lines += ["| measured | the original | here |", "|---|---|---|"]
    lines += [f"| {' | '.join(c.replace('|', '&#124;') for c in (row.what, row.original, row.found))} |" for row in outcome.rows]
    for file, caption in outcome.pictures.items():
        lines += ["", f"![{caption}](replications/{file})", "", f"*{caption}*"]
    return [*lines, "", outcome.why]
