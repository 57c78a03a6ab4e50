"""The evidence about the packaged predictor for the docs: `python -m pipeline.report.card` writes docs/evidence.md."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..core.cards import Card
from ..core.errors import PipelineError
from ..core.files import save_bytes, save_text
from ..predictor import trials
from ..predictor.splits import CELLS, SCALE, TASKS, TRIALS
from . import evidence, findings, searches
from .figures import png
from .templates import filled

DRAWN = (TRIALS, CELLS, TASKS, SCALE)  # splits whose gains are described and drawn; the tables have all
DOCS = Path("docs")


def images(card: Card, added: Sequence[findings.Addition]) -> dict[str, bytes]:
    """The figures that a card allows, as PNG, by the names of their files."""
    found = {}
    if findings.savings(card.judgement):
        found["regret.png"] = png(searches.regret(card.judgement))
    if added:
        found["added.png"] = png(evidence.additions(added))
    return found


def main() -> None:
    """Write docs/evidence.md and its figures."""
    card = trials.card()
    added = [addition for addition in findings.additions(card.judgement) if addition.gain.split in DRAWN]
    made = images(card, added)
    for name, image in made.items():
        save_bytes(DOCS / name, image)
    about = {"card": card, "additions": added, "images": list(made), "shares": shares(trials.kept())}
    save_text(DOCS / "evidence.md", filled("card.md.j2", card.judgement, **about))


def shares(rows: pd.DataFrame) -> dict[str, float]:
    """Median time of measuring at one checkpoint, and of the spectrum, as shares of the time of the training."""
    return {name: float((rows[f"{name}_seconds"] / rows["training_seconds"]).median()) for name in ("measuring", "spectrum")}


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
