"""The inputs of the predictor for a user's own network."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ModuleError
from ..core.hyper_parameters import DECLARED, Value
from ..core.numbers import count, number, shown
from ..measuring import columns as measured_columns
from ..measuring import get as measurement
from ..measuring.base.curve import curve, eighth_of
from . import checks
from .features import LEADING, OF_LARGEST, spectrum_features
from .inputs import DIVERGED, RELATIVE_LOSS, input_name, log10, scaled

if TYPE_CHECKING:  # torch takes a second to import, and a served model has none
    from ..spectrum import Spectrum

_REQUIRED = (
    *dict.fromkeys(("learning_rate", "updates", *(n for n, d in DECLARED.items() if d.default is None))),
    "parameter_count",
)
_ARGUMENTS = (
    "steps", "spectrum", "initial", "measurements", "initial_measurements", "losses", "gradient_norms", "chance", "updates",
    "updates_per_epoch", "relative_loss", "task", "cell", "parameter_count", *DECLARED,
)  # fmt: skip
Values = NDArray[np.float64]


def network_inputs(
    *,
    steps: int,
    spectrum: "Spectrum | None" = None,
    initial: "Spectrum | None" = None,
    measurements: Mapping[str, float] | None = None,
    initial_measurements: Mapping[str, float] | None = None,
    losses: Sequence[float] | None = None,
    gradient_norms: Sequence[float] | None = None,
    chance: float | None = None,
    updates: int | None = None,
    updates_per_epoch: int | None = None,
    relative_loss: float | None = None,
    task: str | None = None,
    cell: str | None = None,
    parameter_count: int | None = None,
    **hyper_parameters: Value,
) -> dict[str, Any]:
    """The inputs of the predictor for one network: a row for `StabilityPredictor.predict` and for the registered model.

    What was measured before training is handed over as `spectrum` and `measurements`, but once training has begun as `initial`
    and `initial_measurements`: `spectrum` and `measurements` are always those of now. A network counts as diverged if in no
    sequence of a spectrum the state stayed finite, or if a loss or norm is NaN or infinite.

    Args:
        steps: length of a training sequence.
        spectrum: the network's spectrum now, with at least its 8 largest exponents; 2 sequences of 20 steps after 10 are enough.
        initial: the same before training, if it has been trained since; both count after an epoch, before that this one alone.
        measurements: from `early_measurements`, of now.
        initial_measurements: the same before training, if it has been trained since.
        losses: training losses of the first mini-batches, in their order: an eighth of an epoch at least. What lies beyond
            one epoch is not used.
        gradient_norms: norms of their gradients, before clipping; without them the sets of inputs that use them do not answer.
        chance: loss of the best answer that ignores the input.
        updates: mini-batches of the whole training.
        updates_per_epoch: mini-batches of one epoch.
        relative_loss: validation loss after one epoch / chance; most sets of inputs for that moment use it.
        task: a name for the task; that of own trials, so that they count.
        cell: name of a cell of the library.
        parameter_count: number of trained parameters of the whole network, head included.
        **hyper_parameters: none, or by the names of `core.hyper_parameters` at least those without a default:
            `learning_rate`, `init_scale`, `hidden_size`.

    Raises:
        ModuleError: a spectrum is truncated or another network's, a number or name is not what it should be, or an argument
            would be of no use without another.
    """
    check_names(hyper_parameters)
    length, diverged = count("steps", steps), False
    columns: dict[str, Any] = {name: value for name, value in (("task", task), ("cell", cell)) if value is not None}
    for name, value in columns.items():
        if not isinstance(value, str):
            raise ModuleError(f"{name} is {shown(value)}; it should be a name")
    check_whole(initial=initial, spectrum=spectrum)
    trained = begun(losses=losses, relative_loss=relative_loss, initial=initial, initial_measurements=initial_measurements)
    taken = _measurement_columns(measurements, initial_measurements, trained=trained)
    if (lag := taken.get("initial_lag_needed", 0)) >= length:
        raise ModuleError(f"lag_needed of the measurements is {lag:g}; it should be less than steps, which is {length}")
    for part, gone in (
        _spectrum_columns(spectrum, initial, length, taken.get("initial_lag_needed"), trained=trained),
        (taken, _undefined(measurements) or _undefined(initial_measurements)),
        _loss_columns(relative_loss),
        _curve_columns(losses, gradient_norms, chance=chance, updates=updates, updates_per_epoch=updates_per_epoch),
    ):
        columns |= {name: value if math.isfinite(value) else math.nan for name, value in part.items()}  # as trial_inputs does
        diverged = diverged or gone
    given = {**hyper_parameters, "parameter_count": parameter_count}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        columns |= dict(_hyper_parameter_columns(given, length, updates))
    return columns | {DIVERGED: diverged}


def begun(**known: Any) -> bool:
    """Whether these arguments of `network_inputs` say that training has begun."""
    return any(known.get(name) is not None for name in ("losses", "relative_loss", "initial", "initial_measurements"))


def has_epoch(row: Mapping[str, Any]) -> bool:
    """Whether inputs hold the losses of an epoch, beside which the spectrum of now counts."""
    return RELATIVE_LOSS in row or "epoch_mean" in row


def check_names(arguments: Iterable[str], *others: str) -> None:
    """Refuse a name that is no argument of `network_inputs`, nor among `others`."""
    for name in arguments:
        checks.known("argument", name, (*_ARGUMENTS, *others))


def check_whole(**spectra: Any) -> None:
    """Refuse what is no spectrum, or one that lacks exponents that the sets of inputs use; None is what is not given."""
    from ..spectrum import Spectrum

    for name, spectrum in spectra.items():
        if not isinstance(spectrum, Spectrum | None):
            raise ModuleError(f"{name}= is a {type(spectrum).__name__}; it should be a Spectrum, as lyapunov_spectrum returns it")
        if spectrum is not None and (found := spectrum.per_sequence.shape[1]) < (least := min(LEADING, spectrum.state_size)):
            raise ModuleError(
                f"{name}= has {found} of {spectrum.state_size} exponents; the sets of inputs use {least}: count={least}"
            )


def measured(model: Any) -> dict[str, Any]:
    """What can be read from a module: its cell, size, scale of recurrent weights and number of trained parameters.

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
        "hidden_size": model.hidden_size if getattr(model, "proj_size", 0) else recurrent[0].shape[-1],
        "init_scale": scale or 10**-12,  # all zero, or NaN: a network that has diverged
        "parameter_count": sum(p.numel() for p in parameters.values() if p.requires_grad),
    }


