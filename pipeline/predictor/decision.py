"""What replayed searches show: regret against cost, and what early answers gain over plain searches."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.cards import Decision, Estimate, Front
from ..core.numbers import finite_or_none
from .inputs import BEFORE, EPOCH, SETS, WITH_SPECTRA
from .search import Ranking, front, hypervolume, pools, regret_at, replay
from .splits import CELLS, OWN, SCALE, SLACK, TASKS

I_EPOCH = "i-Epoch"
BOTH = "both: {}, then loss"  # screens by a set of inputs before training, and by the loss after an epoch
# Sets whose answers rank candidates.
RANKED = {
    BEFORE: ("hyper-parameters", "measurements", "measurements, spectrum", "hyper-parameters, measurements", "all"),
    EPOCH: ("loss, hyper-parameters", "loss, hyper-parameters, measurements", "all"),
}
RANGE = (2.0, 20.0)  # full trainings between which hypervolumes are taken: below there is no search, above no regret
COSTS = (2.0, 3.3, 5.0, 8.3)  # full trainings at which regrets are reported
NEARLY = 1.02  # a search whose cost is within 2 % of these counts as affordable
Values = NDArray[np.float64]
Places = NDArray[np.int64]
Cube = tuple[Values, Values, Values]

DRAWS, PRUNER_DRAWS = 100, 10  # of candidates, for each task
FEWEST = 4  # candidates of a task among which a search means anything
# Split, or split and part, that is replayed -> what it is called.
REPLAYED = {
    (CELLS, ""): "searches on known tasks, each candidate ranked by trials of other cells",
    (TASKS, ""): "searches on new tasks, ranked by trials of other tasks",
    (f"{TASKS}, {OWN[1]} own trials", ""): f"searches on new tasks, ranked by trials of other tasks and {OWN[1]} of the task",
    (SCALE, "shift_width"): "searches among networks four to eight times as wide, ranked by small networks",
}


def replays(answers: pd.DataFrame, trials: pd.DataFrame, seed: int) -> dict[tuple[str, str], pd.DataFrame]:
    """The searches of all splits, or parts of them, in REPLAYED that there are answers for."""
    found = {key: _replayed(answers, trials, *key, seed) for key in REPLAYED}
    return {key: table for key, table in found.items() if table is not None}


def volume_gain(replayed: pd.DataFrame, *, count: int, seed: int) -> Estimate | None:
    """Hypervolume of the best search by a set with spectra minus that of the best by one without; None if one is missing."""
    tasks = sorted(replayed["task"].unique())
    both = replayed[replayed["strategy"].str.startswith("both: ")]
    cubes = {str(name): _cube(rows, tasks) for name, rows in both.groupby("strategy", sort=False)}
    everywhere = np.arange(len(tasks))
    best = {}
    for spectra in (False, True):
        names = [name for name in cubes if (name.removeprefix("both: ").rpartition(", then ")[0] in WITH_SPECTRA) == spectra]
        best[spectra] = max((cubes[name] for name in names), key=lambda cube: _volume(cube, everywhere), default=None)
    without, with_ = best[False], best[True]
    if without is None or with_ is None:
        return None
    return _estimate(partial(_volume_gain, without, with_), _drawn(tasks, count, seed))


def _replayed(answers: pd.DataFrame, trials: pd.DataFrame, split: str, group: str, seed: int) -> pd.DataFrame | None:
    """The searches of one split, or of one part of it, in tasks of at least FEWEST candidates; None if there are none."""
    own = answers[answers["split"] == split]
    if group:
        own = own[own["group"] == group]
    if own["variant"].ne("").any():
        own = own[own["variant"] == own["variant"].iloc[0]]
    asked = {moment: set(own.loc[own["moment"] == moment, "inputs"]) for moment in RANKED}
    first, later = ([name for name in RANKED[moment] if name in asked[moment]] for moment in (BEFORE, EPOCH))
    if not first:
        return None
    found = pools(own, trials[trials["trial"].isin(own["trial"])], first, later)
    large = [pool for pool in found if len(pool.scores) >= FEWEST and pool.early < pool.epochs]
    return replay(large, DRAWS, PRUNER_DRAWS, seed) if large else None


def family(strategy: str) -> str:
    """What a strategy is called together with others whose settings make one front."""
    return I_EPOCH if strategy.startswith(I_EPOCH) else "ASHA" if strategy.startswith("ASHA") else strategy


def decide(replayed: pd.DataFrame, title: str, *, count: int, seed: int) -> Decision:
    """Fronts, hypervolumes, and what they gain over i-Epoch's, with intervals that resample tasks.

    Args:
        replayed: mean cost and regret by task, strategy and setting, from `search.replay`.
        title: what was replayed.
        count: number of bootstrap samples.
        seed: of these.
    """
    table = replayed.assign(family=replayed["strategy"].map(family))
    tasks = sorted(table["task"].unique())
    cubes = {str(name): _cube(rows, tasks) for name, rows in table.groupby("family", sort=False)}
    drawn, plain, fronts = _drawn(tasks, count, seed), cubes[I_EPOCH], []
    for name, cube in cubes.items():
        regrets, edge = partial(_regret, cube), _edge(cube, np.arange(len(tasks)))
        fronts.append(
            Front(
                strategy=name,
                costs=edge[:, 0].tolist(),
                regrets=[_estimate(partial(regrets, cost), drawn) for cost in edge[:, 0]],
                at={f"{cost:g}": _estimate(partial(regrets, cost), drawn) for cost in COSTS},
                hypervolume=_estimate(partial(_volume, cube), drawn),
                gain=_estimate(partial(_volume_gain, plain, cube), drawn),
                killed=_killed(cube, COSTS[-1]),
            )
        )
    return Decision(title, len(tasks), int(table["candidates"].max()), fronts)


def screened(decision: Decision) -> str | None:
    """The set of inputs by which to screen candidates before training, if the loss after an epoch decides about the others.

    It is the cheapest set whose searches lose at most SLACK more of the hypervolume than the best; None without such searches.
    """
    fronts = {name: decision.of(BOTH.format(name)) for name in RANKED[BEFORE]}
    lost = {name: 1 - front.hypervolume.value for name, front in fronts.items() if front and front.hypervolume.value is not None}
    near = [name for name, share in lost.items() if share <= (1 + SLACK) * min(lost.values())]
    return min(near, key=_price, default=None)


def _price(inputs: str) -> tuple[float, int]:
    """What a set costs: measuring, and then the number of its columns."""
    columns = SETS[BEFORE][inputs]
    return Ranking.of(np.zeros(0), columns).before, len(columns)


def _drawn(tasks: Sequence[str], count: int, seed: int) -> Places:
    """Places (count, tasks) of bootstrap samples of tasks."""
    return np.random.default_rng(seed).integers(0, len(tasks), (count, len(tasks)))


def _cube(rows: pd.DataFrame, tasks: list[str]) -> Cube:
    """Costs, regrets and shares killed (tasks, settings) of one family, of the settings that all tasks have."""
    wide = rows.pivot_table(index="task", columns=["strategy", "setting"], values=["cost", "regret", "killed"], dropna=False)
    costs, regrets, killed = (wide[name].reindex(tasks).to_numpy(float) for name in ("cost", "regret", "killed"))
    everywhere = np.isfinite(costs).all(axis=0)
    return costs[:, everywhere], regrets[:, everywhere], killed[:, everywhere]


def _edge(cube: Cube, places: Places) -> Values:
    costs, regrets, _ = cube
    return front(np.column_stack([costs[places].mean(0), regrets[places].mean(0)]))


def _regret(cube: Cube, cost: float, places: Places) -> float:
    """The least regret for about a cost, which for some strategies differs a little between tasks."""
    return regret_at(cost * NEARLY, _edge(cube, places))


def _volume(cube: Cube, places: Places) -> float:
    return hypervolume(_edge(cube, places), *RANGE)


def _volume_gain(less: Cube, more: Cube, places: Places) -> float:
    return _volume(more, places) - _volume(less, places)


def _killed(cube: Cube, cost: float) -> float | None:
    """Mean share killed by the setting whose mean cost is nearest; None if no task has a candidate to kill."""
    costs, _, killed = cube
    shares = killed[:, np.argmin(np.abs(np.log(costs.mean(0) / cost)))]
    return finite_or_none(float(shares[np.isfinite(shares)].mean())) if np.isfinite(shares).any() else None


def _estimate(statistic: Callable[[Places], float], drawn: Places) -> Estimate:
    value = statistic(np.arange(drawn.shape[1]))
    low, high = np.percentile([statistic(places) for places in drawn], [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))
