"""Fills the templates of this folder: they hold the prose, and ask `findings` and `tables` for what it depends on."""

import base64
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..core.cards import Judgement
from ..core.tables import Table, number, signed, with_interval
from ..predictor.evidence import verdict
from ..predictor.search import MEASUREMENTS_COST, SPECTRUM_COST
from ..predictor.splits import SLACK
from . import findings, tables
from .study import Study


def render(name: str, study: Study, **further: Any) -> str:
    """A template filled with a study and further values; text of the data is escaped in a name.html.j2."""
    return filled(name, study.judgement, study=study, settings=study.settings, **further)


def filled(name: str, judgement: Judgement, **further: Any) -> str:
    """A template filled with the evidence about a predictor and further values."""
    template = environment(html=name.endswith(".html.j2")).get_template(name)
    return template.render(judgement=judgement, verdict=verdict(judgement), findings=findings, tables=tables, **further)


def headline(judgement: Judgement) -> str:
    """What came out, in a few sentences."""
    macro = environment(html=False).get_template("findings.j2").module.headline  # type: ignore[attr-defined]
    return " ".join(str(macro(findings.savings(judgement), findings.spectral(judgement))).split())


def environment(*, html: bool) -> jinja2.Environment:
    """The templates, with the filters that print numbers and tables."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    made = jinja2.Environment(
        loader=loader,
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "signed": signed, "with_interval": with_interval}
    made.globals |= {"when": findings.when, "where": findings.where}
    made.globals |= {"costs": (MEASUREMENTS_COST, SPECTRUM_COST), "reference": findings.REFERENCE, "near": findings.NEAR}
    made.globals |= {"small": findings.SMALL, "little": findings.LITTLE, "slack": SLACK}
    made.filters |= {"percent": _percent, "html": _html, "markdown": Table.markdown, "italics": _italics, "base64": _base64}
    return made


def _html(table: Table) -> Markup:
    return Markup(table.html())  # which escapes what is in it


def _italics(text: str) -> Markup:
    """HTML of a sentence in which *words* are emphasised."""
    return Markup(re.sub(r"\*([^*]+)\*", r"<i>\1</i>", str(escape(text))))


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
