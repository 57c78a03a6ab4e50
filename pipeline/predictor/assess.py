"""The trained predictor, and its use inside other people's code."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import skops.io

from ..artefacts import load_json, replacing, save_json
from ..config import PredictorSettings
from ..errors import ArtefactError, ModuleError
from . import features as columns
from .inputs import CATEGORIES, SERVED, SETS, log10
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
    """What the predictor says of one network.

    Attributes:
        probability: of success, calibrated.
        expected_score: share of the gap between chance and the best known loss that the training will close, in [0, 1].
        based_on: the set of inputs that was used, the best of those that could be.
        evidence: how that set did on trials that were held out: measures with intervals, by split.
        reasons: sentences, the weightiest first; at the end what the study has never seen.
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
    def fit(
        cls, inputs: pd.DataFrame, table: Sequence[dict[str, Any]], threshold: float, settings: PredictorSettings, seed: int
    ) -> Self:
        """Fit the sets SERVED to all trials; `inputs` from `trial_inputs`, `table` from `evidence`."""
        models = {
            name: (
                fit_score(inputs[list(used)], inputs["score"], settings, seed),
                fit_success(inputs[list(used)], inputs["success"], settings, seed),
            )
            for name, used in ((name, SETS[name]) for name in SERVED)
        }
        numbers = [c for name in SERVED for c in SETS[name] if c not in CATEGORIES]
        about = {
            "quantiles": {c: _quantiles(inputs[c]) for c in dict.fromkeys(numbers)},
            "evidence": _by_set(table),
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
        """Expected score, probability of success and the set they are based on, a row for each row of `known`.

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
        learning_rate: float | None = None,
        init_scale: float | None = None,
        clip_norm: float = 0.0,
        dropout: float = 0.0,
        relative_loss: float | None = None,
        gradient_norm: float | None = None,
        gradient_norm_max: float | None = None,
        parameter_count: int | None = None,
        task: str = "another",
        cell: str | None = None,
        head: str = "another",
        steps: int | None = None,
    ) -> Verdict:
        """Say whether a network's training will succeed, before it (no `initial`) or after about one epoch.

        The answer comes from one set of inputs, named by `based_on`: of those that are complete the one with the best evidence.

        Args:
            model: as for `lyapunov_spectrum`; it is not changed.
            inputs: sequences of the task, in natural order, as for `lyapunov_spectrum`.
            initial: the network's spectrum before training, if it has been trained since.
            state: as for `lyapunov_spectrum`.
            learning_rate: of Adam.
            init_scale: p of uniform(-p, p) that the recurrent weights were drawn from; before training it is measured.
            clip_norm: largest norm of a gradient, 0 for no clipping.
            dropout: share of the cell's outputs that is hidden from the readout while training.
            relative_loss: validation loss now / loss of the best answer that ignores the input.
            gradient_norm: mean norm of the gradients so far.
            gradient_norm_max: the largest of them.
            parameter_count: trained numbers of the whole network, head included; those of `model` by default.
            task: name in the study, if the task is among those.
            cell: name in the study; by default that of torch's module.
            head: name in the study, such as last or every, if the readout is one of those.
            steps: length of a training sequence; the length of `inputs` by default.

        Raises:
            ModuleError: the model or inputs cannot be measured, or what is given is of no use without something else.
        """
        from ..spectrum import lyapunov_spectrum

        if learning_rate is not None and init_scale is None and initial is not None:
            raise ModuleError("learning_rate of a network that has been trained needs init_scale= as well")
        if initial is None and (relative_loss is not None or gradient_norm is not None):
            raise ModuleError("relative_loss and gradient_norm need initial=, the spectrum before training, as well")
        now = lyapunov_spectrum(model, inputs, state=state)
        time_axis = 1 if getattr(model, "batch_first", False) and inputs.dim() == 3 else 0
        length = steps or int(inputs.shape[time_axis])
        known: dict[str, Any] = _spectrum_columns(now, initial, length)
        if learning_rate is not None:
            known |= {"task": task, "cell": cell or _cell_name(model), "head": head}
            known |= {"clip_norm": float(clip_norm), "dropout": float(dropout)}
            known |= _sizes(model, learning_rate, init_scale, parameter_count)
        if relative_loss is not None:
            known["early_log_relative_loss"] = _log(relative_loss)
        if gradient_norm is not None:
            known["early_log_gradient_norm"] = _log(gradient_norm)
            known["early_log_gradient_norm_max"] = _log(gradient_norm if gradient_norm_max is None else gradient_norm_max)
        return self.verdict(known)

    def verdict(self, known: Mapping[str, Any]) -> Verdict:
        """The verdict on one network, from columns of SETS."""
        row = pd.DataFrame([dict(known)])
        found = self.predict(row).iloc[0]
        name = str(found["based_on"])
        return Verdict(
            probability=float(found["probability_of_success"]),
            expected_score=float(found["expected_score"]),
            based_on=name,
            evidence=self.about["evidence"].get(name, {}),
            reasons=(*self._reasons(name, row, float(found["expected_score"])), *self._unseen(name, row)),
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
            r2 = [splits[s]["r2"] for s in order if s in splits]
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
    if about.get("sets") != {name: list(SETS[name]) for name in SERVED}:
        raise ArtefactError(
            f"the predictor in {folder} was fitted to other inputs than this version of the library gives: fit it again "
            "(`dvc repro`), or ask it through mlflow.pyfunc.load_model, which brings the version that fitted it"
        )


def _spectrum_columns(now: "Spectrum", initial: "Spectrum | None", steps: int) -> dict[str, float]:
    """The columns initial_..., and early_... and change_... if the network has been trained."""

    def measured(spectrum: "Spectrum") -> dict[str, float]:
        return columns.spectrum_features(spectrum.per_sequence.cpu().numpy(), float(spectrum.standard_error[0]), steps)

    current = measured(now)
    if initial is None:
        return {f"initial_{n}": v for n, v in current.items()}
    first = measured(initial)
    return (
        {f"initial_{n}": v for n, v in first.items()}
        | {f"early_{n}": v for n, v in current.items()}
        | {f"change_{n}": v - first[n] for n, v in current.items()}
    )


def _sizes(model: "nn.Module", learning_rate: float, init_scale: float | None, parameter_count: int | None) -> dict[str, float]:
    """Hyper-parameters and sizes as columns of SETS."""
    recurrent = [p.detach() for n, p in model.named_parameters() if "weight_hh" in n] or [
        p.detach() for p in model.parameters() if p.dim() > 1
    ]
    if not recurrent:
        raise ModuleError("learning_rate can only be used for a module with weights; leave it out for a step function")
    scale = float(recurrent[0].std()) * 3**0.5 if init_scale is None else init_scale  # std of uniform(-p, p) is p / sqrt 3
    return {
        "log_init_scale": _log(scale),
        "log_learning_rate": _log(learning_rate),
        "log_hidden_size": _log(recurrent[0].shape[-1]),
        "log_parameter_count": _log(parameter_count or sum(p.numel() for p in model.parameters())),
    }


def _cell_name(model: Any) -> str:
    """The study's name for torch's own cells."""
    kind = type(model).__name__.removesuffix("Cell").lower()
    return {"rnn": "elman"}.get(kind, kind)


def _log(value: float) -> float:
    return float(log10(pd.Series([value])).iloc[0])


def _quantiles(values: pd.Series) -> list[float]:
    finite = values[np.isfinite(values)]
    return [float(q) for q in np.quantile(finite, _GRID)] if len(finite) else [0.0]


def _by_set(table: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Evidence by set and split, without what only the report needs."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table:
        found.setdefault(row["features"], {})[row["split"]] = {
            k: v for k, v in row.items() if k not in ("features", "split", "by_group", "models")
        }
    return found
