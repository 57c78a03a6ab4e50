"""Links in the notes of runs, which are known once the runs are made.

A note names what it links to: `(run:KEY)` is the run of a key, `(view:KEY)` a table of trials, `(charts:KEY)` a view with
charts, `(picture:FILE)` an artifact of the run itself, and `(study:PATH)` a file that `make ui` serves beside MLflow.
"""

import re
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from . import views

SERVED = "study"  # what the addresses begin with of files that `make ui` serves
_LINK = re.compile(r"(!?)\[([^]]*)\]\((run|view|charts|picture|study):([^)]*)\)")


def linked(note: str, run: str, runs: Mapping[str, str], experiment: str, *, local: bool) -> str:
    """A note with its links.

    Args:
        note: of a run.
        run: the id of the run.
        runs: key -> id, of the runs in its experiment.
        experiment: its id.
        local: whether `make ui` shows it; a server does not have the files of the study.
    """
    return _LINK.sub(partial(_link, run=run, runs=runs, experiment=experiment, local=local), note)


def _link(found: re.Match[str], run: str, runs: Mapping[str, str], experiment: str, local: bool) -> str:
    mark, text, kind, name = found.groups()
    if kind == "picture":
        return f"{mark}[{text}](get-artifact?path={quote(name)}&run_uuid={run})"
    if kind == "run":
        return f"[{text}](#/experiments/{experiment}/runs/{runs[name]})" if name in runs else text
    if kind == "study":
        return f"[{text}]({SERVED}/{quote(name)})" if local else f"{text} (`{name}`)"
    return f"[{text}]({views.link(experiment, name, charts=kind == 'charts')})"
