"""How a state is arranged, and how a map is called: as a module of one step or a loop over time, or as a function."""

import functools
import itertools
import math
from collections import namedtuple
from dataclasses import dataclass, make_dataclass

import torch
from torch import nn

from .cases import EITHER, SHORT, Case, Truth, chained, drawn_options, drawn_type, each_tensor, exactly
from .maps import Calls

NAMES = ("hidden", "cell", "third")
NAMED = {n: namedtuple(f"Named{n}", NAMES[:n]) for n in (1, 2, 3)}
HELD = {n: make_dataclass(f"Held{n}", NAMES[:n]) for n in (1, 2, 3)}
FORMS = {  # words: (structure of parts, parts of a structure)
    "tensor": (lambda parts: parts[0], lambda state: [state]),
    "tuple": (tuple, list),
    "list": (list, list),
    "dict": (lambda parts: dict(zip(NAMES, parts, strict=False)), lambda s: [s[n] for n in NAMES[: len(s)]]),
    "named": (lambda parts: NAMED[len(parts)](*parts), list),
    "nested": (  # whose names are not in the order of the parts
        lambda parts: ((parts[0],), dict(reversed(list(zip(NAMES, parts, strict=False))[1:]))),
        lambda s: [s[0][0], *(s[1][n] for n in NAMES[1 : 1 + len(s[1])])],
    ),
    "dataclass": (lambda parts: HELD[len(parts)](*parts), lambda state: list(vars(state).values())),
    "layers": (torch.stack, lambda state: list(state.unbind(0))),
    "tuple of layers": (lambda parts: tuple(p[None] for p in parts), lambda state: [p[0] for p in state]),
}
ANSWERS = ("state", "state", "pair", "pair", "pair of like", "pair of tuple", "pair without output")


@dataclass(frozen=True)
class Layout:
    """The structure of a body's state; `form` is one of the words in FORMS."""

    form: str
    shapes: tuple[tuple[int, ...], ...]
    is_complex: bool = False

    @property
    def numbers(self):
        return [math.prod(shape) * (2 if self.is_complex else 1) for shape in self.shapes]

    def pack(self, parts):
        """The structure of parts (B, *shape)."""
        return FORMS[self.form][0](list(parts))

    def unpack(self, state):
        return list(FORMS[self.form][1](state))

    def flat(self, parts):
        """The parts (B, *shape) as real numbers (B, S)."""
        parts = [torch.view_as_real(p) if p.is_complex() else p for p in parts]
        return torch.cat([p.reshape(len(p), -1) for p in parts], dim=-1)

    def unflat(self, flat):
        """The parts of states (B, S)."""
        shapes = [(*s, 2) if self.is_complex else s for s in self.shapes]
        parts = [p.clone().view(-1, *s) for p, s in zip(flat.split(self.numbers, dim=-1), shapes, strict=True)]
        return [torch.view_as_complex(p) for p in parts] if self.is_complex else parts

    def orders(self):
        """Other orders in which the state's numbers may be read: names sorted, or real before imaginary parts."""
        blocks = [list(range(*ends)) for ends in itertools.pairwise(itertools.accumulate(self.numbers, initial=0))]
        others = {
            "dict": [blocks[n] for n in sorted(range(len(blocks)), key=NAMES.__getitem__)],
            "nested": [blocks[0], *reversed(blocks[1:])],
        }
        orders = [others[self.form]] if self.form in others else []
        orders += [[b[::2] + b[1::2] for b in blocks]] if self.is_complex else []
        return [[i for block in order for i in block] for order in orders]


def drawn_layout(draw, body):
    alike = len(set(body.shapes)) == 1 and len(body.shapes[0]) == 1
    forms = ["tuple", "list", "dict", "named", "nested", "dataclass"] + ["layers", "tuple of layers"] * alike
    forms += {1: ["tensor"] * 5, 2: ["tuple"] * 3}.get(len(body.shapes), [])
    return Layout(draw.choice(forms), body.shapes, body.is_complex)


class Convention(nn.Module):
    """A body as a module forward(x, state); with `optional`, zeros if none is given; `time` is the axis of time, if any."""

    def __init__(self, body, layout, answer, optional, time):
        super().__init__()
        self.body, self.layout, self.answer, self.optional, self.time = body, layout, answer, optional, time
        self.readout = nn.Parameter(torch.randn(3))

    def forward(self, x, state=None):
        if state is None and not self.optional:
            raise TypeError("forward() needs a state")
        parts, path = self.zeros(x) if state is None else self.layout.unpack(state), []
        for x_t in [x] if self.time is None else x.unbind(self.time):
            parts = self.body(x_t, *parts)
            path.append(parts[0])
        outputs = [(p.abs() if p.is_complex() else p).flatten(1).sum(-1, keepdim=True) * self.readout for p in path]
        output = outputs[0] if self.time is None else torch.stack(outputs, dim=self.time)
        state = self.layout.pack(parts)
        return {
            "state": state,
            "pair": (output, state),
            "pair of like": (2 * parts[0], state),
            "pair of tuple": ((output, output), state),
            "pair without output": (None, state),
        }[self.answer]

    def zeros(self, x):
        sequences, like = len(x) if self.time is None else x.shape[1 - self.time], next(self.parameters())
        kind = like.dtype.to_complex() if self.layout.is_complex else like.dtype.to_real()
        return [torch.zeros(sequences, *shape, dtype=kind, device=like.device) for shape in self.layout.shapes]


