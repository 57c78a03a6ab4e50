"""Adapts a user's model to a step function on one flat state; the only file of this package that knows the cells.

torch's own modules, as long as their forward is torch's, are read: their weights become a cell whose derivatives are written
by hand. All other models are called, in `called.py`.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from .. import cells
from ..cells import Cell, Stack
from ..core.errors import ModuleError, SurrogateWarning, first_line
from .called import Called, as_handed_over, called, is_fused
from .copies import copied, owner, traces_on, unwrapped
from .estimate import Spectrum
from .kernels import differentiate_cells
from .states import flatten, like
from .tangent import Step, Tangent
from .verify import (
    FIRST_MARK,
    SAME,
    STEPS,
    Visited,
    check_finite,
    close,
    derivative,
    generic,
    unchanged,
    working_push,
)

Model = nn.Module | Step

_KINDS = (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)
# Hooks that do nothing but make a weight from others.
_WEIGHT_HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
# Names that a subclass may define without changing what forward computes.
_HARMLESS = (
    "__init__",
    "__module__",
    "__doc__",
    "__annotations__",
    "__getstate__",
    "__deepcopy__",
    "reset_parameters",
    "extra_repr",
)


@dataclass(frozen=True)
class Adapted:
    """M driven maps of one shape.

    Attributes:
        tangent: the maps and their derivatives.
        state: their initial states (M, B, S).
        inputs: the inputs (T, B, ...) that drive them.
        recheck: to be called after the measurement with its spectrum, if it has one; ModuleError if the step turns out not
            to be what it was taken for.
        surrogate: whether the derivative is that of a surrogate.
        used: number of inputs that were used up to make the initial state.
    """

    tangent: Tangent
    state: Tensor
    inputs: Tensor
    recheck: Callable[[Spectrum | None], None] = lambda _: None
    surrogate: bool = False
    used: int = 0


def adapt(
    models: Sequence[Any],
    inputs: Tensor,
    state: Any,
    dtype: torch.dtype,
    device: torch.device | str | None,
    *,
    verify: bool = True,
) -> Adapted:
    """The models as driven maps in the given dtype and on the given device; ModuleError if this is not possible.

    Several models must be `stackable` and alike. With `verify`, each is tried on the first inputs.
    """
    try:
        adapted = _adapted([unwrapped(m) for m in models], _usable(inputs, dtype, device), state, dtype, verify)
    except ModuleError:
        raise
    except Exception as error:  # whatever a model raises outside of its calls, such as for weights on another device
        reason = first_line(error)
        raise ModuleError(f"the model, state and inputs cannot be used together: {reason}") from error
    if not adapted.state.isfinite().all():
        raise ModuleError("state should be finite, found NaN or infinite values")
    return adapted


def _adapted(models: list[Any], inputs: Tensor, state: Any, dtype: torch.dtype, verify: bool) -> Adapted:
    """What `adapt` gives, for models without wrappers and inputs that are usable."""
    model = models[0]
    if isinstance(model, type) or not callable(model):
        found = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ModuleError(f"the model should be a torch.nn.Module or a function, found {found}")
    if not all(map(_is_read, models)):
        return _called(model, inputs, state, dtype, verify)
    if inputs.is_complex():
        raise ModuleError(f"inputs of {type(model).__name__} should be real, found {inputs.dtype}")
    measured = _recurrent if isinstance(model, nn.RNNBase) else _single
    return measured(models, inputs.to(dtype), state, verify)


def warn_of_surrogate(what: str, *, stacklevel: int) -> None:
    """Say that a result rests on the derivatives of surrogates."""
    warnings.warn(
        "the step holds an autograd.Function whose derivative is not that of its values, as surrogate gradients of spiking "
        f"networks are; {what} are those of the surrogate",
        SurrogateWarning,
        stacklevel=stacklevel,
    )


def stackable(models: Sequence[Any]) -> bool:
    """Whether all models are torch's recurrent modules or cells with torch's own forward, which can be measured together."""
    return all(_is_read(unwrapped(m)) for m in models)


def _is_read(model: Any) -> bool:
    """Whether a module's map is known from its weights: torch's own forward runs, and no hook but those that make weights."""
    kind = next((k for k in _KINDS if isinstance(model, k)), None)
    if kind is None or getattr(model, "proj_size", False):
        return False
    classes = type(model).__mro__[: type(model).__mro__.index(kind)]
    changed = {n for c in classes for n in vars(c) if hasattr(kind, n) and n not in _HARMLESS}
    changed |= {n for n in vars(model) if callable(getattr(kind, n, None)) and n != "flatten_parameters"}
    hooks = [h for name in _HOOKS for h in getattr(model, name).values() if not isinstance(h, _WEIGHT_HOOKS)]
    everywhere = torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks
    return not (changed or hooks or everywhere)


def check_alike(models: Any) -> None:
    """ModuleError if models are not a list of modules that differ only in their weights."""
    if not isinstance(models, list | tuple) or not models or not all(isinstance(m, nn.Module) for m in models):
        raise ModuleError("models should be a list of at least one module; for one module or function there is lyapunov_spectrum")
    first, *others = ((_settings(m), {n: v.shape for n, v in _tensors(m).items()}) for m in models)
    for number, other in enumerate(others, start=2):
        if other != first:
            raise ModuleError(
                f"model {number} of the list differs from the first; they should have the same type, settings and shapes"
            )


def _settings(model: nn.Module) -> list[Any]:
    """The types of a module and its parts, with their numeric and text attributes: repr(RNN) does not show its nonlinearity."""
    plain = (int, float, str)
    return [
        (
            parametrize.type_before_parametrizations(m),
            {n: v for n, v in vars(m).items() if isinstance(v, plain) and n != "training"},
        )
        for m in model.modules()
    ]


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, including those that are not saved."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _usable(inputs: Any, dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
    """The inputs on the given device, by default their own, real ones in the given dtype; ModuleError if they are unusable."""
    if not isinstance(inputs, Tensor) or inputs.dim() < 2:
        found = f"a tensor {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ModuleError(f"inputs should be a tensor (T, B, I), found {found}")
    if dtype not in (torch.float32, torch.float64):
        raise ModuleError(f"dtype is {dtype}; it should be torch.float64 or torch.float32")
    if not inputs.numel():
        raise ModuleError(f"inputs should hold at least one step of one sequence, found a shape of {tuple(inputs.shape)}")
    inputs = inputs.detach().to(device=inputs.device if device is None else device, dtype=like(inputs.dtype, dtype))
    inputs = inputs.clone() if inputs.is_inference() else inputs
    if not inputs.isfinite().all():
        raise ModuleError("inputs should be finite, found NaN or infinite values")
    return inputs


def _recurrent(models: list[Any], inputs: Tensor, state: Any, verify: bool) -> Adapted:
    model = models[0]
    _check_recurrent(models)
    inputs = _as_steps(model, inputs)
    _check_width(inputs, model.input_size)
    kind = _kind(model)
    stacked = [_cell(kind, model, model.input_size if n == 0 else model.hidden_size) for n in range(model.num_layers)]
    sources = _sources(models, inputs)
    layers = [_params(sources, inputs, f"_l{n}") for n in range(model.num_layers)]
    parts = _parts(state, inputs, kind.state_parts, (model.num_layers, inputs.shape[1], model.hidden_size))
    adapted = _stacked(stacked, layers, _end_to_end(parts), inputs)
    if verify:
        _check_read(adapted, sources, parts, lambda new: _end_to_end([new] if kind.state_parts == 1 else new))
    return adapted


def _single(models: list[Any], inputs: Tensor, state: Any, verify: bool) -> Adapted:
    model = models[0]
    kind = _kind(model)
    inputs = inputs[:, None] if inputs.dim() == 2 else inputs
    _check_width(inputs, model.input_size)
    parts = _parts(state, inputs, kind.state_parts, (inputs.shape[1], model.hidden_size))
    sources = _sources(models, inputs)
    adapted = _stacked([_cell(kind, model, model.input_size)], [_params(sources, inputs, "")], parts, inputs)
    if verify:
        _check_read(adapted, sources, parts, lambda new: [new] if kind.state_parts == 1 else list(new))
    return adapted


def _check_recurrent(models: Sequence[Any]) -> None:
    """ModuleError if one of torch's recurrent modules is no driven map."""
    if any(m.bidirectional for m in models):
        raise ModuleError("a bidirectional network is not a dynamical system: its state depends on the future of the input")
    if any(m.dropout and m.num_layers > 1 and m.training for m in models):
        raise ModuleError("active dropout makes each step random; call model.eval() first")


