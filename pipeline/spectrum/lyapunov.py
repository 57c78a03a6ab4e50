"""The Lyapunov spectrum of anybody's recurrent network."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from ..errors import ModuleError, RoundingWarning
from .adapt import Adapted, Model, adapt
from .covariant import covariant
from .engine import ACCURACY, Ensemble, Growth
from .estimate import Spectrum, largest_standard_error

FIRST_LOOK = 50  # counted steps before the standard error is first held against the tolerance


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keyword arguments of `lyapunov_spectrum`."""

    state: Any = None
    count: int | None = None
    transient: int | None = None
    every: int | None = None
    accuracy: float = ACCURACY
    tolerance: float | None = None
    vectors: Literal["covariant"] | None = None
    local: bool = False
    dtype: torch.dtype = torch.float64
    device: torch.device | str | None = None

    def fitted(self, steps: int, size: int) -> Self:
        """With the defaults that depend on the number of steps and the state's size; ModuleError for what is out of range."""
        count = size if self.count is None else self.count
        transient = steps // 5 if self.transient is None else self.transient
        if not 1 <= count <= size:
            raise ModuleError(f"count is {count}; it should be from 1 to the state's size {size}")
        if not 0 <= transient < steps:
            raise ModuleError(f"transient is {transient}; it should be at least 0 and below the number of steps {steps}")
        if self.every is not None and self.every < 1:
            raise ModuleError(f"every is {self.every}; it should be at least 1")
        for name, value in (("accuracy", self.accuracy), ("tolerance", self.tolerance)):
            if value is not None and not value > 0:
                raise ModuleError(f"{name} is {value}; it should be above 0, in nats per step")
        if self.vectors not in (None, "covariant"):
            raise ModuleError(f'vectors is {self.vectors!r}; it should be "covariant" or None')
        every = 1 if self.local and self.every is None else self.every
        return replace(self, count=count, transient=transient, every=every)


def lyapunov_spectrum(
    model: Model,
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
) -> Spectrum:
    """The Lyapunov exponents of a recurrent network driven by inputs, largest first, in nats per step.

    Deviations from the trajectory follow the tangent dynamics and are reorthonormalised; an exponent is the mean log
    growth of one direction (Benettin et al. 1980; for recurrent networks Vogt et al. 2022). The model is not changed.

    Args:
        model: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose forward is
            (x, state) -> state or (output, state); or a plain function step(state, x) -> state.
        inputs: what the module itself takes, `batch_first` respected; for a cell, a module of one's own or a function
            (T, B, I).
        state: where to start: what the module itself takes, or for a function (B, S); zeros for torch's modules if
            left out, needed for others.
        count: number of exponents, 1 <= count <= S; all by default.
        transient: steps that align the deviations and are not counted; a fifth of the steps by default.
        every: steps between reorthonormalisations; by default as many as keep the error by rounding of each exponent
            below `accuracy`, up to 16. 1 is the most accurate.
        accuracy: nats per step; where `rounding_error` passes it, a RoundingWarning says so.
        tolerance: stop once the standard error of the largest exponent is below it; nats per step.
            Looked at after 50 counted steps and then at doubled lengths: stopping at the first small one of many
            looks would make intervals too narrow. `converged` says whether it was reached before the inputs ended.
        vectors: "covariant" gives covariant Lyapunov vectors too (Ginelli et al. 2007), T' = T - 2 transient of them:
            the last `transient` steps align them with the future. Takes T' B k S numbers.
        local: give finite-time exponents too: each step's growth, in the order of `exponents`; along the covariant vectors
            if these are asked for. `every` is 1 by default then.
        dtype: of the computation; float32 errs by up to some nats on strongly negative exponents.
        device: of the computation; where the inputs are by default.

    Returns:
        A Spectrum; a sequence whose state is not finite is NaN in it and touches no other.

    Raises:
        ModuleError: the model, state, inputs or an option cannot be used, with what would be right.
    """
    options = Options(
        state=state,
        count=count,
        transient=transient,
        every=every,
        accuracy=accuracy,
        tolerance=tolerance,
        vectors=vectors,
        local=local,
        dtype=dtype,
        device=device,
    )
    return _spectra([model], inputs, options)[0]


def lyapunov_spectra(models: Sequence[nn.Module], inputs: Tensor, **options: Any) -> list[Spectrum]:
    """The spectra of an ensemble of modules that differ in their weights alone, driven by the same inputs, measured as one.

    Args:
        models: modules of one type and shape.
        inputs: as for `lyapunov_spectrum`.
        **options: those of `lyapunov_spectrum`. `state` is where each model starts; with `tolerance` all go on until the
            last one's standard error is below it.

    Returns:
        A Spectrum a model.

    Raises:
        ModuleError: as for `lyapunov_spectrum`; or the models are not alike.
    """
    return _spectra(list(models), inputs, Options(**options))


@torch.no_grad()
def _spectra(models: list[Any], inputs: Tensor, options: Options) -> list[Spectrum]:
    adapted = adapt(models, inputs, options.state, options.dtype, options.device)
    size = adapted.state.shape[-1]
    options = options.fitted(len(adapted.inputs), size)
    count, transient = options.count or size, options.transient or 0
    ensemble = Ensemble(adapted.tangent, adapted.state, count, every=options.every, accuracy=options.accuracy)
    with ensemble.threads():
        if transient:
            ensemble.advance(adapted.inputs[:transient])
        growth, converged = _measure(ensemble, adapted.inputs[transient:], options.tolerance)
        spectra = []
        for m, rows in enumerate(growth.per_step.unbind(1)):
            along, local = (None, rows) if options.vectors is None else _covariant(adapted, m, count, transient)
            spectrum = Spectrum.from_growth(
                rows,
                state_size=size,
                rounding_error=growth.rounding_error[m][~rows.isnan().any(-1).any(0)].mean(0),
                converged=converged[m],
                local=local if options.local else None,
                vectors=along,
            )
            spectra.append(spectrum)
    _warn(spectra, options.accuracy)
    return spectra


def _measure(ensemble: Ensemble, inputs: Tensor, tolerance: float | None) -> tuple[Growth, list[bool] | list[None]]:
    """Growth over the inputs, or until each network's standard error is below the tolerance, and which ones' is."""
    if tolerance is None:
        growth = ensemble.advance(inputs)
        return growth, [None] * growth.per_step.shape[1]
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
        stacklevel=5,  # the caller of the public function, past torch's wrapper of `_spectra`
    )
