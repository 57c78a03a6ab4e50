"""The Lyapunov spectrum of any recurrent network: the public functions, their options and their warnings."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from ..core.errors import AlignmentWarning, ModuleError, RoundingWarning
from ..core.progress import progress
from .adapt import Adapted, Model, adapt, check_alike, stackable, warn_of_surrogate
from .adaptive import BLOCK
from .copies import unwrapped
from .covariant import covariant
from .engine import ACCURACY, Ensemble, Growth
from .estimate import Spectrum, aligning_steps, largest_alignment_error, largest_standard_error
from .tangent import measuring

FEW_STEPS = 10  # counted steps; fewer, of more sequences than steps, are likely to be inputs whose axes were confused
FIRST_CHECK = 50  # counted steps before the standard error is first compared with the tolerance
# Longest reorthonormalisation interval while a tolerance is active: growth is spread over an interval, and intervals
# should not straddle the batches from which the standard error is computed.
LONGEST_WITH_TOLERANCE = 2


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
    lengths: Tensor | Sequence[int] | None = None
    verify: bool = True
    whole: int = 0  # largest state size of which there are all exponents, whatever `count` is

    def fitted(self, steps: int, size: int) -> Self:
        """The options with defaults for this number of steps and state size; ModuleError if one is out of range."""
        count = size if self.count is None or size <= self.whole else self.count
        transient = steps // 5 if self.transient is None else self.transient
        _check_whole("count", count, 1, size, "the state's size")
        _check_whole("transient", transient, 0, steps - 1, "below the number of steps")
        if self.every is not None:
            _check_whole("every", self.every, 1, steps, "the number of steps")
        for name, value in (("accuracy", self.accuracy), ("tolerance", self.tolerance)):
            if not (value is None and name == "tolerance") and not (isinstance(value, Real) and 0 < value < math.inf):
                raise ModuleError(f"{name} is {value!r}; it should be above 0, in nats per step")
        self._check_vectors(steps, transient)
        every = 1 if self.local and self.every is None else self.every
        return replace(self, count=int(count), transient=int(transient), every=every)

    def _check_vectors(self, steps: int, transient: int) -> None:
        """ModuleError if the requested vectors cannot be computed."""
        if self.vectors not in (None, "covariant"):
            raise ModuleError(f'vectors is {self.vectors!r}; it should be "covariant" or None')
        if self.vectors and self.tolerance is not None:
            raise ModuleError("vectors need all steps; leave tolerance out with them")
        if self.vectors and steps <= 2 * transient:
            raise ModuleError(f"vectors need twice the transient of {transient} steps; it should be below half of {steps}")


def _check_whole(name: str, value: Any, least: int, most: int, what: str) -> None:
    """ModuleError if an option is not a whole number in its range."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ModuleError(f"{name} is {value!r}; it should be a whole number from {least} to {most}, {what}")