def _as_steps(model: Any, inputs: Tensor) -> Tensor:
    """The inputs (T, B, I) of one of torch's modules."""
    if inputs.dim() == 2:
        return inputs[:, None]  # torch's unbatched form
    return inputs.transpose(0, 1) if inputs.dim() == 3 and model.batch_first else inputs


def _end_to_end(parts: Sequence[Tensor]) -> list[Tensor]:
    """The tensors (B, H) of a stack's state, layer by layer, from tensors (layers, B, H)."""
    return [part[n] for n in range(len(parts[0])) for part in parts]


def _sources(models: Sequence[Any], inputs: Tensor) -> list[Any]:
    """Modules whose attributes are the weights that a forward call uses."""
    return [m if _has_plain_weights(m) else _refreshed(m, inputs) for m in models]


def _has_plain_weights(model: Any) -> bool:
    names = getattr(model, "_flat_weights_names", ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    derived = model._forward_pre_hooks or parametrize.is_parametrized(model)
    return not derived and all(name in model._parameters for name in names)


def _refreshed(model: Any, inputs: Tensor) -> Any:
    """A copy whose derived weights, as of weight_norm, are those that a forward call has just made."""
    own = copied(model, inputs.dtype, inputs.device)
    x = inputs[:1] if isinstance(own, nn.RNNBase) else inputs[0]
    own(x)
    return own


def _check_read(adapted: Adapted, models: Sequence[Any], parts: list[Tensor], split: Callable[[Any], list[Tensor]]) -> None:
    """ModuleError if a module's own forward gives another state than the weights that were read, over the first steps."""
    inputs = adapted.inputs[:STEPS]
    read = adapted.tangent.trajectory(adapted.state, inputs)[-1]
    for model, states in zip(models, read, strict=True):
        own = copied(model, inputs.dtype, inputs.device)
        given = parts[0] if len(parts) == 1 else tuple(parts)
        if isinstance(own, nn.RNNBase):
            own.batch_first = False
            new = own(inputs, given)[1]
        else:
            for x in inputs:
                new = given = own(x, given)
        if not close(torch.cat(split(new), dim=-1), states):
            raise ModuleError(
                f"the forward of {type(model).__name__} gives another state than its weights do: it is not the function that "
                "they make; call model.eval() if they change from call to call"
            )


def _stacked(stacked: list[Cell], layers: list[dict[str, Tensor]], parts: list[Tensor], inputs: Tensor) -> Adapted:
    state = torch.cat(parts, dim=-1).expand(len(layers[0]["weight_hh"]), -1, -1)
    if len(stacked) == 1:
        return Adapted(Tangent(stacked[0], layers[0]), state, inputs)
    return Adapted(Tangent(Stack(tuple(stacked)), layers), state, inputs)


def _kind(model: nn.Module) -> type[Cell]:
    """The cell that corresponds to the torch module."""
    for kind in map(cells.get, cells.names()):
        if isinstance(model, tuple(t for t in (kind.torch_module, kind.torch_cell) if t)):
            return kind
    raise ModuleError(f"{type(model).__name__} corresponds to no cell of this library; give a step function instead")


def _cell(kind: type[Cell], model: nn.RNNBase | nn.RNNCellBase, input_size: int) -> Cell:
    options: dict[str, Any] = {"nonlinearity": model.nonlinearity} if hasattr(model, "nonlinearity") else {}
    return kind(input_size, model.hidden_size, **options)


def _params(models: Sequence[nn.Module], like: Tensor, suffix: str) -> dict[str, Tensor]:
    """Copies of one layer's parameters (M, ...), under the cell's names."""
    wanted = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if getattr(models[0], n + suffix, None) is not None]
    return {n: torch.stack([getattr(m, n + suffix).detach().to(like) for m in models]) for n in wanted}


