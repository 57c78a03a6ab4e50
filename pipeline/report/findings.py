"""What the numbers say: numbers and cases, for which findings.j2 holds the sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ..core.cards import Decision, Estimate, Evidence, Front, Gain, Judgement
from ..core.records import TrialFixedPoints
from ..predictor.decision import BOTH, I_EPOCH, NEARLY, REPLAYED, screened
from ..predictor.evidence import PAIRS, RIVALS
from ..predictor.evidence import gain as compare
from ..predictor.inputs import (
    BEFORE,
    EARLY_F,
    EARLY_SPECTRAL,
    GRADIENTS_EIGHTH,
    GRADIENTS_EPOCH,
    HYPER_PARAMETERS,
    MOMENTS,
    PROXIES,
    SETS,
    SPECTRAL,
    F,
)
from ..predictor.splits import CELLS, SCALE, SLACK, SPLITS, TASKS, TRIALS
from .phase import complete

CASES = ("above", "below", "around")  # where an interval lies, seen from 0
EFFECTS = ("clear", "small", "none", "small harm", "harm", "unknown")  # sizes of an effect
REFERENCE = 5.0  # full trainings that i-Epoch may cost where its regret is matched
SMALL = 0.01  # a change of the Brier score below this is called small
LITTLE = 0.1  # a saving of a smaller share of the cost is called small
NEAR = -0.5  # nats per step: a network whose largest exponent is smaller forgets a perturbation within two steps
_PLACES = {REPLAYED[CELLS, ""]: "Among new cells on known tasks", REPLAYED[TASKS, ""]: "On new tasks"}
RANDOM, SCREENED = "random", "before training: "
# Families of inputs in the order in which they are named; all other columns are those of the learning curve.
_FAMILIES = {
    "gradient norms": {*GRADIENTS_EIGHTH, *GRADIENTS_EPOCH},
    "hyper-parameters": {*HYPER_PARAMETERS},
    "zero-cost proxies": {*PROXIES},
    "measurements": {*F, *EARLY_F},
    "spectrum": {*SPECTRAL, *EARLY_SPECTRAL},
}


@dataclass(frozen=True)
class Saving:
    """What screening before training saves in replayed searches.

    Attributes:
        decision: the searches.
        inputs: the set of inputs that candidates are screened by.
        gain: hypervolume minus that of i-Epoch; None if it is not defined, as for one task alone.
        cost, regret: of the cheapest search with screening that is as good as the best one by i-Epoch; None if there is none.
        plain_cost, plain_regret: of the best search by i-Epoch for at most REFERENCE full trainings.
        alone: cost at which screening by hyper-parameters alone is as good; None if it never is.
    """

    decision: Decision
    inputs: str
    gain: Estimate | None
    cost: float | None
    regret: Estimate | None
    plain_cost: float
    plain_regret: Estimate
    alone: float | None

    @property
    def case(self) -> str:
        """Where the interval of the gain lies, a word of CASES, or "unknown"."""
        return "unknown" if self.gain is None else case(self.gain)

    @property
    def share(self) -> float | None:
        """Cost with screening as a share of that of i-Epoch, at equal regret."""
        return None if self.cost is None else self.cost / self.plain_cost

    @property
    def place(self) -> str:
        """Where the searches were, as the beginning of a sentence; "" for networks of other sizes and the like."""
        return _PLACES.get(self.decision.title, "")

    @property
    def effect(self) -> str:
        """How much is saved, a word of EFFECTS; "later" where searches are better, but not at the cost that is compared."""
        if self.case != "above":
            return {"below": "harm", "around": "none"}.get(self.case, "unknown")
        saved = 0.0 if self.share is None else 1 - self.share
        return "later" if saved < 0.005 else "small" if saved < LITTLE else "clear"


@dataclass(frozen=True)
class Addition:
    """What inputs add to others at a moment under a split.

    Attributes:
        gain: the differences.
        family: what is added, in words.
        groups: part that was left out -> the gain in Brier score within it; above 0 is better.
    """

    gain: Gain
    family: str
    groups: dict[str, float]


@dataclass(frozen=True)
class Answering:
    """The set of inputs that the predictor uses at a moment under a split, and its rival.

    Attributes:
        served: its evidence.
        rival: that of the simplest set; None if it was not evaluated.
    """

    served: Evidence
    rival: Evidence | None

    @property
    def alike(self) -> bool:
        """Whether the simplest set is itself the one that is used."""
        return self.rival is not None and self.rival.inputs == self.served.inputs


@dataclass(frozen=True)
class Band:
    """The trials whose largest exponent lay within a range early in training.

    Attributes:
        trials, successes: their numbers.
        low, high: 95 % interval of the share of successes (Wilson's).
    """

    trials: int
    successes: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of successes."""
        return self.successes / self.trials


@dataclass(frozen=True)
class Spectral:
    """What spectra add to all other inputs on cells left out.

    Attributes:
        effect: "clear", "small", "none", "harm" or "unknown".
        worse: what is measurably worse with them, in words.
    """

    effect: str
    worse: tuple[str, ...]


@dataclass(frozen=True)
class Extreme:
    """Cells and tasks whose trials all ended alike.

    Attributes:
        word: "No" or "Every", before "trial succeeded".
        cells: those for which this holds on every task.
        tasks: titles of those for which it holds with every cell.
        pairs: title of a task -> cells, for the remaining pairs.
    """

    word: str
    cells: list[str]
    tasks: list[str]
    pairs: dict[str, list[str]]


def case(estimate: Estimate) -> str:
    """Where the interval of a difference lies, a word of CASES, or "unknown"."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "unknown"
    return "above" if estimate.low > 0 else "below" if estimate.high < 0 else "around"


def effect(gain: Gain | None) -> str:
    """How much a gain is, a word of EFFECTS.

    It is "none" if the interval of the Brier score contains 0, or if the AUC changes in the other direction; "small" if the
    Brier score changes by less than SMALL.
    """
    if gain is None or case(gain.measures["brier"]) == "unknown":
        return "unknown"
    brier, auc = (gain.measures[measure].value or 0.0 for measure in ("brier", "auc"))
    if case(gain.measures["brier"]) == "around" or brier * auc < 0:
        return "none"
    harm = brier < 0
    return ("small harm" if harm else "small") if round(abs(brier), 3) < SMALL else "harm" if harm else "clear"


def spectral(judgement: Judgement) -> Spectral:
    """What spectra add on cells left out, by the rule that makes a champion."""
    best, volume = judgement.champion, judgement.volume
    if best is None or case(best.measures["brier"]) == "unknown":
        return Spectral("unknown", ())
    brier = best.measures["brier"]
    if judgement.is_champion:
        return Spectral("small" if round(brier.value or 0.0, 3) < SMALL else "clear", ())
    known = (("predictions", brier, SMALL), ("searches", volume or Estimate(None), SLACK))
    worse = [(name, round(abs(e.value or 0.0), 3) < small) for name, e, small in known if case(e) == "below"]
    return Spectral("harm" if worse else "none", tuple(f"{name} are {'slightly ' * small}worse" for name, small in worse))


def bands(early: pd.DataFrame) -> dict[str, Band]:
    """The trials by their largest exponent early in training: "far" below 0, "near" below 0, or "above" it.

    Args:
        early: exponent_1, success; rows without a finite exponent count nowhere.
    """
    largest = early["exponent_1"]
    masks = {"far": largest < NEAR, "near": (largest >= NEAR) & (largest < 0), "above": largest >= 0}
    found = {}
    for name, mask in masks.items():
        count, successes = int(mask.sum()), int(early.loc[mask, "success"].sum())
        if count:
            interval = binomtest(successes, count).proportion_ci(method="wilson")
            found[name] = Band(count, successes, float(interval.low), float(interval.high))
    return found


def peaks(found: Mapping[str, Band]) -> bool | None:
    """Whether success peaks just below 0: its interval there lies above all others; None if no others, or no success."""
    others = [band for name, band in found.items() if name != "near"]
    if "near" not in found or not others or not any(band.successes for band in found.values()):
        return None
    return all(found["near"].low > band.high for band in others)


def where(split: str) -> str:
    """A split in words, after "better"."""
    known = {TRIALS: "over trials", CELLS: "on an unseen cell", TASKS: "on an unseen task", SCALE: "at other settings"}
    return known.get(split) or f"on an unseen task with{split.removeprefix(f'{TASKS},')}"


def when(moment: str) -> str:
    """A moment in words."""
    return moment if moment == BEFORE else f"after {moment}"


def splits(judgement: Judgement) -> list[str]:
    """The splits that were evaluated, in their order."""
    return [split for split in SPLITS if split in judgement.served]


def saving(decision: Decision) -> Saving | None:
    """What screening saves at equal regret; None if the searches were not replayed with it."""
    inputs = screened(decision)
    plain, own = decision.of(I_EPOCH), decision.of(BOTH.format(inputs))
    affordable = [i for i, cost in enumerate(plain.costs) if cost <= REFERENCE * NEARLY] if plain else []
    if inputs is None or plain is None or own is None or not affordable:
        return None
    last = affordable[-1]  # costs rise, and regrets fall
    cost, regret = _reached(own, plain.regrets[last])
    alone, _ = _reached(decision.of(BOTH.format(RIVALS[BEFORE])), plain.regrets[last])
    gain = own.gain if decision.tasks > 1 else None
    return Saving(decision, inputs, gain, cost, regret, plain.costs[last], plain.regrets[last], alone)


def _reached(front: Front | None, wanted: Estimate) -> tuple[float | None, Estimate | None]:
    """Cost and regret of the cheapest search on a front that is as good as wanted; None if there is none."""
    found = zip(front.costs, front.regrets, strict=True) if front is not None else ()
    return next(((cost, regret) for cost, regret in found if _number(regret) <= _number(wanted)), (None, None))


def savings(judgement: Judgement) -> list[Saving]:
    """What screening saves in all replayed searches; the first makes the headline."""
    found = [saving(decision) for decision in judgement.decisions]
    return [one for one in found if one is not None]


def drawn(decision: Decision) -> dict[str, Front]:
    """The fronts that are drawn, by their names in the figure: plain searches, then screening by two sets of inputs."""
    names = {
        "random search": RANDOM,
        I_EPOCH: I_EPOCH,
        "ASHA": "ASHA",
        "Hyperband": "Hyperband",
        "median pruner": "median pruner",
    }
    own, plain = screened(decision), RIVALS[BEFORE]
    for inputs, word in ((plain, "hyper-parameters"), (own, "predictor")):
        if inputs is not None and (inputs != plain or word != "predictor"):
            names[f"before training: {word}"] = f"{SCREENED}{inputs}"
            names[f"both: {word}"] = BOTH.format(inputs)
    if own == plain:  # then the predictor uses no other inputs
        names = {name.replace("hyper-parameters", "predictor"): strategy for name, strategy in names.items()}
    found = {name: decision.of(strategy) for name, strategy in names.items()}
    return {name: front for name, front in found.items() if front is not None}


def answering(judgement: Judgement) -> list[Answering]:
    """The set of inputs that the predictor uses, by moment and split."""
    rows = []
    for moment in MOMENTS:
        for split in splits(judgement):
            served = judgement.of(split, moment, judgement.served[split].get(moment, ""))
            if served is not None:
                rows.append(Answering(served, judgement.of(split, moment, RIVALS[moment])))
    return rows


def against_rivals(judgement: Judgement, predictions: pd.DataFrame, count: int, seed: int) -> dict[tuple[str, str], Gain]:
    """(moment, split) -> what the set that the predictor uses gains over its rival, where these differ.

    Args:
        judgement: names the sets.
        predictions: the answers of all sets for trials that were held out.
        count: number of bootstrap samples.
        seed: of these.
    """
    found = {}
    for answer in answering(judgement):
        served, rival = answer.served, answer.rival
        if rival is not None and not answer.alike:
            own = predictions[(predictions["split"] == served.split) & (predictions["moment"] == served.moment)]
            less, more = (own[own["inputs"] == name] for name in (rival.inputs, served.inputs))
            found[served.moment, served.split] = compare(less, more, count, seed)
    return found


def added(moment: str, without: str, with_: str) -> str:
    """What one set of inputs has that another has not, in words."""
    more = {*SETS[moment][with_]} - {*SETS[moment][without]}
    families = [name for name, columns in _FAMILIES.items() if more & columns]
    names = [*(["learning curve"] if more - set().union(*_FAMILIES.values()) else []), *families]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def additions(judgement: Judgement) -> list[Addition]:
    """What inputs add to others, by moment and pair; those that no split defines are left out."""
    order = [(moment, *pair) for moment in MOMENTS for pair in PAIRS[moment]]
    known = {(gain.moment, gain.without, gain.with_) for gain in judgement.gains if case(gain.measures["brier"]) in CASES}
    gains = [gain for gain in judgement.gains if (gain.moment, gain.without, gain.with_) in known]
    gains.sort(key=lambda gain: (order.index((gain.moment, gain.without, gain.with_)), SPLITS.index(gain.split)))
    return [Addition(gain, added(gain.moment, gain.without, gain.with_), _by_group(judgement, gain)) for gain in gains]


def consistency(found: Iterable[Addition]) -> list[Addition]:
    """What the spectrum adds on cells and tasks that were left out, to be shown for each part."""
    return [a for a in found if a.family == "spectrum" and a.groups and a.gain.split in (CELLS, TASKS)]


def extremes(outcomes: pd.DataFrame, titles: Mapping[str, str]) -> list[Extreme]:
    """Where no trial succeeded, and where every trial did: whole cells and tasks first, then the remaining pairs."""
    alike = []
    for word, mask in (("No", outcomes["successes"] == 0), ("Every", outcomes["successes"] == outcomes["trials"])):
        cells, tasks = _whole(outcomes, mask, "cell", "task"), _whole(outcomes, mask, "task", "cell")
        rest = outcomes[mask & ~outcomes["cell"].isin(cells) & ~outcomes["task"].isin(tasks)]
        pairs = {titles[str(task)]: list(own["cell"]) for task, own in rest.groupby("task", sort=False)}
        alike.append(Extreme(word, cells, [titles[task] for task in tasks], pairs))
    return alike


def by_brier(rows: Iterable[Evidence]) -> list[Evidence]:
    """Sets of inputs by rising Brier score, the undefined last."""
    return sorted(rows, key=lambda row: _number(row.measures["brier"]))


def incomplete(found: Iterable[TrialFixedPoints]) -> int:
    """How many searches, of a network under a constant input, are known to have missed points."""
    return sum(complete(counts) is False for result in found for counts in result.counts.values())


def calibrated(bins: pd.DataFrame) -> int:
    """How many bins of a reliability diagram agree with the diagonal."""
    return int(np.count_nonzero((bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])))


def _number(estimate: Estimate) -> float:
    return np.inf if estimate.value is None else estimate.value


def _whole(outcomes: pd.DataFrame, mask: "pd.Series[bool]", name: str, other: str) -> list[str]:
    """Cells (or tasks) for which the mask holds everywhere; none if there is one task (or cell) only."""
    held = mask.groupby(outcomes[name], sort=False).all()
    return list(held.index[held]) if outcomes[other].nunique() > 1 else []


def _by_group(judgement: Judgement, gain: Gain) -> dict[str, float]:
    less, more = (judgement.of(gain.split, gain.moment, name) for name in (gain.without, gain.with_))
    if less is None or more is None:
        return {}
    pairs = {name: (less.by_group[name]["brier"], measures["brier"]) for name, measures in more.by_group.items()}
    return {name: theirs - mine for name, (theirs, mine) in pairs.items() if mine is not None and theirs is not None}
