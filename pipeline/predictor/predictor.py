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
from . import checks, choice, network, reasons
from .choice import DIVERGENCE
from .features import MEASUREMENT
from .inputs import CATEGORIES, SERVED, SETS
from .model import fit_score, fit_success, predict

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    import torch
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


@dataclass(frozen=True)
class Verdict:
    """The predictor's answer for one network.

    Attributes:
        probability: of success, calibrated.
        expected_score: share of the gap between chance and the best known loss that the training will close, in [0, 1].
        based_on: the set of inputs that was used, the best of those that are complete; "divergence" if the network has
            diverged, and so has failed.
        evidence: how well that set did on trials that were held out: measures with intervals, by split.
        reasons: sentences: how good the evidence is where the question is asked, how much data the spectrum rests on, the
            inputs that matter most, and what no trial of the study had.
    """

    probability: float
    expected_score: float
    based_on: str
    evidence: dict[str, dict[str, Any]] = field(repr=False, hash=False)
    reasons: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        head = f"success with probability {self.probability:.2f}, expected score {self.expected_score:.2f} (from {self.based_on})"
        failed = "failed: " if self.based_on == DIVERGENCE else ""
        return "\n".join([failed + head, *(f"- {reason}" for reason in self.reasons)])


@dataclass(frozen=True, eq=False, repr=False)
class StabilityPredictor:
    """Predicts from early measurements whether a training will succeed.

    Attributes:
        models: set of inputs (a name in SERVED) -> fitted regression of the score, fitted classifier of success.
        about: quantiles of the training trials by column, the evidence by set and split, tasks, cells, heads, threshold,
            the columns that each set had, and the sequences and counted steps of the spectra (medians).
    """

    models: Mapping[str, tuple[Any, Any]]
    about: Mapping[str, Any]

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
            "quantiles": {c: reasons.quantiles(inputs[c]) for c in dict.fromkeys(numbers)},
            "evidence": _by_set(judgement),
            "threshold": threshold,
            "trials": len(inputs),
            "spectra": {c: int(inputs[c].median()) for c in MEASUREMENT},
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
        if not isinstance(source, str | Path):
            raise ArtefactError(f"the predictor should be given as a folder or an address, found {type(source).__name__}")
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

    def __repr__(self) -> str:
        trials, tasks, cells = self.about["trials"], len(self.about["tasks"]), len(self.about["cells"])
        return (
            f"{type(self).__name__}(fitted to {trials} trials of {tasks} tasks and {cells} cells; "
            f"success is a score of {self.about['threshold']:g})"
        )

    def predict(self, inputs: pd.DataFrame) -> pd.DataFrame:
        """Expected score, probability of success and the set that they are based on, one row per row of `inputs`.

        Each row is answered by itself, from the set with the best evidence among those whose columns are all there and not
        NaN. The evidence that counts is R2 over trials where task and cell are those of the study, and with one task or one
        cell left out where they are not. A network that has diverged fails: 0, 0 and "divergence". Numbers beyond those of
        all trials of the study count as the nearest of theirs.

        Args:
            inputs: from `trial_inputs` or `network_inputs`, or any of their columns; NaN is what was not measured.

        Raises:
            ModuleError: a value is not what it should be, or a row suffices for no set.
        """
        answers = self._answers(checks.rows(inputs, self.about)).set_axis(inputs.index)
        return answers.drop(columns="split")

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
        relative_loss: float | None = None,
        gradient_norm: float | None = None,
        gradient_norm_max: float | None = None,
        task: str | None = None,
        cell: str | None = None,
        parameter_count: int | None = None,
        **hyper_parameters: Any,
    ) -> Verdict:
        """Say whether a network's training will succeed, before it (no `initial`) or after about one epoch.

        The answer comes from one set of inputs, named by `based_on`: of those that are complete the one with the best
        evidence. A network that has diverged fails: see `network_inputs`.

        Args:
            model: as for `lyapunov_spectrum`; it is not changed.
            inputs: sequences of the task, in natural order, as for `lyapunov_spectrum`.
            spectrum: the network's spectrum now, if it has been measured already.
            initial: the network's spectrum before training, if it has been trained since.
            state: as for `lyapunov_spectrum`.
            device: the same.
            steps: length of a training sequence; the length of `inputs` by default.
            relative_loss: validation loss now / loss of the best answer that ignores the input.
            gradient_norm: mean norm of the gradients so far; used together with loss and hyper-parameters alone.
            gradient_norm_max: the largest of them; the mean by default.
            task: name in the study; by default "another".
            cell: name in the study; by default that of torch's module, or "another" for a module of your own.
            parameter_count: number of trained parameters of the whole network, head included; by default those of `model`.
            **hyper_parameters: by the names of `core.hyper_parameters`, such as `learning_rate=0.001, clip_norm=1.0`. If
                there are any, `learning_rate` is one of them. `hidden_size` is read from the model; so is `init_scale`
                before training, and after it must be given. The others have defaults (no clipping, no dropout, a head
                that the study has not seen).

        Raises:
            ModuleError: the model or inputs cannot be measured, or an argument is not what it should be or of no use
                without another.
        """
        from ..spectrum import lyapunov_spectrum

        given: dict[str, Any] = {"task": task, "cell": cell, "parameter_count": parameter_count, **hyper_parameters}
        given |= {"relative_loss": relative_loss, "gradient_norm": gradient_norm, "gradient_norm_max": gradient_norm_max}
        if "learning_rate" in given:
            read = network.measured(model)
            if initial is not None:
                read.pop("init_scale", None)
            given |= {name: value for name, value in read.items() if given.get(name) is None}
        arguments = network.argument_columns(given, trained=initial is not None)
        checks.rows(pd.DataFrame([arguments]), self.about)  # before measuring, which takes longer
        network.check_whole(initial=initial, spectrum=spectrum)
        if spectrum is None:
            spectrum = lyapunov_spectrum(model, inputs, state=state, device=device)
        elif state is not None or device is not None:
            raise ModuleError("state= and device= are of no use beside spectrum=, which has been measured already")
        steps = network.length(model, inputs) if steps is None else steps
        return self.verdict(network.network_inputs(spectrum, steps=steps, initial=initial, **given))

    def verdict(self, inputs: Mapping[str, Any]) -> Verdict:
        """The verdict on one network, from a row of inputs as `network_inputs` makes them. Raises as `predict`."""
        if not isinstance(inputs, Mapping):
            raise ModuleError(f"the inputs are a {type(inputs).__name__}; they should be a mapping, as network_inputs returns it")
        row = checks.rows(pd.DataFrame([dict(inputs)]), self.about)
        answer, known = self._answers(row).iloc[0], {str(column): values.iloc[0] for column, values in row.items()}
        name = str(answer["based_on"])
        return Verdict(
            probability=float(answer["probability_of_success"]),
            expected_score=float(answer["expected_score"]),
            based_on=name,
            evidence=self.about["evidence"].get(name, {}),
            reasons=(reasons.divergence(known),) if name == DIVERGENCE else self._reasons(name, str(answer["split"]), row, known),
        )

    def _reasons(self, name: str, split: str, row: pd.DataFrame, known: Mapping[str, Any]) -> tuple[str, ...]:
        return (
            reasons.evidence(self.about, name, split),
            *reasons.unused(name, known),
            *reasons.data(self.about, known),
            *reasons.effects(self.about, name, row, lambda rows: self._ask(name, rows)[0]),
            *reasons.unseen(self.about, known),
        )

    def _answers(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What `predict` returns for rows that are checked, and the split whose evidence counts."""
        answers = pd.DataFrame({"expected_score": 0.0, "probability_of_success": 0.0}, index=rows.index)
        answers["based_on"], answers["split"] = choice.sets(rows, self.models, self.about), choice.splits(rows, self.about)
        for name, own in rows.groupby(answers["based_on"]):
            if name != DIVERGENCE:
                found = self._ask(str(name), own)
                answers.loc[own.index, ["expected_score", "probability_of_success"]] = np.column_stack(found)
        return answers

    def _ask(self, name: str, rows: pd.DataFrame) -> tuple[Any, Any]:
        """The answers of a set's models, which do not extrapolate: a number beyond all trials counts as the nearest of theirs."""
        x = rows.reindex(columns=list(SETS[name]))
        for column in (c for c in x if c not in CATEGORIES):
            x[column] = x[column].clip(self.about["quantiles"][column][0], self.about["quantiles"][column][-1])
        return predict(*self.models[name], x)


def _check_inputs(folder: Path, about: Mapping[str, Any]) -> None:
    served = {name: list(SETS[name]) for name in SERVED}
    if not isinstance(about, dict) or about.get("sets") != served or "spectra" not in about:
        raise ArtefactError(
            f"the predictor in {folder} was fitted to other inputs than this version of the library gives: fit it again "
            "(`dvc repro`), or ask it through mlflow.pyfunc.load_model, which brings the version that fitted it"
        )


def _by_set(judgement: Judgement) -> dict[str, dict[str, dict[str, Any]]]:
    """Measures and intervals by set and split."""
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    for e in judgement.evidence:
        sets.setdefault(e.inputs, {})[e.split] = {"trials": e.trials} | asdict(e)["measures"]
    return sets
