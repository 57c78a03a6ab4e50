"""Writes a page about wrong settings and damaged files, and what is said of each: `python -m benchmarks.bad_inputs`."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pipeline.core.config import LEAST_TRIALS, MOST_BYTES, MOST_DEPTH

from .bad_files import DAMAGES, FLIPS, flips, said, study
from .bad_settings import SETTINGS, timed
from .bad_settings import said as said_of_setting

LONGEST = 230  # letters of a sentence on the page
INTRODUCTION = f"""\
# Wrong settings and damaged files

Every stage, `make run` and `make cost` check params.yaml before anything else. A wrong setting ends them with one sentence for
each wrong key. What depends on a task's data or on a cell's own options is checked when stage `train` begins, before
anything is trained. The same holds for a profile; the sentences then name it too.

- Numbers are decimal: YAML has further forms (0x1F, 0o17, 017, 1_000, 1:30) and dates, on which its versions and readers
  do not agree; here they are text, and so no numbers. Aliases, merges and tags are refused.
- A file of settings has at most {MOST_BYTES:,} bytes, and at most {MOST_DEPTH} sections and lists in one another.
- Upper bounds are far above what makes sense. They are declared beside the keys, in `pipeline/core/config.py` and
  `pipeline/core/hyper_parameters.py`.
- A study needs at least {LEAST_TRIALS} trials in all.

All files between stages carry checksums; only JSON files that were written by hand may lack them. Files are written under
another name, flushed to the disk and then renamed, so that a loss of power leaves the old file or the new one. A stage that
makes a file again by itself names the damage and does so; a later stage stops with a sentence. A file that is damaged without
a change of its size and time passes DVC, which knows files by these, but not the stage that reads it. Whoever runs as root
may read every file, whatever its permissions.

This page is written by `python -m benchmarks.bad_inputs`, which tries everything that it lists; the same list is tested.
Sentences are shortened. Seconds are shown where there are more than one."""


def main() -> None:
    """Print the page."""
    print(f"{INTRODUCTION}\n")
    print(f"Tried on {datetime.now(UTC):%Y-%m-%d}.\n")
    print("\n".join(_settings()))
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(_files(Path(folder))))


def _settings() -> Iterator[str]:
    yield f"## Settings\n\n{sum(map(len, SETTINGS.values()))} settings, each in an otherwise right params.yaml."
    for title, settings in SETTINGS.items():
        yield f"\n### {title}\n\n| setting | what is said |\n|---|---|"
        for setting in settings:
            answer, seconds = timed(partial(said_of_setting, setting))
            yield _row([_code(setting.name)], answer, setting.reason, seconds)


def _files(folder: Path) -> Iterator[str]:
    artefacts = study(folder)
    yield f"\n## Files\n\n{len(DAMAGES)} damages of the files of a small study, in whose folder they lie.\n"
    yield "| file | damage | what is said |\n|---|---|---|"
    for damage in DAMAGES:
        answer, seconds = timed(partial(said, damage, artefacts[damage.of]))
        yield _row([damage.of, damage.what], answer, damage.reason, seconds)
    yield f"\n### Single bits\n\nOf {FLIPS} random bits of each file, one at a time; none changed a value and was not noticed.\n"
    yield "| file | noticed | read as before |\n|---|---:|---:|"
    for name, artefact in artefacts.items():
        yield "| {} | {} | {} |".format(name, *flips(artefact))


def _row(cells: list[str], answer: str | None, reason: str, seconds: float) -> str:
    text = f"accepted: {reason}" if answer is None else _short(answer)
    time = f" ({seconds:.1f} s)" if seconds > 1 else ""
    return f"| {' | '.join(cells)} | {text}{time} |"


def _short(answer: str) -> str:
    first, *more = answer.replace("|", "\\|").splitlines()
    cut = first if len(first) <= LONGEST else f"{first[:LONGEST]} ..."
    return f"{cut} (and {len(more)} more)" if more else cut


def _code(text: str) -> str:
    return f"`{text}`" if ":" in text else text


if __name__ == "__main__":
    main()