def _parts(state: Any, inputs: Tensor, number: int, shape: tuple[int, ...]) -> list[Tensor]:
    """The tensors of an initial state in torch's form; zeros if none was given."""
    if state is None:
        return [inputs.new_zeros(shape) for _ in range(number)]
    parts = _as_list(state)
    if not all(isinstance(p, Tensor) for p in parts):
        raise ModuleError(f"state should be a tensor or a tuple of tensors, found {type(state).__name__}")
    parts = [p.detach().to(inputs) for p in parts]
    for i, part in enumerate(parts):
        if part.dim() == len(shape) - 1 and shape[-2] == 1:
            parts[i] = part.unsqueeze(-2)
    if len(parts) != number or any(tuple(p.shape) != shape for p in parts):
        raise ModuleError(f"state should be {number} tensor(s) of shape {shape}, found {[tuple(p.shape) for p in parts]}")
    return parts


def _called(model: Any, inputs: Tensor, state: Any, dtype: torch.dtype, verify: bool) -> Adapted:
    """A model that is called: a module of one's own, one of torch's with hooks or a forward of its own, or a function."""
    module = owner(model)
    if inputs.is_cuda:
        differentiate_cells()
    if module is not None:
        _check_mode(module)
    if isinstance(module, nn.RNNBase | nn.RNNCellBase) and module is model:
        if isinstance(module, nn.RNNBase):
            _check_recurrent([module])
            inputs = inputs[:, None] if inputs.dim() == 2 and not module.batch_first else inputs
            inputs = inputs[None] if inputs.dim() == 2 else inputs
        state = _own_state(module, inputs, state)
    found, states, steps = called(model, inputs, state, dtype, verify=verify)
    used = len(found.form.swap(inputs)) - len(steps)
    if not verify:
        tangent = Tangent(lambda _, s, x: found.step(s, x), [], working_push(found.step, states[0], steps[0]))
        return Adapted(tangent, states[0][None], steps, used=used)
    if module is not None:
        _check_precision(model, module, found, states, steps, dtype)
    visited = Visited()
    push, surrogate = derivative(found.step, [(generic(states[-1]), steps[len(states) - 2]), (generic(states[-2]), steps[0])])
    tangent = Tangent(lambda _, s, x: found.step(s, x), [], push, visited)
    recheck = _rechecking(model, found, tangent, states, steps, surrogate)
    return Adapted(tangent, states[0][None], steps, recheck, surrogate, used)


