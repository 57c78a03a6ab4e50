"""Maps that are hard to cast, differentiate or copy: plain tensors, changes in place, own derivatives, branches, locks."""

import sys
import threading

import torch
from torch import nn

from .cases import EITHER, MEASURED
from .maps import Body, drive, driven, elman, gated, grown, long_short, sizes


class Reached(Body):
    """A body whose plain tensors `.double()` reaches."""

    def _apply(self, fn, recurse=True):
        self.into, self.back = fn(self.into), fn(self.back)
        return super()._apply(fn, recurse)


def attributes(draw, kind=Body):
    """Weights that are neither parameters nor buffers."""
    width, units = sizes(draw)
    into, back = torch.randn(width, units), 1.3 * torch.randn(units, units) / units**0.5
    return kind(width, [(units,)], lambda m, x, h: torch.tanh(x @ m.into + h @ m.back), into=into, back=back)


def listed_attributes(draw):
    """Weights in a plain list and a plain dict."""
    body = attributes(draw)
    body.function = lambda m, x, h: torch.tanh(x @ m.listed[0] + h @ m.named["back"])
    body.listed, body.named, body.expected = [body.into], {"back": body.back}, EITHER
    del body.into, body.back
    return body


def in_place(draw):
    """A state, and sometimes an input, that is changed in place."""

    def step(m, x, h):
        if m.doubles:
            x.mul_(2)
        new = torch.tanh(drive(m, x, h))
        return h.mul_(0.6).add_(new)

    body = driven(draw, step)
    body.doubles = draw.random() < 0.5
    return body


def written_into_zeros(draw):
    """A step that writes its result into torch.zeros(...), of the default dtype."""

    def step(m, x, h):
        new = torch.zeros(len(x), m.units)
        new[:, :] = torch.tanh(drive(m, x, h))
        return new

    return driven(draw, step, truth=lambda m, x, h: torch.tanh(drive(m, x, h)), expected=EITHER, makes_tensors=True)


def added_zeros(draw):
    """A step that adds tensors of the default dtype, which are exact in any."""

    def step(m, x, h):
        start = torch.zeros(len(x), m.units) + torch.eye(m.units)[0] - torch.ones(m.units)
        return start + torch.tanh(drive(m, x, h))

    return driven(draw, step, makes_tensors=True)


class RightDerivative(torch.autograd.Function):
    """tanh, without a forward-mode formula."""

    @staticmethod
    def forward(ctx, u):
        y = u.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y)


class NewStyleDerivative(torch.autograd.Function):
    """tanh in the form with setup_context, which vmap can be made to accept."""

    generate_vmap_rule = True
    backward = RightDerivative.backward

    @staticmethod
    def forward(u):
        return u.tanh()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)


class Spike(torch.autograd.Function):
    """A step function with a smooth derivative in its place."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + 2 * ctx.saved_tensors[0].abs()).square()


def own_derivative(draw):
    body = driven(draw, lambda m, x, h: m.tanh.apply(drive(m, x, h)), truth=lambda m, x, h: torch.tanh(drive(m, x, h)))
    body.tanh = draw.choice([RightDerivative, NewStyleDerivative])
    return body


def spiking(draw):
    """Potentials that are reset by spikes; the state holds the potentials alone, or the spikes too."""
    width, units = sizes(draw)

    def step(m, x, *parts):
        spikes = parts[0] if len(parts) == 2 else Spike.apply(parts[0] - 1)
        potentials = 0.9 * parts[-1] - 0.5 * spikes + m.into(x) + m.back(spikes)
        return [Spike.apply(potentials - 1), potentials][-len(parts) :]

    def start(sequences):
        potentials = torch.randn(sequences, units)
        return [(potentials > 1).float(), potentials][-count:]

    into, back, count = nn.Linear(width, units), nn.Linear(units, units), 1 + (draw.random() < 0.5)
    return Body(width, [(units,)] * count, step, into=into, back=back, start=start, surrogate=True)


def branches(draw):
    """Each sequence takes one of two branches, by a Python condition on its state."""
    width, units = sizes(draw)

    def step(m, x, h):
        rows = [m.one(r) if r[-1] > 0 else m.other(r) for r in torch.cat([x, h], dim=-1)]
        return torch.tanh(torch.stack(rows))

    one, other = grown(nn.Linear(width + units, units), 2), grown(nn.Linear(width + units, units), 3)
    # a step that is read for all deviations at once cannot branch
    return Body(width, [(units,)], step, one=one, other=other, expected=EITHER)


def kinked(draw):
    """Piecewise smooth: where, clamp, max, abs and sort."""
    width, units = sizes(draw, 3, 5)

    def step(m, x, h):
        bent = torch.where(h > 0, 0.9 * h, 1.4 * h).clamp(-3, 3)
        return bent + torch.tanh(m.into(x) + m.back(h.sort(dim=-1).values)) - 0.3 * h.amax(-1, keepdim=True).abs()

    return Body(width, [(units,)], step, into=nn.Linear(width, units), back=nn.Linear(units, units))


def distances(draw):
    """Distances to centres: torch.cdist has no forward-mode formula."""
    width, units = sizes(draw)

    def step(m, x, h):
        return torch.tanh(torch.cdist(h[:, None], m.centres[None])[:, 0] - 2 + m.into(x))

    return Body(width, [(units,)], step, centres=nn.Parameter(2 * torch.randn(units, units)), into=nn.Linear(width, units))


def frozen(draw):
    """Batch normalisation and dropout in evaluation mode, which are fixed maps."""
    body = driven(draw, lambda m, x, h: torch.tanh(2 * m.norm(m.drop(drive(m, x, h)))), gain=1.0, rounds=False)
    body.norm, body.drop = nn.BatchNorm1d(body.units), nn.Dropout(0.5)
    body.norm.running_mean.normal_()
    body.norm.running_var.uniform_(0.3, 2)
    return body.eval()


def ignoring(draw):
    """The state is ignored: every direction is lost at once."""
    width, units = sizes(draw)
    return Body(width, [(units,)], lambda m, x, h: torch.tanh(m.into(x)), into=nn.Linear(width, units), expected=EITHER)


def logistic_maps(draw):
    """Logistic maps, of which those of the first sequence start outside [0, 1] and diverge."""

    def start(sequences):
        inside = 0.2 + 0.6 * torch.rand(sequences, 2)
        inside[0] += 1.5
        return [inside]

    rates = nn.Parameter(torch.tensor([3.7, 3.3]))
    return Body(1, [(2,)], lambda m, x, h: m.rates * h * (1 - h) + 0 * x, rates=rates, start=start)


def hard_to_copy(draw):
    """A body that holds something that copy.deepcopy refuses."""
    inner = draw.choice([elman, gated, long_short])(draw)

    def step(m, x, *parts):
        new = m.inner(x, *parts)
        if m.kind == "history":
            m.last = new[0]
        return new

    kept = {
        "lock": threading.Lock,
        "generator": lambda: (i for i in range(3)),
        "non-leaf": lambda: 2 * next(inner.parameters()),
        "history": lambda: None,
        "random generator": torch.Generator,
        "file": lambda: sys.stderr,
    }
    kind = draw.choice(list(kept))
    expected = MEASURED if kind in ("non-leaf", "history") else EITHER
    body = Body(inner.width, inner.shapes, step, inner=inner, kind=kind, kept=kept[kind](), last=None, expected=expected)
    body.rounds, body.ground = False, inner.ground
    return body
