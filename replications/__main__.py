"""Runs replications and writes docs/replications.md: `python -m replications [NAME ...]`, by default all of them.

A replication whose code has not changed since its last result is not run again. The page is written when every
replication has a result.
"""

import sys

from pipeline.core import execution
from pipeline.core.files import save_text

from ._harness import PAGE, names, page, results, run


def main(chosen: list[str]) -> None:
    """Run the chosen replications that have no current result, then write the page."""
    unknown = set(chosen) - set(names())
    if unknown:
        raise SystemExit(f"ERROR: there is no replication {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    current = {result.name for result in results() if not result.outdated}
    todo = [name for name in chosen or names() if name not in current]
    with execution.executor(execution.process_count("auto")) as pool:
        for sentence in execution.run(run, todo, pool):
            print(sentence, flush=True)
    missing = set(names()) - {result.name for result in results()}
    if missing:
        print(f"{PAGE.name} is not written yet: there is no result of {', '.join(sorted(missing))}")
        return
    save_text(PAGE, page(results()))
    print(f"wrote {PAGE.relative_to(PAGE.parent.parent)}")


if __name__ == "__main__":
    main(sys.argv[1:])
