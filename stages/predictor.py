"""Fits and judges the predictor: `python -m stages.predictor`."""

from pipeline.core import layout, stage
from pipeline.core.files import load_table, save_json, save_table
from pipeline.predictor import StabilityPredictor, evidence, folds, inputs


def main(run: stage.Run) -> None:
    """Write predictor/ and metrics/predictor.json, and print the evidence."""
    settings, seed = run.settings.predictor, run.settings.seed
    rows = inputs.trial_inputs(load_table(layout.FEATURES))
    predictions, judgement = evidence.judge(folds.folds(rows, settings, seed), settings, seed, run.executor())
    predictor = StabilityPredictor.fit(rows, judgement, run.settings.success.threshold, settings, seed)
    predictor.save(layout.PREDICTOR)
    judgement.save(layout.EVIDENCE)
    save_table(layout.PREDICTIONS, predictions)
    save_json(layout.METRICS, evidence.metrics(judgement))
    print(evidence.text(judgement))


if __name__ == "__main__":
    stage.main(main, sections=("seed", "success", "predictor"))
