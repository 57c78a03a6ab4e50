"""What the UI shows first: each experiment's description and saved views, and the links that open them.

By itself, MLflow's UI hides the columns of metrics and parameters and draws one chart per metric. A saved view is a tag of
the experiment that the UI reads, with the columns, the order and the charts that answer the study's questions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from ..core.hyper_parameters import DECLARED, NUMBERS
from ..core.records import CHECKPOINTS

TRIALS, STAGES, MODEL = "rnn-stability trials", "rnn-stability stages", "rnn-stability"
_SINCE = 1_700_000_000_000  # a view's date is part of the tag; fixed, so that the tag changes only with the view


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        key: its part of the address.
        name: in the menu of saved views.
        columns: of the table, such as "metrics.score" or "params.cell".
        order: what to sort by, descending, as the UI writes it; since the UI draws the first hundred runs alone, a view
            of all trials sorts them by their seed, which is no order.
        sections: title -> charts; a view with charts opens them instead of the table.
        where: filter of runs.
        drawn: which runs the charts show at first, as the UI names them.
    """

    key: str
    name: str
    columns: Sequence[str]
    order: str
    sections: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    where: str = ""
    drawn: str = "SHOW_ALL"


def line(metric: str, **options: Any) -> dict[str, Any]:
    """A chart of a metric over its steps, one line per run."""
    plain = {"lineSmoothness": 0, "useGlobalLineSmoothing": False, "xAxisKey": "step", "useGlobalXaxisKey": True}
    return {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], **plain, **options}


def scatter(x: str, y: str, title: str) -> dict[str, Any]:
    """A chart of two metrics with one dot per run."""
    axes = {name: {"key": metric, "type": "METRIC"} for name, metric in (("xaxis", x), ("yaxis", y))}
    return {"type": "SCATTER", **axes, "displayName": title, "runsCountToCompare": 1000}


def parallel(params: Sequence[str], metrics: Sequence[str], title: str) -> dict[str, Any]:
    """A chart with one polyline per run over parallel axes."""
    return {"type": "PARALLEL", "selectedParams": params, "selectedMetrics": metrics, "displayName": title, "showAllRuns": True}


_MEASURES = (
    "score",
    "expected_score",
    "probability_of_success",
    "probability_of_success_before_training",
    "success",
    "diverged",
    "test_metric",
    "exponent_1",
)
_TABLE = (*(f"metrics.{name}" for name in _MEASURES), *(f"params.{name}" for name in DECLARED))
_SPECTRA = {
    "Spectra: nats per step by number of the exponent": [line(f"spectrum/{name}") for name in CHECKPOINTS],
    "Summaries by epoch": [line(name, displayPoints=True) for name in ("exponent_1", "kaplan_yorke_dimension", "lost_count")],
}
_CURVES = {
    "Learning": [*(line(name, scaleType="log") for name in ("validation_loss", "train_loss")), line("validation_metric")],
    "Gradients": [line(name, scaleType="log") for name in ("gradient_norm", "gradient_norm_max")],
}
_SUCCESS = {
    "Which trainings succeed": [
        scatter("expected_score", "score", "score: expected (x) and reached (y)"),
        scatter("exponent_1", "score", "score by largest exponent at the end"),
        parallel(list(NUMBERS), ["exponent_1", "score"], "hyper-parameters, largest exponent, score"),
    ],
}
_SPLITS, _ASKED = ("over_trials", "one_cell_left_out", "one_task_left_out"), ("before_training", "one_epoch")
_EVIDENCE = (
    *(f"metrics.{split}/{asked}/{m}" for split in _SPLITS for asked in _ASKED for m in ("auc", "auc_rival", "brier")),
    "metrics.gain_brier",
    "metrics.gain_hypervolume",
    "tags.champion",
)
_STAGE = ("tags.stage", "tags.task", "metrics.trials", "metrics.diverged", "metrics.stage_seconds", "attributes.Duration")
_BEST, _NEWEST, _FEW = "metrics.`score`", "attributes.start_time", "FIRST_20_RUNS"
VIEWS = {
    TRIALS: (
        View("trials", "Trials, best first", _TABLE, _BEST),
        View("diverged", "Trials that diverged", _TABLE, "metrics.`diverged`", where="metrics.diverged = 1"),
        View("spectra", "Spectra", _TABLE, _BEST, _SPECTRA, drawn=_FEW),
        View("curves", "Learning curves", _TABLE, _BEST, _CURVES, drawn=_FEW),
        View("success", "What makes a trial succeed", _TABLE, "params.`seed`", _SUCCESS),
    ),
    STAGES: (
        View("stages", "Stages", _STAGE, _NEWEST),
        View("evidence", "The predictor's evidence", _EVIDENCE, _NEWEST, where="tags.stage = 'predictor'"),
    ),
}
_NOTES = {
    TRIALS: """Every trial of the study: a recurrent network with its hyper-parameters, its learning curves, its outcome, and
its Lyapunov spectra before training, at the early checkpoint and after training. The menu of saved views offers the trials
as a table, their spectra, their learning curves, and what makes a trial succeed.

`score` is the share of the gap between chance and the best trial of the task that the training closed; `expected_score` and
`probability_of_success` are the answers, after one epoch, of a predictor that had not seen the trial, and the same names with
`_before_training` those before it. Exponents are in nats per step.""",
    STAGES: """Every stage of the study: the prepared data, the sweeps with their spectra and fixed points, the feature table,
the predictor with its evidence and its registered model, and the report. The trials are in the other experiment.""",
}


def tags(experiment: str) -> dict[str, str]:
    """Tags of an experiment: its description, its kind, which decides on the UI's mode, and its views."""
    views = {f"mlflow.sharedViewState.{view.key}": _saved(view) for view in VIEWS[experiment]}
    return {"mlflow.note.content": _NOTES[experiment], "mlflow.experimentKind": "custom_model_development", **views}


def page(experiments: Mapping[str, str], base: str) -> str:
    """The links to all views of the UI at `base`, human-readable; `experiments` maps names to ids."""
    links = {}
    for name, number in experiments.items():
        for view in VIEWS[name]:
            mode = "CHART" if view.sections else "TABLE"
            query = {"workflowType": "machine_learning", "viewStateShareKey": view.key, "compareRunsMode": mode}
            links[view.name] = f"{base}/#/experiments/{number}/runs?{urlencode(query)}"
    links["The registered predictor"] = f"{base}/#/models/{MODEL}"
    return "\n".join(f"{name}:\n  {link}" for name, link in links.items())


def _saved(view: View) -> str:
    """The view as the UI stores it."""
    sections = [{"uuid": title, "name": title, "display": True, "isReordered": True} for title in view.sections]
    charts = [
        {"uuid": f"{title} {place}", "metricSectionId": title, "deleted": False, "isGenerated": False, **chart}
        for title, charts in view.sections.items()
        for place, chart in enumerate(charts)
    ]
    names = {"{}.`{}`".format(*column.split(".")): column.split(".")[1] for column in view.columns}
    state = {
        "searchFilter": view.where,
        "orderByKey": view.order,
        "orderByAsc": False,
        "selectedColumns": list(names),
        "runsHiddenMode": view.drawn,
        "columnWidths": {column: max(90, 30 + 7 * len(name)) for column, name in names.items()},
        "columnOrder": list(names),
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    } | ({"compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True} if charts else {})
    return json.dumps({"name": view.name, "createdAt": _SINCE, "updatedAt": _SINCE, "state": json.dumps(state)})
