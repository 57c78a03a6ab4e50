"""What MLflow shows of a study's records: pure functions, which read no more of files than their hash."""

import hashlib
import json
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Dataset

from ..core import layout
from ..core.cards import Judgement
from ..core.files import digest, table_checksum
from ..core.records import (
    CHECKPOINTS,
    CURVES,
    MOMENTS,
    UPDATES,
    StageRecord,
    TaskInfo,
    Trial,
    TrialFixedPoints,
    TrialMeasurements,
    TrialResult,
    TrialSpectra,
)
from ..core.tables import Table, number, signed, with_interval
from ..predictor import packaged
from ..predictor.features import FLOOR, spectrum_features
from . import drawing
from .metrics import MEASURED, RELATIVE_LOSS, ROUNDING, SUMMARIES, VOLATILE
from .views import LOG, LOGS, STAGES, TRIALS

# What a trial's colour says: how it ended among the trials of its task.
COLOURS = {"best": "#0072b2", "best fifth": "#56b4e9", "middle": "#b8bfc6", "worst fifth": "#d55e00", "diverged": "#cc79a7"}
PICTURE = "spectra.svg"
_NAMED = 3  # trials that diverged, in the note of their sweep
# What the stage `predictor` wrote.
JUDGED = (layout.EVIDENCE, layout.PREDICTOR / packaged.CARD, layout.PREDICTOR / packaged.TRIALS, layout.PREDICTIONS)
Series = dict[int, float]  # step -> value
Point = tuple[str, float | None, int]  # name, value, step


@dataclass(frozen=True)
class Instance:
    """A stage instance.

    Attributes:
        stage, words: its name.
        written: when its results were written, in milliseconds since 1970.
        record: what its last run left; None in a clone, to which DVC brings results alone.
    """

    stage: str
    words: tuple[str, ...]
    written: int
    record: StageRecord | None

    @property
    def name(self) -> str:
        """The name, such as "train mnist_rows"."""
        return " ".join((self.stage, *self.words))

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its run and of the runs below it."""
        dvc = "@".join((self.stage, *self.words))
        source = {"mlflow.source.name": f"stages.{self.stage}", "mlflow.source.type": "LOCAL"}
        return {"stage": self.stage, "dvc.stage": dvc, **source, **dict(zip(("task",), self.words, strict=False))}


@dataclass(frozen=True)
class Shown:
    """What one run shows.

    Attributes:
        kind: "trial", "sweep" or "stage".
        key: identity of the run, the same for the same results.
        name: human-readable.
        metrics: by name; finite numbers only.
        tags, note: as text; the note is Markdown, with links as in `notes`.
        begin, end: milliseconds since 1970.
        params: as text; those of a stage come from its record.
        origin: tags of a run that is made on this machine.
        datasets: used.
        files: artifact folder -> files to log.
        tables: artifact file (.json) -> table.
        texts: artifact file -> its text.
        place: tags that depend on the other trials, which may be others in a clone.
    """

    kind: str
    key: str
    name: str
    metrics: dict[str, Series]
    tags: dict[str, str]
    note: str
    begin: int
    end: int
    params: dict[str, str]
    origin: dict[str, str]
    datasets: Sequence[Dataset] = ()
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        """The name of its experiment: sweeps are beside their trials."""
        return STAGES if self.kind == "stage" else TRIALS

    @property
    def identity(self) -> str:
        """The tag that holds its key."""
        return "trial.id" if self.kind == "trial" else "key"

    @cached_property
    def hash(self) -> str:
        """Hash of what is shown, without what differs between clones of one study; it ends with that of all metrics.

        The note follows from the rest, from links to other runs, and from the place.
        """
        files = [(folder, path.name, digest(path)) for folder, paths in self.files.items() for path in paths]
        tables = [(name, table.to_json(double_precision=9)) for name, table in self.tables.items()]
        datasets = [dict(dataset) for dataset in self.datasets]
        content = [self.name, self.tags, datasets, files, tables, self.texts]
        return f"{hashed(content)} {self.metrics_hash(self.metrics)}"

    def metrics_hash(self, names: Container[str]) -> str:
        """Hash of the points of these metrics, as far as they are shown, without VOLATILE."""
        known = [item for item in self.metrics.items() if item[0] in names and item[0] not in VOLATILE]
        # processors differ in the last bits
        return hashed({name: [(step, f"{value:.9g}") for step, value in series.items()] for name, series in known})


def hashed(content: Any) -> str:
    """16 hex digits that differ between contents."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def series(points: Iterable[Point]) -> dict[str, Series]:
    """The points that are finite numbers, by name, since a store holds no others; rounded, since the UI shows all digits."""
    grouped: dict[str, Series] = {}
    for name, value, step in points:
        if value is not None and math.isfinite(value):
            grouped.setdefault(name, {})[step] = rounded(float(value))
    return grouped


