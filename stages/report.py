"""Writes the report: `python -m stages.report`."""

import time
from pathlib import Path

from pipeline import config, stage, tracking
from pipeline.artefacts import TaskData, digest, load_json, load_table, spectra_in, trials_in
from pipeline.report import page, provenance
from pipeline.report.study import Study, time_text, timings_in


def main() -> dict[str, float]:
    """Write report/index.html and report/figures/, and say where the time went."""
    began = time.time()
    settings = config.load()
    pairs = [f"{task}-{cell}" for task in settings.tasks for cell in settings.cells]
    result = Path("metrics/predictor.json")
    study = Study(
        settings=settings,
        tasks={task: TaskData.load(Path("data") / f"{task}.safetensors").about for task in settings.tasks},
        trials=[t for pair in pairs for t in trials_in(Path("trials") / pair)],
        spectra=[s for pair in pairs for s in spectra_in(Path("spectra") / pair)],
        table=load_table(Path("features/features.parquet")),
        predictions=load_table(Path("predictor/predictions.parquet")),
        result=load_json(result),
        timings=timings_in(stage.TIMINGS, began),
    )
    with tracking.stage_run("report", settings=settings, parts=[digest(result)]) as run:
        page.write(study, provenance.facts(study.trials), Path("report"))
        run.record(tracking.reported(Path("report/index.html")))
    print(time_text(timings_in(stage.TIMINGS, began, run.seconds), settings), run, sep="\n")
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main, timed=False)  # it reads the folder of timings, and tells its own time itself
