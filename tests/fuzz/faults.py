"""Steps that are no functions of state and input, whose derivatives are cut off, or which lose digits."""

import contextlib
import math
import random
import types
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .cases import EITHER, MEASURED, REFUSED, Case, Truth, drawn_options, exactly
from .conventions import own
from .maps import Body, Calls, drawn_body, elman, gated

COUNTER = types.SimpleNamespace(calls=0)  # of the whole process


class Faulty(Body):
    """A body with a fault, (self, x, *parts) -> parts; `clean` makes its ground of that without the fault, if there is one."""

    rounds = False

    def __init__(self, inner, fault, clean=lambda ground: ground):
        expected = EITHER if clean else REFUSED
        super().__init__(inner.width, inner.shapes, fault, inner=inner, clean=clean, expected=expected, calls=0, trace=None)

    def ground(self):
        return self.clean and self.clean(self.inner.ground())


def faulty(draw, fault, *, note="", **more):
    """A case with a fault, in any convention."""
    return own(draw, Faulty(drawn_body(draw), fault), **more).noted(note)


def on_first(change):
    """A fault that changes the first part of the new state, (self, part) -> part."""

    def fault(body, x, *parts):
        first, *others = body.inner(x, *parts)
        return [change(body, first), *others]

    return fault


def numpy_noise(generator, p):
    return torch.from_numpy(generator.standard_normal(tuple(p.shape))).to(p)


def numpy_mask(generator, p, share):
    return torch.from_numpy(generator.random(tuple(p.shape)) > share).to(p)


def cast_inside(draw):
    """The new state, the old one, or one of its parts loses digits."""
    kind = draw.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16])
    where = draw.choice(["new", "old", "one branch", "input too"])

    def cast(p):
        return p.to(kind).to(p.dtype)

    def fault(body, x, *parts):
        if where == "new":
            return [cast(p) for p in body.inner(x, *parts)]
        if where == "one branch":
            return [torch.cat([cast(p[:, :1]), p[:, 1:]], dim=-1) for p in body.inner(x, *parts)]
        return body.inner(cast(x) if where == "input too" else x, *map(cast, parts))

    return faulty(draw, fault, note=f"{kind} {where}")


def cast_of_a_linear_map(draw):
    """Where lost digits matter most: directions that shrink much faster than others."""
    basis = torch.randn(4, 4, dtype=torch.float64)
    rates = torch.tensor([0.9, 0.3, 0.01, 0.001], dtype=torch.float64)
    matrix = basis @ rates.diag() @ basis.inverse()
    kind = draw.choice([torch.float32, torch.bfloat16, torch.float16])
    inputs, start = torch.zeros(40, 2, 1, dtype=torch.float64), torch.ones(2, 4, dtype=torch.float64)
    weights_too = draw.random() < 0.5

    def call(m, x, state):
        if weights_too:
            return (state.to(kind) @ m.matrix.to(kind).T).to(state.dtype) + 0 * x.sum(-1, keepdim=True)
        return state.to(kind).to(state.dtype) @ m.matrix.T

    module = Calls(call, matrix=nn.Parameter(matrix))
    model, returned = (lambda state, x: module(x, state)) if draw.random() < 0.5 else module, draw.random() < 0.3
    if returned and model is not module:  # in the other dtype
        model = lambda state, x: state.to(kind) @ matrix.to(kind).T  # noqa: E731
    options = {"state": start, "transient": draw.choice([0, 10]), "every": 1}
    notes = [kind, f"weights too {weights_too}", f"returned {returned and model is not module}"]
    return Case(model, inputs, options, [Truth(lambda s, x, t: matrix @ s, start, inputs)], expected=EITHER, notes=notes)


def autocasting(draw):
    """A step under autocast, which leaves float64 as it is."""

    def fault(body, x, *parts):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return [p.to(parts[0].dtype) for p in body.inner(x, *parts)]

    return replace(faulty(draw, fault, note="autocast"), comparable=False)


def float32_function(draw):
    """A function whose weights are float32: the step fails, or gives float32."""
    weight = 1.3 * torch.randn(3, 3) / 3**0.5
    how = draw.choice(["raises", "constant", "cast"])
    steps = {
        "raises": lambda s, x: torch.tanh(s @ weight + x),
        "constant": lambda s, x: torch.tanh((s[..., None] * weight).sum(1) + x),  # float64 by promotion
        "cast": lambda s, x: torch.tanh(s.float() @ weight + x),
    }
    start, inputs, exact = torch.randn(2, 3), torch.randn(30, 2, 3), exactly(weight)
    truth = Truth(lambda s, x, t: torch.tanh(s @ exact + x), exactly(start), exactly(inputs))
    options = drawn_options(draw) | {"state": start}
    return Case(steps[how], inputs, options, [truth], expected=MEASURED if how == "constant" else EITHER, notes=[how])