def rounded(value: float) -> float:
    """A number with four digits; counts stay as they are."""
    return value if value.is_integer() and abs(value) < 1e9 else float(f"{value:.4g}")


@dataclass(frozen=True)
class Standing:
    """How a trial ended among the trials of its task.

    Attributes:
        place: 1 for the lowest validation loss; trials that diverged come last.
        of: number of trials.
        group: a name in COLOURS.
    """

    place: int
    of: int
    group: str

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its run; the place is such as "03 of 72", which sorts as text."""
        place = f"{self.place:0{len(str(self.of))}d} of {self.of}"
        return {"place": place, "standing": self.group, "mlflow.runColor": COLOURS[self.group]}


def standings(results: Iterable[TrialResult]) -> dict[str, Standing]:
    """The standing of each trial of one task, by its id."""
    known = list(results)
    ended = sorted((r for r in known if not r.outcome.diverged), key=lambda r: (r.curves["validation_loss"][-1], r.trial.id))
    failed = sorted((r for r in known if r.outcome.diverged), key=lambda r: r.trial.id)
    fifth = max(1, round(len(ended) / 5))
    groups = [_group(place, len(ended), fifth) for place in range(len(ended))] + ["diverged"] * len(failed)
    ordered = enumerate(zip([*ended, *failed], groups, strict=True), start=1)
    return {result.trial.id: Standing(place, len(known), group) for place, (result, group) in ordered}


def _group(place: int, count: int, fifth: int) -> str:
    if place == 0:
        return "best"
    return "best fifth" if place < fifth else "worst fifth" if place >= count - fifth else "middle"


def divergence(result: TrialResult) -> tuple[int, str]:
    """The epoch in which a trial diverged, and what was not finite first."""
    epochs, curves = result.trial.epochs, result.curves
    if not math.isfinite(curves["validation_loss"][0]):
        return 0, "the validation loss before training was not finite"
    finite = np.isfinite([curves[name][1:] for name in ("train_loss", "gradient_norm", "validation_loss")]).all(axis=0)
    epoch = 1 + int(np.argmin(finite))
    losses, norms = (result.updates[name].reshape(epochs, -1)[epoch - 1] for name in UPDATES)
    lost = np.flatnonzero(~np.isfinite(losses + norms))
    if not lost.size:
        return epoch, "the validation loss was not finite"
    what = "gradient" if np.isfinite(losses[lost[0]]) else "training loss"
    return epoch, f"the {what} of mini-batch {lost[0] + 1} of {losses.size} was not finite"


def trial(
    instance: Instance,
    result: TrialResult,
    spectra: TrialSpectra | None = None,
    measurements: TrialMeasurements | None = None,
    answers: Mapping[str, float] | None = None,
    standing: Standing | None = None,
) -> Shown:
    """A trial's hyper-parameters, curves by epoch, outcome, spectra and measurements.

    Answers are those of the predictor that had not seen the trial, and its score and success.
    """
    own, outcome = result.trial, result.outcome
    points: list[Point] = [(curve, value, epoch) for curve in CURVES for epoch, value in enumerate(result.curves[curve])]
    # at checkpoints alone: by epoch it would be the curve of `validation_loss` again, whose points take a tenth of the time
    losses = {own.epoch_of(checkpoint): result.curves["validation_loss"][own.epoch_of(checkpoint)] for checkpoint in CHECKPOINTS}
    points += [(RELATIVE_LOSS, loss / own.chance, epoch) for epoch, loss in losses.items()]
    points += [(name, value, 0) for name, value in asdict(outcome).items()]
    points += _spectra_points(result, spectra) if spectra else []
    points += _measured_points(result, measurements) if measurements else []
    points += [(name, value, 0) for name, value in (answers or {}).items()]
    picture = _picture(result, spectra) if spectra else ""
    return Shown(
        kind="trial",
        key=own.id,
        name=own.name,
        metrics=series(points),
        tags=instance.tags | _trial_tags(result),
        note=_trial_note(result, standing, bool(picture)),
        begin=instance.written - round(1000 * outcome.seconds),
        end=instance.written,
        params=_trial_params(own),
        origin=instance.record.origin if instance.record else {},
        texts={PICTURE: picture} if picture else {},
        place=standing.tags if standing else {},
    )


def _trial_params(own: Trial) -> dict[str, str]:
    """The settings of a trial, readable: numbers with four digits, and decimal logarithms where they were drawn so."""
    fields = {name: value for name, value in asdict(own).items() if not name.endswith("_hash")}
    hyper = fields.pop("hyper_parameters")
    logs = {f"{LOG}{name}": math.log10(hyper[name]) for name in LOGS if hyper[name] > 0}
    params = hyper | {"option": fields.pop("options")} | fields | logs
    return _text({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()})


def _trial_tags(result: TrialResult) -> dict[str, str]:
    own = result.trial
    tags = {"cell": own.cell, "diverged": "yes" if result.outcome.diverged else "no", "weights": _weights(own)}
    tags |= {"data.hash": own.data_hash, "code.hash": own.code_hash}
    tags["hyper_parameters"] = json.dumps(asdict(own.hyper_parameters) | own.options)
    if result.outcome.diverged:
        epoch, cause = divergence(result)
        tags |= {"diverged_in_epoch": str(epoch), "cause": cause}
    return tags


def _weights(own: Trial) -> str:
    """The file of a trial's weights, in the folder of the study."""
    return own.path(layout.trials(own.task)).as_posix()


