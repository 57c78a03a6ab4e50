"""What the numbers say: numbers and cases, for which findings.j2 holds the sentences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.cards import Decision, Estimate, Evidence, Front, Gain, Judgement
from ..predictor.decision import BOTH, I_EPOCH, NEARLY, screened
from ..predictor.evidence import PAIRS, RIVALS
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
from ..predictor.splits import CELLS, SCALE, SPLITS, TASKS, TRIALS

CASES = ("above", "below", "around")  # where an interval lies, seen from 0
REFERENCE = 5.0  # full trainings that i-Epoch may cost where its regret is matched
SMALL = 0.01  # a change of the Brier score below this is called slight
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


def by_pair(found: Iterable[Addition], families: Sequence[str]) -> dict[tuple[str, str, str], dict[str, list[Gain]]]:
    """(moment, family, set without it) -> case of the Brier score -> gains, for these families."""
    pairs: dict[tuple[str, str, str], dict[str, list[Gain]]] = {}
    for addition in found:
        place = case(addition.gain.measures["brier"])
        if addition.family in families and place in CASES:
            key = (addition.gain.moment, addition.family, addition.gain.without)
            pairs.setdefault(key, {name: [] for name in CASES})[place].append(addition.gain)
    return pairs


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
