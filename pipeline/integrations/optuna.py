"""A pruner and a sampler for Optuna: end trials that are unlikely to succeed, and begin with the most promising ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

from torch import Tensor

from ..core.errors import ModuleError
from ..core.numbers import count, number
from ..predictor import Verdict
from ..watching.screen import screen

try:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState
except ModuleNotFoundError:
    raise ModuleNotFoundError("Optuna is not installed: pip install 'rnn-stability[optuna]'") from None

STABILITY = "stability"  # the attribute of a trial that holds its last verdict
_SCORING = Lock()  # building networks draws from torch's generator, which all threads share
Score = Callable[[Mapping[str, Any]], float]


def report(trial: optuna.Trial, verdict: Verdict, *, step: int | None = None) -> None:
    """Keep a verdict as an attribute of a trial, where `StabilityPruner` finds it.

    Args:
        trial: that is running.
        verdict: its last one.
        step: with it, the expected score is reported as the intermediate value of this step. Another pruner compares
            intermediate values, so leave it out if the trial also reports something else.
    """
    trial.set_user_attr(STABILITY, verdict.to_dict() | {"moment": verdict.moment, "based_on": verdict.based_on})
    if step is not None:
        trial.report(verdict.expected_score, step)


class StabilityPruner(optuna.pruners.BasePruner):  # type: ignore[misc] # an optional library
    """Prunes a trial whose last verdict, see `report`, has a probability of success below a bound."""

    def __init__(self, below: float = 0.05, *, inner: optuna.pruners.BasePruner | None = None) -> None:
        """Store the options.

        Args:
            below: the bound.
            inner: another pruner, which is asked if this one does not prune.
        """
        self._below, self._inner = number("below", below), inner

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should be pruned; ModuleError if its attribute holds no verdict."""
        verdict = trial.user_attrs.get(STABILITY)
        if verdict is not None:
            if not isinstance(verdict, Mapping) or "probability" not in verdict:
                raise ModuleError(f"the trial's attribute {STABILITY!r} holds no verdict; report(trial, verdict) stores it")
            if number("probability", verdict["probability"]) < self._below:
                return True
        return self._inner is not None and self._inner.prune(study, trial)


class ScreeningSampler(optuna.samplers.BaseSampler):  # type: ignore[misc] # an optional library
    """Draws several candidates for the first trials from another sampler, and begins those that score best before training.

    The inner sampler sees the trials as if it had drawn them itself, so that it goes on learning. A parameter that is outside
    of the space, such as one that depends on another, is drawn by the inner sampler alone, and is unknown to `score`.
    """

    def __init__(
        self,
        inner: optuna.samplers.BaseSampler,
        score: Score,
        *,
        candidates: int = 20,
        first: int = 10,
        search_space: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        """Store the options.

        Args:
            inner: the sampler that draws candidates; with its seed, the search is deterministic.
            score: parameters -> how promising they are, the more the better, whatever the study's direction; such as
                `expected_score`.
            candidates: number of candidates per trial.
            first: number of trials for which there are candidates; later ones are the inner sampler's own, which has then
                learned from trials. docs/optuna.md shows that screening pays at the beginning of a search.
            search_space: distributions by name. Without it, it is what all finished trials have in common, and until there
                are any, the inner sampler draws alone.
        """
        if not isinstance(inner, optuna.samplers.BaseSampler):
            raise ModuleError(f"inner should be a sampler of Optuna, found {type(inner).__name__}")
        if not callable(score):
            raise ModuleError(f"score should be a function of parameters, found {type(score).__name__}")
        self._inner, self._score = inner, score
        self._candidates, self._first = count("candidates", candidates), count("first", first)
        self._space = None if search_space is None else dict(search_space)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The space from which candidates are drawn."""
        own = self._space
        if own is None:
            finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            own = optuna.search_space.intersection_search_space(finished, include_pruned=True)
        return own | {n: d for n, d in self._inner.infer_relative_search_space(study, trial).items() if n not in own}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The most promising of several candidates."""
        if not search_space:
            return {}
        drawn: list[dict[str, Any]] = []
        for _ in range(self._candidates if trial.number < self._first else 1):
            candidate = self._draw(study, trial, search_space)
            if candidate not in drawn:
                drawn.append(candidate)
        return drawn[0] if len(drawn) == 1 else max(drawn, key=self._scored)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """A parameter outside of the space, from the inner sampler."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass it on to the inner sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass it on to the inner sampler."""
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Pass it on to the inner sampler."""
        self._inner.reseed_rng()

    def _draw(self, study: optuna.Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """One candidate: values that are fixed (`study.enqueue_trial`), and others from the inner sampler."""
        fixed = trial.system_attrs.get("fixed_params", {})
        drawn = self._inner.sample_relative(study, trial, self._inner.infer_relative_search_space(study, trial))
        for name, distribution in space.items():
            if name in fixed:
                drawn[name] = fixed[name]
            elif distribution.single():
                drawn[name] = distribution.to_external_repr(getattr(distribution, "low", 0))  # or the only choice
            elif name not in drawn:
                drawn[name] = self._inner.sample_independent(study, trial, name, distribution)
        return {name: drawn[name] for name in space}

    def _scored(self, candidate: dict[str, Any]) -> float:
        with _SCORING:
            found = number("the score", self._score(dict(candidate)))
        if math.isnan(found):
            raise ModuleError(f"the score of {candidate} is NaN; it should be a number")
        return found


def expected_score(
    build: Callable[[Any], Any],
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    budget: int,
    seed: int = 0,
    **watch_options: Any,
) -> Score:
    """The expected score of parameters before training, for `ScreeningSampler`; arguments as for `screen`."""
    options = {"loss": loss, "budget": budget, "seed": seed} | watch_options
    return partial(_expected, build=build, inputs=inputs, targets=targets, options=options)


def _expected(
    params: Mapping[str, Any], *, build: Callable[[Any], Any], inputs: Tensor, targets: Tensor, options: Mapping[str, Any]
) -> float:
    found = screen(build, [dict(params)], inputs, targets, jobs=1, progress=False, **options)
    return found.verdicts[0].expected_score
