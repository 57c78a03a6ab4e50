"""Adapts a user's module to a step function on one flat state; the only file of this package that knows the cells."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import cells
from ..cells import Cell, Stack
from ..core.errors import ModuleError
from .tangent import Tangent

Step = Callable[[Tensor, Tensor], Tensor]
Model = nn.Module | Step


@dataclass(frozen=True)
class Adapted:
    """M driven maps of one shape, their initial states (M, B, S), and the inputs (T, B, I) that drive them."""

    tangent: Tangent
    state: Tensor
    inputs: Tensor


def adapt(models: list[Any], inputs: Tensor, state: Any, dtype: torch.dtype, device: torch.device | str | None) -> Adapted:
    """The models as driven maps in the given dtype and on the given device; ModuleError if this is not possible.

    Several models must be `stackable` and alike.
    """
    inputs = _usable(inputs, state, dtype, device)
    model = models[0]
    if stackable(model) and isinstance(model, nn.RNNBase):
        adapted = _recurrent(models, inputs, state)
    elif stackable(model):
        adapted = _single(models, inputs, state)
    elif isinstance(model, nn.Module):
        adapted = _module(model, inputs, state)
    elif callable(model):
        adapted = _function(model, inputs, state)
    else:
        raise ModuleError(f"the model should be a torch.nn.Module or a function, found {type(model).__name__}")
    _check(adapted)
    return adapted


def stackable(model: Any) -> bool:
    """Whether a model is one of torch's recurrent modules or cells with its original `forward`; several can be stacked."""
    return isinstance(model, nn.RNNBase | nn.RNNCellBase) and type(model).forward.__module__ == nn.RNN.forward.__module__


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
    return [(type(m), {n: v for n, v in vars(m).items() if isinstance(v, plain) and n != "training"}) for m in model.modules()]


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, including those that are not saved."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _usable(inputs: Any, state: Any, dtype: torch.dtype, device: torch.device | str | None) -> Tensor:
    """The inputs in the given dtype on the given device, by default their own; ModuleError if they or the state are unusable."""
    if not isinstance(inputs, Tensor) or not inputs.dim():
        raise ModuleError(f"inputs should be a tensor (T, B, I), found {type(inputs).__name__}")
    if dtype not in (torch.float32, torch.float64):
        raise ModuleError(f"dtype is {dtype}; it should be torch.float64 or torch.float32")
    if not all(isinstance(part, Tensor) for part in _as_list(state)):
        raise ModuleError(f"state should be a tensor or a tuple of tensors, found {type(state).__name__}")
    inputs = inputs.detach().to(device=inputs.device if device is None else device, dtype=dtype)
    inputs = inputs.clone() if inputs.is_inference() else inputs
    if not inputs.isfinite().all():
        raise ModuleError("inputs should be finite, found NaN or infinite values")
    return inputs


def _recurrent(models: list[nn.RNNBase], inputs: Tensor, state: Any) -> Adapted:
    model = models[0]
    if model.bidirectional:
        raise ModuleError("a bidirectional network is not a dynamical system: its state depends on the future of the input")
    if model.proj_size:
        raise ModuleError("proj_size is not supported; give a step function instead")
    if any(m.dropout and m.num_layers > 1 and m.training for m in models):
        raise ModuleError("active dropout makes each step random; call model.eval() first")
    if inputs.dim() == 2:
        inputs = inputs[:, None]  # torch's unbatched form
    elif inputs.dim() == 3 and model.batch_first:
        inputs = inputs.transpose(0, 1)
    _check_width(inputs, model.input_size)
    kind = _kind(model)
    stacked = [_cell(kind, model, model.input_size if n == 0 else model.hidden_size) for n in range(model.num_layers)]
    layers = [_params(models, inputs, f"_l{n}") for n in range(model.num_layers)]
    parts = _parts(state, inputs, kind.state_parts, (model.num_layers, inputs.shape[1], model.hidden_size))
    return _stacked(stacked, layers, [part[n] for n in range(model.num_layers) for part in parts], inputs)


