"""A study replayed as searches under a budget: what a search would have found, and at what cost, with each way of choosing.

A search draws candidates, spends epochs on them and keeps the best that it trained to the end. Its cost is counted in full
trainings, measuring included; its regret is the best score of its candidates minus the best of those that it finished.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .features import MEASURED, SPECTRUM
from .inputs import BEFORE, EPOCH, SETS

CANDIDATES = 40
TOP = 0.05  # share of a task's trials that are its best
KEPT = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40)  # trained to the end
STARTED = (2, 4, 6, 8, 10, 14, 20, 28, 40)  # candidates that a search starts
# Full trainings that measuring one candidate once costs: the means of the LSTM and the GRU of docs/measuring.md, rounded up.
MEASUREMENTS_COST, SPECTRUM_COST = 0.01, 0.001
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """What is expected of candidates from one set of inputs.

    Attributes:
        expected: score of each, (N,).
        before: full trainings that what the set needs of one candidate costs before training.
        after: the same after the early checkpoint.
    """

    expected: Values
    before: float
    after: float

    @classmethod
    def of(cls, expected: Values, columns: Sequence[str]) -> "Ranking":
        """From the columns of the set."""
        return cls(expected, _cost(columns, "initial"), _cost(columns, "early"))

    @property
    def best(self) -> NDArray[np.int64]:
        """The candidates, the most promising first."""
        return np.argsort(-self.expected, kind="stable")


def _cost(columns: Sequence[str], when: str) -> float:
    """Full trainings that measuring the columns of one candidate at a checkpoint costs; changes need both checkpoints."""
    names = {name for moment, _, name in (column.partition("_") for column in columns) if moment in (when, "change")}
    return MEASUREMENTS_COST * bool(names & MEASURED.keys()) + SPECTRUM_COST * bool(names & SPECTRUM.keys())


@dataclass(frozen=True)
class Pool:
    """Candidates of one task.

    Attributes:
        task: its name.
        scores: at the end of training, (N,).
        losses: validation losses (N, epochs + 1), entry 0 before training; NaN, which counts as the worst, after divergence.
        before: what is expected of each before training, by the name of the set of inputs.
        epoch: the same at the early checkpoint.
        top: whether each is among the best 5 % of the task, (N,).
        early: epoch of the early checkpoint.
    """

    task: str
    scores: Values
    losses: Values
    before: Mapping[str, Ranking]
    epoch: Mapping[str, Ranking]
    top: NDArray[np.bool_]
    early: int = 1

    @property
    def epochs(self) -> int:
        """Of a full training."""
        return self.losses.shape[1] - 1

    def draw(self, random: np.random.Generator) -> "Pool":
        """CANDIDATES of them, or all."""
        chosen = random.permutation(len(self.scores))[:CANDIDATES]
        before, epoch = (
            {name: replace(ranking, expected=ranking.expected[chosen]) for name, ranking in kind.items()}
            for kind in (self.before, self.epoch)
        )
        scores, losses, top = self.scores[chosen], self.losses[chosen], self.top[chosen]
        return replace(self, scores=scores, losses=losses, before=before, epoch=epoch, top=top)

    def cost(self, started: int, epoch: int, finished: int) -> float:
        """Full trainings spent if some candidates are trained up to an epoch, and some of them to the end."""
        return (started * epoch + finished * (self.epochs - epoch)) / self.epochs


@dataclass(frozen=True)
class Found:
    """What one search found.

    Attributes:
        strategy, setting: names.
        cost: full trainings.
        regret: best score of the candidates minus the best that was finished.
        killed: share of the candidates among the task's best 5 % that were not finished; NaN if there are none.
    """

    strategy: str
    setting: str
    cost: float
    regret: float
    killed: float


def searches(pool: Pool) -> Iterator[Found]:
    """All searches among one draw of candidates, which are in random order, that need no library."""
    count = len(pool.scores)
    for kept in (k for k in KEPT if k <= count):
        yield _found(pool, "random", f"K {kept}", kept, np.arange(kept))
        yield from _epochs(pool, kept)
        for name, ranking in pool.before.items():
            cost = kept + count * ranking.before
            yield _found(pool, f"before training: {name}", f"K {kept}", cost, ranking.best[:kept])
        for name, ranking in pool.epoch.items():
            cost = pool.cost(count, pool.early, kept) + count * (ranking.before + ranking.after)
            yield _found(pool, f"one epoch: {name}", f"K {kept}", cost, ranking.best[:kept])
        yield from _both(pool, kept)


def _epochs(pool: Pool, kept: int) -> Iterator[Found]:
    """Start some candidates at random, train them for i epochs, and finish the best by their loss (Egele et al. 2024)."""
    for epoch in range(1, pool.epochs):
        ranked = _worst(pool.losses[:, epoch])
        for started in (n for n in STARTED if kept <= n <= len(ranked)):
            best = np.argsort(ranked[:started], kind="stable")[:kept]
            cost = pool.cost(started, epoch, kept)
            yield _found(pool, f"i-Epoch, i = {epoch}", f"n {started}, K {kept}", cost, best)


def _both(pool: Pool, kept: int) -> Iterator[Found]:
    """Screen before training, train the most promising up to the early checkpoint, and finish the best by loss or expectation."""
    count = len(pool.scores)
    for name, ranking in pool.before.items():
        later = {"loss": Ranking(-_worst(pool.losses[:, pool.early]), 0.0, 0.0)}
        later |= {"again": pool.epoch[name]} if name in pool.epoch else {}
        for started in (n for n in STARTED if kept <= n <= count):
            first, setting = ranking.best[:started], f"n {started}, K {kept}"
            for then, second in later.items():
                best = first[np.argsort(-second.expected[first], kind="stable")[:kept]]
                cost = pool.cost(started, pool.early, kept) + count * ranking.before + started * second.after
                yield _found(pool, f"both: {name}, then {then}", setting, cost, best)


def pruned(pool: Pool, name: str, pruner: Callable[[], object], started: int) -> Found:
    """A search by a pruner of Optuna, which sees the recorded losses of the first candidates one epoch after the other."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    setting = f"n {started}"
    # Hyperband deals trials to its brackets by a hash of the study's name, which would be random
    study = optuna.create_study(study_name=f"{name}, {setting}", pruner=pruner())  # type: ignore[arg-type]
    finished, epochs = [], 0
    for place, losses in enumerate(_worst(pool.losses[:started])):
        trial = study.ask()
        for epoch, loss in enumerate(losses[1:], start=1):
            epochs += 1
            trial.report(float(loss), epoch)
            if epoch < pool.epochs and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(losses[-1]))
            finished.append(place)
    return _found(pool, name, setting, epochs / pool.epochs, np.array(finished, int))