def length(model: Any, inputs: Any) -> int:
    """T of inputs as the module takes them: (T, B, I), or (B, T, I) with batch_first."""
    shape = getattr(inputs, "shape", ())
    if len(shape) < 2:
        raise ModuleError("inputs should be a tensor of sequences, (T, B, I), or (B, T, I) with batch_first")
    return int(shape[1 if getattr(model, "batch_first", False) and len(shape) == 3 else 0])


def log(value: float) -> float:
    """Decimal logarithm as in the predictor's inputs."""
    return float(log10(value))


def _hyper_parameter_columns(given: Mapping[str, Any], steps: int, updates: int | None) -> Iterator[tuple[str, Any]]:
    for name in _REQUIRED:
        if name not in given and (name != "updates" or updates is None):
            raise ModuleError(f"{next(iter(given))} needs {name}= as well: hyper-parameters and sizes are used together")
    for name, declared in DECLARED.items():
        value = checks.hyper_parameter(name, given.get(name, declared.default))
        if declared.scale == "category":
            yield name, value
        else:
            yield input_name(name), scaled(name, float(value))
    yield "log_parameter_count", log(count("parameter_count", given["parameter_count"]))
    yield "log_steps", log(steps)
    yield "log_updates", log(count("updates", updates))


def _spectrum_columns(
    spectrum: "Spectrum | None", initial: "Spectrum | None", steps: int, lag: float | None, *, trained: bool
) -> tuple[dict[str, Any], bool]:
    """The columns initial_..., and early_... and change_... if the network has been trained; whether a spectrum diverged."""
    if spectrum is None or initial is None:
        only = initial if spectrum is None else spectrum
        if only is None:
            return {}, False
        if trained and initial is None:
            raise ModuleError("after training has begun, spectrum= needs initial= as well, the spectrum before training")
        found = _features(only, steps, lag)
        return _data(only) | {f"initial_{name}": value for name, value in found.items()}, found["diverged_share"] == 1
    now = _features(spectrum, steps, lag)
    first = _features(initial, steps, lag)
    if initial.state_size != spectrum.state_size:
        raise ModuleError(
            f"initial= has {initial.state_size} exponents and the network's spectrum has {spectrum.state_size}; it should be "
            "the spectrum of the same network before training"
        )
    known = _data(spectrum) | {f"initial_{name}": value for name, value in first.items()}
    known |= {f"early_{name}": value for name, value in now.items()}
    known |= {f"change_{name}": value - first[name] for name, value in now.items()}
    return known, 1 in (now["diverged_share"], first["diverged_share"])


def _data(spectrum: "Spectrum") -> dict[str, Any]:
    return {"sequences": spectrum.per_sequence.shape[0], "counted_steps": spectrum.steps}


def _features(spectrum: "Spectrum", steps: int, lag: float | None) -> dict[str, float]:
    known = lag if lag is not None and math.isfinite(lag) else None
    found = spectrum_features(spectrum.per_sequence.cpu().numpy(), float(spectrum.standard_error[0]), steps, known)
    whole = spectrum.per_sequence.shape[1] == spectrum.state_size
    return {name: value if whole or name in OF_LARGEST else math.nan for name, value in found.items()}


def _measurement_columns(now: Mapping[str, float] | None, first: Mapping[str, float] | None, *, trained: bool) -> dict[str, Any]:
    """The columns initial_..., and early_... and change_... if the network has been trained."""
    for name, measured in (("measurements", now), ("initial_measurements", first)):
        if measured is not None:
            _check_measured(name, measured)
    if now is None and first is None:
        return {}
    if trained and first is None:
        raise ModuleError(
            "after training has begun, measurements= needs initial_measurements= as well, those of the network before training"
        )
    if first is None or now is None:
        return _measured("initial", first or now or {})
    known = _measured("initial", first) | _measured("early", now)
    first_ratio, ratio = (known.get(f"{when}_step_ratio", math.nan) for when in ("initial", "early"))
    return known | {"change_step_ratio": ratio - first_ratio}