def prepared(instance: Instance, info: TaskInfo) -> Shown:
    """A task's data: sizes, chance, source, licence."""
    sizes = {f"{split}_sequences": count for split, count in info.sequences.items()}
    sizes |= {name: getattr(info, name) for name in ("steps", "input_size", "output_size")}
    return _stage(
        instance,
        [info.hash],
        {**sizes, "chance": info.chance},
        note=f"**{info.title}.** {info.description}\n\n```\n{info.summary()}\n```",
        tags={"source": info.source, "licence": info.licence, "data.hash": info.hash},
        datasets=[Dataset(info.task, info.hash[:12], "local", info.source, profile=json.dumps(sizes))],
    )


def trained(instance: Instance, results: Mapping[Path, TrialResult]) -> Shown:
    """The trials of a task: how many diverged, and the losses of the others, over all cells and by cell."""
    ordered = sorted(results.values(), key=lambda r: r.trial.id)
    rows = [
        {"cell": r.trial.cell, "diverged": r.outcome.diverged, "validation_loss": loss, "relative_loss": loss / r.trial.chance}
        for r in ordered
        for loss in [r.curves["validation_loss"][-1]]
    ]
    first = ordered[0].trial
    data = Dataset(first.task, first.data_hash[:12], "local", layout.data(first.task).as_posix())
    places = standings(ordered)
    by_place = sorted(ordered, key=lambda r: places[r.trial.id].place)
    tags = {"best": "none" if by_place[0].outcome.diverged else by_place[0].trial.name}
    sweep = _sweep(instance, [r.trial.id for r in ordered], rows, tags=tags, datasets=[data], note=_sweep_note(by_place))
    return replace(sweep, kind="sweep")


def measured(instance: Instance, spectra: Mapping[Path, TrialSpectra]) -> Shown:
    """The spectra of a sweep, by their file: how many states were not finite, and the largest exponents."""
    rows = [
        {"cell": s.trial.cell, "diverged": s.diverged}
        | {f"exponent_1_{checkpoint}": s.mean(checkpoint, floor=FLOOR).max() for checkpoint in CHECKPOINTS}
        for s in spectra.values()
    ]
    return _sweep(instance, [path.name for path in spectra], rows)