def _single(models: list[nn.RNNCellBase], inputs: Tensor, state: Any) -> Adapted:
    model = models[0]
    kind = _kind(model)
    if inputs.dim() == 2:
        inputs = inputs[:, None]
    _check_width(inputs, model.input_size)
    parts = _parts(state, inputs, kind.state_parts, (inputs.shape[1], model.hidden_size))
    return _stacked([_cell(kind, model, model.input_size)], [_params(models, inputs, "")], parts, inputs)


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
    parts = [p.detach().to(inputs) for p in _as_list(state)]
    for i, part in enumerate(parts):
        if part.dim() == len(shape) - 1 and shape[-2] == 1:
            parts[i] = part.unsqueeze(-2)
    if len(parts) != number or any(tuple(p.shape) != shape for p in parts):
        raise ModuleError(f"state should be {number} tensor(s) of shape {shape}, found {[tuple(p.shape) for p in parts]}")
    return parts


def _module(model: nn.Module, inputs: Tensor, state: Any) -> Adapted:
    """A copy of a custom module with forward(x, state) -> state or (output, state)."""
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p and m.training for m in model.modules()):
        raise ModuleError("active dropout makes each step random; call model.eval() first")
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules()):
        raise ModuleError("batch normalisation in training mode mixes the sequences; call model.eval() first")
    if state is None:
        raise ModuleError("a custom module needs `state=`, a tensor (B, S) or a tuple of such tensors")
    own = copy.deepcopy(model).to(inputs)
    parts = [p.detach().to(inputs) for p in _as_list(state)]
    sizes = [p.shape[-1] for p in parts]

    def step(_: Any, flat: Tensor, x: Tensor) -> Tensor:
        split = flat.clone().split(sizes, dim=-1)  # cloned because forward may work in place
        given = split[0] if isinstance(state, Tensor) else tuple(split)
        return _flat(own(x.clone(), given), len(sizes), isinstance(state, Tensor))

    return Adapted(Tangent(step, []), torch.cat(parts, dim=-1)[None], inputs)


def _flat(answer: Any, number: int, single: bool) -> Tensor:
    """The new state as one flat tensor, from the result of a module's forward."""
    gives_output_too = single or (len(answer) == 2 and not isinstance(answer[1], Tensor))
    if not isinstance(answer, Tensor) and gives_output_too:
        answer = answer[1]
    parts: Sequence[Tensor] = [answer] if isinstance(answer, Tensor) else answer
    if len(parts) != number:
        raise ModuleError(f"forward(x, state) returned a state of {len(parts)} tensors for one of {number}; they should match")
    return torch.cat(list(parts), dim=-1)


def _function(step: Step, inputs: Tensor, state: Any) -> Adapted:
    if not isinstance(state, Tensor):
        raise ModuleError("a step function needs `state=`, a tensor (B, S)")
    tangent = Tangent(lambda _, s, x: step(s.clone(), x.clone()), [])  # cloned because a step may work in place
    return Adapted(tangent, state.detach().to(inputs)[None], inputs)


def _as_list(state: Any) -> list[Any]:
    """The tensors of a state as a module takes it; an empty list if there is no state."""
    if state is None:
        return []
    return list(state) if isinstance(state, (tuple, list)) else [state]


def _check(adapted: Adapted) -> None:
    state = adapted.state[0]
    if state.dim() != 2 or adapted.inputs.dim() < 2 or adapted.inputs.shape[1] != state.shape[0]:
        shapes = f"inputs {tuple(adapted.inputs.shape)} and state {tuple(state.shape)}"
        raise ModuleError(f"inputs should be (T, B, I) and state (B, S) with the same B, found {shapes}")
    if not len(adapted.inputs):
        raise ModuleError("inputs contain no step")
    if not len(state):
        raise ModuleError("inputs contain no sequence")
    if not state.isfinite().all():
        raise ModuleError("state should be finite, found NaN or infinite values")
    try:
        new = adapted.tangent.one(0)(state, adapted.inputs[0])
    except (RuntimeError, TypeError) as error:
        shapes = f"state {tuple(state.shape)} and input {tuple(adapted.inputs[0].shape)}"
        reason = str(error).strip().splitlines()[0]
        raise ModuleError(
            f"a step with {shapes} in {state.dtype} failed: {reason}; if the function uses tensors of another dtype, set dtype="
        ) from error
    if not isinstance(new, Tensor):
        raise ModuleError(f"a step should return the new state, a tensor, found {type(new).__name__}")
    if new.shape != state.shape:
        raise ModuleError(f"a step should keep the state's shape {tuple(state.shape)}")


def _check_width(inputs: Tensor, size: int) -> None:
    if inputs.dim() != 3 or inputs.shape[-1] != size:
        raise ModuleError(f"inputs should end in the module's input size {size}, found shape {tuple(inputs.shape)}")