def lyapunov_spectrum(
    model: Model,
    inputs: Tensor | PackedSequence,
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
    lengths: Tensor | Sequence[int] | None = None,
    verify: bool = True,
) -> Spectrum:
    """The Lyapunov exponents of a recurrent network driven by inputs, largest first, in nats per step.

    Deviations from the trajectory follow the tangent dynamics and are reorthonormalised; an exponent is the mean log
    growth of one direction (Benettin et al. 1980; for recurrent networks Vogt et al. 2022). The algorithm in its plainest
    form is `reference.reference_spectrum`. The model is not changed.

    Args:
        model: `torch.nn.RNN`, `LSTM`, `GRU` of any depth or their `*Cell` forms; any module whose forward is
            (x, state) -> state or (output, state), for one step x (B, ...) or for a sequence; or a plain function
            step(state, x) -> state. Hooks, derived weights and forwards of one's own are part of the model. Forward-mode
            differentiation is used where torch can do it, reverse mode otherwise.
        inputs: the inputs as the module itself takes them, including `batch_first`; (T, B, ...) for a cell, a module that
            takes one step, or a function. Whole numbers (tokens) stay whole. Or a PackedSequence.
        state: the initial state, as the model takes it: a float or complex tensor, or any nested structure of such, each
            with an axis of the B sequences, first or second. Defaults to zeros for torch's modules. A module that takes
            sequences and can be called without a state starts from the state that it returns for the first input.
            Required for all others.
        count: number of exponents, 1 <= count <= S; all by default.
        transient: number of steps that align the deviations and are not counted; by default a fifth of the steps. An
            AlignmentWarning is issued if that was too few: see `Spectrum.alignment_error`.
        every: steps between reorthonormalisations. The default chooses the longest interval, up to 16 steps, that keeps
            the rounding error of each exponent below `accuracy`. 1 is the most accurate.
        accuracy: nats per step; a RoundingWarning is issued if `rounding_error` exceeds it.
        tolerance: nats per step; stop once the standard error and the alignment error of the largest exponent are below it.
            They are checked after 50 counted steps and then at doubled lengths, because stopping at the first of many checks
            would make the intervals too narrow. `converged` says whether it was reached before the inputs ended.
        vectors: "covariant" also computes T' = T - 2 transient covariant Lyapunov vectors (Ginelli et al. 2007), which the
            last `transient` steps align with the future. Memory: T' B k S numbers.
        local: also return finite-time exponents: the growth of each step, in the order of `exponents`, along the covariant
            vectors if these are requested. `every` then defaults to 1.
        dtype: dtype of the computation; float32 can be wrong by some nats for strongly negative exponents.
        device: device of the computation; by default that of the inputs.
        lengths: (B,) numbers of steps of the sequences, where these are unequal and `inputs` are padded; by default all
            steps. A PackedSequence brings its own.
        verify: try the model first, on a few steps: see `docs/models.md`. Without it, a model that is not what it is taken
            for gives wrong numbers.

    Returns:
        A Spectrum, on the CPU whatever the device. A sequence whose state is not finite is NaN in it; the others are not
        affected.

    Raises:
        ModuleError: if the model, state, inputs or an option cannot be used; the message says what would be right.
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
        lengths=lengths,
        verify=verify,
    )
    return _spectra([model], inputs, options)[0]


def leading_spectrum(model: Model, inputs: Tensor | PackedSequence, most: int, *, whole: int = 0, **options: Any) -> Spectrum:
    """The spectrum of the `most` largest exponents, or of all if these are at most `most` or `whole`; as `lyapunov_spectrum`."""
    return _spectra([model], inputs, Options(count=most, whole=max(most, whole), **options))[0]


def lyapunov_spectra(models: Sequence[nn.Module], inputs: Tensor, **options: Any) -> list[Spectrum]:
    """The spectra of an ensemble of modules that differ only in their weights, driven by the same inputs.

    Args:
        models: modules of one type and shape. torch's own modules and cells are measured together, others one by one.
        inputs: as for `lyapunov_spectrum`.
        **options: those of `lyapunov_spectrum`. All models start from the same `state`; with `tolerance`, models that are
            measured together continue until the standard error of the last one is below it.

    Returns:
        One Spectrum per model.

    Raises:
        ModuleError: as for `lyapunov_spectrum`, and if the models are not alike.
    """
    models = [unwrapped(m) for m in models] if isinstance(models, list | tuple) else models
    check_alike(models)
    checked = Options(**options)
    if stackable(models):
        return _spectra(list(models), inputs, checked)
    spectra = []
    for model in models:
        spectra += _spectra([model], inputs, checked)
    return spectra


def _spectra(models: list[Any], inputs: Tensor | PackedSequence, options: Options) -> list[Spectrum]:
    if isinstance(inputs, PackedSequence):
        inputs, options = _unpacked(models[0], inputs, options)
    with measuring():
        adapted = adapt(models, inputs, options.state, options.dtype, options.device, verify=options.verify)
        spectra = _measured(adapted, options)
        adapted.recheck(spectra[0])
        if adapted.surrogate:
            warn_of_surrogate("the exponents", stacklevel=4)
        _warn(spectra, options.accuracy)
        _warn_of_alignment(spectra, len(adapted.inputs))
    return [_on_cpu(spectrum) for spectrum in spectra]


def _on_cpu(spectrum: Spectrum) -> Spectrum:
    """A spectrum whose tensors are on the CPU."""
    values = {f.name: getattr(spectrum, f.name) for f in fields(spectrum)}
    moved: dict[str, Any] = {name: value.cpu() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(spectrum, **moved)


def _unpacked(model: Any, packed: PackedSequence, options: Options) -> tuple[Tensor, Options]:
    """Padded inputs as the model takes them, and the options with their lengths."""
    if options.lengths is not None:
        raise ModuleError("a PackedSequence has lengths of its own; leave lengths= out")
    parts = model.modules() if isinstance(model, nn.Module) else ()
    padded, lengths = pad_packed_sequence(packed, batch_first=any(getattr(part, "batch_first", False) for part in parts))
    return padded, replace(options, lengths=lengths)


def _measured(adapted: Adapted, options: Options) -> list[Spectrum]:
    size = adapted.state.shape[-1]
    options = options.fitted(len(adapted.inputs), size)
    lengths = _counted(options, adapted)
    count, transient = options.count or size, options.transient or 0
    longest = BLOCK if options.tolerance is None else LONGEST_WITH_TOLERANCE
    spectra = []
    with progress("Lyapunov exponents", len(adapted.inputs)) as advanced:
        ensemble = Ensemble(
            adapted.tangent,
            adapted.state,
            count,
            every=options.every,
            accuracy=options.accuracy,
            longest=longest,
            advanced=advanced,
        )
        with ensemble.threads():
            if transient:
                ensemble.advance(adapted.inputs[:transient])
            growth, converged = _measure(ensemble, adapted.inputs[transient:], options, size, lengths)
            growth = growth.cpu() if options.vectors else growth  # where the vectors are kept, which are large
            for m, rows in enumerate(growth.per_step.unbind(1)):
                along, local = (None, rows) if options.vectors is None else _covariant(adapted, m, count, transient)
                spectrum = Spectrum.from_growth(
                    rows,
                    transient=transient,
                    lengths=lengths,
                    state_size=size,
                    rounding_error=growth.rounding_error[m][~rows.isnan().any(-1).any(0)].mean(0),
                    converged=converged[m],
                    local=local if options.local else None,
                    vectors=along,
                )
                spectra.append(spectrum)
    return spectra


def _counted(options: Options, adapted: Adapted) -> Tensor | None:
    """(B,) numbers of counted steps of the sequences if they are unequal; ModuleError if an option is impossible with that."""
    if options.lengths is None:
        return None
    steps, sequences = adapted.inputs.shape[:2]
    try:
        lengths = torch.as_tensor(options.lengths, device=adapted.inputs.device)
    except (TypeError, ValueError, RuntimeError):
        lengths = torch.empty(0)
    if lengths.shape != (sequences,) or lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ModuleError(
            f"lengths should be {sequences} whole numbers, one for each sequence, found {' '.join(repr(options.lengths).split())}"
        )
    lengths = lengths - adapted.used
    least = (options.transient or 0) + 1
    if lengths.min() < least or lengths.max() > steps:
        number = int(lengths.argmin() if lengths.min() < least else lengths.argmax())
        raise ModuleError(
            f"sequence {number} of the inputs has {int(lengths[number]) + adapted.used} steps; lengths should be from "
            f"{least + adapted.used}, above the transient, to {steps + adapted.used}"
        )
    if options.tolerance is not None or options.vectors is not None:
        raise ModuleError("tolerance and vectors need sequences of equal length; leave lengths out, or those")
    return lengths - (options.transient or 0)


def _measure(
    ensemble: Ensemble, inputs: Tensor, options: Options, size: int, lengths: Tensor | None
) -> tuple[Growth, list[bool] | list[None]]:
    """Growth over the inputs, or until every network's errors are below the tolerance; and, per network, whether they are."""
    if lengths is not None:
        ends = lengths.unique().tolist()  # no interval extends beyond the end of a sequence
        pieces = [ensemble.advance(inputs[begin:end]) for begin, end in pairwise([0, *ends])]
        growth = _joined(pieces)
        return growth, [None] * growth.per_step.shape[1]
    tolerance, transient = options.tolerance, options.transient or 0
    if tolerance is None:
        growth = ensemble.advance(inputs)
        return growth, [None] * growth.per_step.shape[1]
    parts: list[Growth] = []
    done, converged = 0, [False]
    while done < len(inputs) and not all(converged):
        parts.append(ensemble.advance(inputs[done : max(FIRST_CHECK, 2 * done)]))
        per_step = torch.cat([p.per_step for p in parts])
        done = len(per_step)
        converged = [
            largest_standard_error(rows) < tolerance and largest_alignment_error(rows, size, transient) < tolerance
            for rows in per_step.unbind(1)
        ]
    return _joined(parts), converged


