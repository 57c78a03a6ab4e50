"""Judges and saves the predictor: `python -m stages.predictor`."""

from pipeline.core import layout, stage
from pipeline.core.files import load_table, save_json, save_table
from pipeline.predictor import StabilityPredictor, conclusion, study, trials


def main(run: stage.Run) -> None:
    """Write predictor/ and metrics.json, and print the conclusion."""
    rows, known = trials.trial_inputs(load_table(layout.FEATURES)), trials.learned_from(trials.kept())
    packaged = StabilityPredictor.load()
    answers, judgement = study.judge(
        rows, known, packaged.card, run.settings.predictor.bootstrap, run.settings.seed, run.executor
    )
    packaged.update(study.own(rows)).save(layout.PREDICTOR)
    judgement.save(layout.EVIDENCE)
    save_table(layout.PREDICTIONS, answers)
    save_json(layout.METRICS, conclusion.metrics(judgement))
    print(conclusion.text(judgement))


if __name__ == "__main__":
    stage.main(main, sections=("seed", "predictor"))