def _rechecking(
    model: Any, found: Called, tangent: Tangent, states: list[Tensor], steps: Tensor, surrogate: bool
) -> Callable[[Spectrum | None], None]:
    """The function `Adapted.recheck` of a model that is called."""
    visited, traces = tangent.visited, traces_on(found.model)

    def recheck(spectrum: Spectrum | None) -> None:
        unchanged(states[1], found.step(states[0], steps[0]))
        visited.check(found.step, tangent.differentiate, surrogate=surrogate)
        if spectrum is None:
            return
        check_finite(spectrum.per_sequence.isnan().any(-1), visited.finite.to(spectrum.per_sequence.device))
        largest = float(spectrum.exponents[0].nan_to_num(0.0))
        if found.form.time is not None:
            most = visited.last_mark(len(steps) if is_fused(model) else max(FIRST_MARK, len(steps) // 10), largest)
            found.check_sequence(states[0], steps[:most], visited.marks.get(most))
        if traces_on(found.model) != traces:  # harmless if they are never read
            visited.check_one_by_one(found.step)

    return recheck


def _check_mode(module: nn.Module) -> None:
    """ModuleError if a part of the module is in training mode and behaves differently there."""
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p and m.training for m in module.modules()):
        raise ModuleError("active dropout makes each step random; call model.eval() first")
    if any(is_lazy(t) for t in (*module.parameters(), *module.buffers())):
        raise ModuleError("the module has weights whose shapes are not known yet; call it once first")
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in module.modules()):
        raise ModuleError("batch normalisation in training mode mixes the sequences; call model.eval() first")


def _own_state(model: Any, inputs: Tensor, state: Any) -> Any:
    """The initial state of one of torch's modules that is called: the given one with all its axes, or zeros."""
    shapes: list[tuple[int, ...]]
    if isinstance(model, nn.RNNBase):
        sequences = inputs.shape[0 if model.batch_first else 1]
        sizes = [model.proj_size or model.hidden_size, model.hidden_size]
        shapes = [(model.num_layers, sequences, size) for size in sizes]
    else:
        shapes = [(inputs.shape[1], model.hidden_size)] * 2
    weight: Any = model.weight_hh_l0 if isinstance(model, nn.RNNBase) else model.weight_hh
    pair = len(weight) == 4 * model.hidden_size  # an LSTM, whatever its class
    shapes = shapes if pair else shapes[:1]
    if state is not None:
        parts = [
            p.unsqueeze(-2) if isinstance(p, Tensor) and p.dim() == len(s) - 1 else p
            for p, s in zip(_as_list(state), shapes, strict=False)
        ]
    else:
        parts = [inputs.new_zeros(s) if inputs.is_floating_point() else torch.zeros(s, device=inputs.device) for s in shapes]
    return tuple(parts) if pair else parts[0]


def _check_precision(
    model: Any, module: nn.Module, found: Called, states: list[Tensor], inputs: Tensor, dtype: torch.dtype
) -> None:
    """ModuleError if a new copy in the module's own precision, called elsewhere first, is another map than the one measured."""
    own = [t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() or t.is_complex()]
    lower = max((o.to_real() for o in own), key=lambda o: torch.finfo(o).eps, default=dtype)
    step = as_handed_over(model, found, lower)
    for state, x in ((states[-2], inputs[len(states) - 2]), (states[0], inputs[0])):
        try:
            new = step(state, x)
        except ModuleError:
            return  # the module does not run in its own precision, such as half precision on a CPU
        if close(found.step(state, x), new, max(SAME[lower], SAME[dtype])):
            return
    raise ModuleError(
        f"a copy of the module in its own {lower} computes another step than one in {dtype}: it depends on its dtype "
        "(autocast or a cast inside), or sets itself up in its first call; take that out, or call it once before"
    )


def _as_list(state: Any) -> list[Any]:
    """The tensors of a state of one of torch's modules."""
    return [] if state is None else flatten(state, state)


def _check_width(inputs: Tensor, size: int) -> None:
    if inputs.dim() != 3 or inputs.shape[-1] != size:
        raise ModuleError(f"inputs should end in the module's input size {size}, found shape {tuple(inputs.shape)}")