def located(instance: Instance, points: Mapping[Path, TrialFixedPoints]) -> Shown:
    """The fixed points of the best trial of each cell, by their file, and their pictures."""
    metrics, rows = dict[str, float | None](), []
    for record in points.values():
        for constant_input, counts in record.counts.items():
            numbers = {name: value for name, value in asdict(counts).items() if not isinstance(value, list)}
            metrics |= {f"{record.trial.cell}/{constant_input}/{name}": value for name, value in numbers.items()}
            rows.append([record.trial.cell, f"`{record.trial.id}`", constant_input, counts.fixed_points, counts.stable])
    table = Table(["cell", "trial", "constant input", "fixed points", "stable"], rows)
    return _stage(
        instance,
        [[r.trial.id, r.settings.model_dump()] for r in points.values()],
        metrics,
        note="Fixed points of the best trial of each cell under constant inputs.\n\n" + table.markdown(),
        files={"": list(points), "figures": _there(layout.portrait(r.trial.task, r.trial.cell) for r in points.values())},
    )


def tabulated(instance: Instance, table: pd.DataFrame) -> Shown:
    """The feature table: how many trials succeeded and diverged, by task and cell."""
    trials = table[table["checkpoint"] == "final"]
    counts = trials.groupby(["task", "cell"]).agg(
        trials=("trial", "size"), diverged=("diverged", "sum"), successes=("success", "sum"), best_loss=("final_loss", "min")
    )
    metrics = {f"success_share/{task}": float(part["success"].mean()) for task, part in trials.groupby("task")}
    metrics |= {"trials": len(trials), "successes": int(trials["success"].sum()), "diverged": int(trials["diverged"].sum())}
    rows, data = counts.reset_index(), _features(table)
    note = Table(list(rows.columns), rows.to_numpy().tolist()).markdown()
    files = {"": _there([layout.FEATURES, layout.FEATURES_CSV])}
    return _stage(instance, [data.digest], metrics, note=note, datasets=[data], files=files)


def judged(instance: Instance, judgement: Judgement, features: pd.DataFrame) -> Shown:
    """The predictor's evidence from a feature table: the measures of the sets of inputs that answer, beside their rivals."""
    from ..predictor.evidence import RIVALS  # a second to import, and most updates show no predictor

    champion, volume = judgement.champion, judgement.volume
    rows, metrics, tags = [], dict[str, float | None](), {"champion": "yes" if judgement.is_champion else "no"}
    for evidence in judgement.evidence:
        row: dict[str, Any] = {name: getattr(evidence, name) for name in ("split", "moment", "inputs", "trials")}
        place = f"{named(evidence.split)}/{named(evidence.moment)}"
        for name, estimate in evidence.measures.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for inputs, ending in ((judgement.served[evidence.split][evidence.moment], ""), (RIVALS[evidence.moment], "_rival")):
            if inputs == evidence.inputs:
                metrics |= {f"{place}/{name}{ending}": estimate.value for name, estimate in evidence.measures.items()}
        rows.append(row)
    gained = {"gain_brier": champion and champion.measures["brier"], "gain_hypervolume": volume}
    for name, found in gained.items():
        if found:
            metrics |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    if champion:
        tags |= {"with_spectra": champion.with_, "without_spectra": champion.without}
    served = {f"served/{named(s)}/{named(m)}": name for s, own in judgement.served.items() for m, name in own.items()}
    return _stage(
        instance,
        [digest(*JUDGED[:3])],
        metrics | {"is_champion": judgement.is_champion},
        note=_evidence_note(judgement),
        tags=tags | served,
        datasets=[_features(features)],
        files={"": [layout.PREDICTIONS]},
        tables={"evidence.json": pd.DataFrame(rows)},
    )


def named(words: str) -> str:
    """The name of a split or moment in the name of a metric."""
    return words.replace(",", "").replace(" ", "_")


def reported(instance: Instance, figures: Sequence[Path]) -> Shown:
    """The study's page and its figures; its identity is that of the evidence, since the page shows times."""
    note = f"The whole study on one page: the artifact `{layout.PAGE.name}`."
    judged = _there(JUDGED[:3]) or [layout.PAGE]
    return _stage(instance, [digest(*judged)], {}, note=note, files={"": [layout.PAGE], "figures": figures})


