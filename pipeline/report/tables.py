"""The tables of the page and of the pages in docs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..core.cards import Card, Estimate, Evidence, Gain, Judgement
from ..core.tables import Cell, Table, number, signed, with_interval
from ..predictor.evidence import RIVALS
from ..predictor.inputs import MOMENTS, WITH_SPECTRA
from .findings import answering, by_brier, splits
from .phase import slowest
from .study import Study

MEASURES = {
    "auc": "AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
    "calibration_slope": "slope",
    "spearman": "Spearman",
    "r2": "R2",
}
GAINS = {"auc": "AUC", "brier": "Brier", "log_loss": "log loss"}
_WITH_INTERVALS = ("auc", "brier")
_SHIFT = "shift_"  # begins the names of studies that a predictor is evaluated on, but does not learn from
# Of all other measures, the largest value is best; a slope has no best value.
_BEST: dict[str, Callable[..., Any]] = {"brier": min, "log_loss": min, "calibration_error": min}


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


def served(judgement: Judgement) -> Table:
    """The set of inputs that the predictor uses, by moment and split, with its rival."""
    rows = []
    for answer in answering(judgement):
        own = answer.served
        cells: list[Any] = []
        for measure in ("auc", "brier", "calibration_error"):
            rival = answer.rival.measures[measure] if answer.rival is not None else Estimate(None)
            cells += [_estimate(own.measures[measure]), number(rival.value)]
        rows.append([own.moment, own.split, own.inputs, *cells])
    measures = [name for m in ("AUC", "Brier", "calibration error") for name in (m, "rival's")]
    rivals = "; ".join(f"{moment}: {name}" for moment, name in RIVALS.items())
    return Table(["asked", "held out", "inputs that answer", *measures], rows, f"Rivals: {rivals}", text_columns=3)


def evidence(judgement: Judgement) -> list[Table]:
    """One table per split and moment: the measures of each set of inputs, by rising Brier score."""
    tables = []
    for split in splits(judgement):
        for moment in MOMENTS:
            rows = by_brier(e for e in judgement.evidence if (e.split, e.moment) == (split, moment))
            best = {m: _best([row.measures[m].value for row in rows], m) for m in MEASURES if m != "calibration_slope"}
            cells = [[_name(row.inputs), *_measures(row, best)] for row in rows]
            if cells:
                tables.append(Table(["inputs", *MEASURES.values()], cells, f"{split.capitalize()}: {moment}"))
    return tables


def by_group(judgement: Judgement, titles: Mapping[str, str] | None = None) -> list[Table]:
    """One table per split that leaves out named parts: AUC and Brier score of the served set and its rival on each part."""
    tables = []
    for split in splits(judgement):
        sets = [judgement.of(split, moment, name) for moment, name in _asked(judgement, split)]
        shown = [e for e in sets if e is not None]
        groups = [name for name in (shown[0].by_group if shown else {}) if name]
        if groups:
            cells = [[(titles or {}).get(name, name), *(_group(e.by_group[name]) for e in shown)] for name in groups]
            columns = ["left out", *(f"{e.moment}: {e.inputs}" for e in shown)]
            tables.append(
                Table(columns, cells, f"{split.capitalize()}: AUC (small print or brackets: Brier score) within each part")
            )
    return tables


def gains(judgement: Judgement) -> list[Table]:
    """One table per split: what inputs add to others; above 0 is better, and intervals above 0 are bold."""
    tables = []
    for split in splits(judgement):
        own = [gain for gain in judgement.gains if gain.split == split]
        rows = [[g.moment, g.without, g.with_, *(_gain(g, m) for m in GAINS)] for g in own]
        if rows:
            columns = ["asked", "without", "with", *GAINS.values()]
            tables.append(Table(columns, rows, f"{split.capitalize()}: gains", text_columns=3))
    return tables


def decisions(judgement: Judgement) -> list[Table]:
    """One table per replayed study: the regret of each kind of search at several costs."""
    tables = []
    for decision in judgement.decisions:
        costs = list(decision.fronts[0].at) if decision.fronts else []
        rows = []
        for f in decision.fronts:
            killed = "" if f.killed is None else f"{100 * f.killed:.0f} %"
            rows.append(
                [f.strategy, *(_estimate(f.at[c]) for c in costs), _estimate(f.hypervolume, 3), _difference(f.gain), killed]
            )
        columns = ["search", *(f"regret at {c}" for c in costs), "hypervolume", "gain over i-Epoch", "best not finished"]
        count = f"{decision.tasks} {'task' if decision.tasks == 1 else 'tasks'}, {decision.candidates} candidates"
        tables.append(Table(columns, rows, f"{decision.title[0].upper()}{decision.title[1:]} ({count})"))
    return tables


def ceiling(judgement: Judgement) -> Table | None:
    """How well a trial is predicted by its repetitions with other seeds; None if no trial was repeated."""
    rows = [[MEASURES[m], with_interval(estimate, 3)] for m, estimate in judgement.ceiling.items()]
    return Table(["measure", "value"], rows) if rows else None


def outside(judgement: Judgement) -> Table | None:
    """How well wrong answers are recognised by the distance to the training trials; None if that is not known."""
    rows = [[place, with_interval(estimate)] for place, estimate in judgement.outside.items()]
    return Table(["asked", "AUC"], rows) if rows else None


def origin(card: Card) -> Table:
    """Where a card comes from."""
    known = [[name, ", ".join(map(str, v)) if isinstance(v, list) else str(v)] for name, v in card.origin.items()]
    return Table(["item", "value"], known)


def learned_from(card: Card) -> int:
    """Number of packaged trials that a predictor learned from."""
    return sum(count for name, count in card.studies.items() if not name.startswith(_SHIFT))


def studies(card: Card) -> Table:
    """The studies of a card's trials."""
    rows = [[name, count, "judged on" if name.startswith(_SHIFT) else "learned from"] for name, count in card.studies.items()]
    return Table(["study", "trials", "use"], rows)


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


