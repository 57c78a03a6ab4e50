"""The predictor: trials and a card; its models are fitted when they are first asked, which takes a fraction of a second."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..core.cards import Card, Evidence
from ..core.errors import ArtefactError, ModuleError, first_line
from ..core.numbers import shown
from . import checks, choice, model, network, packaged, reasons, stored
from .choice import DIVERGENCE
from .features import LEADING
from .inputs import CATEGORIES, DIVERGED, IDENTITY, SETS
from .rows import Rows, columns_of, count, is_frame, joined, objects, take

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    import pandas as pd
    import torch
    from torch import Tensor, nn

    from ..spectrum import Spectrum

FEW = 5  # number of own trials of a task from which they are used


@dataclass(frozen=True, repr=False)
class Verdict:
    """The predictor's answer for one network.

    Attributes:
        probability: of success, calibrated.
        expected_score: share of the gap between chance and the best known loss that the training will close, in [0, 1].
        moment: when the question was asked, judging by what is known.
        based_on: the set of inputs that answered, the best of those that are complete; "divergence" if the network has
            diverged, and so has failed.
        evidence: how well that set did on trials that were held out, where the question lies; None for a divergence, and for
            steps larger than in all trials.
        reasons: sentences: how good the evidence is, what the answer rests on, the inputs that matter most, and what no
            trial had from which the predictor learned.
    """

    probability: float
    expected_score: float
    moment: str
    based_on: str
    evidence: Evidence | None = field(hash=False)
    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        numbers = f"probability {self.probability:.2f}, expected score {self.expected_score:.2f}"
        return f"Verdict({numbers}; {self.moment}, from {self.based_on})"

    def __str__(self) -> str:
        head = f"success with probability {self.probability:.2f}, expected score {self.expected_score:.2f}"
        how = "failed: " if self.based_on == DIVERGENCE else ""
        about = "" if self.based_on == DIVERGENCE else f" ({self.moment}, from {self.based_on})"
        return "\n".join([how + head + about, *(f"- {reason}" for reason in self.reasons)])

    def to_dict(self, prefix: str = "") -> dict[str, float]:
        """The two numbers by name, each name after `prefix`, as experiment trackers take metrics."""
        return {f"{prefix}probability": self.probability, f"{prefix}expected_score": self.expected_score}


@dataclass(frozen=True, eq=False, repr=False)
class StabilityPredictor:
    """Predicts from early measurements whether a training will succeed.

    Attributes:
        trials: from which it learns, columns of `trial_inputs` by name, each (N,); of a user's own trials the column `study` is
            "own".
        card: what it was fitted to and how good it is.
    """

    trials: Rows
    card: Card

    def __post_init__(self) -> None:
        """Take the columns that count of any table, with the precision of a saved predictor."""
        columns = columns_of(self.trials)
        kept = {name: packaged.rounded(columns[name]) for name in packaged.COLUMNS if name in columns}
        object.__setattr__(self, "trials", kept)

    @classmethod
    def load(cls, source: str | Path | None = None) -> Self:
        """The predictor of a folder, of an MLflow model's address such as "models:/rnn-stability@champion", or the packaged one.

        Args:
            source: without it, the predictor that comes with the library, which learned from small networks on many tasks.

        Raises:
            ArtefactError: the folder lacks the files, or they are corrupt, or of another version of this library.
            TrackingError: there is no such model.
        """
        if source is None:
            return cls(packaged.trials(), packaged.card())
        folder = _folder(source)
        if str(source).startswith(("models:/", "runs:/")):
            try:
                from ..tracking import fetch_model
            except ModuleNotFoundError as error:
                raise ArtefactError(
                    f"{source} is in MLflow's registry, and {error.name} is not installed: pip install 'rnn-stability[mlflow]'"
                ) from None
            folder = fetch_model(str(source))
        card, trials = Card.load(folder / packaged.CARD), packaged.load(folder / packaged.TRIALS)
        if not stored.are_of_this_version(card, trials):
            raise ArtefactError(
                f"the predictor in {folder} was fitted to other inputs than this version of the library gives: fit it again "
                "(`dvc repro`), or ask it through mlflow.pyfunc.load_model, which brings the version that fitted it"
            )
        if damage := next(stored.damages(card, trials), None):
            raise ArtefactError(f"the predictor in {folder} is damaged ({damage}); fit it again (`dvc repro`), or save it again")
        return cls(trials, card)

    def save(self, folder: str | Path) -> None:
        """Write trials.npz and card.json into a folder; ArtefactError if they cannot be written."""
        folder = _folder(folder)
        packaged.save(folder / packaged.TRIALS, self.trials)
        self.card.save(folder / packaged.CARD)

    def __repr__(self) -> str:
        own, tasks, cells = sum(self._own.values()), set(self.trials["task"]), set(self.trials["cell"])
        mine = f", {own} of your own" if own else ""
        return (
            f"{type(self).__name__}({count(self.trials)} trials of {len(tasks)} tasks and {len(cells)} cells{mine}; success is a "
            f"score of {self.card.threshold:g})"
        )

    def update(self, trials: "pd.DataFrame | Sequence[Mapping[str, Any]]") -> "StabilityPredictor":
        """A predictor that has also learned from finished trials of your own; this one stays as it is.

        Args:
            trials: a table, or a list of rows, as `trial_inputs` or `network_inputs` make them, with `task`, `score` (the share
                of the gap between chance and the best known loss that the training closed, within 0 and 1) and, if known,
                `success`; otherwise a success is a score of at least the card's threshold. Trials of one task carry one name.

        Raises:
            ModuleError: a column is missing, or a value is not what it should be.
        """
        rows = checks.rows(trials, self._names)
        score, success = checks.outcomes(columns_of(trials), self.card.threshold)
        cells = rows.get("cell", objects([None] * len(score)))
        rows |= {"cell": objects([checks.OWN if name is None else name for name in cells])}
        rows |= {"score": score, "success": success, "study": objects(["own"] * len(score))}
        together = joined([self.trials, {name: _column(rows, name, len(score)) for name in self.trials}])
        return StabilityPredictor(together, replace(self.card, quantiles=packaged.quantiles(together)))

    def predict(self, inputs: Any) -> Any:
        """Expected score, probability of success, and what they are based on, one row per row of `inputs`.

        Each row is answered by itself, at the moment whose set of inputs has the lowest Brier score on held-out trials. At each
        moment that is the smallest set that is about as good as the best or, if that is not complete, the best complete one. A
        network that has diverged fails: 0, 0 and "divergence". Numbers outside the range of all trials are replaced by the
        nearest in it; where steps are larger than in all trials, an answer is at most the mean of the trials with the largest
        steps.

        Args:
            inputs: a pandas.DataFrame with columns of `trial_inputs` or `network_inputs`, or a list of rows as `network_inputs`
                makes them; NaN, or None, is what was not measured.

        Returns:
            A pandas.DataFrame with the index of `inputs`, or a list of rows for a list: expected_score,
            probability_of_success, moment and based_on.

        Raises:
            ModuleError: a value is not what it should be, or a row suffices for no set.
        """
        found = self._answers(checks.rows(inputs, self._names))
        answers = {name: values for name, values in found.items() if name not in ("split", "limited")}
        if is_frame(inputs):
            import pandas as pd

            return pd.DataFrame(answers, index=inputs.index)
        return [dict(zip(answers, row, strict=True)) for row in zip(*(v.tolist() for v in answers.values()), strict=True)]

    def assess(
        self,
        model: "nn.Module",
        inputs: "Tensor",
        *,
        spectrum: "Spectrum | None" = None,
        initial: "Spectrum | None" = None,
        state: Any = None,
        device: "torch.device | str | None" = None,
        steps: int | None = None,
        **known: Any,
    ) -> Verdict:
        """Say whether a network's training will succeed, before it, or after about one epoch.

        The 8 largest exponents are measured, unless a spectrum is handed over, where they count: before training, and after
        an epoch beside `initial`. All else is what `network_inputs` takes. The more is known, the better the answer:
        `measurements` before training, `relative_loss` after an epoch.

        Args:
            model: as for `lyapunov_spectrum`; it is not changed.
            inputs: sequences of the task, in natural order, as for `lyapunov_spectrum`.
            spectrum: the network's spectrum now, if it has been measured already.
            initial: the network's spectrum before training, if it has been trained since.
            state: as for `lyapunov_spectrum`.
            device: the same.
            steps: length of a training sequence; the length of `inputs` by default.
            **known: arguments of `network_inputs`. With `learning_rate`, which needs `updates`, those of `cell`, `hidden_size`,
                `parameter_count` (give the number with the head) and, before training, `init_scale` that are not given are
                read from the model.

        Raises:
            ModuleError: the model or inputs cannot be measured, or an argument is not what it should be.
        """
        from ..spectrum import leading_spectrum

        network.check_names(known, "state", "device")
        steps = network.length(model, inputs) if steps is None else steps
        given = {name: value for name, value in known.items() if value is not None}
        trained = network.begun(initial=initial, **given)
        if "learning_rate" in given:
            try:
                read = network.measured(model)
            except Exception as error:  # parameters that have no numbers, or no shape, yet
                raise ModuleError(f"the model's parameters cannot be read: {first_line(error)}") from error
            if trained:  # the scale is that of now
                read.pop("init_scale", None)
            given |= {name: value for name, value in read.items() if name not in given}
        row = network.network_inputs(spectrum=spectrum, initial=initial, steps=steps, **given)
        checks.rows([row], self._names)  # raises what is wrong before measuring, which takes longer
        if spectrum is not None and (state is not None or device is not None):
            raise ModuleError("state= and device= have no effect with spectrum=, which has been measured already")
        counts = not trained or (initial is not None and (network.has_epoch(row) or "losses" not in given))
        if spectrum is None and counts and not row[DIVERGED]:
            spectrum = leading_spectrum(model, inputs, LEADING, state=state, device=device)
            row = network.network_inputs(spectrum=spectrum, initial=initial, steps=steps, **given)
        return self.verdict(row)

    def verdict(self, inputs: Mapping[str, Any]) -> Verdict:
        """The verdict on one network, from a row of inputs as `network_inputs` makes them. Raises as `predict`."""
        if not isinstance(inputs, Mapping):
            raise ModuleError(f"the inputs are a {type(inputs).__name__}; they should be a mapping, as network_inputs returns it")
        row = checks.rows([inputs], self._names)
        answer = {column: values[0] for column, values in self._answers(row).items()}
        known = {column: values[0] for column, values in row.items()}
        split, moment, name = (str(answer[column]) for column in ("split", "moment", "based_on"))
        gone = name == DIVERGENCE
        limited = not gone and bool(answer["limited"])
        if gone:
            said: tuple[str, ...] = (reasons.divergence(known),)
        elif limited:
            said = (reasons.too_large_a_step(self.card, known, self._edge), *reasons.unseen(self.card, known, self._learned))
        else:
            said = self._reasons(split, moment, name, row, known)
        return Verdict(
            probability=float(answer["probability_of_success"]),
            expected_score=float(answer["expected_score"]),
            moment=moment,
            based_on=name,
            evidence=None if gone or limited else choice.evidence(self.card, split, moment, name),
            reasons=said,
        )

    def _reasons(self, split: str, moment: str, name: str, row: Rows, known: Mapping[str, Any]) -> tuple[str, ...]:
        columns, task = SETS[moment][name], known.get("task")
        return (
            *reasons.far(self.card, known),
            *reasons.evidence(self.card, split, moment, name),
            *reasons.unused(known, moment),
            *reasons.data(self.card, known, name),
            *reasons.effects(self.card, columns, row, lambda rows: self._ask(moment, name, task, rows)[0]),
            *reasons.unseen(self.card, known, self._learned),
        )

    def _answers(self, rows: Rows) -> Rows:
        """Answers for rows that are checked, the set that they are based on, its moment, and the split whose evidence counts.

        Also whether steps are so large that no evidence counts, and the answer is limited.
        """
        size = count(rows)
        splits = choice.splits(rows, self.card, self._own, self._learned)
        chosen = choice.sets(rows, self.card, splits)
        tasks = rows.get("task", objects([None] * size))
        keys = [(*found, self._with_own_models(task)) for found, task in zip(chosen, tasks, strict=True)]
        expected, probability = np.zeros(size), np.zeros(size)
        for key in dict.fromkeys(key for key in keys if key[1] != DIVERGENCE):
            places = np.flatnonzero([other == key for other in keys])
            expected[places], probability[places] = self._ask(*key, take(rows, places))
        limited = choice.too_large_a_step(rows, self.card)
        expected, probability = (
            np.where(limited, np.minimum(found, most), found)
            for found, most in zip((expected, probability), self._edge, strict=True)
        )
        return {
            "expected_score": expected,
            "probability_of_success": probability,
            "moment": objects([moment for moment, _ in chosen]),
            "based_on": objects([name for _, name in chosen]),
            "split": objects(splits),
            "limited": limited,
        }

    def _ask(self, moment: str, name: str, task: Any, rows: Rows) -> tuple[Any, Any]:
        """The answers of a set's models, which do not extrapolate: a number beyond all trials counts as the nearest of theirs."""
        x = {column: _column(rows, column, count(rows)) for column in SETS[moment][name]}
        for column in (c for c in x if c in self.card.quantiles):
            x[column] = x[column].clip(self.card.quantiles[column][0], self.card.quantiles[column][-1])
        return self._model(moment, name, self._with_own_models(task)).answer(x)

    def _with_own_models(self, task: Any) -> str:
        """The task if there are models of its own, which count its own trials more often than others; "" if there are none."""
        return str(task) if self._own.get(task, 0) >= FEW else ""

    def _model(self, moment: str, name: str, task: str) -> model.Fitted:
        """Models of a set; the own trials of a task count as often as the card says."""
        key = (moment, name, task)
        if key not in self._fitted:
            own = take(self.trials, (self.trials["study"] == "own") & (self.trials["task"] == task))
            counts = [int(number) for number in self.card.own_weights if int(number) <= count(own)]
            times = int(self.card.own_weights[str(max(counts))]) if counts else 1
            learned = joined([self.trials, *[own] * (times - 1)])
            self._fitted[key] = model.fit(learned, self.card.recipes[moment][name])
        return self._fitted[key]

    @cached_property
    def _fitted(self) -> dict[tuple[str, str, str], model.Fitted]:
        return {}

    @cached_property
    def _edge(self) -> tuple[float, float]:
        """Mean score and share of successes of the trials with the 2.5 % largest step ratios."""
        largest = self.trials["initial_step_ratio"] >= self.card.quantiles["initial_step_ratio"][-2:][0]
        chosen = take(self.trials, largest if largest.any() else slice(None))
        return float(chosen["score"].mean()), float(chosen["success"].mean())

    @cached_property
    def _own(self) -> dict[str, int]:
        """Own task -> number of its trials."""
        own = self.trials["task"][self.trials["study"] == "own"]
        return dict(Counter(own.tolist()))

    @cached_property
    def _learned(self) -> dict[str, list[str]]:
        return {column: [name for name in dict.fromkeys(self.trials[column].tolist()) if name] for column in CATEGORIES}

    @property
    def _names(self) -> dict[str, list[str]]:
        return {"task": self.card.tasks, "cell": self.card.cells}


def _folder(source: Any) -> Path:
    """A folder, or an address, as a path."""
    if not isinstance(source, str | Path) or not str(source).strip() or "\0" in str(source):
        raise ArtefactError(f"the predictor should be given as a folder or an address, found {shown(source)}")
    return Path(source)


def _column(rows: Rows, name: str, size: int) -> Any:
    """A column of `size` rows, missing everywhere if it is not there."""
    if name in rows:
        return rows[name]
    return objects([None] * size) if name in (*CATEGORIES, *IDENTITY) else np.full(size, np.nan)
