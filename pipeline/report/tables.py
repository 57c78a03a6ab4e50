"""The tables of the page and of the pages in docs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..core.cards import Card, Estimate, Evidence, Gain, Judgement
from ..core.tables import Cell, Table, number, signed, with_interval
from ..predictor.evidence import RIVALS
from ..predictor.inputs import MOMENTS, WITH_SPECTRA
from ..predictor.splits import CELLS, TASKS, TRIALS
from .findings import Addition, Saving, answering, by_brier, effect, splits, where
from .phase import complete, slowest
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
# Effects in words; the page states the rules.
EFFECT = {
    "clear": "clear gain",
    "small": "small gain",
    "none": "no difference",
    "small harm": "small loss",
    "harm": "clear loss",
    "unknown": "not known",
}
SAVED = {
    "clear": "clear saving",
    "small": "small saving",
    "later": "nothing at this cost",
    "none": "nothing measurable",
    "harm": "nothing: worse",
    "unknown": "not known",
}
COMPLETE = {True: "no gap seen", False: "incomplete", None: "not known"}
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


def savings(found: Sequence[Saving]) -> Table:
    """What screening before training saves, one row per kind of replayed search."""
    rows = []
    for one in found:
        word, measured = SAVED[one.effect], one.share is not None and one.effect in ("clear", "small")
        rows.append(
            [
                Cell(_sentence_case(one.decision.title), f"screened by {one.inputs}{' inputs' * (one.inputs == 'all')}"),
                Cell(number(one.plain_cost, 1), f"regret {with_interval(one.plain_regret)}"),
                Cell("never") if one.regret is None else Cell(number(one.cost, 1), f"regret {with_interval(one.regret)}"),
                Cell(f"{100 * (1 - (one.share or 0)):.0f} %", word) if measured else Cell(word),
                "never" if one.alone is None else number(one.alone, 1),
                "not known" if one.gain is None else _difference(one.gain),
            ]
        )
    columns = ["search", "by losses alone", "by screening", "saved", "by hyper-parameters", "gain over all costs"]
    return Table(
        columns, rows, "Cost of a search in full trainings; regret: how far its network scores below the best candidate, 0 to 1"
    )


def answer(judgement: Judgement, gains: Mapping[tuple[str, str], Gain]) -> Table:
    """How well successes are told from failures: AUC by moment and split, beside that of the simplest inputs.

    Args:
        judgement: the evidence.
        gains: (moment, split) -> what the predictor's set gains over the simplest one.
    """
    found, places = {(a.served.moment, a.served.split): a for a in answering(judgement)}, splits(judgement)
    rows: list[list[Any]] = []
    for moment in MOMENTS:
        row: list[Any] = [_sentence_case(moment if moment == MOMENTS[0] else f"after {moment}")]
        for split in places:
            own = found.get((moment, split))
            if own is None:
                row.append("")
                continue
            auc = own.served.measures["auc"]
            word = "the same inputs" if own.alike else EFFECT[effect(gains.get((moment, split)))]
            rival = "" if own.rival is None or own.alike else f", simplest inputs {number(own.rival.measures['auc'].value)}"
            ends = "" if auc.low is None else f"{number(auc.low)} to {number(auc.high)}"
            row.append(Cell(number(auc.value), f"{ends}{rival}", tag=word))
        rows.append(row)
    heads = {TRIALS: "known task and cell", CELLS: "new cell", TASKS: "new task"}
    return Table(
        ["asked", *(heads.get(split, split) for split in places)],
        rows,
        "How well the predictor tells successes from failures: AUC",
    )


def effects(found: Iterable[Addition], families: Sequence[str]) -> Table | None:
    """What families of inputs add to others, one row for each moment and pair of sets and one column per split.

    None if nothing was compared.
    """
    own = [addition for addition in found if addition.family in families]
    places = list(dict.fromkeys(addition.gain.split for addition in own))
    rows: dict[tuple[str, str, str], list[Any]] = {}
    for addition in own:
        gain = addition.gain
        row = rows.setdefault((gain.moment, addition.family, gain.without), [""] * len(places))
        word = effect(gain)
        size = "" if word == "unknown" else with_interval(gain.measures["brier"], 3, signed)
        row[places.index(gain.split)] = Cell(EFFECT[word], size, strong=word in ("clear", "small"))
    columns = ["asked", "added", "to", *(where(split).replace("an unseen", "a new") for split in places)]
    return Table(columns, [[*key, *row] for key, row in rows.items()], "Gain in Brier score", text_columns=3) if rows else None


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
        tables.append(Table(columns, rows, f"{_sentence_case(decision.title)} ({count})"))
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
    """The fixed points of the best network of each task and cell under each constant input."""
    rows: list[list[Any]] = []
    for result in study.fixed_points:
        names = [study.titles[result.trial.task], result.trial.cell]
        for name, counts in result.counts.items():
            known = [counts.fixed_points, counts.stable, slowest(counts), f"{100 * counts.seeds_that_found:.0f} %"]
            rows.append([*names, name, *known, Cell(COMPLETE[complete(counts)], strong=complete(counts) is False)])
    columns = ["task", "cell", "input", "found", "stable", "slowest time constant", "searches that ended", "search"]
    return Table(columns, rows, "Fixed points of the best networks", text_columns=3)


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


def _sentence_case(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


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
