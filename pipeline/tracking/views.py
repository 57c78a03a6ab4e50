"""What the UI shows first: each experiment's description and saved views, and the links that open them.

By itself, MLflow's UI hides the columns of metrics and parameters and draws one chart per metric. A saved view is a tag of
the experiment that the UI reads, with the columns, the order and the charts that answer the study's questions.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from ..core.hyper_parameters import DECLARED, NUMBERS
from .metrics import OF_TRIALS, SPECTRA

TRIALS, STAGES, MODEL = "rnn-stability trials", "rnn-stability stages", "rnn-stability"
KIND = "kind"  # the tag of runs that says whether they are of a trial, a sweep or another stage
_WIDTHS = {"task": 150, "best": 190, "cause": 400}  # of columns, in pixels, where texts are longer than the heading
_VIEW = "mlflow.sharedViewState."  # how the tag of a view begins
_SINCE = 1_700_000_000_000  # a view's date is part of the tag; fixed, so that the tag changes only with the view


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        key: its part of the address.
        name: in the menu of saved views.
        columns: of the table, such as "metrics.score" or "tags.cell".
        order: what to sort by, as the UI writes it; since the UI draws the first hundred runs alone, a view of all trials
            sorts them by their seed, which is no order.
        sections: title -> charts; a view with charts opens them instead of the table.
        where: filter of runs.
        ascending: whether the smallest comes first.
    """

    key: str
    name: str
    columns: Sequence[str]
    order: str
    sections: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    where: str = ""
    ascending: bool = False


def line(*metrics: str, title: str = "", **options: Any) -> dict[str, Any]:
    """A chart of metrics over their steps, one line per run and metric."""
    plain = {"lineSmoothness": 0, "useGlobalLineSmoothing": False, "xAxisKey": "step", "useGlobalXaxisKey": True}
    named = {"displayName": title} if title else {}
    return {"type": "LINE", "metricKey": metrics[0], "selectedMetricKeys": list(metrics), **named, **plain, **options}


def scatter(x: str, y: str, title: str) -> dict[str, Any]:
    """A chart with one dot per run; an axis is a metric or, as "params.name", a parameter."""
    axes = {axis: {"key": name.removeprefix("params."), "type": _kind(name)} for axis, name in (("xaxis", x), ("yaxis", y))}
    return {"type": "SCATTER", **axes, "displayName": title, "runsCountToCompare": 1000}


def parallel(params: Sequence[str], metrics: Sequence[str], title: str) -> dict[str, Any]:
    """A chart with one polyline per run over parallel axes."""
    return {"type": "PARALLEL", "selectedParams": params, "selectedMetrics": metrics, "displayName": title, "showAllRuns": True}


def _kind(name: str) -> str:
    return "PARAM" if name.startswith("params.") else "METRIC"


LOG = "log10_"  # how the names of parameters begin whose values are decimal logarithms
LOGS = tuple(name for name in NUMBERS if DECLARED[name].interval and DECLARED[name].scale == "log")
_FIRST = ("tags.task", "tags.cell", "tags.place", "metrics.relative_loss", "metrics.score")
_ANSWERS = ("metrics.probability_of_success", "metrics.probability_of_success_before_training", "metrics.exponent_1")
_HYPER = tuple(f"params.{name}" for name in DECLARED)
_TABLE = (*_FIRST, *_ANSWERS, "tags.diverged", *_HYPER, "metrics.test_metric")
_DIVERGED = ("tags.task", "tags.cell", "tags.diverged_in_epoch", "tags.cause", *_HYPER, "metrics.exponent_1")
_SPECTRUM = line(*SPECTRA, displayPoints=False, title="Spectrum before, early in and after training")
_OVER_TIME = line("exponent_1", displayPoints=True, title="Largest exponent by epoch")
_CURVES = (
    line("validation_loss", scaleType="log", title="Validation loss by epoch"),
    line("gradient_norm", scaleType="log", title="Mean gradient norm by epoch"),
)
_AXES = [LOG + name for name in LOGS] + ["hidden_size"]
_SUCCESS = {
    "What makes a training succeed": [
        scatter("exponent_1", "score", "Score by largest exponent after training"),
        scatter("expected_score", "score", "Score: expected after one epoch (x) and reached (y)"),
        scatter(f"params.{LOG}learning_rate", "score", "Score by log10 of the learning rate"),
        scatter(f"params.{LOG}init_scale", "score", "Score by log10 of the scale of the first weights"),
    ],
    "From hyper-parameters to the score": [parallel(_AXES, ["exponent_1", "score"], "One line per training")],
}
_SPLITS, _ASKED = ("over_trials", "one_cell_left_out", "one_task_left_out"), ("before_training", "one_epoch")
_EVIDENCE = (
    *(f"metrics.{split}/{asked}/{m}" for split in _SPLITS for asked in _ASKED for m in ("auc", "auc_rival", "brier")),
    "metrics.gain_brier",
    "metrics.gain_hypervolume",
    "tags.champion",
)
_STAGE = ("tags.stage", "tags.task", "metrics.trials", "metrics.diverged", "metrics.stage_seconds", "attributes.Duration")
_SWEEP = ("tags.task", "tags.best", "metrics.trials", "metrics.diverged", "metrics.best_relative_loss", "metrics.stage_seconds")
_BEST, _NEWEST, _PLACE = "metrics.`score`", "attributes.start_time", "tags.`place`"
_TRIAL = f"tags.{KIND} = 'trial'"
VIEWS = {
    TRIALS: (
        View("trials", "All trials, best first", _TABLE, _BEST, where=_TRIAL),
        View("diverged", "Trials that diverged", _DIVERGED, "tags.`task`", where=f"{_TRIAL} and metrics.diverged = 1"),
        View("success", "What makes a training succeed", _TABLE, "params.`seed`", _SUCCESS, where=_TRIAL),
        View("sweeps", "Sweeps, one per task", _SWEEP, "tags.`task`", where=f"tags.{KIND} = 'sweep'", ascending=True),
    ),
    STAGES: (
        View("stages", "Stages", _STAGE, _NEWEST),
        View("evidence", "The predictor's evidence", _EVIDENCE, _NEWEST, where="tags.stage = 'predictor'"),
    ),
}
_NOTES = {
    TRIALS: """MLflow loads 100 trainings at a time. The menu of saved views, at the top right, has one for each task, for
failures, for spectra, and for what makes a training succeed. Each task's sweep is the parent of its trainings.

`relative_loss` is the validation loss, at the last checkpoint that a training reached, divided by that of the best constant
answer (chance); below 1 is better than chance.
`score` is the share of the gap between chance and the task's best trial that a training closed. `expected_score` and
`probability_of_success` are answers, after one epoch, of a predictor that had not seen the trial; the same names with
`_before_training` are those before it. `exponent_1` is the largest Lyapunov exponent, in nats per step. Blue is the best fifth
of a task, orange the worst fifth, pink what diverged. Numbers have four digits; the files of the trials hold all.""",
    STAGES: """The stages of the study beside its trainings: the prepared data, spectra, fixed points, the feature table, the
predictor with its evidence and its registered model, and the report. The trainings are in the other experiment.""",
}