def _stage(
    instance: Instance, identity: Sequence[Any], metrics: Mapping[str, float | None], *, tags: Any = None, **content: Any
) -> Shown:
    """The run of a stage instance with results of an identity."""
    record = instance.record
    points = [(name, value, 0) for name, value in metrics.items()] + ([("stage_seconds", record.seconds, 0)] if record else [])
    began, end = (record.began, record.began + record.seconds) if record else (instance.written / 1000,) * 2
    return Shown(
        kind="stage",
        key=hashed([instance.name, identity]),
        name=instance.name,
        metrics=series(points),
        tags={**instance.tags, **(tags or {})},
        begin=round(1000 * began),
        end=round(1000 * end),
        params=_text(record.settings) if record else {},
        origin=record.origin if record else {},
        **content,
    )


def _sweep(
    instance: Instance, identity: Sequence[str], rows: Sequence[dict[str, Any]], *, note: str = "", **content: Any
) -> Shown:
    """Counts, medians and best losses over trials, of which rows hold `cell`, `diverged`, and measures."""
    table = pd.DataFrame(rows)
    table.loc[table["diverged"], table.columns[2:]] = math.nan
    metrics = _summary(table)
    cells = {str(cell): _summary(part) for cell, part in table.groupby("cell")}
    summaries = Table(["cell", *metrics], [[cell, *summary.values()] for cell, summary in cells.items()])
    note = note or f"{len(table)} trials, {metrics['diverged']} of them diverged.\n\n{summaries.markdown()}"
    metrics |= {f"{cell}/{name}": value for cell, summary in cells.items() for name, value in summary.items()}
    return _stage(instance, identity, metrics, note=note, **content)


def _summary(table: pd.DataFrame) -> dict[str, float]:
    counts = {"trials": len(table), "diverged": int(table["diverged"].sum())}
    measures = table.columns[2:]
    medians = {f"median_{name}": float(table[name].median()) for name in measures}
    return counts | medians | {f"best_{name}": float(table[name].min()) for name in measures if name.endswith("loss")}


def _spectra_points(result: TrialResult, spectra: TrialSpectra) -> list[Point]:
    """Whole spectra by the number of the exponent, and summaries by epoch; -inf is FLOOR, and counted."""
    points: list[Point] = []
    for place, checkpoint in enumerate(CHECKPOINTS):
        exponents = spectra.mean(checkpoint, floor=FLOOR)
        points += [(f"spectrum/{checkpoint}", exponent, rank) for rank, exponent in enumerate(exponents, start=1)]
        features = spectrum_features(spectra.exponents[place], float(spectra.standard_error[place, 0]), result.trial.steps)
        points += [(name, features[name], result.trial.epoch_of(checkpoint)) for name in SUMMARIES]
    points.append(("spectrum_seconds", spectra.seconds, 0))
    points.append((ROUNDING, float(np.median(spectra.rounding_error)), 0))
    return points


def _measured_points(result: TrialResult, measurements: TrialMeasurements) -> list[Point]:
    """The numbers MEASURED by epoch, and what they cost."""
    points: list[Point] = [
        (name, measurements.at(moment)[name], result.trial.epoch_of(moment)) for moment in MOMENTS for name in MEASURED
    ]
    return [*points, ("measuring_seconds", sum(measurements.seconds.values()), 0)]


def _trial_note(result: TrialResult, standing: Standing | None, picture: bool) -> str:
    """How a trial ended, in a line, and its spectra: MLflow folds a note that is higher than 100 pixels."""
    own, weights = result.trial, _weights(result.trial)
    if result.outcome.diverged:
        epoch, cause = divergence(result)
        ended = f"**Diverged in epoch {epoch} of {own.epochs}**: {cause}."
    else:
        loss = result.curves["validation_loss"][-1]
        place = f"Place {standing.place} of {standing.of} on [{own.task}](charts:task-{own.task}). " if standing else ""
        ended = f"{place}Validation loss **{loss:.4g}**, {loss / own.chance:.0%} of chance ({own.chance:.4g})."
    drawn = f"\n\n![Spectra before, early in and after training](picture:{PICTURE})" if picture else ""
    return f"{ended} [Weights](study:{weights}).{drawn}"