def _joined(parts: list[Growth]) -> Growth:
    """Growth over consecutive stretches of steps."""
    per_step = torch.cat([p.per_step for p in parts])
    error = torch.stack([p.rounding_error * len(p.per_step) for p in parts]).sum(0) / len(per_step)
    return Growth(per_step, error)


def _covariant(adapted: Adapted, m: int, count: int, transient: int) -> tuple[Tensor, Tensor]:
    """Covariant vectors (T', B, k, S) of the m-th network, and their growth (T', B, k), on the CPU."""
    tangent, state = adapted.tangent, adapted.state[m]
    vectors, local = covariant(tangent.one(m), state, adapted.inputs, count, transient=transient, push=tangent.differentiate)
    return vectors.cpu(), local.cpu()


def _warn(spectra: list[Spectrum], accuracy: float) -> None:
    """Issue a RoundingWarning if rounding may have changed an exponent by more than the accuracy."""
    errors = torch.stack([s.rounding_error for s in spectra]).nan_to_num(0.0, posinf=math.inf).amax(0)
    if not (errors > accuracy).any():
        return
    first = int((errors > accuracy).nonzero()[0])
    remedies = [f"fewer exponents (count={first})"] if first else []
    remedies += ["dtype=torch.float64 and every=1, if they are not so already"]
    warnings.warn(
        f"rounding may change exponents from number {first + 1} on by up to {errors.max():.0e} nats per step, more than "
        f"accuracy={accuracy:g}; ask for {' or '.join(remedies)}",
        RoundingWarning,
        stacklevel=4,  # points at the caller of the public function
    )


