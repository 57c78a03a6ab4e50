"""Fits and judges the predictor: `python -m stages.predictor`."""

from pathlib import Path

import pandas as pd

from pipeline import config, execution, stage, tracking
from pipeline.artefacts import digest, load_table, save_json, save_table
from pipeline.predictor import StabilityPredictor, evaluation, inputs


def main() -> dict[str, float]:
    """Write predictor/ (model.skops, about.json, predictions.parquet) and metrics/predictor.json."""
    settings = config.load()
    features, folder = Path("features/features.parquet"), Path("predictor")
    rows = inputs.trial_inputs(load_table(features))
    with tracking.stage_run("predictor", settings=settings, parts=[digest(features)]) as run:
        folds = evaluation.folds(rows, settings.predictor, settings.seed)
        every = execution.process_count("auto")  # it runs alone, whatever sweeps side by side are allowed
        fitted = execution.run(evaluation.fit_fold, folds, processes=every)
        predictions = pd.concat(fitted).sort_values(["split", "features", "trial"], ignore_index=True)
        result = evaluation.summarise(predictions, settings.predictor, settings.seed)
        model = StabilityPredictor.fit(rows, result["table"], settings.success.threshold, settings.predictor, settings.seed)
        model.save(folder)
        save_table(folder / "predictions.parquet", predictions)
        save_json(Path("metrics/predictor.json"), result)
        run.predictor(folder, features, result)
    print(evaluation.text(result), run, sep="\n")
    return {"tracking_seconds": run.seconds}


if __name__ == "__main__":
    stage.main(main)
