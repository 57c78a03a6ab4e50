"""What is known about a predictor: its evidence, and the card that goes with its trials; no stage but the predictor's writes it.

Nothing here needs pydantic or pandas, so that the predictor runs where only the library is installed.
"""

from dataclasses import dataclass, replace
from typing import Any

from .written import JsonRecord

_SHOWN = {"auc": "AUC", "brier": "Brier score", "calibration_error": "calibration error"}


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where the data do not define it."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        return f"{self.value:.2f}" + ("" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})")


@dataclass(frozen=True)
class Recipe:
    """Which models are fitted to one set of inputs.

    Attributes:
        columns: those of the set.
        score_kind, success_kind: kinds of models.
        calibration: (a, b); the logit of the probability of success is a + b times the logit of the models.
    """

    columns: tuple[str, ...]
    score_kind: str
    success_kind: str
    calibration: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """How well one set of inputs predicts trials that were held out, at one moment.

    Attributes:
        split: how they were held out.
        moment: when the predictor is asked.
        inputs: name of the set.
        trials: number of trials.
        measures: name of a measure -> its estimate.
        by_group: part that was left out -> name of a measure -> its value; empty for the split over trials.
        kinds: kinds of models that were chosen.
    """

    split: str
    moment: str
    inputs: str
    trials: int
    measures: dict[str, Estimate]
    by_group: dict[str, dict[str, float | None]]
    kinds: list[str]


@dataclass(frozen=True)
class Gain:
    """How much better one set of inputs predicts than another, on the same trials.

    Attributes:
        split, moment: how the trials were held out, and when the predictor is asked.
        without, with_: names of the two sets.
        measures: measure -> estimate of the difference, with the sign for which above 0 is better.
    """

    split: str
    moment: str
    without: str
    with_: str
    measures: dict[str, Estimate]

    def beats(self, measure: str) -> bool:
        """Whether the interval of a measure lies above 0."""
        return (self.measures[measure].low or 0.0) > 0


@dataclass(frozen=True)
class Front:
    """The Pareto front of one strategy: its searches that no other setting of it beats in both cost and regret.

    Attributes:
        strategy: its name.
        costs: of the searches, in full trainings, in rising order.
        regrets: of the searches, means over tasks, with intervals that resample tasks.
        at: cost as text -> the lowest regret for at most that cost.
        hypervolume: share of the plane of log cost and regret that lies above the front.
        gain: hypervolume minus that of i-Epoch.
        killed: share of the task's best 5 % of candidates that a search at a cost of about 8.3 does not train to the end.
    """

    strategy: str
    costs: list[float]
    regrets: list[Estimate]
    at: dict[str, Estimate]
    hypervolume: Estimate
    gain: Estimate
    killed: float | None


@dataclass(frozen=True)
class Decision:
    """A study replayed as searches under a budget.

    Attributes:
        title: which trials were searched, and which trials the rankings were learned from.
        tasks: number of tasks.
        candidates: number of candidates of each search.
        fronts: of all strategies.
    """

    title: str
    tasks: int
    candidates: int
    fronts: list[Front]

    def of(self, strategy: str) -> Front | None:
        """The front of a strategy."""
        return next((front for front in self.fronts if front.strategy == strategy), None)


@dataclass(frozen=True, repr=False)
class Judgement(JsonRecord):
    """All evidence about the predictor.

    Attributes:
        evidence: that of each set of inputs at each moment under each split.
        gains: what additional inputs gain.
        served: split -> moment -> the set of inputs that the predictor uses: the smallest one whose Brier score is at most 2 %
            above the lowest.
        champion: what the best set with spectra gains over the best one without, after one epoch, on cells left out; None if
            the trials do not define it.
        volume: hypervolume of the best search by a set with spectra minus that of the best by a set without, on cells left
            out; None if the trials do not define it.
        decisions: the trials replayed as searches.
        ceiling: measure -> how well the other trainings of a trial, with other seeds, predict it (the noise ceiling); empty
            without repeated draws.
        outside: split and moment -> AUC of recognising wrong answers by the distance to the training trials.
    """

    evidence: list[Evidence]
    gains: list[Gain]
    served: dict[str, dict[str, str]]
    champion: Gain | None
    volume: Estimate | None
    decisions: list[Decision]
    ceiling: dict[str, Estimate]
    outside: dict[str, Estimate]

    def __repr__(self) -> str:
        return f"Judgement({len(self.evidence)} sets of inputs, moments and splits)"

    @property
    def is_champion(self) -> bool:
        """Whether spectra earn their place: better Brier score and hypervolume on cells left out, with intervals above 0."""
        better = self.champion is not None and self.champion.beats("brier")
        return better and self.volume is not None and (self.volume.low or 0.0) > 0

    @property
    def brief(self) -> "Judgement":
        """The part that a predictor needs for its answers: the measures of every set of inputs, and which sets are served."""
        return replace(self, evidence=[replace(e, by_group={}) for e in self.evidence], gains=[], decisions=[])

    def of(self, split: str, moment: str, inputs: str) -> Evidence | None:
        """The evidence of a set of inputs at a moment under a split."""
        return next((e for e in self.evidence if (e.split, e.moment, e.inputs) == (split, moment, inputs)), None)


@dataclass(frozen=True, repr=False)
class Card(JsonRecord):
    """What a predictor learns from, which models it fits, and how good it is.

    Attributes:
        studies: name of a study -> how many of its trials, without repeated draws, the predictor learned from or, if the name
            begins with "shift_", was judged on.
        tasks, cells: of the trials that it learned from.
        threshold: smallest score of a success.
        recipes: moment -> set of inputs -> the models that are fitted.
        own_weights: number of own trials of a task, as text -> how often each of them counts.
        quantiles: column -> quantiles of the trials that it learned from.
        judgement: the evidence.
        origin: commit, date, device, settings and hash of the table.
    """

    studies: dict[str, int]
    tasks: list[str]
    cells: list[str]
    threshold: float
    recipes: dict[str, dict[str, Recipe]]
    own_weights: dict[str, float]
    quantiles: dict[str, list[float]]
    judgement: Judgement
    origin: dict[str, Any]

    def __repr__(self) -> str:
        return f"Card({self._learned}; success is a score of {self.threshold:g})"

    def __str__(self) -> str:
        """What the predictor learned from and how good it is, one line for each moment and split."""
        about = f"learned from {self._learned}, judged {self.origin.get('date', 'at an unknown date')}"
        lines = [f"{about}; a success is a score of at least {self.threshold:g}, and brackets are 95 % intervals"]
        for split, moments in self.judgement.served.items():
            for moment, name in moments.items():
                if found := self.judgement.of(split, moment, name):
                    measured = ", ".join(f"{words} {found.measures[m]}" for m, words in _SHOWN.items() if m in found.measures)
                    lines.append(f"- {split}, {moment}, from {name!r}: {measured}")
        return "\n".join(lines)

    @property
    def _learned(self) -> str:
        count = sum(number for study, number in self.studies.items() if not study.startswith("shift_"))
        return f"{count:,} trials of {len(self.tasks)} tasks and {len(self.cells)} cells"
