"""Copies of a user's model in another precision; the model itself is not changed."""

import copy
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ModuleError, first_line
from .states import like


def unwrapped(model: Any) -> Any:
    """The model inside torch.compile, DataParallel and the like, and torch's own recurrent module for its scripted form.

    A wrapper with hooks or a forward of its own stays. The bound forward of a module is the module.
    """
    if getattr(model, "__name__", "") in ("forward", "__call__") and isinstance(getattr(model, "__self__", None), nn.Module):
        model = model.__self__
    while not _is_changed(model):
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "_torchdynamo_orig_callable"):
            model = model._torchdynamo_orig_callable
        else:
            break
    return _unscripted(model)


def _is_changed(wrapper: Any) -> bool:
    """Whether a module has hooks, or a forward that neither its class nor torch.compile gave it."""
    own = getattr(wrapper, "__dict__", {})
    forward = own.get("forward")
    hooks = own.get("_forward_hooks") or own.get("_forward_pre_hooks")
    return bool(hooks) or (forward is not None and not hasattr(forward, "_torchdynamo_orig_callable"))


def _unscripted(model: Any) -> Any:
    """A plain module with the weights of a scripted nn.RNN, LSTM or GRU, which cannot be called itself."""
    kind = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}.get(getattr(model, "original_name", ""))
    if not isinstance(model, torch.jit.ScriptModule) or kind is None or not hasattr(model, "weight_hh_l0"):
        return model
    names = ("num_layers", "batch_first", "dropout", "bidirectional", "proj_size", *(["nonlinearity"] if kind is nn.RNN else []))
    options = {name: getattr(model, name) for name in names if name != "proj_size" or kind is nn.LSTM}
    weights = model.state_dict()
    like = next(iter(weights.values()))
    plain = kind(
        model.input_size, model.hidden_size, bias="bias_ih_l0" in weights, dtype=like.dtype, device=like.device, **options
    )
    plain.load_state_dict(weights)
    return plain.train(model.training)


def owner(model: Any) -> nn.Module | None:
    """The module that a model is, or whose method it is."""
    found = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return found if isinstance(found, nn.Module) else None


def copied(model: Any, dtype: torch.dtype | None, device: torch.device | None) -> Any:
    """A copy of a module, or of a module's method, in the given dtype and on the given device; a function is returned as it is.

    Raises:
        ModuleError: the module cannot be copied.
    """
    module = owner(model)
    if module is None:
        return model
    own = _deep_copy(module)
    for part in own.modules():
        if getattr(part, "_compiled_call_impl", None) is not None:
            part._compiled_call_impl = None
    if dtype is not None:
        _convert(own, lambda t: _as(t, dtype, device))
    return own if module is model else types.MethodType(model.__func__, own)


def traces_on(model: Any) -> dict[str, Any]:
    """What calls may leave on a module: its numbers, texts and tensors, these by identity and version. Empty for a function."""
    module = owner(model)
    traces: dict[str, Any] = {}
    for name, part in module.named_modules() if module is not None else ():
        for key, value in {**vars(part), **part._buffers}.items():
            if isinstance(value, Tensor):
                traces[f"{name}.{key}"] = id(value), value._version
            elif isinstance(value, int | float | str):
                traces[f"{name}.{key}"] = value
    return traces


def _as(tensor: Tensor, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    tensor = tensor.to(device=device, dtype=like(tensor.dtype, dtype))
    return tensor.clone() if tensor.is_inference() else tensor


def _deep_copy(module: nn.Module) -> nn.Module:
    """A deep copy, in which kept results of a graph are detached and what cannot be copied is shared."""
    with suppress(Exception):  # any attribute may refuse in its own way
        return copy.deepcopy(module)
    memo: dict[int, Any] = {}
    _prepare(module, memo, set())
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise ModuleError(f"the module cannot be copied: {first_line(error)}") from error


def _prepare(thing: Any, memo: dict[int, Any], seen: set[int]) -> None:
    """Enter into deepcopy's memo what it would fail at."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    inside = _inside(thing)
    for value in inside:
        _prepare(value, memo, seen)
    if isinstance(thing, Tensor):
        if not thing.is_leaf:
            memo[id(thing)] = thing.detach().clone()
    elif not isinstance(thing, nn.Module | dict | list | tuple | set | frozenset):
        _share_if_necessary(thing, memo)


def _inside(thing: Any) -> list[Any]:
    """What a container or an object holds."""
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, Tensor | type | types.FunctionType | types.ModuleType) or not hasattr(thing, "__dict__"):
        return []
    return list(vars(thing).values())


def _share_if_necessary(thing: Any, memo: dict[int, Any]) -> None:
    try:
        copy.deepcopy(thing, dict(memo))
    except Exception:  # locks, generators, open files, ...
        memo[id(thing)] = thing


def _convert(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> None:
    """Convert parameters, buffers and the tensors in plain attributes, also in containers and in modules held there."""
    seen = set()
    waiting = [module]
    while waiting:
        whole = waiting.pop()
        whole._apply(convert)
        for part in whole.modules():
            seen.add(id(part))
            for name, value in list(vars(part).items()):
                if name not in ("_parameters", "_buffers", "_modules"):
                    vars(part)[name] = _converted(value, convert, waiting)
        waiting = [m for m in waiting if id(m) not in seen]


def _converted(value: Any, convert: Callable[[Tensor], Tensor], modules: list[nn.Module]) -> Any:
    """A value with its tensors converted, itself if there are none; modules in it are added to the list."""
    if isinstance(value, nn.Module):
        modules.append(value)
    elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return convert(value)
    elif type(value) in (list, tuple):
        new = [_converted(v, convert, modules) for v in value]
        return value if all(a is b for a, b in zip(new, value, strict=True)) else type(value)(new)
    elif type(value) is dict:
        items = {name: _converted(v, convert, modules) for name, v in value.items()}
        return value if all(items[n] is value[n] for n in value) else items
    return value
