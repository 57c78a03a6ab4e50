"""The last run's results for the repository's docs: `python -m pipeline.report.results` writes docs/results.md."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import config, stage
from ..artefacts import load_json, load_table, replacing, save_text, trials_in
from ..errors import PipelineError
from ..predictor import evaluation
from . import findings, provenance
from .study import time_by_kind, timings_in, trials_by_group

FIGURES = {
    "additions": "What spectra add to what else is known early",
    "spectra": "Where the spectra of each cell lie, before training and at the end",
}
MEASURES = ("r2", "spearman", "auc", "brier")


def main() -> None:
    """Write docs/results.md and its figures; those of another study than the default one are called after it."""
    settings = config.load()
    docs, prefix = Path("docs"), "" if settings.study == "default" else f"{settings.study}_"
    shown = {name: f"{prefix}{name}.png" for name in FIGURES if (Path("report/figures") / f"{name}.png").exists()}
    text = page(settings, shown)
    for name, target in shown.items():
        with replacing(docs / target) as temporary:
            shutil.copyfile(Path("report/figures") / f"{name}.png", temporary)
    save_text(docs / f"{settings.study if prefix else 'results'}.md", text)


def page(settings: config.Config, figures: Mapping[str, str]) -> str:
    """The page of the study whose artefacts lie in this folder; `figures` are names in FIGURES with the files to show."""
    result = load_json(Path("metrics/predictor.json"))
    table = load_table(Path("features/features.parquet"))
    trials = [t for task in settings.tasks for cell in settings.cells for t in trials_in(Path("trials") / f"{task}-{cell}")]
    facts = provenance.facts(trials)
    times = time_by_kind([t for t in timings_in(stage.TIMINGS, 0) if t["stage"] != "report"], settings)
    groups = trials_by_group(table)
    profile = "" if settings.study == "default" else f" PROFILE={settings.study}"
    lines = [
        f"# Results of the {settings.study} study",
        "",
        f"`make run{profile}`, then `make docs`. Device: {facts['device']}, {facts['machine']}; torch {facts['torch']}, "
        f"scikit-learn {facts['scikit-learn']}; {facts['date']}.",
        "",
        evaluation.verdict(result["champion"]),
        "",
        *(f"- {g['split']}: {g['without']} -> {g['with']}: R2 {evaluation.gain_text(g)}" for g in result["gains"]),
        "",
        findings.codes(result["table"]),
        "",
        *(line for name, file in figures.items() for line in (f"![{FIGURES[name]}]({file})", "")),
        "## Trials",
        "",
        *findings.never(groups, {task: task for task in settings.tasks}),
        "",
        *_markdown(groups.to_dict("records"), "{:.3f}"),
        "",
        "## Evidence",
        "",
        "Intervals are 95 %, by bootstrap over trials; R2, Spearman: of the score; AUC, Brier: of success.",
        "",
        *_markdown([_row(r) for r in result["table"]], "{:.2f}"),
        "",
        "## Time",
        "",
        "Wall time in seconds, of which tracking; the report itself is not in it.",
        "",
        *_markdown(times.to_dict("records"), "{:.2f}"),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the evidence with its intervals as text."""
    return {k: row[k] for k in ("split", "features")} | {
        m: "" if row[m] is None else f"{row[m]:.2f} ({row[f'{m}_low']:.2f} to {row[f'{m}_high']:.2f})" for m in MEASURES
    }


def _markdown(rows: list[dict[Any, Any]], number: str) -> Iterator[str]:
    yield f"| {' | '.join(rows[0])} |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield f"| {' | '.join(number.format(v) if isinstance(v, float) else str(v) for v in row.values())} |"


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
