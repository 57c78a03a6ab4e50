"""The last run's results for the repository's docs: `python -m pipeline.report.results > docs/results.md`."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import config, stage
from ..artefacts import load_json, load_table, trials_in
from ..errors import PipelineError
from ..predictor import evaluation
from . import provenance
from .study import time_by_kind, timings_in, trials_by_group

MEASURES = ("r2", "spearman", "auc", "brier")


def main() -> None:
    """Print the page."""
    settings = config.load()
    result = load_json(Path("metrics/predictor.json"))
    table = load_table(Path("features/features.parquet"))
    trials = [t for task in settings.tasks for cell in settings.cells for t in trials_in(Path("trials") / f"{task}-{cell}")]
    facts = provenance.facts(trials)
    times = time_by_kind([t for t in timings_in(stage.TIMINGS, 0) if t["stage"] != "report"], settings)
    lines = [
        "# Results of the default study",
        "",
        f"`make run`, then `make docs`. Device: {facts['device']}, {facts['machine']}; torch {facts['torch']}, "
        f"scikit-learn {facts['scikit-learn']}; {facts['date']}.",
        "",
        evaluation.verdict(result["champion"]),
        "",
        *(f"- {g['split']}: {g['without']} -> {g['with']}: R2 {evaluation.gain_text(g)}" for g in result["gains"]),
        "",
        *_markdown(trials_by_group(table).to_dict("records"), "{:.3f}"),
        "",
        "Intervals are 95 %, by bootstrap over trials; R2, Spearman: of the score; AUC, Brier: of success.",
        "",
        *_markdown([_row(r) for r in result["table"]], "{:.2f}"),
        "",
        "Wall time in seconds, of which tracking; the report itself is not in it.",
        "",
        *_markdown(times.to_dict("records"), "{:.2f}"),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


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
