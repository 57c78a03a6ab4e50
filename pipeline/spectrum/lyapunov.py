"""The Lyapunov spectrum of anybody's recurrent network."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from ..errors import ModuleError, RoundingWarning
from .adapt import Adapted, Model, adapt
from .covariant import covariant
from .estimate import Spectrum, largest_standard_error
from .engine import ACCURACY, Ensemble, Growth

FIRST_LOOK = 50  # counted steps before the standard error is first held against the tolerance


@overload
def lyapunov_spectrum(model: Model, inputs: Tensor, **options: Any) -> Spectrum: ...
@overload
def lyapunov_spectrum(model: Sequence[Model], inputs: Tensor, **options: Any) -> list[Spectrum]: ...
@torch.no_grad()
def lyapunov_spectrum(
    model: Model | Sequence[Model],
    inputs: Tensor,
    *,
    state: Any = None,
    count: int | None = None,
    transient: int | None = None,
    every: int | None = None,
    accuracy: float = ACCURACY,
    tolerance: float | None = None,
    vectors: Literal["covariant"] | None = None,
    local: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Spectrum | list[Spectrum]:
    """The Lyapunov exponents of a recurrent network driven by inputs, largest first, in nats per step.

    Deviations from the trajectory follow the tangent dynamics and are reorthonormalised; an exponent is the mean log
    growth of one direction (Benettin et al. 1980; for recurrent networks Vogt et al. 2022). The model is not changed.

    Args:
        model: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose forward is
            (x, state) -> state or (output, state); or a plain function step(state, x) -> state. A list of modules that
            differ in their weights alone is measured as one.
        inputs: what the module itself takes, `batch_first` respected; for a cell, a module of one's own or a function
            (T, B, I).
        state: where to start: what the module itself takes, or for a function (B, S); zeros for torch's modules if
            left out, needed for others.
        count: number of exponents, 1 <= count <= S; all by default.
        transient: steps that align the deviations and are not counted; a fifth of the steps by default.
        every: steps between reorthonormalisations; by default as many, up to 16, as keep the error by rounding of each
            exponent below `accuracy`. 1 is the most accurate.
        accuracy: nats per step; where `rounding_error` passes it, a RoundingWarning says so.
        tolerance: stop once the standard error of the largest exponent (of each network) is below it; nats per step.
            Looked at after 50 counted steps and then at doubled lengths: stopping at the first small one of many
            looks would make intervals too narrow. `converged` says whether it was reached before the inputs ended.
        vectors: "covariant" gives covariant Lyapunov vectors too (Ginelli et al. 2007), T' = T - 2 transient of them:
            the last `transient` steps align them with the future. Takes T' B k S numbers.
        local: give finite-time exponents too: each step's growth, in the order of `exponents`; along the covariant vectors
            if these are asked for. `every` is 1 by default then.
        dtype: of the computation; float32 errs by up to some nats on strongly negative exponents.
        device: of the computation; where the inputs are by default.

    Returns:
        A Spectrum, or for a list of models one each; a sequence whose state is not finite is NaN in it and touches no other.

    Raises:
        ModuleError: the model, state, inputs or an option cannot be used, with what would be right.
    """
    several = isinstance(model, Sequence)
    adapted = adapt(list(model) if isinstance(model, Sequence) else [model], inputs, state, dtype, device)
    steps, size = len(adapted.inputs), adapted.state.shape[-1]
    count = size if count is None else count
    transient = steps // 5 if transient is None else transient
    every = 1 if every is None and local else every
    _check(steps, size, count, transient, every, accuracy, tolerance, vectors)
    ensemble = Ensemble(adapted.tangent, adapted.state, count, every=every, accuracy=accuracy)
    if transient:
        ensemble.advance(adapted.inputs[:transient])
    growth, converged = _measure(ensemble, adapted.inputs[transient:], tolerance)
    spectra = []
    for m, rows in enumerate(growth.per_step.unbind(1)):
        along, finite_time = _covariant(adapted, m, count, transient) if vectors else (None, rows)
        error = growth.rounding_error[m][~rows.isnan().any(-1).any(0)]
        spectra.append(
            Spectrum.from_growth(
                rows,
                state_size=size,
                rounding_error=error.mean(0),
                converged=None if converged is None else converged[m],
                local=finite_time if local else None,
                vectors=along,
            )
        )
    _warn(spectra, accuracy)
    return spectra if several else spectra[0]


def _check(
    steps: int, size: int, count: int, transient: int, every: int | None, accuracy: float, tolerance: float | None, vectors: Any
) -> None:
    """ModuleError for an option out of range."""
    if not 1 <= count <= size:
        raise ModuleError(f"count is {count}; it should be from 1 to the state's size {size}")
    if not 0 <= transient < steps:
        raise ModuleError(f"transient is {transient}; it should be at least 0 and below the number of steps {steps}")
    if every is not None and every < 1:
        raise ModuleError(f"every is {every}; it should be at least 1")
    for name, value in (("accuracy", accuracy), ("tolerance", tolerance)):
        if value is not None and not value > 0:
            raise ModuleError(f"{name} is {value}; it should be above 0, in nats per step")
    if vectors not in (None, "covariant"):
        raise ModuleError(f'vectors is {vectors!r}; it should be "covariant" or None')


def _measure(ensemble: Ensemble, inputs: Tensor, tolerance: float | None) -> tuple[Growth, list[bool] | None]:
    """Growth over the inputs, or until each network's standard error is below the tolerance, and which ones' is."""
    if tolerance is None:
        return ensemble.advance(inputs), None
    parts: list[Growth] = []
    done, converged = 0, [False]
    while done < len(inputs) and not all(converged):
        parts.append(ensemble.advance(inputs[done : max(FIRST_LOOK, 2 * done)]))
        per_step = torch.cat([p.per_step for p in parts])
        done = len(per_step)
        converged = [largest_standard_error(rows) < tolerance for rows in per_step.unbind(1)]
    error = sum(p.rounding_error * len(p.per_step) for p in parts) / done
    return Growth(per_step, torch.as_tensor(error)), converged


def _covariant(adapted: Adapted, m: int, count: int, transient: int) -> tuple[Tensor, Tensor]:
    """Covariant vectors (T', B, k, S) of the m-th network and their growth (T', B, k)."""
    step = adapted.tangent.one(m)
    return covariant(step, adapted.state[m], adapted.inputs, count, transient=transient)


def _warn(spectra: list[Spectrum], accuracy: float) -> None:
    """RoundingWarning if rounding may have moved an exponent by more than the accuracy."""
    errors = torch.stack([s.rounding_error for s in spectra]).nan_to_num(0.0, posinf=math.inf).amax(0)
    if not (errors > accuracy).any():
        return
    first = int((errors > accuracy).nonzero()[0])
    warnings.warn(
        f"rounding may move exponents from number {first + 1} on by up to {errors.max():.0e} nats per step, more than "
        f"accuracy={accuracy:g}; ask for fewer (count={max(1, first)}), or for dtype=torch.float64 and every=1 if they are not",
        RoundingWarning,
        stacklevel=4,
    )
