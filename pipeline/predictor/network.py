"""The inputs of the predictor for a user's own network."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED, Value
from . import checks
from .features import spectrum_features
from .inputs import DIVERGED, PROGRESS_INPUTS, input_name, log10, scaled

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    from ..spectrum import Spectrum

_REQUIRED = ("parameter_count", *(name for name, declared in DECLARED.items() if declared.default is None))
# Argument -> those without which no set of inputs uses it.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "relative_loss": ("initial",),
    "gradient_norm": ("initial", "relative_loss", "learning_rate"),
    "gradient_norm_max": ("initial", "gradient_norm"),
    **dict.fromkeys(("task", "cell", "parameter_count", *DECLARED), ("learning_rate",)),
    "learning_rate": _REQUIRED,
}
_ARGUMENTS = (*_NEEDS, "initial", "spectrum", "state", "device", "steps")


def network_inputs(
    spectrum: "Spectrum",
    *,
    steps: int,
    initial: "Spectrum | None" = None,
    relative_loss: float | None = None,
    gradient_norm: float | None = None,
    gradient_norm_max: float | None = None,
    task: str | None = None,
    cell: str | None = None,
    parameter_count: int | None = None,
    **hyper_parameters: Value,
) -> dict[str, Any]:
    """The inputs of the predictor for one network: a row for `StabilityPredictor.predict` and for the registered model.

    A network counts as diverged if in no sequence of a spectrum the state stayed finite, or if the loss or a norm of
    gradients is NaN or infinite. If some sequences stayed finite, the spectrum is that of those.

    Args:
        spectrum: the network's spectrum now, with all its exponents.
        steps: length of a training sequence.
        initial: the network's spectrum before training, if it has been trained since.
        relative_loss: validation loss now / loss of the best answer that ignores the input.
        gradient_norm: mean norm of the gradients so far; used together with loss and hyper-parameters alone.
        gradient_norm_max: the largest of them; the mean by default.
        task: name in the study; by default "another".
        cell: the same.
        parameter_count: number of trained parameters of the whole network, head included.
        **hyper_parameters: none, or by the names of `core.hyper_parameters` at least those without a default:
            `learning_rate`, `init_scale`, `hidden_size`.

    Raises:
        ModuleError: a spectrum is truncated or another network's, a number or name is not what it should be, or an argument
            would be of no use.
    """
    given: dict[str, Any] = {"task": task, "cell": cell, "parameter_count": parameter_count, **hyper_parameters}
    given |= {"relative_loss": relative_loss, "gradient_norm": gradient_norm, "gradient_norm_max": gradient_norm_max}
    columns = argument_columns(given, trained=initial is not None)
    if spectrum is None:
        raise ModuleError("spectrum is None; it should be a Spectrum, as lyapunov_spectrum returns it")
    check_whole(initial=initial, spectrum=spectrum)
    measured = _spectrum_columns(spectrum, initial, checks.count("steps", steps))
    return columns | measured | {DIVERGED: columns[DIVERGED] or measured[DIVERGED]}


def argument_columns(arguments: Mapping[str, Any], *, trained: bool) -> dict[str, Any]:
    """The columns of what is given of a network beside its spectra; None is what is not given. Raises as `network_inputs`."""
    for name in arguments:
        checks.known("argument", name, _ARGUMENTS)
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given:
        for needed in _NEEDS[name]:
            if not (trained if needed == "initial" else needed in given):
                raise ModuleError(f"{name} needs {needed}= as well: no set of inputs uses it alone")
    progress = {name: checks.number(name, given[name], least=0) for name in PROGRESS_INPUTS if name in given}
    if progress.get("gradient_norm_max", math.inf) < progress.get("gradient_norm", 0) * (1 - 1e-6):  # norms may all be alike
        raise ModuleError(f"gradient_norm_max is {progress['gradient_norm_max']:g}; it should be at least gradient_norm")
    if "gradient_norm" in progress:
        progress.setdefault("gradient_norm_max", progress["gradient_norm"])
    columns: dict[str, Any] = {PROGRESS_INPUTS[name]: log(value) for name, value in progress.items() if math.isfinite(value)}
    if "learning_rate" in given:
        columns |= {name: given.get(name, checks.OWN) for name in ("task", "cell")} | dict(_hyper_parameter_columns(given))
    return columns | {DIVERGED: not all(map(math.isfinite, progress.values()))}


def check_whole(**spectra: Any) -> None:
    """Refuse what is no spectrum, or a truncated one; None is what is not given."""
    from ..spectrum import Spectrum

    for name, spectrum in spectra.items():
        if not isinstance(spectrum, Spectrum | None):
            raise ModuleError(f"{name}= is a {type(spectrum).__name__}; it should be a Spectrum, as lyapunov_spectrum returns it")
        if spectrum is not None and spectrum.per_sequence.shape[1] < spectrum.state_size:
            raise ModuleError(
                f"{name}= has {spectrum.per_sequence.shape[1]} of {spectrum.state_size} exponents; every set of inputs needs the "
                "whole spectrum: measure it without count="
            )


def measured(model: Any) -> dict[str, Any]:
    """What can be read from a module: its cell, size, scale of recurrent weights and number of parameters.

    Empty for a function or a module without weights.
    """
    parameters = dict(model.named_parameters()) if hasattr(model, "named_parameters") else {}
    weights = {name: p.detach() for name, p in parameters.items() if p.dim() > 1}
    recurrent = [p for name, p in weights.items() if "weight_hh" in name] or list(weights.values())
    if not recurrent:
        return {}
    scale = float(recurrent[0].abs().square().mean().nan_to_num()) ** 0.5 * 3**0.5  # that of uniform(-p, p) is p / sqrt 3
    return {
        "cell": _cell_name(model),
        "hidden_size": recurrent[0].shape[-1],
        "init_scale": scale or 10**-12,  # all zero, or NaN: a network that has diverged
        "parameter_count": sum(p.numel() for p in parameters.values()),
    }


def length(model: Any, inputs: Any) -> int:
    """T of inputs as the module takes them: (T, B, I), or (B, T, I) with batch_first."""
    shape = getattr(inputs, "shape", ())
    if len(shape) < 2:
        raise ModuleError("inputs should be a tensor of sequences, (T, B, I), or (B, T, I) with batch_first")
    return int(shape[1 if getattr(model, "batch_first", False) and len(shape) == 3 else 0])


def log(value: float) -> float:
    """Decimal logarithm as in the predictor's inputs."""
    return float(log10(pd.Series([value])).iloc[0])


