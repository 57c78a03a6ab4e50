"""The report: one HTML page that needs no other file, and its figures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from ..core import layout
from ..core.cards import Evidence
from ..core.files import keep_only, save_bytes, save_text
from ..core.hyper_parameters import NUMBERS
from ..core.provenance import git_state, versions
from ..core.records import CHECKPOINTS
from ..core.tables import Table
from ..predictor.evidence import value
from ..predictor.inputs import BEFORE, EPOCH
from ..predictor.splits import TRIALS
from . import bands, dynamics, evidence, findings, pictures, searches, tables, times
from .figures import FLOOR, LINEAR, Drawn, drawn
from .phase import phase_portrait
from .study import Study
from .templates import render

TRIAL = "TRIAL"  # stands for the id of a trial in an address
PORTRAITS = 12  # the most that are shown; of more fixed points the page has a table


def write(study: Study, link: str = "") -> None:
    """Write the page and its figures; figures of an earlier report are removed.

    Args:
        study: what it is about.
        link: address of a trial in MLflow, in which TRIAL stands for its id; without it, the page has no links.
    """
    figures = {name: drawn(figure) for name, figure in _figures(study)}
    paths = {name: layout.FIGURES / f"{name}.png" for name in figures}
    for name, path in paths.items():
        save_bytes(path, figures[name].png)
    keep_only(layout.FIGURES, paths.values())
    save_text(layout.PAGE, html(study, figures, link))


def html(study: Study, figures: Mapping[str, Drawn], link: str = "") -> str:
    """The page with the figures that were drawn."""
    portraits = [(result, layout.portrait(result.trial.task, result.trial.cell).stem) for result in study.fixed_points]
    rows = pictures.rows(study)
    counts = (study.settings.predictor.bootstrap, study.settings.seed)
    return render(
        "page.html.j2",
        study,
        figures=figures,
        pictures=pictures,
        rows=rows,
        words=_json([row.words for row in rows]),
        moments=[moment for moment in (BEFORE, EPOCH) if any(moment in row.probabilities for row in rows)],
        drawn=[name for name in NUMBERS if rows and name in rows[0].values],
        frames=_frames(study, rows),
        bar=pictures.colour_bar(pictures.whole_axis(study.table)),
        bands=findings.bands(study.table[study.table["checkpoint"] == "early"]),
        gains=findings.against_rivals(study.judgement, study.predictions, *counts),
        link=link,
        portraits=portraits if len(portraits) <= PORTRAITS else [],
        pooled_r2=value("r2", _known(study)),
        bins=evidence.reliability(_known(study)),
        axis={"linear": LINEAR, "floor": FLOOR},
        times=times.table(times.recorded(list(study.tasks))),
        settings_table=Table(["setting", "value"], tables.settings(study.settings.model_dump(exclude={"execution"}))),
        facts_table=Table(["item", "value"], list(facts(study).items())),
    )


def facts(study: Study) -> dict[str, str]:
    """When, from which commit, on which device and with which versions the report was made."""
    commit, changed = git_state()
    return {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "commit": f"{commit[:12]}{' with changes' if changed else ''}" or "none",
        "device": ", ".join(sorted({result.trial.device for result in study.trials})),
        **versions(),
    }


def _figures(study: Study) -> Iterator[tuple[str, Figure]]:
    """All figures that the data of the study allow, by name."""
    table, titles, cells, threshold = study.table, study.titles, study.settings.cells, study.settings.success.threshold
    success = dict(zip(study.final["trial"], study.final["success"].astype(bool), strict=True))
    if findings.savings(study.judgement):
        yield "regret", searches.regret(study.judgement)
    added = findings.additions(study.judgement)
    if added:
        yield "additions", evidence.additions(added)
    yield "spectra", bands.spectra_by_cell(table, cells)
    for checkpoint in ("early", "final"):
        yield f"spectra_{checkpoint}", dynamics.spectra(study.spectra, success, checkpoint, titles, cells)
    yield "largest_exponent", dynamics.largest_exponent(table, titles, cells)
    yield "training", dynamics.training_curves(study.trials, table, titles, cells, threshold)
    for result in study.fixed_points:
        yield layout.portrait(result.trial.task, result.trial.cell).stem, phase_portrait(result)
    yield "strength", evidence.strength(study.judgement.evidence)
    within = {str(task): value("spearman", own) for task, own in _known(study).groupby("task")}
    yield "predictions", evidence.predictions(_known(study), within, titles, cells, threshold)
    yield "calibration", evidence.calibration(_answers(study))


def _frames(study: Study, rows: Sequence[pictures.Row]) -> list[dict[str, Any]]:
    """The spectra of all trials at each checkpoint, one panel per task."""
    axis, found = pictures.whole_axis(study.table), []
    words = {"initial": "before training", "early": f"after epoch {study.settings.train.early_epoch}", "final": "after training"}
    for checkpoint in CHECKPOINTS:
        table = study.table[study.table["checkpoint"] == checkpoint].set_index("trial")
        panels = []
        for task, title in study.titles.items():
            own = [row for row in rows if row.trial.task == task]
            if own:
                places = " ".join(str(row.place) for row in own)
                panels.append({"title": title, "image": pictures.heat(own, table, axis), "rows": places})
        found.append({"when": words[checkpoint], "panels": panels})
    return found


def _json(value: Any) -> Markup:
    """JSON that may stand in an element of HTML."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _latest(study: Study, split: str) -> Evidence | None:
    """The evidence of the served set at the latest moment under a split."""
    return next((a.served for a in reversed(findings.answering(study.judgement)) if a.served.split == split), None)


def _answers(study: Study) -> pd.DataFrame:
    """The answers of the served sets at the latest moment, split by split."""
    parts = []
    for split in findings.splits(study.judgement):
        last = _latest(study, split)
        if last is not None:
            table = study.predictions
            own = (table["split"] == split) & (table["moment"] == last.moment) & (table["inputs"] == last.inputs)
            parts.append(table[own])
    return pd.concat(parts, ignore_index=True)


def _known(study: Study) -> pd.DataFrame:
    """The answers over trials of the served set at the latest moment."""
    answers = _answers(study)
    return answers[answers["split"] == TRIALS]
