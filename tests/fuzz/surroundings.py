"""Where and with which inputs a call is made, and what it must leave as it was."""

import concurrent.futures
import contextlib
import functools
import random
import types
import weakref
from dataclasses import is_dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import lyapunov_spectrum

INPUT_FORMS = {
    "as they are": lambda inputs: inputs,
    "not contiguous": lambda inputs: torch.stack([inputs, torch.zeros_like(inputs)], dim=-1)[..., 0],
    "made in inference mode": torch.inference_mode()(torch.clone),
    "with gradients": lambda inputs: inputs if inputs.dtype in (torch.int32, torch.int64) else inputs.clone().requires_grad_(),
}


@contextlib.contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AMBIENTS = {
    "none": contextlib.nullcontext,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "float64": double_by_default,
    "meta": lambda: torch.device("meta"),
    "thread": contextlib.nullcontext,
}


def measured(case):
    """The spectrum of a case, measured where the case says."""
    call = functools.partial(lyapunov_spectrum, case.model, case.inputs, **case.options)
    if case.ambient == "thread":
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(call).result()
    with AMBIENTS[case.ambient]():
        return call()


SKIPPED = ("_flat_weights", "_flat_weight_refs")  # caches that torch's modules renew at each call


def portrait(value, depth=0):
    """What a value is, bit for bit, in a form that can be compared."""
    if isinstance(value, Tensor):
        kept = value.detach().resolve_conj().cpu().contiguous().reshape(-1)
        bits = (torch.view_as_real(kept) if kept.is_complex() else kept).reshape(-1).view(torch.uint8).numpy().tobytes()
        identity = id(value) if isinstance(value, nn.Parameter) else None
        gradient = portrait(value.grad) if value.is_leaf and value.grad is not None else None
        return "tensor", identity, value.dtype, tuple(value.shape), value.requires_grad, bits, gradient
    if isinstance(value, dict) and depth < 6:
        return "dict", tuple((repr(k), portrait(v, depth + 1)) for k, v in value.items())
    if isinstance(value, list | tuple) and depth < 6:
        return type(value).__name__, tuple(portrait(v, depth + 1) for v in value)
    if isinstance(value, types.SimpleNamespace) or is_dataclass(value):
        return portrait(vars(value), depth + 1)
    if isinstance(value, bool | int | float | complex | str | bytes | type(None)):
        return repr(value)
    return "object", None if isinstance(value, weakref.ref) else id(value)


def portrait_of_model(model):
    """All modules of a model with their attributes, hooks and tensors; empty for a function, whose affairs are the user's."""
    if not isinstance(model, nn.Module):
        return {}
    if isinstance(model, torch.jit.ScriptModule):
        return {name: portrait(value) for name, value in model.state_dict().items()}
    found = {}
    for name, module in model.named_modules():
        attributes = {k: v for k, v in vars(module).items() if k not in SKIPPED}
        if isinstance(module, torch._dynamo.eval_frame.OptimizedModule):
            attributes = {"_modules": attributes["_modules"]}
        found |= {f"{name}.{k}": portrait(v) for k, v in attributes.items()} | {f"{name}.class": id(type(module))}
    return found


def surroundings(case):
    """All that a call must leave as it was, by name."""
    return portrait_of_model(case.model) | {
        "the inputs": portrait(case.inputs),
        "the state": portrait(case.options.get("state")),
        "torch's random state": portrait(torch.get_rng_state()),
        "NumPy's random state": repr(np.random.get_state()[1:]),  # noqa: NPY002
        "Python's random state": hash(random.getstate()),
        "torch's number of threads": torch.get_num_threads(),
        "the default dtype": torch.get_default_dtype(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }
