"""The results of the last run for the repository's docs: `python -m pipeline.report.results` writes docs/results.md."""

from pathlib import Path

from ..core import config, layout
from ..core.errors import PipelineError
from ..core.files import save_bytes, save_text
from . import page, times
from .study import Study
from .templates import render

# Figure -> its name in docs; docs/regret.png is that of the packaged predictor.
FIGURES = {"regret": "searches", "additions": "additions", "spectra": "spectra"}


def main() -> None:
    """Write docs/results.md and its figures; those of another study than the default one are named after it."""
    study = Study.load(config.load())
    name = study.settings.study
    docs, prefix = Path("docs"), "" if name == "default" else f"{name}_"
    images = {figure: layout.FIGURES / f"{figure}.png" for figure in FIGURES}
    images = {figure: path for figure, path in images.items() if path.exists()}
    files = {figure: f"{prefix}{FIGURES[figure]}.png" for figure in images}
    for figure, path in images.items():
        save_bytes(docs / files[figure], path.read_bytes())
    text = render(
        "results.md.j2",
        study,
        images=files,
        facts=page.facts(study),
        times=times.table(times.recorded(study.settings.tasks)),
    )
    save_text(docs / f"{name if prefix else 'results'}.md", text)


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        raise SystemExit(f"ERROR: {error}") from None
