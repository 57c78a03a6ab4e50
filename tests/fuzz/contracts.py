"""Modules that return, or take, something else than the contract says."""

import math
from dataclasses import replace

import torch

from .cases import EITHER, Case, chained, drawn_options, each_tensor
from .conventions import Convention, Layout, body_truths, drawn_layout, own
from .maps import Calls, drawn_body, elman, gated, long_short, stretched


def calling(
    draw, body, call, notes=(), *, layout=None, sequences=None, steps=None, state_of=lambda answer: answer, kind=Calls, **more
):
    """A case of a module that calls a body, (module, x, state) -> answer; what is not given is drawn. The truth is the body's."""
    layout, sequences = layout or Layout("tensor", body.shapes), sequences or draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(steps or draw.randint(24, 36), sequences)
    state, truths = layout.pack(start), body_truths(body, layout, start, inputs)
    follow = chained(inputs, state, lambda m, x, s: state_of(m(x, s)), lambda s: layout.flat(layout.unpack(s)))
    options, expected = drawn_options(draw) | {"state": state}, {"expected": EITHER, "follow": follow}
    return Case(kind(call, body=body), inputs, options, truths, notes=[*notes], **expected | more)


def recurrent(draw):
    return draw.choice([elman, gated])(draw)


def twisted(draw, body, layout, change, note, **more):
    """A case whose returned state is changed, (new, old) -> new."""
    paired = draw.random() < 0.5

    def call(module, x, state):
        changed = change(layout.pack(module.body(x, *layout.unpack(state))), state)
        return (x.sum(-1), changed) if paired else changed

    notes = [layout.form, note, f"paired {paired}"]
    return calling(draw, body, call, notes, layout=layout, state_of=lambda a: a[1] if paired else a, **more)


def another_type(draw):
    body = drawn_body(draw)
    kind, layout = draw.choice([torch.float32, torch.float16, torch.bfloat16, torch.float64]), drawn_layout(draw, body)
    change = lambda new, old: each_tensor(lambda p: p.to(kind), new)  # noqa: E731
    return twisted(draw, body, layout, change, f"returned {kind}", comparable=False)


def another_shape(draw):
    body = recurrent(draw)
    changes = {
        "cut": lambda p, _: p[:, :-1],
        "longer": lambda p, _: torch.cat([p, p[:, :1]], dim=-1),
        "transposed": lambda p, _: p.T,
        "first axis": lambda p, _: p[None],
        "last axis": lambda p, _: p[..., None],
        "flat": lambda p, _: p.flatten(),
        "first sequence": lambda p, _: p[:1],
    }
    how = draw.choice(list(changes))
    sequences = body.units if how == "transposed" else 2  # so that the shape is the same
    case = twisted(draw, body, Layout("tensor", body.shapes), changes[how], how, sequences=sequences, comparable=False)
    return case if how.endswith("axis") else case.refused()


def another_structure(draw):
    """The numbers are right, but in another structure: a list for a tuple, a tuple of one for a tensor, other names."""
    body = draw.choice([elman, long_short])(draw)
    forms = ["tuple", "list", "dict", "named", "nested"] + ["tensor"] * (len(body.shapes) == 1)
    layout, other = (Layout(form, body.shapes) for form in draw.sample(forms, 2))
    change = lambda new, old: other.pack(layout.unpack(new))  # noqa: E731
    return twisted(draw, body, layout, change, f"returned {other.form}", comparable=False)


def another_order(draw):
    """Parts of one shape come back in another order: the map is what calling the module again and again computes."""
    body, form = long_short(draw), draw.choice(["tuple", "list", "dict"])
    change = lambda new, old: dict(reversed(new.items())) if form == "dict" else type(new)(reversed(new))  # noqa: E731
    case = twisted(draw, body, Layout(form, body.shapes), change, "reversed")
    return case if form == "dict" else case.around(lambda step, s, x, t: step(s, x, t).roll(body.units))


def stale(draw):
    """(new state, old state): what it returns as its state never changes."""
    case = calling(draw, recurrent(draw), lambda m, x, s: (m.body(x, s)[0], s), state_of=lambda answer: answer[1])
    return case.around(lambda step, s, x, t: 1.0 * s)


