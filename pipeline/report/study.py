"""The whole study as the report sees it."""

from dataclasses import dataclass
from typing import Self

import pandas as pd

from ..core import layout
from ..core.cards import Card, Judgement
from ..core.config import Config
from ..core.files import array_files, load_table
from ..core.records import TaskData, TaskInfo, TrialFixedPoints, TrialResult, TrialSpectra, spectra_in, trials_in
from ..predictor import packaged


@dataclass(frozen=True)
class Study:
    """All results of a study.

    Attributes:
        settings: the sections of params.yaml that the report prints.
        tasks: name -> what the data are, in the order of params.yaml.
        trials, spectra: of all tasks and cells.
        fixed_points: of the best trial of each task and cell.
        table: the features, one row per trial and checkpoint.
        predictions: those of trials that were held out.
        judgement: the evidence about the predictor.
        card: that of the packaged trials, from which the predictor also learned.
    """

    settings: Config
    tasks: dict[str, TaskInfo]
    trials: list[TrialResult]
    spectra: list[TrialSpectra]
    fixed_points: list[TrialFixedPoints]
    table: pd.DataFrame
    predictions: pd.DataFrame
    judgement: Judgement
    card: Card

    @classmethod
    def load(cls, settings: Config) -> Self:
        """Read the results that lie in the working directory; ArtefactError if one is missing or damaged."""
        points = [path for task in settings.tasks for path in array_files(layout.fixed_points(task))]
        return cls(
            settings=settings,
            tasks={task: TaskData.info_of(layout.data(task)) for task in settings.tasks},
            trials=[result for task in settings.tasks for result in trials_in(layout.trials(task))],
            spectra=[measured for task in settings.tasks for measured in spectra_in(layout.spectra(task))],
            fixed_points=[TrialFixedPoints.load(path) for path in points],
            table=load_table(layout.FEATURES),
            predictions=load_table(layout.PREDICTIONS),
            judgement=Judgement.load(layout.EVIDENCE),
            card=Card.load(layout.PREDICTOR / packaged.CARD),
        )

    @property
    def titles(self) -> dict[str, str]:
        """Name -> title of each task."""
        return {name: info.title for name, info in self.tasks.items()}

    @property
    def final(self) -> pd.DataFrame:
        """The features at the final checkpoint, one row per trial."""
        return self.table[self.table["checkpoint"] == "final"]

    @property
    def outcomes(self) -> pd.DataFrame:
        """Outcomes of the trials, one row per task and cell in the order of params.yaml.

        Columns: task, cell, trials, diverged, successes, best_loss, chance, median_score.
        """
        order = [*self.settings.tasks, *self.settings.cells]
        groups = self.final.groupby(["task", "cell"])
        columns = {
            "trials": groups.size(),
            "diverged": groups["diverged"].sum(),
            "successes": groups["success"].sum(),
            "best_loss": groups["final_loss"].min(),
            "chance": groups["chance"].first(),
            "median_score": groups["score"].median(),
        }
        return pd.DataFrame(columns).reset_index().sort_values(["task", "cell"], key=lambda names: names.map(order.index))
