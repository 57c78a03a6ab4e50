"""Makes the feature table of all trials: `python -m stages.features`."""

from pathlib import Path

from pipeline import config, stage
from pipeline.artefacts import save_table, spectra_in, trials_in
from pipeline.predictor import features


def main() -> None:
    """Write features/features.parquet and features/features.csv."""
    settings = config.load()
    pairs = [f"{task}-{cell}" for task in settings.tasks for cell in settings.cells]
    trials = [t for pair in pairs for t in trials_in(Path("trials") / pair)]
    spectra = [s for pair in pairs for s in spectra_in(Path("spectra") / pair)]
    table = features.table(trials, spectra, settings.success.threshold)
    save_table(Path("features/features.parquet"), table)
    save_table(Path("features/features.csv"), table)
    print(features.summary(table))


if __name__ == "__main__":
    stage.main(main)