def integer_parts(draw):
    """A module that carries an integer, None or a Python number besides its state."""
    body = recurrent(draw)
    kind, uses, sequences = draw.choice(["tensor", "vector", "python", "none"]), draw.random() < 0.5, draw.randint(1, 3)
    others = {"tensor": torch.tensor(0), "vector": torch.zeros(sequences, dtype=torch.int64), "python": 0, "none": None}

    def call(module, x, state):
        h, other = state
        new = module.body(x, h)[0]
        if other is None or not uses:
            return new, None if other is None else other + 1
        factor = 1 + 0.5 * torch.sin(0.3 * torch.as_tensor(other, dtype=h.dtype))
        return (factor.reshape(-1, 1) if factor.dim() else factor) * new, other + 1

    case = calling(draw, body, call, [kind, f"uses {uses}"], sequences=sequences, makes_tensors=True)
    state = case.options["state"], others[kind]
    follow = chained(case.inputs, state, lambda m, x, s: m(x, s), lambda s: s[0])
    if uses and kind != "none":
        case = case.around(lambda step, s, x, t: (1 + 0.5 * math.sin(0.3 * t)) * step(s, x, t))
    return replace(case, options=case.options | {"state": state}, follow=follow)


def growing(draw):
    """A module that keeps all earlier hidden states, in an attribute or in its state."""
    body, place = recurrent(draw), draw.choice(["attribute", "state"])

    def in_attribute(module, x, h):
        new = module.body(x, h - 0.1 * sum(module.cache))[0]
        module.cache.append(new.detach())
        return new

    def in_state(module, x, state):
        h, cache = state
        new = module.body(x, h - 0.1 * cache.mean(1))[0]
        return new, (new, torch.cat([cache, new[:, None]], dim=1))

    call = in_attribute if place == "attribute" else in_state
    case = calling(draw, body, call, [place], steps=24, follow=None).refused()
    case.model.cache = []
    h = case.options["state"]
    return case if place == "attribute" else replace(case, options=case.options | {"state": (h, h[:, None])})


class Swapped(Calls):
    def forward(self, state, x):
        return super().forward(state, x)


def swapped(draw):
    """forward(state, x): an error where the sizes differ; where they agree, the contract's reading is a map too."""
    body = recurrent(draw)
    if draw.random() < 0.5:
        body.cell = stretched(type(body.cell)(body.units, body.units), draw)
        body.width = body.units
    same = body.width == body.units
    case = calling(draw, body, lambda m, state, x: m.body(x, state)[0], [f"same size {same}"], kind=Swapped, comparable=same)
    read = case.around(lambda step, s, x, t: step(x, s, t)).truths if same else []
    return replace(case, truths=[*read, *case.truths])


def unusual_answers(draw):
    body = recurrent(draw)
    answers = {
        "three": lambda out, new: (out, new, out),
        "three, state last": lambda out, new: (out, out, new),
        "names": lambda out, new: {"output": out, "state": new},
        "nothing": lambda out, new: None,
        "number": lambda out, new: 1.0,
        "pair in a list": lambda out, new: [out, new],
        "state first": lambda out, new: (new, out),
        "text": lambda out, new: "state",
    }
    form = draw.choice(list(answers))
    case = calling(draw, body, lambda m, x, s: answers[form](x.sum(-1), m.body(x, s)[0]), [form], follow=None)
    return case.refused() if form in ("nothing", "number", "text") else case


def inconsistent(draw):
    """A sequence module for which a call for many steps is no chain of calls for one.

    It is to be refused; a call for all inputs at once would be a right reading of a network that knows its position.
    """
    body = recurrent(draw)
    how = draw.choice(["centred", "reversed", "position", "at the end"])

    def call(module, x, h):
        outputs = []
        for t, x_t in enumerate({"centred": x - x.mean(0), "reversed": x.flip(0)}.get(how, x)):
            h = (1 + 0.5 * math.sin(0.5 * t) if how == "position" else 1.0) * module.body(x_t, h)[0]
            outputs.append(h)
        return torch.stack(outputs), torch.tanh(h) if how == "at the end" else h

    case = calling(draw, body, call, [how], follow=None)
    if how != "position":
        return case.refused()
    return case.around(lambda step, s, x, t: (1 + 0.5 * math.sin(0.5 * t)) * step(s, x, t))


def without_a_state(draw):
    """No state is given, and none can be inferred."""
    body = drawn_body(draw)
    case = own(draw, body, draw.choice(["step", "function", "time first"]), state_given=True)
    if isinstance(case.model, Convention):
        case.model.optional = False
    del case.options["state"]
    return case.refused()
