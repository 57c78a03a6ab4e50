"""The report: one HTML page that needs no other file, and its figures."""

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime

import pandas as pd
from matplotlib.figure import Figure

from ..core import layout
from ..core.cards import Evidence
from ..core.files import keep_only, save_bytes, save_text
from ..core.provenance import git_state, versions
from ..core.tables import Table
from ..predictor.evidence import value
from ..predictor.splits import TRIALS
from . import bands, dynamics, evidence, findings, searches, tables
from .figures import FLOOR, LINEAR, png
from .phase import phase_portrait
from .study import Study
from .templates import render

PORTRAITS = 12  # the most that are shown; of more fixed points the page has a table


def write(study: Study) -> None:
    """Write the page and its figures; figures of an earlier report are removed."""
    images = {name: png(figure) for name, figure in _figures(study)}
    paths = {name: layout.FIGURES / f"{name}.png" for name in images}
    for name, path in paths.items():
        save_bytes(path, images[name])
    keep_only(layout.FIGURES, paths.values())
    save_text(layout.PAGE, html(study, images))


def html(study: Study, images: Mapping[str, bytes]) -> str:
    """The page with the figures for which there is a PNG."""
    portraits = [(result, layout.portrait(result.trial.task, result.trial.cell).stem) for result in study.fixed_points]
    return render(
        "page.html.j2",
        study,
        images={name: base64.b64encode(image).decode() for name, image in images.items()},
        portraits=portraits if len(portraits) <= PORTRAITS else [],
        known=_latest(study, TRIALS),
        pooled_r2=value("r2", _known(study)),
        bins=evidence.reliability(_known(study)),
        axis={"linear": LINEAR, "floor": FLOOR},
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