def seldom(draw):
    """Faults that act only on rare inputs."""
    how = draw.choice(["cast", "detach", "mixing", "noise", "dropout"])
    generator, least = np.random.default_rng(1), draw.choice([1.0, 1.5, 2.0])
    changes = {
        "cast": lambda p: p.to(torch.bfloat16).to(p.dtype),
        "detach": lambda p: p.detach(),
        "mixing": lambda p: p.mean(0).expand_as(p),
        "noise": lambda p: p + 0.1 * numpy_noise(generator, p),
        "dropout": lambda p: p * numpy_mask(generator, p, 0.5),
    }

    def fault(body, x, *parts):
        first, *others = body.inner(x, *parts)
        return [torch.where(x[:, :1] > least, changes[how](first), first), *others]

    case = faulty(draw, fault, note=f"{how} above {least}", sequences=draw.randint(2, 4))
    return replace(case, comparable=False)  # the truth is right only if no input is large enough, or if it does not matter


def dropped(draw):
    """Dropout by the function or the module, sometimes rare."""
    p = draw.choice([0.5, 0.1, 0.01, 0.01])
    where, generator = draw.choice(["state", "function on the state", "inside", "numpy"]), np.random.default_rng(1)
    drops = {
        "state": lambda body, v: body.drop(v),
        "function on the state": lambda body, v: F.dropout(v, p, body.training),
        "numpy": lambda body, v: v * numpy_mask(generator, v, p),
    }

    def inside(body, x, *parts):
        return body.inner(F.dropout(x, p, body.training), *parts)

    fault = inside if where == "inside" else on_first(drops[where])
    body = Faulty(drawn_body(draw), fault, **{} if where == "numpy" else {"clean": None})
    body.drop = nn.Dropout(p)
    return own(draw, body, sequences=draw.randint(2, 4)).noted(f"p {p} {where}", comparable=False)


def noisy(draw):
    """Noise of torch, NumPy or Python, of any amplitude; below the tolerance it may as well be measured."""
    size, source = draw.choice([1.0, 0.1, 1e-3, 1e-6, 1e-9, 1e-13]), draw.choice(["torch", "torch", "numpy", "python", "own"])
    generator, own_random, of_numpy = torch.Generator().manual_seed(1), random.Random(1), np.random.default_rng(1)
    noises = {
        "torch": torch.randn_like,
        "numpy": lambda p: numpy_noise(of_numpy, p),
        "python": lambda p: own_random.gauss(0, 1),
        "own": lambda p: torch.randn(p.shape, generator=generator).to(p.dtype),
    }
    case = faulty(draw, on_first(lambda body, p: p + size * noises[source](p)), note=f"{source} {size}")
    return replace(case, makes_tensors=True, comparable=size < 1e-4)


def lazy(draw):
    """A scale that the first call sets by what it sees, as data-dependent initialisations do; or one set long ago."""

    def fault(body, x, *parts):
        first, *others = body.inner(x, *parts)
        if body.trace is None:
            body.trace = 1 / (0.5 + first.detach().abs().mean())
        return [body.trace * first, *others]

    called = draw.random() < 0.5
    body = Faulty(drawn_body(draw), fault)
    body.trace = torch.tensor(1.3) if called else None
    case = own(draw, body, draw.choice(["step", "time first"]), kind=torch.float32, state_given=True)
    (truth,), size = case.truths, case.model.layout.numbers[0]
    firsts = torch.stack([truth.step(s, x, 0)[:size] for s, x in zip(truth.start, truth.inputs[0], strict=True)])
    scale = exactly(body.trace) if called else 1 / (0.5 + firsts.detach().abs().mean())

    def scaled(step, s, x, t):
        new = step(s, x, t)
        return torch.cat([scale * new[:size], new[size:]])

    return case.around(scaled).noted(f"called {called}", expected=MEASURED if called else EITHER)