def _hyper_parameter_columns(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, declared in DECLARED.items():
        value = checks.hyper_parameter(name, given.get(name, declared.default))
        if declared.scale == "category":
            yield name, value
        else:
            yield input_name(name), float(scaled(name, pd.Series([value])).iloc[0])
    yield "log_parameter_count", log(checks.count("parameter_count", given["parameter_count"]))


def _spectrum_columns(spectrum: "Spectrum", initial: "Spectrum | None", steps: int) -> dict[str, Any]:
    """The columns initial_..., and early_... and change_... if the network has been trained."""
    now = _features(spectrum, steps)
    known: dict[str, Any] = {"sequences": spectrum.per_sequence.shape[0], "counted_steps": spectrum.steps}
    if initial is None:
        columns = {f"initial_{name}": value for name, value in now.items()}
        return known | columns | {DIVERGED: now["diverged_share"] == 1}
    first = _features(initial, steps)
    if initial.state_size != spectrum.state_size:
        raise ModuleError(
            f"initial= has {initial.state_size} exponents and the network's spectrum has {spectrum.state_size}; it should be "
            "the spectrum of the same network before training"
        )
    known |= {f"initial_{name}": value for name, value in first.items()}
    known |= {f"early_{name}": value for name, value in now.items()}
    known |= {f"change_{name}": value - first[name] for name, value in now.items()}
    return known | {DIVERGED: 1 in (now["diverged_share"], first["diverged_share"])}


def _features(spectrum: "Spectrum", steps: int) -> dict[str, float]:
    return spectrum_features(spectrum.per_sequence.cpu().numpy(), float(spectrum.standard_error[0]), steps)


def _cell_name(model: Any) -> str:
    """The study's name for torch's own modules and cells, and those that inherit from them; "another" for all others."""
    kinds = {k.__name__.removesuffix("Cell").lower() for k in type(model).__mro__ if k.__module__ == "torch.nn.modules.rnn"}
    if "rnn" in kinds and getattr(model, "nonlinearity", "") == "tanh":
        return "elman"
    return next(iter(kinds & {"lstm", "gru"}), checks.OWN)
