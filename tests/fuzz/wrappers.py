"""Models inside or around which something else acts: hooks, forwards of an instance, wrappers, compilers and scripts."""

import copy
import types
from dataclasses import replace

import torch
from torch import Tensor, nn

from .cases import EITHER, REFUSED, each_tensor
from .conventions import Layout, own
from .maps import Calls, drawn_body, elman, gated, layer_norm, long_short, pictures, stretched
from .torch_modules import drawn_recipe, torch_case


def hooked(draw):
    """A hook that changes what a module of torch's computes, or does nothing."""
    recipe = drawn_recipe(draw, is_cell=draw.random() < 0.6)
    kinds = ["pre", "pre with names", "output", "nothing", "squash", *(["clip", "state before"] if recipe.is_cell else [])]
    kind, gain = draw.choice(kinds), draw.uniform(0.5, 3)
    module = recipe.build()
    squash = {"squash": torch.tanh, "clip": lambda p: p.clamp(-0.6, 0.6), "output": lambda p: 0.8 * p}.get(kind)
    changes = {
        "pre": lambda step, s, x, t: step(s, gain * x, t),
        "pre with names": lambda step, s, x, t: step(s, gain * x, t),
        "state before": lambda step, s, x, t: step(0.7 * s, x, t),
    }
    if kind == "pre":
        module.register_forward_pre_hook(lambda m, a: (gain * a[0], *a[1:]))
    elif kind == "pre with names":
        module.register_forward_pre_hook(lambda m, a, named: ((gain * a[0], *a[1:]), named), with_kwargs=True)
    elif kind == "state before":
        module.register_forward_pre_hook(lambda m, a: (a[0], *(each_tensor(lambda p: 0.7 * p, s) for s in a[1:])))
    elif kind == "output" and not recipe.is_cell:
        module.register_forward_hook(lambda m, a, out: (gain * out[0], out[1]))
    elif kind == "nothing":
        module.register_forward_hook(lambda m, a, out: None)
    elif recipe.is_cell:
        module.register_forward_hook(lambda m, a, out: each_tensor(squash, out))
        changes[kind] = lambda step, s, x, t: squash(step(s, x, t))
    else:  # the state at the end of a call is replaced, so that a call for many steps is no chain of calls for one
        module.register_forward_hook(lambda m, a, out: (out[0], each_tensor(squash, out[1])))
        return torch_case(draw, recipe, module, [], expected=REFUSED, notes=[f"hook {kind}"])
    case = torch_case(draw, recipe, module, notes=[f"hook {kind}"])
    return case.around(changes[kind]) if kind in changes else case


def own_forward(draw):
    """A forward that belongs to the instance."""
    recipe, gain = drawn_recipe(draw), draw.uniform(0.5, 3)
    module = recipe.build()
    form = draw.choice(["method", "method", "closure"])
    kind, original = type(module), module.forward
    if form == "method":
        module.forward = types.MethodType(lambda self, x, hx=None: kind.forward(self, gain * x, hx), module)
    else:  # its closure holds the module itself, so that a copy would call the original
        module.forward = lambda x, hx=None: original(gain * x, hx)
        module.double()
    case = torch_case(draw, recipe, module, notes=[form]).around(lambda step, s, x, t: step(s, gain * x, t))
    return replace(case, expected=EITHER) if form == "closure" else case


def of_either_kind(draw):
    """A case of torch's modules or of one's own."""
    if draw.random() < 0.5:
        recipe = drawn_recipe(draw)
        return torch_case(draw, recipe, recipe.build())
    return own(draw, drawn_body(draw), draw.choice(["step", "time first"]))


def compiled(draw):
    """torch.compile, which calls what it wraps."""
    case = of_either_kind(draw)
    return replace(case, model=torch.compile(case.model, backend="eager"), follow=None)


def parallel(draw):
    case = of_either_kind(draw)
    return replace(case, model=nn.DataParallel(case.model))