def remembering(draw):
    """A trace of earlier states, in a buffer, an attribute, a closure or a namespace, from the first, 10th or 100th call on."""
    place, late = draw.choice(["buffer", "buffer in place", "attribute", "closure", "list"]), draw.choice([0, 0, 10, 100])
    memory = types.SimpleNamespace(trace=0.0, calls=0)

    def fault(body, x, *parts):
        held = {"closure": memory, "list": body.store}.get(place, body)
        trace = 0.0 if held.trace is None else held.trace
        first, *others = parts
        new = body.inner(x, first - trace if held.calls >= late else first, *others)
        kept = 0.9 * trace + 0.3 * new[0].detach()
        held.calls += 1
        if place == "buffer in place":
            held.trace.copy_(kept)
        else:
            held.trace = kept
        return new

    body = Faulty(draw.choice([elman, gated])(draw), fault, None)
    body.store, sequences = types.SimpleNamespace(trace=0.0, calls=0), draw.randint(1, 3)
    if place.startswith("buffer"):
        del body.trace
        body.register_buffer("trace", torch.zeros(sequences, body.units) if place == "buffer in place" else torch.zeros(1, 1))
    case = own(draw, body, sequences=sequences, steps=130 if late == 100 else None, kind=torch.float32)
    return case.noted(f"{place} from call {late}")


def counting(draw):
    """A map that changes with the number of calls: in order, it is a map that depends on time."""
    place, late = draw.choice(["attribute", "buffer", "closure", "global"]), draw.choice([1, 10, 100])
    kind, holder = draw.choice(["late", "wave"]), {"closure": types.SimpleNamespace(calls=0), "global": COUNTER}.get(place)
    COUNTER.calls = 0

    def gain(call):
        return 1 + 0.5 * math.sin(0.3 * call) if kind == "wave" else 0.5 if call >= late else 1.0

    def fault(body, x, *parts):
        counter = holder or body
        counter.calls += 1
        return [gain(int(counter.calls) - 1) * p for p in body.inner(x, *parts)]

    def in_time(ground):
        return lambda x, parts, t: [gain(t) * p for p in ground(x, parts, t)]

    body = Faulty(drawn_body(draw), fault, in_time)
    if place == "buffer":
        del body.calls
        body.register_buffer("calls", torch.zeros((), dtype=torch.int64))
    case = own(draw, body, steps=130 if late == 100 else None, sequences=draw.randint(1, 2), state_given=True)
    if place in ("closure", "global") and (kind, late) == ("late", 1):  # which any call before the measurement uses up
        (truth,) = case.truths
        case = replace(case, truths=[truth, truth.around(lambda step, s, x, t: step(s, x, t + 1))])
    return case.noted(f"{place} {kind} {late}")


def cut_off(draw):
    """Derivatives that are cut off: detach, no_grad, inference_mode, of all or of a part."""
    how = draw.choice(["detach", "detach part", "no_grad", "inference_mode", "no_grad part", "data", "item", "numpy"])
    modes, cuts = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}, ("detach", "data")

    def fault(body, x, *parts):
        with modes.get(how, contextlib.nullcontext)():
            first, *others = body.inner(x, *(p.data if how == "data" else p.detach() if how == "detach" else p for p in parts))
        return [first if how in (*modes, *cuts) else first * torch.sigmoid(cut(how, parts[0])), *others]

    def gated(ground):
        def step(x, parts, t):
            first, *others = ground(x, parts, t)
            return [first if how in (*modes, *cuts) else first * torch.sigmoid(parts[0]), *others]

        return step

    return own(draw, Faulty(drawn_body(draw), fault, gated)).noted(how)


def cut(how, part):
    """A copy of a part of the state that no derivative passes."""
    if how == "no_grad part":
        with torch.no_grad():
            return 1.0 * part
    if how == "numpy":
        return torch.from_numpy(part.detach().numpy().copy())
    if how == "item":
        return torch.tensor([[v.item() for v in row] for row in part], dtype=part.dtype)
    return part.detach()


def mixing(draw):
    """Sequences that influence one another."""
    how = draw.choice(["mean", "roll", "softmax", "batch norm", "sort", "first", "slightly"])
    changes = {
        "mean": lambda body, p: p - 0.5 * p.mean(0),
        "roll": lambda body, p: 0.5 * p + 0.5 * p.roll(1, 0),
        "softmax": lambda body, p: p * torch.softmax(p, dim=0),
        "batch norm": lambda body, p: torch.tanh(body.norm(p)),
        "sort": lambda body, p: p.sort(dim=0).values,
        "first": lambda body, p: p + 0.3 * p[:1],
        "slightly": lambda body, p: p + 1e-3 * p.flip(0),
    }
    body = Faulty(drawn_body(draw), on_first(changes[how]), None)
    body.norm = nn.BatchNorm1d(body.units)
    return own(draw, body, sequences=draw.randint(2, 4)).noted(how)