class AsFunction:
    """A body as a callable object (state, x) -> state; its `step` is a bound method."""

    def __init__(self, body, layout):
        self.body, self.layout = body, layout

    def step(self, state, x):
        return self.layout.pack(self.body(x, *self.layout.unpack(state)))

    __call__ = step


class WithMethod(Calls):
    """A module whose method `step` is meant, not its forward."""

    step = AsFunction.step


def as_function(draw, body, layout):
    """The body in one of the forms of a step function, and the form."""
    forms = {
        "function": lambda: lambda state, x: layout.pack(body(x, *layout.unpack(state))),
        "object": lambda: AsFunction(body, layout),
        "method": lambda: AsFunction(body, layout).step,
        "method of a module": lambda: WithMethod(None, body=body, layout=layout).step,
        "partial": lambda: functools.partial(lambda b, state, x: layout.pack(b(x, *layout.unpack(state))), body),
    }
    form = draw.choice(["function", *forms])
    return forms[form](), form


def body_truths(body, layout, start, inputs):
    """The truth of a body from parts of an initial state; none if it has no ground."""
    ground = body.ground()

    def step(s, x, t):
        return layout.flat(ground(x[None].clone(), layout.unflat(s[None]), t))[0]

    return [Truth(step, exactly(layout.flat(start)), exactly(inputs), layout.orders())] if ground else []


def typed(body, kind):
    """The body with its real parameters in a dtype, and its complex ones in the complex dtype of at least that."""
    return body.to(kind) if kind in SHORT else body._apply(exactly) if kind == torch.float64 else body


def own(draw, body, convention=None, *, sequences=None, steps=None, layout=None, state_given=None, kind=None):
    """A case of a module or function that steps a body; what is not said is drawn, and there is no truth without a ground.

    The convention is "step", "time first", "batch first" or "function"; `kind` is the dtype of the parameters. If no state is
    given, an answer that is no pair may be an output, and a module that takes one step may not be tried.
    """
    convention = convention or draw.choice(["step"] * 4 + ["time first", "batch first", "function", "function"])
    sequences, steps = sequences or draw.randint(1, 4), steps or draw.randint(24, 36)
    layout = layout or drawn_layout(draw, body)
    kind = kind or (drawn_type(draw) if body.rounds else draw.choice([torch.float32, torch.float64]))
    is_function, time = convention == "function", {"time first": 0, "batch first": 1}.get(convention)
    body = typed(body, torch.float64 if is_function and kind not in SHORT else kind)
    body = body.double() if is_function else body
    start, inputs = body.start(sequences), body.given(steps, sequences)
    if kind == torch.float64 and inputs.is_floating_point() and draw.random() < 0.7:
        inputs, start = exactly(inputs), [exactly(p) for p in start]
    if state_given is None:
        state_given = is_function or body.surrogate or draw.random() < 0.7
    state = layout.pack(start) if state_given else None
    options = drawn_options(draw, settled=not state_given) | {"state": state}
    if is_function:
        model, answer = as_function(draw, body, layout)
    else:
        answer = draw.choice(ANSWERS)
        model = Convention(body, layout, answer, not state_given or draw.random() < 0.5, time)
        model.readout.data = model.readout.data.to(kind)
        model.train(body.training)
    inferred = state_given or (time is not None and answer != "state")
    native = exactly if is_function or kind == torch.float64 else torch.clone  # the body itself takes no other precision

    def call(model, x, state):
        given = model(state, x) if is_function else model(*([x] if state is None else [x, state]))
        return given[1] if answer.startswith("pair") else given

    return Case(
        model,
        inputs.transpose(0, 1).contiguous() if time == 1 else inputs,
        options,
        body_truths(body, layout, start if state_given else [0 * p for p in start], inputs),
        expected=body.expected if inferred else EITHER,
        notes=[convention, layout.form, str(kind).removeprefix("torch."), answer],
        follow=chained(
            [native(x if time is None else x.unsqueeze(time)) for x in inputs],
            each_tensor(native, state),
            call,
            lambda state: layout.flat(layout.unpack(state)),
            lost=not state_given,
        ),
        lost=not state_given,
        comparable=kind not in SHORT,
        surrogate=body.surrogate,
        makes_tensors=body.makes_tensors,
    )