def pruners(epochs: int) -> dict[str, Callable[[], object]]:
    """Name -> pruner of Optuna: ASHA (Li et al. 2020) with several settings, Hyperband (Li et al. 2018), the median rule."""
    from optuna import pruners as known

    return {
        "ASHA, eta 2": lambda: known.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        "ASHA, eta 3": lambda: known.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "ASHA, eta 4": lambda: known.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4),
        "Hyperband": lambda: known.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        "median pruner": lambda: known.MedianPruner(n_startup_trials=5),
    }


def replay(pools: Sequence[Pool], draws: int, pruner_draws: int, seed: int) -> pd.DataFrame:
    """Mean cost, regret and share killed by task, strategy and setting, over draws of candidates, and how many these are."""
    rows = []
    for number, pool in enumerate(pools):
        random = np.random.default_rng([seed, number])
        for draw in range(draws):
            drawn = pool.draw(random)
            found = list(searches(drawn))
            if draw < pruner_draws:
                sizes = [n for n in STARTED if n <= len(drawn.scores)]
                found += [pruned(drawn, name, pruner, n) for name, pruner in pruners(pool.epochs).items() for n in sizes]
            count = len(drawn.scores)
            rows += [(pool.task, f.strategy, f.setting, f.cost, f.regret, f.killed, count) for f in found]
    columns = ["task", "strategy", "setting", "cost", "regret", "killed", "candidates"]
    return pd.DataFrame(rows, columns=columns).groupby(columns[:3], as_index=False, sort=False).mean()


def _found(pool: Pool, strategy: str, setting: str, cost: float, finished: NDArray[np.int64]) -> Found:
    best = pool.scores[finished].max() if len(finished) else 0.0
    killed = 1 - pool.top[finished].sum() / pool.top.sum() if pool.top.any() else np.nan
    return Found(strategy, setting, cost, float(pool.scores.max() - best), float(killed))


def _worst(losses: Values) -> Values:
    return np.nan_to_num(losses, nan=1e30, posinf=1e30).clip(max=1e30)


def pools(answers: pd.DataFrame, trials: pd.DataFrame, before: Sequence[str], epoch: Sequence[str]) -> list[Pool]:
    """One pool per task from the answers under one split.

    Args:
        answers: trial, moment, inputs, expected_score, as `folds.answer` gives them for one split.
        trials: rows of `trial_inputs`, with validation_losses and early_epoch.
        before: sets of inputs whose answers rank the candidates before training.
        epoch: the same after one epoch.
    """
    found = []
    wide = answers.pivot_table(index="trial", columns=["moment", "inputs"], values="expected_score")
    for task, own in trials.groupby("task"):
        rows = wide.reindex(own["trial"])
        scores, losses = own["score"].to_numpy(float), np.array(own["validation_losses"].tolist(), float)
        first, later = (
            {name: Ranking.of(rows[moment, name].to_numpy(float), SETS[moment][name]) for name in names}
            for moment, names in ((BEFORE, before), (EPOCH, epoch))
        )
        top = scores >= np.quantile(scores, 1 - TOP)
        found.append(Pool(str(task), scores, losses, first, later, top, int(own["early_epoch"].iloc[0])))
    return found


def front(points: Values) -> Values:
    """Of points (cost, regret) those that no other beats in both, by rising cost, (N, 2)."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    best = np.minimum.accumulate(np.r_[np.inf, ordered[:-1, 1]])
    return ordered[ordered[:, 1] < best]


def regret_at(cost: float, edge: Values) -> float:
    """Least regret on a front for at most this cost; 1 if nothing is as cheap."""
    affordable = edge[edge[:, 0] <= cost + 1e-9]
    return float(affordable[-1, 1]) if len(affordable) else 1.0


def hypervolume(edge: Values, least: float, most: float) -> float:
    """Area above a front, in log10 cost from `least` to `most` and regret from 0 to 1, as a share of the whole."""
    costs = np.log10(np.r_[edge[:, 0].clip(least, most), most])
    return float((np.diff(costs) * (1 - edge[:, 1])).sum() / np.log10(most / least))
