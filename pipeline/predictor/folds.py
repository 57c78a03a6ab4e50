"""How trials are held out: every set of inputs is fitted without them and answers for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.cards import Recipe
from . import model
from .inputs import DIVERGED, EPOCH, SETS
from .splits import CELLS, OWN, SCALE, TASKS, TRIALS

WEIGHTS = (1, 4, 16)  # how often an own trial counts beside the others
REPEATS = 2  # draws of own trials
OUTER = 5  # folds over trials
_ABOUT = ("trial", "task", "cell", "score", "success")  # columns that answers keep
Key = tuple[str, str]  # moment, name of a set


@dataclass(frozen=True)
class Fold:
    """One fit: a set of inputs, the rows to learn from and those to answer for.

    Attributes:
        split, moment, inputs: names.
        columns: of the set of inputs.
        group: name of the part that is left out.
        train, test: rows of trials.
        groups: of the training rows, left out together where kinds are chosen and calibrated.
        recipe: if it is known already.
        seed: of the choice.
        variant: what else tells two folds apart.
    """

    split: str
    moment: str
    inputs: str
    columns: Sequence[str]
    group: str
    train: pd.DataFrame
    test: pd.DataFrame
    groups: Sequence[object]
    recipe: Recipe | None
    seed: int
    variant: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the trials that is left out, whatever the inputs."""

    split: str
    group: str
    train: pd.DataFrame
    test: pd.DataFrame
    groups: pd.Series
    variant: str = ""

    def folds(self, sets: Mapping[str, Sequence[str]], seed: int, recipes: Mapping[Key, Recipe] | None = None) -> Iterator[Fold]:
        """The fits of sets, by moment; with their recipes, by moment and set, if these are known."""
        for moment, names in sets.items():
            for name in names:
                inputs = SETS[moment][name]
                columns = [*dict.fromkeys([*inputs, *_ABOUT, DIVERGED])]
                yield Fold(
                    split=self.split,
                    moment=moment,
                    inputs=name,
                    columns=inputs,
                    group=self.group,
                    train=self.train[columns],
                    test=self.test[columns],
                    groups=self.groups.tolist(),
                    recipe=recipes[moment, name] if recipes else None,
                    seed=seed,
                    variant=self.variant,
                )


def answer(fold: Fold) -> tuple[pd.DataFrame, Recipe]:
    """Fit, and answer for the rows that were held out.

    Returns:
        A table with the columns trial, task, cell, score, success, split, moment, inputs, group, variant, expected_score,
        probability_of_success, score_kind, success_kind; and what was fitted.
    """
    recipe = fold.recipe or model.choose(fold.train, fold.columns, fold.groups, seed=fold.seed)
    expected, probability = model.fit(fold.train, recipe).answer(fold.test)
    if fold.moment == EPOCH:  # a training that has diverged has failed
        gone = fold.test[DIVERGED].to_numpy(bool)
        expected, probability = np.where(gone, 0.0, expected), np.where(gone, 0.0, probability)
    answers = fold.test[list(_ABOUT)].assign(
        split=fold.split,
        moment=fold.moment,
        inputs=fold.inputs,
        group=fold.group,
        variant=fold.variant,
        expected_score=expected,
        probability_of_success=probability,
        score_kind=recipe.score_kind,
        success_kind=recipe.success_kind,
    )
    return answers, recipe


def parts(rows: pd.DataFrame, base: pd.DataFrame, seed: int, *, weight: int = 1) -> Iterator[Part]:
    """What is left out of `rows` over trials, by cell and by task; `base` are more trials to learn from.

    Args:
        rows: trials, from `trial_inputs`, without repeated draws.
        base: the same, perhaps none; those of a cell or task that is left out are left out too, and so are those of `rows`.
        seed: of the folds over trials.
        weight: how often one of the rows counts beside `base`.
    """
    base = base[~base["trial"].isin(rows["trial"])]
    fold_of = _dealt(rows, seed)
    for fold in np.unique(fold_of):
        yield _part(TRIALS, f"fold {fold + 1}", rows, fold_of == fold, base, weight, "trial")
    for split, column in ((CELLS, "cell"), (TASKS, "task")):
        for name in sorted(rows[column].unique()):
            held = (rows[column] == name).to_numpy()
            others = base[base[column] != name]
            if held.all() and others.empty:
                continue
            yield _part(split, str(name), rows, held, others, weight, column)


def own_parts(rows: pd.DataFrame, seed: int) -> Iterator[Part]:
    """One task left out but for some of its trials, whose weight is one of WEIGHTS (the variant)."""
    for number, task in enumerate(sorted(rows["task"].unique())):
        others, own = rows[rows["task"] != task], rows[rows["task"] == task]
        for repeat in range(REPEATS):
            order = np.random.default_rng([seed, number, repeat]).permutation(len(own))
            for count in (c for c in OWN if c < len(own) - 4):
                known, left = own.iloc[order[:count]], own.iloc[order[min(max(OWN), len(own) - 4) :]]
                for weight in WEIGHTS:
                    train = pd.concat([others, *[known] * weight])
                    split = f"{TASKS}, {count} own trials"
                    yield Part(split, task, train, left, train["task"], f"weight {weight}, draw {repeat + 1}")


def scale_part(rows: pd.DataFrame, others: pd.DataFrame) -> Part:
    """All rows to learn from, and trials of other studies."""
    return Part(SCALE, "", rows, others, rows["task"])


def _part(
    split: str, group: str, rows: pd.DataFrame, held: NDArray[np.bool_], base: pd.DataFrame, weight: int, column: str
) -> Part:
    train = pd.concat([*[rows[~held]] * weight, base]) if len(base) else rows[~held]
    return Part(split, group, train, rows[held], train[column])


def _dealt(rows: pd.DataFrame, seed: int) -> NDArray[np.int64]:
    """The fold of each row over trials; each has its share of every task's successes."""
    order = rows.assign(_random=np.random.default_rng(seed).random(len(rows))).sort_values(["task", "success", "_random"])
    fold_of = pd.Series(np.arange(len(rows)) % min(OUTER, len(rows)), order.index)
    return fold_of.reindex(rows.index).to_numpy()
