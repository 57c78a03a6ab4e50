"""One HTML page that stands alone."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ..artefacts import keep_only, replacing, save_text
from ..predictor import evaluation
from ..predictor.inputs import WITHOUT_SPECTRA
from . import findings
from .figures import png
from .plates import plates
from .study import Study, time_by_kind, trials_by_group

MEASURES = {"r2": "R2", "spearman": "Spearman", "auc": "AUC", "brier": "Brier"}
_SMALLER_IS_BETTER = ("brier",)


def write(study: Study, facts: Mapping[str, str], folder: Path) -> None:
    """Write index.html and figures/*.png; figures of an earlier report are removed.

    Args:
        study: all artefacts.
        facts: what to print about versions and origin, from `provenance.facts`.
        folder: report/.
    """
    gains = findings.gains(study.result)
    shown = {}
    for plate in plates(study, gains):
        image = png(plate.figure)
        with replacing(folder / "figures" / f"{plate.name}.png") as temporary:
            temporary.write_bytes(image)
        shown[plate.name] = {"alt": plate.alt, "caption": plate.caption, "data": base64.b64encode(image).decode()}
    keep_only(folder / "figures", [folder / "figures" / f"{name}.png" for name in shown])
    save_text(folder / "index.html", html(study, facts, gains, shown))


def html(study: Study, facts: Mapping[str, str], gains: pd.DataFrame, shown: Mapping[str, Mapping[str, str]]) -> str:
    """The page; `shown` holds alt, caption and data (base64) of each figure by name."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"signed": findings.signed, "number": number, "duration": duration}
    return environment.get_template("page.html.j2").render(
        **_finding(study, gains),
        **_tables(study),
        study=study,
        settings=study.settings,
        titles=study.titles,
        facts=facts,
        figures=shown,
    )


def evidence_tables(table: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Split -> rows by falling R2: features, spectral, and measures of value, low, high and whether it is the best."""
    found = {}
    for split in dict.fromkeys(row["split"] for row in table):
        rows = _by_r2(table, split)
        best = {m: _best([r[m] for r in rows], m) for m in MEASURES}
        found[split] = [
            {
                "features": row["features"],
                "spectral": row["features"] not in WITHOUT_SPECTRA,
                "measures": [_measure(row, m, best[m]) for m in MEASURES],
            }
            for row in rows
        ]
    return found


def group_tables(table: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, tuple[list[str], list[dict[str, Any]]]]:
    """Split -> the parts left out, and rows of a set's R2 and Spearman in each; only splits that leave a part out.

    The parts come as in `order`.
    """
    found = {}
    for split in dict.fromkeys(row["split"] for row in table if row["by_group"]):
        rows = _by_r2(table, split)
        names = sorted({name for row in rows for name in row["by_group"]}, key=list(order).index)
        best = {name: _best([row["by_group"].get(name, {}).get("r2") for row in rows], "r2") for name in names}
        found[split] = (
            names,
            [
                {
                    "features": row["features"],
                    "spectral": row["features"] not in WITHOUT_SPECTRA,
                    "groups": [_group(row["by_group"].get(name, {}), best[name]) for name in names],
                }
                for row in rows
            ],
        )
    return found


def parameters(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Full key path and value of every setting."""
    rows = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += parameters(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)))
    return rows


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign; "none" where there is none."""
    if value is None or value != value:
        return "none"
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def duration(value: float) -> str:
    """Seconds in a unit that suits them."""
    return f"{value / 3600:.1f} h" if value >= 5400 else f"{value / 60:.1f} min" if value >= 90 else f"{value:.1f} s"


def _finding(study: Study, gains: pd.DataFrame) -> dict[str, Any]:
    champion = study.result["champion"]
    return {
        "headline": findings.headline(study.result),
        "verdict": evaluation.verdict(champion),
        "sentences": findings.sentences(gains),
        "consistency": findings.consistency(gains),
        "ranking": findings.ranking(study.result["table"]),
        "codes": findings.codes(study.result["table"]),
        "strongest": findings.strongest(study.result["table"]),
        "everything": next(row for row in study.result["table"] if row["features"] == "all"),
        "champion": champion,
    }


def _tables(study: Study) -> dict[str, Any]:
    order = [*study.settings.tasks, *study.settings.cells]
    groups = trials_by_group(study.table).sort_values(["task", "cell"], key=lambda names: names.map(order.index))
    final = study.final
    return {
        "groups": {task: rows.to_dict("records") for task, rows in groups.groupby("task", sort=False)},
        "extremes": " ".join(findings.never(groups, study.titles)),
        "trials": len(final),
        "successes": int(final["success"].sum()),
        "diverged": int(final["diverged"].sum()),
        "evidence": evidence_tables(study.result["table"]),
        "by_group": group_tables(study.result["table"], [*study.settings.cells, *study.settings.tasks]),
        "measures": MEASURES,
        "times": time_by_kind(study.timings, study.settings).to_dict("records"),
        "parameters": parameters(study.settings.model_dump()),
    }


def _measure(row: Mapping[str, Any], name: str, best: float | None) -> dict[str, Any]:
    value = row[name]
    return {"value": value, "low": row[f"{name}_low"], "high": row[f"{name}_high"], "best": value is not None and value == best}


def _group(measures: Mapping[str, float | None], best: float | None) -> dict[str, Any]:
    value = measures.get("r2")
    return {"r2": value, "spearman": measures.get("spearman"), "best": value is not None and value == best}


def _by_r2(table: Sequence[Mapping[str, Any]], split: str) -> list[Mapping[str, Any]]:
    """A split's rows by falling R2, the undefined last."""
    return sorted((row for row in table if row["split"] == split), key=lambda row: (row["r2"] is None, -(row["r2"] or 0)))


def _best(values: Sequence[float | None], name: str) -> float | None:
    defined = [v for v in values if v is not None]
    return (min if name in _SMALLER_IS_BETTER else max)(defined, default=None)