def _warn_of_alignment(spectra: list[Spectrum], read: int) -> None:
    """Issue an AlignmentWarning if few steps were read and many sequences, or if exponents are not aligned."""
    steps, sequences = spectra[0].steps, len(spectra[0].per_sequence)
    turning = [s for s in spectra if not s.aligned.all()]
    if steps < FEW_STEPS and sequences > read:
        text = (
            f"the inputs were read as {read} steps of {sequences} sequences, and {steps} steps say little about exponents; if "
            "the axes are the other way round, set batch_first where the module has it, or transpose the inputs"
        )
    elif turning:
        text = _turning(turning, len(spectra))
    else:
        return
    warnings.warn(text, AlignmentWarning, stacklevel=4)  # points at the caller of the public function


def _turning(spectra: list[Spectrum], networks: int) -> str:
    """Which exponents are not aligned, by how much, and which transient would do."""
    named = _named((~torch.stack([s.aligned for s in spectra])).any(0).nonzero().flatten().add(1).tolist())
    worst = max(spectra, key=lambda s: float(s.alignment_error[~s.aligned].max()))
    error, measured = float(worst.alignment_error[~worst.aligned].max()), (worst.transient or 0) + worst.steps
    remedy = "many more steps would do"
    if found := aligning_steps(worst):
        of = f"of the same {measured} steps" if found[1] == measured else f"of about {found[1]} steps"
        remedy = f"transient={found[0]} {of} would do"
    return (
        f"{named}{f' of {len(spectra)} of {networks} networks' if networks > 1 else ''} may be off by about {error:.1g} nats per "
        f"step, as the deviations had not aligned after a transient of {worst.transient} steps; {remedy}"
    )


def _named(numbers: list[int]) -> str:
    """Exponents by their increasing numbers, in words: exponents 1 to 3, 7, 9 and 4 others."""
    begins = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    spans = [f"{a} to {b}" if b > a else f"{a}" for a, b in zip(begins, ends, strict=True)]
    others = sum(n > ends[2] for n in numbers) if len(ends) > 3 else 0
    rest = f" and {others} other{'s' * (others > 1)}" if others else ""
    return f"exponent{'s' * (len(numbers) > 1)} {', '.join(spans[:3])}{rest}"