def scaled(model, gain, how):
    """The model with its input scaled in one of several ways."""
    if how == "wrapper":
        return Calls(lambda m, x, *state: m.inner(gain * x, *state), inner=model)
    if how == "hook":
        model.register_forward_pre_hook(lambda m, a: (gain * a[0], *a[1:]))
        return model
    inner = type(model).forward if "forward" not in vars(model) else model.forward.__func__
    model.forward = types.MethodType(lambda self, x, *state: inner(self, gain * x, *state), model)
    return model


def wrapped_twice(draw):
    """A wrapper, a hook or an own forward around another, each of which scales the input."""
    gains, total = [draw.uniform(0.5, 1.5) for _ in range(draw.choice([1, 2, 3]))], 1.0
    body = draw.choice([elman, gated, long_short, layer_norm, pictures])(draw)
    case = own(draw, body, draw.choice(["step", "step", "time first", "batch first"]))
    for gain in gains:
        how = draw.choice(["wrapper", "hook", "forward", "parallel"])
        is_parallel = how == "parallel"
        total *= 1.0 if is_parallel else gain
        case = case.noted(how, model=nn.DataParallel(case.model) if is_parallel else scaled(case.model, gain, how))
    return case.around(lambda step, s, x, t: step(s, total * x, t))


def hooked_own(draw):
    """A hook on a module of one's own, or on a part of it."""
    body = draw.choice([elman, gated, layer_norm])(draw)
    kind = draw.choice(["pre", "damped", "clipped", "inside"])
    if kind == "inside":
        next(body.children()).register_forward_hook(lambda m, a, out: 1.2 * out)
    case = own(draw, body, "step", layout=Layout("tensor", body.shapes), state_given=True).noted(kind)
    model = case.model
    if kind == "pre":
        model.register_forward_pre_hook(lambda m, a: (2 * a[0], *a[1:]))
        return case.around(lambda step, s, x, t: step(s, 2 * x, t))
    if kind == "inside":
        return case
    change = (lambda p: 0.5 * p) if kind == "damped" else lambda p: p.clamp(-0.7, 0.7)
    paired = model.answer != "state"
    model.register_forward_hook(lambda m, a, out: (out[0], change(out[1])) if paired else change(out))
    return case.around(lambda step, s, x, t: change(step(s, x, t)))


class Scriptable(nn.Module):
    """A GRU cell with a readout, in words that torch.jit.script understands."""

    def __init__(self, width: int, units: int):
        super().__init__()
        self.cell, self.readout = nn.GRUCell(width, units), nn.Linear(units, 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return self.readout(h), h


class ScriptablePair(nn.Module):
    """An LSTM cell whose state is a tuple."""

    def __init__(self, width: int, units: int):
        super().__init__()
        self.cell = nn.LSTMCell(width, units)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.cell(x, state)


class ScriptableLoop(nn.Module):
    """A loop over time."""

    def __init__(self, width: int, units: int):
        super().__init__()
        self.cell = nn.GRUCell(width, units)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for t in range(x.shape[0]):
            h = self.cell(x[t], h)
            outputs.append(h)
        return torch.stack(outputs), h


def scripted(draw):
    return script_case(draw, draw.choice([Scriptable, ScriptablePair, ScriptableLoop]), torch.jit.script, torch.float32)


def traced(draw):
    """Traced modules: the number of sequences, and dtypes, may be written into the trace."""
    kind = draw.choice([Scriptable, ScriptablePair])

    def trace(model):
        h = next(model.parameters()).new_zeros(2, 3)
        return torch.jit.trace(model, (h, h if kind is Scriptable else (h, h)))

    return replace(script_case(draw, kind, trace), expected=EITHER)


def script_case(draw, kind, compile_, dtype=None):
    recipe = drawn_recipe(draw, kind="lstm" if kind is ScriptablePair else "gru", is_cell=True, width=3, units=3)
    model = stretched(kind(3, 3), draw).to(dtype or draw.choice([torch.float32, torch.float64]))

    def inner(_, model, x, state):
        answer = model(x[None] if kind is ScriptableLoop else x, state)
        return answer if kind is ScriptablePair else answer[1]

    twins = [copy.deepcopy(model.cell)]
    return torch_case(draw, recipe, compile_(model), twins, inner=inner, state="given", notes=[kind.__name__])
