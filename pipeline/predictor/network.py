"""What can be measured of a user's own network, as columns of the predictor's inputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED
from .features import spectrum_features
from .inputs import input_name, log10, scaled

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    from torch import nn

    from ..spectrum import Spectrum

MEASURED = ("hidden_size",)  # hyper-parameters that are read from the network


def check(hyper_parameters: Mapping[str, Any], progress: Mapping[str, float | None], *, trained: bool) -> None:
    """Refuse hyper-parameters that are not declared, or that are measured, and arguments that are useless without another."""
    names = [name for name in DECLARED if name not in MEASURED]
    for name in hyper_parameters:
        if name not in names:
            raise ModuleError(f"there is no hyper-parameter {name!r} to be given; there are {', '.join(names)}")
        if "learning_rate" not in hyper_parameters:
            raise ModuleError(f"{name} needs learning_rate= as well")
    if trained and hyper_parameters and "init_scale" not in hyper_parameters:
        raise ModuleError("learning_rate of a network that has been trained needs init_scale= as well")
    given = [name for name, value in progress.items() if value is not None]
    if given and not trained:
        raise ModuleError(f"{given[0]} needs initial=, the spectrum before training, as well")
    if "gradient_norm_max" in given and "gradient_norm" not in given:
        raise ModuleError("gradient_norm_max needs gradient_norm= as well")


def spectrum_columns(now: "Spectrum", initial: "Spectrum | None", steps: int) -> dict[str, float]:
    """The columns initial_..., and early_... and change_... if the network has been trained."""

    def measured(spectrum: "Spectrum") -> dict[str, float]:
        return spectrum_features(spectrum.per_sequence.cpu().numpy(), float(spectrum.standard_error[0]), steps)

    current = measured(now)
    if initial is None:
        return {f"initial_{n}": v for n, v in current.items()}
    first = measured(initial)
    return (
        {f"initial_{n}": v for n, v in first.items()}
        | {f"early_{n}": v for n, v in current.items()}
        | {f"change_{n}": v - first[n] for n, v in current.items()}
    )


def hyper_parameter_columns(model: "nn.Module", given: Mapping[str, Any], parameter_count: int | None) -> dict[str, Any]:
    """The columns of all hyper-parameters, given, measured or default, and of the number of parameters."""
    recurrent = [p.detach() for n, p in model.named_parameters() if "weight_hh" in n] or [
        p.detach() for p in model.parameters() if p.dim() > 1
    ]
    if not recurrent:
        raise ModuleError("learning_rate can only be used for a module with weights; leave it out for a step function")
    scale = float(recurrent[0].std()) * 3**0.5  # the standard deviation of uniform(-p, p) is p / sqrt 3
    measured = {"hidden_size": recurrent[0].shape[-1], "init_scale": scale}
    values = {name: given.get(name, measured.get(name, declared.default)) for name, declared in DECLARED.items()}
    columns: dict[str, Any] = {
        name if DECLARED[name].scale == "category" else input_name(name): (
            value if DECLARED[name].scale == "category" else float(scaled(name, pd.Series([value])).iloc[0])
        )
        for name, value in values.items()
    }
    return columns | {"log_parameter_count": log(parameter_count or sum(p.numel() for p in model.parameters()))}


def cell_name(model: Any) -> str:
    """The study's name for torch's own cells."""
    kind = type(model).__name__.removesuffix("Cell").lower()
    return {"rnn": "elman"}.get(kind, kind)


def log(value: float) -> float:
    """Decimal logarithm as in the predictor's inputs."""
    return float(log10(pd.Series([value])).iloc[0])
