"""What a stage's run shows of its artefacts. Nothing here talks to a store."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..artefacts import TaskData, TrialFixedPoints, digest, load_table
from .trials import Point, finite


@dataclass(frozen=True)
class Source:
    """A dataset that a run used.

    Attributes:
        name, digest: tell it from others.
        place: where it is from.
        schema, profile: what is in it, as JSON.
    """

    name: str
    digest: str
    place: str
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True)
class Content:
    """What a stage's run shows.

    Attributes:
        digest: of the artefacts; a run that carries it already is left as it is.
        metrics: by name; None and what is not finite is left out.
        note: its description, in Markdown.
        tags: as text.
        sources: datasets.
        files: artifact folder -> files to log into it.
        tables: artifact file (.json) -> a table that the UI shows.
    """

    digest: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Source] = ()
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """The metrics that are numbers."""
        return finite((name, float(value), 0) for name, value in self.metrics.items() if value is not None)


def prepared(data: TaskData) -> Content:
    """A task's data: sizes, chance, source, licence."""
    about = data.about
    counts = {f"{split}_sequences": count for split, count in about["sequences"].items()}
    sizes = {name: about[name] for name in ("steps", "input_size", "output_size")}
    return Content(
        digest=about["hash"][:12],
        metrics={**counts, **sizes, "chance": about["chance"]},
        note=f"**{about['title']}.** {about['description']}\n\n```\n{data.summary()}\n```",
        tags={"task": about["task"], "source": about["source"], "licence": about["licence"], "data.hash": about["hash"]},
        sources=[Source(about["task"], about["hash"][:12], about["source"], profile=json.dumps({**counts, **sizes}))],
    )


def swept(tracked: Sequence[tuple[str, Mapping[str, float]]]) -> Content:
    """A sweep: digests and figures of its trials, of which it shows how many diverged, and the medians of the others."""
    marks, figures = zip(*sorted(tracked, key=lambda item: item[0]), strict=True)
    table = pd.DataFrame(list(figures))
    diverged = table.pop("diverged")
    medians = {f"median_{name}": table[name].median() for name in table}
    best = {f"best_{name}": table[name].min() for name in map(str, table) if name.endswith("loss")}
    note = f"{len(table)} trials, {int(diverged.sum())} of them diverged."
    return Content(
        hashlib.sha256("".join(marks).encode()).hexdigest()[:12],
        {"trials": len(table), "diverged": diverged.sum(), **medians, **best},
        note,
    )


def located(path: Path) -> Content:
    """The fixed points of a task's and a cell's best trial, and their picture, which lies beside the file."""
    found = TrialFixedPoints.load(path)
    metrics = {f"{held}/{name}": value for held, row in found.figures.items() for name, value in row.items()}
    counts = [
        f"- input {held}: fixed points {row['fixed_points']}, stable {row['stable']}" for held, row in found.figures.items()
    ]
    return Content(
        digest=digest(path),
        metrics={name: value for name, value in metrics.items() if not isinstance(value, list)},
        note="\n".join(
            [f"Where the best trial's network, `{found.trial['id']}`, stands still under a constant input:", "", *counts]
        ),
        tags={"trial.id": found.trial["id"]},
        files={"": [path, path.with_suffix(".png")]},
    )


def tabulated(path: Path) -> Content:
    """The feature table: how many trials succeeded and diverged, by task and cell."""
    table = load_table(path)
    trials = table[table["checkpoint"] == "final"]
    counts = trials.groupby(["task", "cell"]).agg(
        trials=("trial", "size"), diverged=("diverged", "sum"), successes=("success", "sum"), best_loss=("final_loss", "min")
    )
    shares = {f"success_share/{task}": float(part["success"].mean()) for task, part in trials.groupby("task")}
    whole = {"trials": len(trials), "successes": int(trials["success"].sum()), "diverged": int(trials["diverged"].sum())}
    return Content(
        digest=digest(path),
        metrics={**whole, **shares},
        note=markdown(counts.reset_index()),
        sources=[_table_source(path, table)],
        files={"": [path, path.with_suffix(".csv")]},
    )


def predicted(result: Mapping[str, Any], folder: Path, features: Path, said: str) -> Content:
    """The predictor's evidence.

    Args:
        result: what metrics/predictor.json holds.
        folder: of the predictor, with predictions.parquet.
        features: the feature table that it learned from.
        said: whether the spectra help, in one sentence.
    """
    table = pd.DataFrame(result["table"])
    champion = result["champion"]
    headline = {f"{_key(split)}/{measure}": value for split, row in result["all"].items() for measure, value in row.items()}
    rivals = {
        f"{_key(row['split'])}/{measure}_without_spectra": row[measure]
        for row in result["table"]
        if row["features"] == champion["rival"]
        for measure in ("r2", "spearman", "auc", "brier")
    }
    gain = {name: champion[name] for name in ("gain_r2", "gain_r2_low", "gain_r2_high")}
    return Content(
        digest=digest(folder / "predictions.parquet", folder / "about.json"),
        metrics=headline | rivals | gain | {"beats_rival": float(champion["beats_rival"])},
        note="\n\n".join([said, evidence(result["table"]), *additions(result.get("gains", []))]),
        tags={"rival": champion["rival"], "champion": "yes" if champion["beats_rival"] else "no"},
        sources=[_table_source(features, load_table(features))],
        files={"": [folder / "predictions.parquet"]},
        tables={"evidence.json": table.drop(columns=["by_group", "models"], errors="ignore")},
    )


def reported(page: Path) -> Content:
    """The study's page, and the figures in the folder beside it."""
    figures = sorted((page.parent / "figures").glob("*.png"))
    note = f"The whole study as one page: the artifact `{page.name}`."
    return Content(digest=digest(page), note=note, files={"": [page], "figures": figures})


def evidence(rows: Iterable[Mapping[str, Any]]) -> str:
    """The evidence as Markdown: R2 of the score, with its 95 % interval, by inputs and split."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        shown = "" if row["r2"] is None else f"{row['r2']:.2f} ({_two(row['r2_low'])} to {_two(row['r2_high'])})"
        cells.setdefault(row["features"], {})[row["split"]] = shown
    table = pd.DataFrame.from_dict(cells, orient="index").fillna("").rename_axis("seen by the predictor").reset_index()
    return "R2 of the score on trials that were held out, with 95 % intervals:\n\n" + markdown(table)


def additions(gains: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the spectra add to what else is known, as Markdown."""
    if gains:
        shown = pd.DataFrame(gains)[["split", "without", "with", "gain_r2", "gain_r2_low", "gain_r2_high"]]
        yield "What is added to R2 by seeing more, with 95 % intervals:\n\n" + markdown(shown)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [list(table.columns), ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row) + " |" for row in rows)


def _table_source(path: Path, table: pd.DataFrame) -> Source:
    kinds = {str(column): str(kind) for column, kind in table.dtypes.items()}
    profile = json.dumps({"rows": len(table), "columns": table.shape[1]})
    return Source(path.stem, digest(path), path.as_posix(), json.dumps(kinds)[:60000], profile)


def _key(split: str) -> str:
    return split.replace(" ", "_")


def _two(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
