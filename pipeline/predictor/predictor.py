"""The fitted predictor: how it is stored, loaded and asked."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import skops.io

from ..core.config import PredictorSettings
from ..core.errors import ArtefactError, ModuleError
from ..core.files import load_json, replacing, save_json
from ..core.records import Judgement
from . import network
from .inputs import CATEGORIES, SERVED, SETS
from .model import fit_score, fit_success, predict

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    from torch import Tensor, nn

    from ..spectrum import Spectrum

# What skops may load beyond its own list: parts of the models that this project fits, and nothing else. No type here
# runs code when loaded; a forged tree could crash a process, so load only models whose origin you know.
TRUSTED = [
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
]
_GRID = np.linspace(0, 1, 41)  # quantiles of the training trials that are kept


@dataclass(frozen=True)
class Verdict:
    """The predictor's answer for one network.

    Attributes:
        probability: of success, calibrated.
        expected_score: share of the gap between chance and the best known loss that the training will close, in [0, 1].
        based_on: the set of inputs that was used, the best of those that are complete.
        evidence: how well that set did on trials that were held out: measures with intervals, by split.
        reasons: sentences, the most important first; at the end, what the study has never seen.
    """

    probability: float
    expected_score: float
    based_on: str
    evidence: dict[str, dict[str, Any]] = field(repr=False)
    reasons: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        head = f"success with probability {self.probability:.2f}, expected score {self.expected_score:.2f} (from {self.based_on})"
        return "\n".join([head, *(f"- {reason}" for reason in self.reasons)])


@dataclass(frozen=True)
class StabilityPredictor:
    """Predicts from early measurements whether a training will succeed.

    Attributes:
        models: set of inputs (a name in SERVED) -> fitted regression of the score, fitted classifier of success.
        about: quantiles of the training trials by column, the evidence by set and split, tasks, cells, heads, threshold,
            and the columns that each set had.
    """

    models: Mapping[str, tuple[Any, Any]] = field(repr=False)
    about: Mapping[str, Any] = field(repr=False)

    @classmethod
    def fit(cls, inputs: pd.DataFrame, judgement: Judgement, threshold: float, settings: PredictorSettings, seed: int) -> Self:
        """Fit the sets SERVED to all trials; `inputs` from `trial_inputs`, `judgement` from `evidence.judge`."""
        models = {
            name: (
                fit_score(name, inputs[list(SETS[name])], inputs["score"], settings, seed),
                fit_success(name, inputs[list(SETS[name])], inputs["success"], settings, seed),
            )
            for name in SERVED
        }
        numbers = [c for name in SERVED for c in SETS[name] if c not in CATEGORIES]
        about = {
            "quantiles": {c: _quantiles(inputs[c]) for c in dict.fromkeys(numbers)},
            "evidence": _by_set(judgement),
            "threshold": threshold,
            "trials": len(inputs),
            "sets": {name: list(SETS[name]) for name in SERVED},
            **{f"{c}s": sorted(inputs[c].unique()) for c in CATEGORIES},
        }
        return cls(models, about)

    def save(self, folder: Path) -> None:
        """Write model.skops and about.json."""
        content = {name: list(pair) for name, pair in self.models.items()}
        with replacing(folder / "model.skops") as temporary:
            skops.io.dump(content, temporary, compression=zipfile.ZIP_DEFLATED)
        save_json(folder / "about.json", dict(self.about))

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """The predictor of a folder, or of an MLflow model's address such as "models:/rnn-stability@champion".

        Raises:
            ArtefactError: the folder lacks the files, or they are corrupt, or of a version of this library that gave it
                other inputs.
            TrackingError: there is no such model.
        """
        folder = Path(source)
        if str(source).startswith(("models:/", "runs:/")):
            from ..tracking import fetch_model

            folder = fetch_model(str(source))
        about = load_json(folder / "about.json")
        try:
            content = skops.io.load(folder / "model.skops", trusted=TRUSTED)
        except Exception as error:  # skops names no class of errors for a broken file
            raise ArtefactError(f"{folder / 'model.skops'} cannot be loaded: {error}") from None
        _check_inputs(folder, about)
        return cls({name: tuple(pair) for name, pair in content.items()}, about)

    def predict(self, known: pd.DataFrame) -> pd.DataFrame:
        """Expected score, probability of success and the set that they are based on, one row per row of `known`.

        Args:
            known: any of the columns of SETS; a set is used if all its columns are there. NaN is a value that could
                not be measured (a state that was not finite), not one that is unknown.

        Raises:
            ModuleError: the columns suffice for no set.
        """
        name = self._best_set(known)
        expected, probability = predict(*self.models[name], known[list(SETS[name])])
        return pd.DataFrame(
            {"expected_score": expected, "probability_of_success": probability, "based_on": name}, index=known.index
        )

    def assess(
        self,
        model: "nn.Module",
        inputs: "Tensor",
        *,
        initial: "Spectrum | None" = None,
        state: Any = None,
        relative_loss: float | None = None,
        gradient_norm: float | None = None,
        gradient_norm_max: float | None = None,
        parameter_count: int | None = None,
        task: str = "another",
        cell: str | None = None,
        steps: int | None = None,
        **hyper_parameters: Any,
    ) -> Verdict:
        """Say whether a network's training will succeed, before it (no `initial`) or after about one epoch.

        The answer comes from one set of inputs, named by `based_on`: of those that are complete the one with the best evidence.

        Args:
            model: as for `lyapunov_spectrum`; it is not changed.
            inputs: sequences of the task, in natural order, as for `lyapunov_spectrum`.
            initial: the network's spectrum before training, if it has been trained since.
            state: as for `lyapunov_spectrum`.
            relative_loss: validation loss now / loss of the best answer that ignores the input.
            gradient_norm: mean norm of the gradients so far.
            gradient_norm_max: the largest of them.
            parameter_count: number of trained parameters of the whole network, head included; by default those of `model`.
            task: name in the study, if the task is among those.
            cell: name in the study; by default that of torch's module.
            steps: length of a training sequence; the length of `inputs` by default.
            **hyper_parameters: by the names of `core.hyper_parameters`, such as `learning_rate=0.001, clip_norm=1.0`. If
                there are any, `learning_rate` is one of them; `init_scale` is measured before training and must be given
                after it, the others have defaults (no clipping, no dropout, a head that the study has not seen).

        Raises:
            ModuleError: the model or inputs cannot be measured, or an argument is unknown or useless without another.
        """
        from ..spectrum import lyapunov_spectrum

        progress = {"relative_loss": relative_loss, "gradient_norm": gradient_norm, "gradient_norm_max": gradient_norm_max}
        network.check(hyper_parameters, progress, trained=initial is not None)
        now = lyapunov_spectrum(model, inputs, state=state)
        time_axis = 1 if getattr(model, "batch_first", False) and inputs.dim() == 3 else 0
        known: dict[str, Any] = network.spectrum_columns(now, initial, steps or int(inputs.shape[time_axis]))
        if "learning_rate" in hyper_parameters:
            known |= {"task": task, "cell": cell or network.cell_name(model)}
            known |= network.hyper_parameter_columns(model, hyper_parameters, parameter_count)
        if gradient_norm_max is None:
            progress["gradient_norm_max"] = gradient_norm
        known |= {f"early_log_{name}": network.log(value) for name, value in progress.items() if value is not None}
        return self.verdict(known)

    def verdict(self, known: Mapping[str, Any]) -> Verdict:
        """The verdict on one network, from columns of SETS."""
        row = pd.DataFrame([dict(known)])
        answer = self.predict(row).iloc[0]
        name = str(answer["based_on"])
        return Verdict(
            probability=float(answer["probability_of_success"]),
            expected_score=float(answer["expected_score"]),
            based_on=name,
            evidence=self.about["evidence"].get(name, {}),
            reasons=(*self._reasons(name, row, float(answer["expected_score"])), *self._unseen(name, row)),
        )

    def _best_set(self, known: pd.DataFrame) -> str:
        """Of the sets whose columns are all known, the one with the best evidence.

        That is R2 over trials where all tasks are tasks of the study, and on tasks left out otherwise.
        """
        possible = [name for name in self.models if set(SETS[name]) <= set(known.columns)]
        familiar = "task" in known.columns and bool(known["task"].isin(self.about["tasks"]).all())
        order = ("over trials",) if familiar else ("one task left out", "over trials")
        if not possible:
            raise ModuleError(
                "too little is known to predict from: give the columns of one set of `rnn_stability.predictor.inputs.SETS`"
            )

        def strength(name: str) -> float:
            splits = self.about["evidence"].get(name, {})
            r2 = [splits[s]["r2"]["value"] for s in order if s in splits]
            return r2[0] if r2 and r2[0] is not None else -np.inf

        return max(possible, key=strength)

    def _reasons(self, name: str, row: pd.DataFrame, expected: float) -> tuple[str, ...]:
        """What the answer would be with one input at a time at the training trials' median; the three that matter most."""
        effects = []
        for column in SETS[name]:
            quantiles = self.about["quantiles"].get(column)
            if quantiles is None or not np.isfinite(row[column].iloc[0]):
                continue
            usual = predict(*self.models[name], row[list(SETS[name])].assign(**{column: quantiles[len(quantiles) // 2]}))[0][0]
            effects.append((expected - float(usual), column))
        effects.sort(key=lambda item: -abs(item[0]))
        return tuple(self._sentence(column, float(row[column].iloc[0]), effect) for effect, column in effects[:3])

    def _unseen(self, name: str, row: pd.DataFrame) -> tuple[str, ...]:
        """What the set could not learn of: task, cell and head that no trial had."""
        categories = [(c, str(row[c].iloc[0])) for c in SETS[name] if c in CATEGORIES]
        return tuple(f"no trial of the study had {c} {value!r}" for c, value in categories if value not in self.about[f"{c}s"])

    def _sentence(self, column: str, value: float, effect: float) -> str:
        quantiles = np.array(self.about["quantiles"][column])
        below = float(np.interp(value, quantiles, _GRID))
        place = "below all" if value < quantiles[0] else "above all" if value > quantiles[-1] else f"above {below:.0%} of the"
        turn = f"{'raises' if effect > 0 else 'lowers'} the score by {abs(effect):.2f}"
        return f"{column.replace('_', ' ')} is {value:.3g}, {place} trials of the study; against their median this {turn}"


def _check_inputs(folder: Path, about: Mapping[str, Any]) -> None:
    if not isinstance(about, dict) or about.get("sets") != {name: list(SETS[name]) for name in SERVED}:
        raise ArtefactError(
            f"the predictor in {folder} was fitted to other inputs than this version of the library gives: fit it again "
            "(`dvc repro`), or ask it through mlflow.pyfunc.load_model, which brings the version that fitted it"
        )


def _quantiles(values: pd.Series) -> list[float]:
    finite = values[np.isfinite(values)]
    return [float(q) for q in np.quantile(finite, _GRID)] if len(finite) else [0.0]


def _by_set(judgement: Judgement) -> dict[str, dict[str, dict[str, Any]]]:
    """Measures and intervals by set and split."""
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    for e in judgement.evidence:
        sets.setdefault(e.inputs, {})[e.split] = {"trials": e.trials} | asdict(e)["measures"]
    return sets
