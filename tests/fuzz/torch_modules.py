"""Torch's own recurrent modules and cells: as they are, as subclasses, and inside modules of one's own."""

import copy
import functools
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from .cases import EITHER, MEASURED, REFUSED, SHORT, Case, Truth, chained, drawn_options, drawn_type, each_tensor, exactly
from .maps import Calls

KINDS = {"tanh": (nn.RNN, nn.RNNCell), "relu": (nn.RNN, nn.RNNCell), "gru": (nn.GRU, nn.GRUCell), "lstm": (nn.LSTM, nn.LSTMCell)}


@dataclass(frozen=True)
class Recipe:
    """The settings of a recurrent module or cell of torch's; its state is (L, B, H), or a pair of these, and (B, H) for cells."""

    kind: str
    width: int
    units: int
    layers: int = 1
    is_cell: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    shift: int = 0  # of the seed
    scope: type | None = None  # a subclass to build instead

    @property
    def time(self):
        """The axis of time."""
        return int(self.options.get("batch_first", False))

    @property
    def sizes(self):
        """Numbers in a layer's hidden state, and in its cell state."""
        return (self.options.get("proj_size", self.units), self.units)[: 1 + (self.kind == "lstm")]

    @property
    def numbers(self):
        return [self.layers * size for size in self.sizes]

    def build(self):
        """The module; the same weights at every call."""
        options = self.options | ({"nonlinearity": self.kind} if self.kind in ("tanh", "relu") else {})
        options |= {} if self.is_cell else {"num_layers": self.layers}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.shift + 1)
            module = (self.scope or KINDS[self.kind][self.is_cell])(self.width, self.units, **options)
        for name, parameter in module.named_parameters():
            parameter.data.mul_(self.gain if "weight_h" in name else 1.0)
            if self.kind == "relu" and self.shift % 2:
                parameter.data.abs_()
        return module

    def given(self, flat):
        """The state as the module takes it, from (B, S)."""
        parts = [p.view(len(flat), self.layers, -1).transpose(0, 1) for p in flat.split(self.numbers, dim=-1)]
        parts = [(p[0] if self.is_cell else p).contiguous() for p in parts]
        return tuple(parts) if self.kind == "lstm" else parts[0]

    def flat(self, state):
        parts = [p[None] if self.is_cell else p for p in (state if self.kind == "lstm" else [state])]
        return torch.cat([p.transpose(0, 1).flatten(1) for p in parts], dim=-1)

    def orders(self):
        """The other order of an LSTM: hidden and cell state of each layer end to end."""
        if self.kind != "lstm" or self.layers == 1:
            return []
        numbers = torch.arange(sum(self.numbers)).split(self.numbers)
        return [torch.cat([p.view(self.layers, -1) for p in numbers], dim=1).flatten().tolist()]