def _sweep_note(by_place: Sequence[TrialResult]) -> str:
    """The best trial of a sweep, the worst, those that diverged, and links to views; short, as `_trial_note`."""
    task = by_place[0].trial.task
    ended = [r for r in by_place if not r.outcome.diverged]
    failed = [r for r in by_place if r.outcome.diverged]
    known = [f"**Best** of {len(by_place)}: {_named(ended[0])}", f"worst: {_named(ended[-1])}"] if ended else []
    if failed:
        named = ", ".join(f"[{r.trial.name}](run:{r.trial.id}) (epoch {divergence(r)[0]})" for r in failed[:_NAMED])
        known.append(f"diverged: {named}" + (f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""))
    return (
        f"{'; '.join(known)}.\n\nOpen: [best against worst](charts:task-{task}), "
        f"[spectra of the best](charts:spectra-{task}), [trainings of all tasks](view:trials), "
        f"[what makes a training succeed](charts:success), [failures](view:diverged), [report](study:{layout.PAGE.as_posix()})."
    )


def _named(result: TrialResult) -> str:
    """A link to a trial, and its loss."""
    loss = result.curves["validation_loss"][-1] / result.trial.chance
    return f"[{result.trial.name}](run:{result.trial.id}), {loss:.0%} of chance"


def _picture(result: TrialResult, spectra: TrialSpectra) -> str:
    """The spectra at the three checkpoints, with the largest exponent of each, as SVG."""
    curves = {}
    for checkpoint in CHECKPOINTS:
        epoch, exponents = result.trial.epoch_of(checkpoint), spectra.mean(checkpoint, floor=FLOOR)
        when = f"after epoch {epoch}" if epoch else "before training"
        curves[f"{when}: {'not finite' if np.isnan(exponents).any() else f'largest {number(exponents.max(), 4)}'}"] = exponents
    return drawing.spectra(curves)


def _evidence_note(judgement: Judgement) -> str:
    from ..predictor.evidence import RIVALS, verdict

    answers = []
    for split, moments in judgement.served.items():
        for moment, name in moments.items():
            for inputs in dict.fromkeys((name, RIVALS[moment])):
                evidence = judgement.of(split, moment, inputs)
                shown = [with_interval(evidence.measures[m]) for m in ("auc", "brier")] if evidence else ["", ""]
                answers.append([split, moment, inputs, "answers" if inputs == name else "rival", *shown])
    gains = [
        [g.split, g.moment, g.without, g.with_, *(with_interval(g.measures[m], 3, signed) for m in ("auc", "brier"))]
        for g in judgement.gains
    ]
    return "\n\n".join(
        [
            verdict(judgement),
            "AUC and Brier score of the probability of success on held-out trials, with 95 % intervals:",
            Table(["split", "asked", "inputs", "", "AUC", "Brier"], answers, text_columns=4).markdown(),
            "What additional inputs add, with 95 % intervals; above 0 is better:",
            Table(["split", "asked", "without", "with", "AUC", "Brier"], gains, text_columns=4).markdown(),
        ]
    )


def _features(table: pd.DataFrame) -> Dataset:
    schema = {str(column): str(kind) for column, kind in table.dtypes.items()}
    profile = {"rows": len(table), "columns": table.shape[1]}
    path, lasting = layout.FEATURES, table[[column for column in table if not str(column).endswith("_seconds")]]
    return Dataset(path.stem, table_checksum(lasting), "local", path.as_posix(), json.dumps(schema), json.dumps(profile))


def _there(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]


def _text(values: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """The leaves of nested mappings by their full path, as parameters of MLflow, which hold 6000 characters."""
    leaves: dict[str, str] = {}
    for key, value in values.items():
        leaves |= _text(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": str(value)[:6000]}
    return leaves


BY_TASK: dict[str, tuple[Callable[[Path], Any], Callable[[str], Path], Callable[[Instance, Any], Shown]]] = {
    # stage -> how a file of its results is read, their folder, and what is shown of them
    "train": (TrialResult.load, layout.trials, trained),
    "measure": (TrialSpectra.load, layout.spectra, measured),
    "fixed_points": (TrialFixedPoints.load, layout.fixed_points, located),
}
