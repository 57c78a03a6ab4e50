"""The tables of the page and of the page in docs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..core.records import Estimate, Evidence, Judgement
from ..core.tables import Cell, Table, number
from ..predictor.folds import SPLITS
from ..predictor.inputs import WITHOUT_SPECTRA
from .findings import by_r2
from .phase import slowest
from .study import Study

MEASURES = {"r2": "R2", "spearman": "Spearman", "auc": "AUC", "brier": "Brier"}
_BEST: dict[str, Callable[..., Any]] = {"brier": min}  # of the others, the largest is best


def sizes(study: Study) -> Table:
    """The sizes of the tasks."""
    rows = [[i.title, i.steps, i.input_size, i.output_size, *i.sequences.values(), i.chance] for i in study.tasks.values()]
    columns = ["task", "steps", "inputs", "outputs", "training", "validation", "test", "loss by chance"]
    return Table(columns, rows, "Sizes, and number of sequences in each split")


def trials(study: Study) -> Table:
    """The outcomes of the trials, one row per task and cell."""
    rows = []
    for row in study.outcomes.to_dict("records"):
        counts = [row[name] for name in ("trials", "diverged", "successes")]
        losses = [row["best_loss"], row["best_loss"] / row["chance"]]
        rows.append([study.titles[row["task"]], row["cell"], *counts, *losses, number(row["median_score"])])
    columns = ["task", "cell", "trials", "diverged", "successes", "best loss", "best loss / chance", "median score"]
    return Table(columns, rows, "Trials", text_columns=2)


def evidence(judgement: Judgement) -> list[Table]:
    """One table per split: the measures of each set of inputs, by falling R2."""
    tables = []
    for split, rows in _by_split(judgement.evidence):
        best = {m: _best([row.measures[m].value for row in rows], m) for m in MEASURES}
        cells = [[_name(row.inputs), *(_estimate(row.measures[m], best[m]) for m in MEASURES)] for row in rows]
        tables.append(Table(["inputs of the predictor", *MEASURES.values()], cells, split.capitalize()))
    return tables


def by_group(study: Study) -> list[Table]:
    """One table per split that leaves out a cell or a task: R2 and Spearman within each part that was left out."""
    tables = []
    for split, rows in _by_split(row for row in study.judgement.evidence if row.by_group):
        names = [name for name in (*study.settings.cells, *study.settings.tasks) if name in rows[0].by_group]
        best = {name: _best([row.by_group[name]["r2"] for row in rows], "r2") for name in names}
        cells = [[_name(row.inputs), *(_group(row.by_group[name], best[name]) for name in names)] for row in rows]
        columns = ["inputs of the predictor", *(study.titles.get(name, name) for name in names)]
        tables.append(Table(columns, cells, f"{split.capitalize()}: R2 and Spearman correlation within the part left out"))
    return tables


def fixed_points(study: Study) -> Table:
    """The fixed points of the best network of each task and cell under the zero input."""
    rows = []
    for result in study.fixed_points:
        counts = result.counts["zero"]
        names = [study.titles[result.trial.task], result.trial.cell]
        rows.append([*names, counts.fixed_points, counts.stable, slowest(counts)])
    columns = ["task", "cell", "fixed points", "stable", "slowest time constant"]
    return Table(columns, rows, "Fixed points under the zero input", text_columns=2)


def settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Full key and value of every setting."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += settings(value, f"{prefix}{name}.")
        else:
            listed = value if isinstance(value, Sequence) and not isinstance(value, str) else ["none" if value == {} else value]
            rows.append((f"{prefix}{name}", ", ".join(map(str, listed))))
    return rows


def _by_split(rows: Iterable[Evidence]) -> list[tuple[str, list[Evidence]]]:
    """Each split with its rows by falling R2."""
    order = by_r2(rows)
    splits = [(split, [row for row in order if row.split == split]) for split in SPLITS]
    return [(split, own) for split, own in splits if own]


def _name(inputs: str) -> Cell:
    return Cell(inputs, tag="" if inputs in WITHOUT_SPECTRA else "spectra")


def _estimate(estimate: Estimate, best: float | None) -> Cell:
    interval = "" if estimate.low is None else f"{number(estimate.low)} to {number(estimate.high)}"
    return Cell(number(estimate.value), interval, strong=estimate.value is not None and estimate.value == best)


def _group(measures: Mapping[str, float | None], best: float | None) -> Cell:
    value = measures["r2"]
    return Cell(number(value), number(measures["spearman"]), strong=value is not None and value == best)


def _best(values: Iterable[float | None], measure: str) -> float | None:
    return _BEST.get(measure, max)((v for v in values if v is not None), default=None)
