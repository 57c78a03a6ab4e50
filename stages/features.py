"""Makes the feature table of all trials: `python -m stages.features`."""

from pipeline.core import layout, stage
from pipeline.core.files import save_table
from pipeline.core.records import measurements_in, spectra_in, trials_in
from pipeline.predictor import feature_table, plots


def main(run: stage.Run) -> None:
    """Write features/features.parquet, the same as CSV, and the tables of plots/, and print a summary."""
    tasks = run.settings.tasks
    trials = [trial for task in tasks for trial in trials_in(layout.trials(task))]
    spectra = [spectrum for task in tasks for spectrum in spectra_in(layout.spectra(task))]
    measurements = [found for task in tasks for found in measurements_in(layout.measurements(task))]
    table = feature_table.table(trials, spectra, measurements, run.settings.success.threshold)
    save_table(layout.FEATURES, table)
    save_table(layout.FEATURES_CSV, table)
    save_table(layout.CURVES, plots.curves(table))
    save_table(layout.EXPONENTS, plots.exponents(table))
    print(feature_table.summary(table))


if __name__ == "__main__":
    stage.main(main, sections=("tasks", "success"))