def drawn_recipe(draw, *, is_cell=None, kind=None, **fixed):
    kind = kind or draw.choice(list(KINDS))
    is_cell = draw.random() < 0.3 if is_cell is None else is_cell
    layers = 1 if is_cell else draw.choice([1, 1, 2, 3])
    units = draw.randint(1, max(1, (6 - layers) // (2 if kind == "lstm" and layers > 1 else 1)))
    options = {"bias": draw.random() < 0.7} | ({} if is_cell else {"batch_first": draw.random() < 0.4})
    width, gain, shift = draw.randint(1, 4), draw.uniform(1, 2.2), draw.randrange(10**6)
    recipe = Recipe(kind, width, units, layers, is_cell, options, gain, shift)
    return replace(recipe, **fixed | {"options": options | fixed.get("options", {})})


def call_of(recipe, model, x, state):
    """The new state that a module's call gives."""
    answer = model(x) if state is None else model(x, state)
    return answer if recipe.is_cell else answer[1]


def torch_case(draw, recipe, model, twins=None, *, inner=call_of, state=None, squeezed=False, notes=(), **more):
    """A case of a module that takes what torch's own takes.

    Any of its twins, modules of torch's, has the right map; by default there is one, which the recipe gives. A call of the model
    gives the new state by `inner`, (recipe, model, x, state) -> state. The state is "given", "none" (zeros) or "first" (what a
    call on the first input gives); drawn by default. If squeezed, inputs and state have no axis B.
    """
    sequences, steps = 1 if squeezed else draw.randint(1, 4), draw.randint(24, 36)
    inputs = torch.randn(steps, sequences, recipe.width)
    state = state or draw.choice(["given", "none"])
    start = torch.zeros(sequences, sum(recipe.numbers))
    if state == "given":
        start = 0.5 * torch.randn_like(start)
    kind = next((p.dtype for p in model.parameters()), torch.float32)
    if kind == torch.float64:
        inputs, start = inputs.double(), start.double()
    twins = [replace(recipe, scope=None).build()] if twins is None else twins
    given = recipe.given(start) if state == "given" else None
    calls = inputs if recipe.is_cell else [x.unsqueeze(recipe.time) for x in inputs]
    laid = inputs.transpose(0, 1).contiguous() if recipe.time else inputs
    return Case(
        model,
        laid.squeeze(1 - recipe.time) if squeezed else laid,
        drawn_options(draw, settled=state == "first")
        | {"state": each_tensor(lambda p: p.squeeze(-2), given) if squeezed else given},
        [Truth(step_of(recipe, twin), exactly(start), exactly(inputs), recipe.orders()) for twin in twins],
        follow=chained(calls, given, functools.partial(inner, recipe), recipe.flat, state == "first"),
        lost=state == "first",
        notes=[recipe.kind, "cell" if recipe.is_cell else f"{recipe.layers} layers", recipe.options, *notes],
        **{"comparable": kind not in SHORT} | more,
    )


def step_of(recipe, twin):
    """The step of a truth that a module computes in float64."""
    exact = twin.double().eval()

    def step(s, x, t):
        return recipe.flat(call_of(recipe, exact, x[None] if recipe.is_cell else x[None, None], recipe.given(s[None])))[0]

    return step


def plain(draw, *, is_cell):
    recipe = drawn_recipe(draw, is_cell=is_cell)
    module = recipe.build().to(drawn_type(draw)).train(draw.random() < 0.5)
    squeezed = draw.random() < 0.15
    return torch_case(draw, recipe, module, [copy.deepcopy(module)], squeezed=squeezed, notes=["unbatched"] * squeezed)


def projected(draw):
    recipe = drawn_recipe(draw, is_cell=False, kind="lstm", units=3, layers=draw.choice([1, 2]))
    recipe = replace(recipe, options=recipe.options | {"proj_size": draw.choice([1, 2])})
    return torch_case(draw, recipe, recipe.build())


def bidirectional(draw):
    recipe = drawn_recipe(draw, is_cell=False, options={"bidirectional": True})
    return torch_case(draw, recipe, recipe.build(), [], state="none", expected=REFUSED)


def with_dropout(draw):
    recipe = drawn_recipe(draw, is_cell=False, layers=draw.choice([1, 2]), units=2, options={"dropout": 0.4})
    module = recipe.build().train(draw.random() < 0.5)
    case = torch_case(draw, recipe, module, notes=[f"training {module.training}"])
    return case.refused() if module.training and recipe.layers > 1 else case


class Scaled:
    def forward(self, x, hx=None):
        return super().forward(2.5 * x, hx)


class Residual:
    def forward(self, x, hx=None):
        hx = x.new_zeros(len(x), self.hidden_size) if hx is None else hx
        return 0.5 * hx + 0.7 * super().forward(x, hx)


class Learned:
    """A GRU that starts from a state of its own if none is given."""

    def forward(self, x, hx=None):
        if hx is None:
            sequences = x.shape[0 if self.batch_first else 1]
            hx = x.new_ones(self.num_layers, sequences, self.hidden_size) / 2
        return super().forward(x, hx)


class Renamed:
    """A subclass that changes nothing."""


SUBCLASSES = (
    (Scaled, nn.GRU, "gru"),
    (Scaled, nn.LSTM, "lstm"),
    (Scaled, nn.RNN, "tanh"),
    (Renamed, nn.GRU, "gru"),
    (Residual, nn.GRUCell, "gru"),
    (Residual, nn.RNNCell, "tanh"),
    (Learned, nn.GRU, "gru"),
)
CHANGES = {
    Scaled: lambda step, s, x, t: step(s, 2.5 * x, t),
    Residual: lambda step, s, x, t: 0.5 * s + 0.7 * step(s, x, t),
}


def subclassed(draw):
    change, base, kind = draw.choice(SUBCLASSES)
    scope = type(change.__name__ + base.__name__, (change, base), {})
    recipe = drawn_recipe(draw, kind=kind, is_cell=change is Residual, scope=scope)
    module = recipe.build().to(draw.choice([torch.float32, torch.float64]))
    case = torch_case(draw, recipe, module, notes=[scope.__name__])
    if change is Learned and case.options["state"] is None:  # zeros, its own start, or what its first call gives
        (zeros,) = case.truths
        learned = replace(zeros, start=torch.full_like(zeros.start, 0.5))
        return replace(case, truths=[zeros, learned, learned.later()], expected=EITHER, comparable=False)
    return case.around(CHANGES[change]) if change in CHANGES else case


def holder(recipe, answer="pair"):
    """The usual model: a recurrent module and a readout, (output, state) out."""

    def call(m, x, state=None):
        out, state = m.rnn(x, state)
        out = m.readout(out.select(recipe.time, -1) if answer == "last" else out)
        return state if answer == "state" else (out, state)

    rnn = recipe.build()
    return Calls(call, rnn=rnn, readout=nn.Linear(recipe.sizes[0] * (1 + rnn.bidirectional), 2))


def holding(draw):
    """A holder for whole sequences; often with as many sequences as layers."""
    recipe, answer = drawn_recipe(draw, is_cell=False), draw.choice(["pair", "pair", "state", "last"])
    model, state = holder(recipe, answer).to(draw.choice([torch.float32, torch.float64])), draw.choice(["given", "first"])

    def inner(_, model, *given):
        return model(*given) if answer == "state" else model(*given)[1]

    case = torch_case(draw, recipe, model, inner=inner, state=state, notes=[answer, state])
    return replace(case, expected=EITHER if (state, answer) == ("first", "state") else MEASURED)


def without_layers(case):
    """The case with a state that has no axis of layers."""
    return replace(case, options=case.options | {"state": each_tensor(lambda p: p[0], case.options["state"])}, follow=None)


def holding_for_one_step(draw):
    """A module that takes one step, (B, I), with a sequence module inside; sometimes without an axis of layers."""
    recipe = drawn_recipe(draw, is_cell=False)
    squeezed = recipe.layers == 1 and draw.random() < 0.5

    def call(m, x, state):
        state = each_tensor(lambda p: p[None], state) if squeezed else state
        out, new = m.rnn(x.unsqueeze(recipe.time), state)
        return out, each_tensor(lambda p: p[0], new) if squeezed else new

    def inner(_, model, x, state):
        return model(x[0], state)[1]

    notes, unlaid, model = [f"squeezed {squeezed}"], replace(recipe, options={}), Calls(call, rnn=recipe.build())
    case = torch_case(draw, unlaid, model, [recipe.build()], inner=inner, state="given", notes=notes)
    return without_layers(case) if squeezed else case


def holding_with_flat_state(draw):
    """A holder for whole sequences whose state is given as (B, H): natively an error, or sequences taken for layers."""
    recipe = drawn_recipe(draw, is_cell=False, kind=draw.choice(["gru", "tanh"]))
    case = without_layers(torch_case(draw, recipe, holder(recipe), state="given", notes=["state (B, H)"]))
    return case.refused() if recipe.layers > 1 else replace(case, expected=EITHER)


def holding_two(draw):
    """A GRU below an LSTM; the state is nested."""
    lower = drawn_recipe(draw, kind="gru", is_cell=False, units=2, layers=draw.choice([1, 2]))
    upper = drawn_recipe(draw, kind="lstm", is_cell=False, units=2, layers=1, width=2)
    upper = replace(upper, options=upper.options | {"batch_first": bool(lower.time)})

    def call(m, x, state=None):
        out, below = m.lower(x, state and state[0])
        out, above = m.upper(out, state and state[1])
        return out, (below, above)

    def given(flat):
        return lower.given(flat[:, :-4]), upper.given(flat[:, -4:])

    def flat(state):
        return torch.cat([lower.flat(state[0]), upper.flat(state[1])], dim=-1)

    model = Calls(call, lower=lower.build(), upper=upper.build())
    exact, sequences, steps = copy.deepcopy(model).double(), draw.randint(1, 4), draw.randint(24, 36)
    inputs, start = torch.randn(steps, sequences, lower.width), torch.zeros(sequences, 2 * lower.layers + 4)
    state = None if draw.random() < 0.5 else given(start)
    return Case(
        model,
        inputs.transpose(0, 1).contiguous() if lower.time else inputs,
        drawn_options(draw, settled=True) | {"state": state},
        [Truth(lambda s, x, t: flat(exact(x[None, None], given(s[None]))[1])[0], exactly(start), exactly(inputs))],
        notes=[f"{lower.layers} layers below"],
        follow=chained([x.unsqueeze(lower.time) for x in inputs], state, lambda m, x, s: m(x, s)[1], flat, state is None),
        lost=state is None,
    )


def bidirectional_inside(draw):
    recipe = drawn_recipe(draw, is_cell=False, kind="gru", layers=1, options={"bidirectional": True})
    model, inputs = holder(recipe), torch.randn(24, draw.randint(1, 3), recipe.width)
    state = torch.zeros(2, inputs.shape[1], recipe.units) if draw.random() < 0.5 else None
    return Case(model, inputs.transpose(0, 1).contiguous() if recipe.time else inputs, {"state": state}, [], expected=REFUSED)