def of_task(task: str) -> tuple[View, ...]:
    """The views of one task: its trainings by place, with charts of the best against the worst, and spectra."""
    sections = {
        "Best blue, worst orange, diverged pink": list(_CURVES),
        "What decides the loss": [
            scatter(f"params.{LOG}learning_rate", "relative_loss", "Validation loss / chance by log10 of the learning rate"),
            scatter("exponent_1", "relative_loss", "Validation loss / chance by largest exponent"),
        ],
    }
    where = f"{_TRIAL} and tags.task = '{task}'"
    best = f"tags.standing = 'best' and tags.task = '{task}'"
    exponents = {"Exponents, in nats per step": [_SPECTRUM, _OVER_TIME]}
    return (
        View(f"task-{task}", f"{task}: best against worst", _TABLE, _PLACE, sections, where, ascending=True),
        View(f"spectra-{task}", f"{task}: spectra of the best trial", _TABLE, _PLACE, exponents, best, ascending=True),
    )


def tags(experiment: str) -> dict[str, str]:
    """Tags of an experiment: its description, its kind, which decides on the UI's mode, and its views."""
    own = {"mlflow.note.content": _NOTES[experiment], "mlflow.experimentKind": "custom_model_development"}
    return own | saved(VIEWS[experiment])


def saved(views: Iterable[View]) -> dict[str, str]:
    """Views as tags of their experiment."""
    return {f"{_VIEW}{view.key}": _saved(view) for view in views}


def stale(known: Mapping[str, str], offered: Mapping[str, str]) -> list[str]:
    """Tags of an experiment that are views of an earlier version of this library, which are not offered any more."""
    made = [tag for tag, value in known.items() if tag.startswith(_VIEW) and f'"createdAt": {_SINCE}' in value]
    return [tag for tag in made if tag not in offered and not tag.startswith((f"{_VIEW}task-", f"{_VIEW}spectra-"))]


def link(experiment: str, key: str, *, charts: bool = False) -> str:
    """The address of a view of an experiment with an id, after that of the UI."""
    query = {"workflowType": "machine_learning", "viewStateShareKey": key, "compareRunsMode": "CHART" if charts else "TABLE"}
    return f"#/experiments/{experiment}/runs?{urlencode(query)}"


def _saved(view: View) -> str:
    """The view as the UI stores it; no more than two charts are in a row, and the UI adds none of its own."""
    sections = [
        {"uuid": title, "name": title, "display": True, "isReordered": True, "columns": min(2, len(charts)), "cardHeight": 360}
        for title, charts in view.sections.items()
    ]
    charts = [
        {"uuid": f"{title} {place}", "metricSectionId": title, "deleted": False, "isGenerated": False, **chart}
        for title, charts in view.sections.items()
        for place, chart in enumerate(charts)
    ]
    drawn = {
        chart.get("metricKey") for chart in charts
    }  # the UI adds a chart of each metric that has none, not even a deleted one
    charts += [
        {"uuid": name, "type": "BAR", "metricKey": name, "metricSectionId": "", "deleted": True, "isGenerated": True}
        for name in OF_TRIALS
        if name not in drawn
    ]
    names = {"{}.`{}`".format(*column.split(".")): column.split(".")[1] for column in view.columns}
    state = {
        "searchFilter": view.where,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "selectedColumns": list(names),
        "runsHiddenMode": "SHOW_ALL",
        "columnWidths": {column: _WIDTHS.get(name, max(90, 30 + 7 * len(name))) for column, name in names.items()},
        "columnOrder": list(names),
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    } | ({"compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True} if view.sections else {})
    return json.dumps({"name": view.name, "createdAt": _SINCE, "updatedAt": _SINCE, "state": json.dumps(state)})
