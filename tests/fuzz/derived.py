"""Weights that a call derives from others, and that may be out of date in between."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from .cases import EITHER, MEASURED, REFUSED
from .conventions import own
from .maps import Calls, driven
from .torch_modules import drawn_recipe, torch_case

DERIVATIONS = {
    "weight norm, old": nn.utils.weight_norm,
    "weight norm": parametrizations.weight_norm,
    "spectral norm, old": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda module, weight: prune.random_unstructured(module, weight, amount=0.3),
}
CHANGING = ("weight", "bias", "_g", "_v", "_orig", "original", "original0", "original1")  # tensors that training changes
STALE = ("fresh", "called", "loaded", "stepped")


def restaled(module, call, how):
    """The module after a call, or with other weights loaded or stepped to since, so that what it derived is out of date."""
    with torch.no_grad():
        if how != "fresh":
            module.eval()
            call()
        if how == "loaded":
            others = {n: v + 0.3 * torch.randn_like(v) if n.endswith(CHANGING) else v for n, v in module.state_dict().items()}
            module.load_state_dict(others)
        if how == "stepped":
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter)).mul_(1.2)
    return module


def accessed(twin, x, times):
    """A module after some accesses to its derived weights in training mode."""
    twin.train()
    for _ in range(times):
        if parametrize.is_parametrized(twin):
            [getattr(twin, name) for name in twin.parametrizations]
        else:
            twin(x)
    return twin.eval()


def derived(draw, name):
    """A module of torch's some of whose weights are derived at each call."""
    recipe = drawn_recipe(draw)
    if name == "orthogonal":
        recipe = replace(recipe, kind=draw.choice(["tanh", "relu"]), units=max(2, recipe.units))
    layer, size = draw.randrange(recipe.layers), (2, recipe.width) if recipe.is_cell else (1, 2, recipe.width)
    weight = "weight_hh" + ("" if recipe.is_cell else f"_l{layer}")
    stale, training, is_double = draw.choice(STALE), draw.random() < 0.5, draw.random() < 0.2

    def build():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.shift)
            module = DERIVATIONS[name](recipe.build(), weight)
            x = torch.randn(size)
            module = restaled(module, lambda: module(x), stale)
            return (module.double() if is_double else module).train(training)

    moving, model = "spectral" in name and training, build()
    twins = [accessed(build().double(), torch.zeros(size).double(), n) for n in range(7 if moving else 1)]
    case = torch_case(draw, recipe, model, twins, notes=[weight, stale, f"training {training}"])
    return replace(case, expected=EITHER, comparable=False) if moving else case


def derived_inside(draw):
    """A module of one's own with a layer whose weight is derived."""
    how, stale, training = draw.choice(list(DERIVATIONS)), draw.choice(STALE), draw.random() < 0.5
    training = training and "spectral" not in how
    seed, like = draw.randrange(10**6), draw.getstate()

    def build():
        draw.setstate(like)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = driven(draw, rounds=False)
            DERIVATIONS[how](body.linear, "weight")
            x = torch.randn(2, body.linear.in_features)
            return restaled(body, lambda: body.linear(x), stale).train(training)

    body, twin = build(), build().double().eval()
    body.exact = lambda: twin
    case = own(draw, body, draw.choice(["step", "step", "time first"]))
    del body.exact
    return case.noted(how, stale, f"training {training}")


def weight_drop(draw):
    """A recurrent module whose recurrent weights are dropped out at each call, as in language models of 2017."""
    recipe, name = drawn_recipe(draw, is_cell=False), "weight_hh_l0"

    def call(m, x, state=None):
        setattr(m.module, name, F.dropout(getattr(m.module, name + "_raw"), 0.5, m.training))
        return m.module(x, state)

    model = Calls(call, module=recipe.build()).train(draw.random() < 0.4)
    model.module.register_parameter(name + "_raw", model.module._parameters.pop(name))
    if draw.random() < 0.6:
        with torch.no_grad():
            model(torch.randn(2, 2, recipe.width))
    state, training = draw.choice(["given", "first"]), model.training
    expected, notes = REFUSED if training else MEASURED, [f"training {training}"]
    return torch_case(draw, recipe, model, [] if training else None, state=state, expected=expected, notes=notes)
