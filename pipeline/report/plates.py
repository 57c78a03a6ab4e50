"""The page's figures, each with its caption and a text for those who cannot see it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from ..predictor.evaluation import SPLITS
from ..predictor.inputs import WITHOUT_SPECTRA
from . import bands, durations, dynamics, evidence, findings
from .figures import DEEPEST, LINEAR
from .study import Study, timing_rows


@dataclass(frozen=True)
class Plate:
    """A figure; `name` is that of its file."""

    name: str
    figure: Figure
    alt: str
    caption: str


def plates(study: Study, gains: pd.DataFrame) -> Iterator[Plate]:
    """All figures that the study's data allow."""
    yield from _dynamics(study)
    yield from _evidence(study, gains)
    rows = timing_rows(study.timings, study.settings)
    if len(rows):
        yield Plate(
            "time", durations.time_spent(rows, study.settings.cells),
            "Bars of the wall time of each kind of stage, split by cell.",
            "Wall time of each kind of stage, split by instance and, where cells are few, coloured by cell.",
        )  # fmt: skip


def _dynamics(study: Study) -> Iterator[Plate]:
    settings, titles, cells = study.settings, study.titles, study.settings.cells
    yield Plate(
        "spectra", bands.spectra_by_cell(study.table, cells),
        "Small panels, one a cell: medians and middle halves of spectra before training and at the end.",
        "Where the spectra of each cell lie: the median over its trials and, shaded, the middle half, of the exponent at each "
        "relative rank (0 the largest, 1 the smallest). Cells are sorted by their median largest exponent at the end. A line "
        "that stays near 0 belongs to directions that are remembered; the further below, the sooner they are forgotten.",
    )  # fmt: skip
    success = dict(zip(study.final["trial"], study.final["success"].astype(bool), strict=True))
    for checkpoint, when in (
        ("early", f"after epoch {settings.train.early_epoch}, as the predictor sees them"),
        ("final", "at the end of training"),
    ):
        yield Plate(
            f"spectra_{checkpoint}", dynamics.spectra(study.spectra, success, checkpoint, titles, cells),
            f"Spectra {when} in a grid of panels by task and cell, coloured by success and failure.",
            f"The spectra of all trials {when}, one line a network, largest exponent at the left. The axis is linear within "
            f"{LINEAR:g} of 0 and logarithmic beyond; lines that leave at the bottom go below {DEEPEST:.0f} or to minus "
            f"infinity (a direction that is lost). Compare where the blue lines begin with where the others do.",
        )  # fmt: skip
    yield Plate(
        "training", dynamics.training_curves(study.trials, study.table, titles, cells, settings.success.threshold),
        "Validation losses over epochs in a grid of panels by task and cell, coloured by success and failure.",
        "Validation loss of all trials relative to chance. A trial is a success if it ends below the dotted line, which is "
        "the same for all cells of a task. Losses far above chance leave at the top; a line that ends early diverged.",
    )  # fmt: skip
    yield Plate(
        "largest_exponent", dynamics.largest_exponent(study.table, titles, cells),
        "Above, the largest exponent of each trial at three checkpoints; below, scores against it at the early checkpoint.",
        "Above: the largest exponent of each trial before, early in and after training. Below: the score that a trial "
        "reaches in the end against its largest exponent early on. Right of 0 perturbations grow; far to the left they die.",
    )  # fmt: skip


def _evidence(study: Study, gains: pd.DataFrame) -> Iterator[Plate]:
    if len(gains):
        yield Plate(
            "additions", evidence.additions(gains),
            "Dots with intervals: change of R2 when spectra are added to three sets of inputs, under each split.",
            "What spectra add to what else is known, on trials that were held out. Right of 0 the spectra help. "
            f"{findings.quoted('all but spectra')} is hyper-parameters, size, early loss and early gradient norms together. "
            f"Where spectra did nothing, at least one interval in twenty would still lie beside 0.",
        )  # fmt: skip
    table = pd.DataFrame(study.result["table"]).assign(with_spectra=lambda rows: ~rows["features"].isin(WITHOUT_SPECTRA))
    measures = ["r2", "r2_low", "r2_high"]
    yield Plate(
        "strength", evidence.strength(table.astype(dict.fromkeys(measures, float))),
        "Dots with intervals: R2 of each set of inputs under each split, sets with spectra above, those without below.",
        "How well the score is predicted from each set of inputs; the best value of each column is bold. Sets with spectra stand "
        "above, those without below; the dashed line marks the best of those without. 1 is perfect, 0 no better than the mean.",
    )  # fmt: skip
    yield from _answers(study)
    spectral = [row["family"] for row in study.result["looks_at"] if "spectrum" in row["family"]]
    yield Plate(
        "looks_at", evidence.looks_at(study.result["looks_at"], spectral),
        "Dots with spreads: fall of R2 when each family of inputs is shuffled.",
        "How much R2 falls when one family of inputs is shuffled among held-out trials (all inputs, split over trials). "
        "Families share information, so a small fall does not mean that a family knows nothing.",
    )  # fmt: skip


def _answers(study: Study) -> Iterator[Plate]:
    everything = study.predictions[study.predictions["features"] == "all"]
    everything = everything.assign(split=pd.Categorical(everything["split"], SPLITS)).sort_values("split")
    known = everything[everything["split"] == SPLITS[0]]
    within = {str(task): findings.r2(part) for task, part in known.groupby("task")}
    yield Plate(
        "predictions", evidence.predictions(known, within, study.titles, study.settings.cells, study.settings.success.threshold),
        "Scatter of true against predicted scores, a panel a task, coloured by cell.",
        f"Each dot is a trial that the predictor (all inputs, split over trials) had not seen. On the diagonal it is right. "
        f"R2 over all tasks is {_number(findings.r2(known))}; within a task it differs, as printed.",
    )  # fmt: skip
    bins = evidence.reliability(known["probability"].to_numpy(float), known["success"].to_numpy(bool))
    yield Plate(
        "calibration", evidence.calibration(everything),
        "Shares of successes against predicted probabilities with intervals, a column a split.",
        f"Trials are grouped by their predicted probability of success (all inputs). If the predictor is honest, dots lie on the "
        f"diagonal: over trials {findings.calibrated(bins)}. Intervals are Wilson's.",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
