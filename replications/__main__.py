"""Runs replications and writes docs/replications.md: `python -m replications [NAME ...]`, all of them by default.

A replication whose code and library have not changed since its last result is not run again.
"""

import sys
from pathlib import Path

from pipeline import execution

from ._page import page
from ._results import names, results, run

PAGE = Path(__file__).parent.parent / "docs" / "replications.md"


def main(chosen: list[str]) -> None:
    """Run what is asked for and has no result yet, two at a time, then write the page."""
    unknown = set(chosen) - set(names())
    if unknown:
        raise SystemExit(f"ERROR: there is no replication {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    fresh = {r["name"] for r in results() if not r["outdated"]}
    todo = [name for name in chosen or names() if name not in fresh]
    list(execution.run(run, todo, processes=execution.process_count("auto")))
    PAGE.write_text(page(results()), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PAGE.parent.parent)}")


if __name__ == "__main__":
    main(sys.argv[1:])