def _name(inputs: str) -> Cell:
    return Cell(inputs, tag="spectra" if inputs in WITH_SPECTRA else "")


def _measures(row: Evidence, best: Mapping[str, float | None]) -> list[Cell]:
    cells = []
    for name in MEASURES:
        value = row.measures[name].value
        strong = value is not None and value == best.get(name)
        digits = 2 if name in ("calibration_slope", "spearman", "r2") else 3
        cells.append(_estimate(row.measures[name], digits, strong=strong, interval=name in _WITH_INTERVALS))
    return cells


def _estimate(estimate: Estimate, digits: int = 2, *, strong: bool = False, interval: bool = True) -> Cell:
    low, high = estimate.low, estimate.high
    ends = f"{number(low, digits)} to {number(high, digits)}" if interval and low is not None else ""
    return Cell(number(estimate.value, digits), ends, strong=strong)


def _difference(estimate: Estimate, *, strong: bool = False) -> Cell:
    ends = "" if estimate.low is None else f"{signed(estimate.low, 3)} to {signed(estimate.high, 3)}"
    return Cell(signed(estimate.value, 3), ends, strong=strong)


def _gain(gain: Gain, measure: str) -> Cell:
    return _difference(gain.measures[measure], strong=gain.beats(measure))


def _asked(judgement: Judgement, split: str) -> list[tuple[str, str]]:
    """Moment and set of the rival, then of the served set."""
    pairs = [(m, name) for m, own in judgement.served[split].items() for name in (RIVALS[m], own)]
    return list(dict.fromkeys(pairs))


def _group(measures: Mapping[str, float | None]) -> Cell:
    return Cell(number(measures["auc"]), number(measures["brier"]))


def _best(values: Iterable[float | None], measure: str) -> float | None:
    return _BEST.get(measure, max)((v for v in values if v is not None), default=None)
