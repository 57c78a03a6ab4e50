"""Fits and judges the predictor: `python -m stages.predictor`."""

from pathlib import Path

import pandas as pd

from pipeline import config, execution, stage
from pipeline.artefacts import load_table, save_json, save_table
from pipeline.predictor import StabilityPredictor, evaluation, inputs


def main() -> None:
    """Write predictor/ (model.skops, about.json, predictions.parquet) and metrics/predictor.json."""
    settings = config.load()
    rows = inputs.trial_inputs(load_table(Path("features/features.parquet")))
    folds = evaluation.folds(rows, settings.predictor, settings.seed)
    fitted = execution.run(evaluation.fit_fold, folds, processes=execution.process_count(settings.processes))
    predictions = pd.concat(fitted).sort_values(["split", "features", "trial"], ignore_index=True)
    result = evaluation.summarise(predictions, settings.predictor, settings.seed)
    model = StabilityPredictor.fit(rows, result["table"], settings.success.threshold, settings.predictor, settings.seed)
    model.save(Path("predictor"))
    save_table(Path("predictor/predictions.parquet"), predictions)
    save_json(Path("metrics/predictor.json"), result)
    print(evaluation.text(result))


if __name__ == "__main__":
    stage.main(main)