def _check_measured(name: str, measured: Any) -> None:
    """Refuse what is not from `early_measurements`; it may lack the proxies, and all but the lag or the proxies."""
    if not isinstance(measured, Mapping):
        raise ModuleError(f"{name}= is a {type(measured).__name__}; it should be what early_measurements returns")
    proxies, lag, columns = measurement("proxies").columns.keys(), {"lag_needed"}, measured_columns().keys()
    parts = [part & measured.keys() for part in (proxies, columns - proxies - lag)]
    if not measured.keys() & columns or parts[0] not in (set(), proxies) or parts[1] not in (set(), columns - proxies - lag):
        raise ModuleError(f"{name}= lacks numbers; it should be what early_measurements returns")


def _undefined(measured: Mapping[str, float] | None) -> bool:
    """Whether nothing could be measured of a network but what its data say: its state or gradients are not finite."""
    own = (measured_columns().keys() - {"lag_needed"}) & (measured or {}).keys()
    return bool(own) and not any(math.isfinite(number(name, (measured or {})[name])) for name in own)


def _measured(when: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {f"{when}_{name}": number(name, values[name]) for name in measured_columns() if name in values}


def _loss_columns(relative_loss: float | None) -> tuple[dict[str, Any], bool]:
    """The column of the loss on validation data; whether it is not finite."""
    if relative_loss is None:
        return {}, False
    value = number("relative_loss", relative_loss, least=0)
    return ({RELATIVE_LOSS: log(value)}, False) if math.isfinite(value) else ({}, True)


def _curve_columns(losses: Sequence[float] | None, norms: Sequence[float] | None, **known: Any) -> tuple[dict[str, Any], bool]:
    """The columns of the curve; whether a loss or norm is not finite."""
    if losses is None:
        for name, found in {"gradient_norms": norms, **known}.items():
            if found is not None and name != "updates":
                raise ModuleError(f"{name}= needs losses= as well: no set of inputs uses it alone")
        return {}, False
    for name, found in known.items():
        if found is None:
            raise ModuleError(f"losses= needs {name}= as well")
    series = _numbers("losses", losses), None if norms is None else _numbers("gradient_norms", norms)
    if series[1] is not None and len(series[0]) != len(series[1]):
        counts = f"there are {len(series[0])} losses and {len(series[1])} gradient norms"
        raise ModuleError(f"{counts}; they should be of the same mini-batches")
    if not all(np.isfinite(values).all() for values in series if values is not None):
        return {}, True
    return _curves(*series, **known), False


def _numbers(name: str, values: Any) -> Values:
    """One number, at least 0, per mini-batch; of anything that is in order, and not of the keys or letters of something else."""
    if not isinstance(values, Iterable) or isinstance(values, Mapping | AnySet | str | bytes) or getattr(values, "ndim", 1) != 1:
        raise ModuleError(f"{name}= should be one number per mini-batch, found {shown(values)}")
    return np.array([number(f"{name}[{place}]", value, least=0) for place, value in enumerate(values)], float)


def _curves(losses: Values, norms: Values | None, *, chance: Any, updates: Any, updates_per_epoch: Any) -> dict[str, float]:
    """The columns eighth_... and, if there are losses enough, epoch_...; without norms none of gradients."""
    epoch, whole = count("updates_per_epoch", updates_per_epoch), count("updates", updates)
    if whole < epoch:
        raise ModuleError(f"updates is {whole}; it should count the whole training, at least one epoch, {epoch} mini-batches")
    level = number("chance", chance)
    if not 0 < level < math.inf:
        raise ModuleError(f"chance is {level:g}; it should be the loss of the best answer that ignores the input, above 0")
    first, columns = eighth_of(epoch), dict[str, float]()
    if len(losses) < first:
        raise ModuleError(f"there are {len(losses)} losses; those of an eighth of an epoch are needed, {first} mini-batches")
    for stretch, end in (("eighth", first), ("epoch", epoch)):
        if len(losses) >= end:
            found = curve(losses[:end], np.ones(end) if norms is None else norms[:end], level, whole)
            used = {name: value for name, value in found.items() if norms is not None or not name.startswith("gradient")}
            columns |= {f"{stretch}_{name}": value for name, value in used.items()}
    return columns


def _cell_name(model: Any) -> str:
    """The study's name for torch's own modules and cells, and those that inherit from them; "another" for all others."""
    kinds = {k.__name__.removesuffix("Cell").lower() for k in type(model).__mro__ if k.__module__ == "torch.nn.modules.rnn"}
    if "rnn" in kinds and getattr(model, "nonlinearity", "") == "tanh":
        return "elman"
    return next(iter(kinds & {"lstm", "gru"}), checks.OWN)
