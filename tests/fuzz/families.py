"""The families of random models, and how a seed becomes one of them."""

import functools
import itertools
import random
import warnings
import zlib
from dataclasses import replace

import torch

from . import contracts, derived, faults, maps, special_maps, torch_modules, wrappers
from .conventions import own
from .surroundings import AMBIENTS, INPUT_FORMS


def of(*bodies, conventions=(None,), **more):
    """A family of modules and functions that step one of some kinds of body."""

    def family(draw):
        body = (draw.choice(bodies) if len(bodies) > 1 else bodies[0])(draw)
        return own(draw, body, draw.choice(conventions) if len(conventions) > 1 else conventions[0], **more)

    return family


def diverging(draw):
    """The first of some sequences diverges."""
    body = special_maps.logistic_maps(draw)
    return own(draw, body, draw.choice(["step", "function"]), steps=40, state_given=True, sequences=draw.randint(1, 3))


def hard_to_copy(draw):
    body = special_maps.hard_to_copy(draw)
    case = own(draw, body, draw.choice(["step", "step", "time first"]))
    if body.kind == "history":  # as training left it
        with torch.enable_grad():
            like = next(body.parameters())
            body(torch.randn(2, body.width).to(like), *(p.to(like) for p in body.start(2)))
    return case.noted(body.kind)


FAMILIES = {
    # torch's own modules
    "torch module": functools.partial(torch_modules.plain, is_cell=False),
    "torch cell": functools.partial(torch_modules.plain, is_cell=True),
    "projection": torch_modules.projected,
    "bidirectional": torch_modules.bidirectional,
    "dropout between layers": torch_modules.with_dropout,
    **{name: functools.partial(derived.derived, name=name) for name in derived.DERIVATIONS},
    "derived inside": derived.derived_inside,
    "weight drop": derived.weight_drop,
    "hooked": wrappers.hooked,
    "own forward": wrappers.own_forward,
    "subclass": torch_modules.subclassed,
    "compiled": wrappers.compiled,
    "parallel": wrappers.parallel,
    "script": wrappers.scripted,
    "trace": wrappers.traced,
    # modules and functions of one's own
    "elman": of(maps.elman),
    "gated": of(maps.gated),
    "pair": of(maps.long_short),
    "two cells": of(maps.two_cells),
    "layer norm": of(maps.layer_norm),
    "matrix memory": of(maps.matrix_memory),
    "pictures": of(maps.pictures),
    "attention": of(maps.slots),
    "einsum": of(maps.bilinear),
    "complex diagonal": of(maps.complex_diagonal),
    "complex dense": of(maps.complex_dense),
    "spectral filter": of(maps.spectral),
    "tokens": of(maps.tokens),
    "one number": of(maps.one_number),
    "plain attributes": of(functools.partial(special_maps.attributes, kind=special_maps.Reached), conventions=["step"]),
    "uncast attributes": of(special_maps.attributes, conventions=["step"], kind=torch.float32),
    "listed attributes": of(special_maps.listed_attributes, conventions=["step"], kind=torch.float32),
    "in place": of(special_maps.in_place),
    "written into zeros": of(special_maps.written_into_zeros),
    "added zeros": of(special_maps.added_zeros),
    "own derivative": of(special_maps.own_derivative),
    "surrogate": of(special_maps.spiking),
    "branches": of(special_maps.branches),
    "kinks": of(special_maps.kinked),
    "no forward mode": of(special_maps.distances),
    "evaluation mode": of(special_maps.frozen),
    "state ignored": of(special_maps.ignoring),
    "diverging": diverging,
    "loop over time": of(
        *(maps.elman, maps.gated, maps.long_short, maps.two_cells, maps.matrix_memory, maps.pictures, maps.complex_dense),
        *(maps.tokens, maps.one_number),
        conventions=["time first", "batch first"],
    ),
    "function": of(
        *(
            maps.elman,
            maps.long_short,
            maps.two_cells,
            maps.bilinear,
            maps.slots,
            maps.matrix_memory,
            maps.complex_diagonal,
            maps.tokens,
        ),
        conventions=["function"],
    ),
    "wrapped twice": wrappers.wrapped_twice,
    "hooked module of one's own": wrappers.hooked_own,
    "holds": torch_modules.holding,
    "holds, one step": torch_modules.holding_for_one_step,
    "holds, flat state": torch_modules.holding_with_flat_state,
    "holds two": torch_modules.holding_two,
    "hard to copy": hard_to_copy,
    # faults
    "cast": faults.cast_inside,
    "cast linear map": faults.cast_of_a_linear_map,
    "float32 function": faults.float32_function,
    "seldom": faults.seldom,
    "lazy": faults.lazy,
    "dropout": faults.dropped,
    "noise": faults.noisy,
    "memory": faults.remembering,
    "counter": faults.counting,
    "cut off": faults.cut_off,
    "mixing": faults.mixing,
    "autocast inside": faults.autocasting,
    "another type": contracts.another_type,
    "another shape": contracts.another_shape,
    "another structure": contracts.another_structure,
    "another order": contracts.another_order,
    "integer parts": contracts.integer_parts,
    "growing": contracts.growing,
    "swapped": contracts.swapped,
    "stale": contracts.stale,
    "unusual answers": contracts.unusual_answers,
    "inconsistent": contracts.inconsistent,
    "bidirectional inside": torch_modules.bidirectional_inside,
    "without a state": contracts.without_a_state,
}


def make(family, seed):
    """The model of a family that belongs to a seed, the same at every call; torch's random state is left as it was."""
    name = f"{family}:{seed}"
    draw = random.Random(name)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(zlib.crc32(name.encode()))
        case = FAMILIES[family](draw)
    truths = [t.later() for t in case.truths] if case.lost else case.truths
    if case.options.get("count", 0) > min((t.start.shape[1] for t in truths), default=0):
        del case.options["count"]
    ambients = [n for n in AMBIENTS if n != "meta" or not case.makes_tensors]
    ambient = draw.choice(ambients) if draw.random() < 0.35 else "none"
    inputs = INPUT_FORMS[draw.choice([*INPUT_FORMS] + ["as they are"] * 6)](case.inputs)
    return replace(case, family=family, seed=seed, truths=truths, ambient=ambient, inputs=inputs)


def cases_of(count, seed):
    """Families in turn, with seeds that follow from one."""
    names = itertools.cycle(FAMILIES)
    return [(next(names), seed + n // len(FAMILIES)) for n in range(count)]
