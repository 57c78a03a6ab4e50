"""Makes the feature table of all trials: `python -m stages.features`."""

from pathlib import Path

from pipeline import config, stage, tracking
from pipeline.artefacts import save_table, spectra_in, trials_in
from pipeline.predictor import features


def main() -> dict[str, float]:
    """Write features/features.parquet and features/features.csv."""
    settings = config.load()
    pairs = [f"{task}-{cell}" for task in settings.tasks for cell in settings.cells]
    measured = [Path("spectra") / pair for pair in pairs]
    with tracking.stage_run("features", settings=settings, parts=tracking.files(*measured)) as run:
        trials = [t for pair in pairs for t in trials_in(Path("trials") / pair)]
        spectra = [s for folder in measured for s in spectra_in(folder)]
        table = features.table(trials, spectra, settings.success.threshold)
        save_table(Path("features/features.parquet"), table)
        save_table(Path("features/features.csv"), table)
        run.record(tracking.tabulated(Path("features/features.parquet")))
    print(features.summary(table), run, sep="\n")
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
