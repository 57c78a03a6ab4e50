"""Maps of a state and an input: networks as one would write them. Each is made from a `random.Random`."""

import copy
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from .cases import MEASURED, each_tensor, exactly

PLAIN = {"into", "back", "listed", "named"}  # attributes that may hold plain tensors


class Calls(nn.Module):
    """A module with some attributes, whose forward is a function (self, x, *state)."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x, *state):
        return self.function(self, x, *state)


class Body(Calls):
    """A map: a call with (x, *parts) gives a list of the parts (B, *shape) of the next state.

    Its function gives this list, or the part if there is one only; `truth` gives what is right, where that is not the same in
    float64.
    """

    is_complex = False
    surrogate = False  # whether its derivatives are not those of its values
    makes_tensors = False  # whether it makes tensors on the default device
    rounds = True  # whether its parameters may be bfloat16 or float16
    expected = MEASURED

    def __init__(self, width, shapes, function, *, truth=None, **attributes):
        super().__init__(function, width=width, shapes=shapes, truth=truth, **attributes)

    @property
    def units(self):
        return self.shapes[0][0]

    def forward(self, x, *parts):
        new = super().forward(x, *parts)
        return new if isinstance(new, list) else [new]

    def given(self, steps, sequences):
        """Inputs (T, B, ...)."""
        return torch.randn(steps, sequences, self.width)

    def start(self, sequences):
        """Parts of an initial state."""
        kind = torch.complex64 if self.is_complex else torch.float32
        return [0.5 * torch.randn(sequences, *shape, dtype=kind) for shape in self.shapes]

    def exact(self):
        """A copy in float64."""
        exact = copy.deepcopy(self)._apply(exactly)
        exact.function = self.truth or self.function
        for name in PLAIN & vars(exact).keys():
            setattr(exact, name, each_tensor(exactly, getattr(exact, name)))
        return exact

    def ground(self):
        """The map that it should be measured as, in float64: (x, parts, t) -> parts."""
        exact = self.exact()
        return lambda x, parts, t: exact(x, *parts)


def sizes(draw, least=2, most=5):
    """Numbers of inputs and units."""
    return draw.randint(1, 4), draw.randint(least, most)


def stretched(module, draw):
    """The module with larger recurrent weights, so that its spectrum is not that of a network at rest."""
    for name, parameter in module.named_parameters():
        parameter.data.mul_(draw.uniform(1, 2.5) if "_hh" in name else draw.uniform(0.5, 1.5))
    return module


def grown(layer, gain):
    layer.weight.data.mul_(gain)
    return layer


def of_a_cell(draw, kind, least=2, most=5):
    width, units = sizes(draw, least, most)
    cell = stretched(kind(width, units, bias=draw.random() < 0.7), draw)
    if kind is nn.LSTMCell:
        return Body(width, [(units,)] * 2, lambda m, x, h, c: list(m.cell(x, (h, c))), cell=cell)
    return Body(width, [(units,)], lambda m, x, h: m.cell(x, h), cell=cell)


elman = functools.partial(of_a_cell, kind=nn.RNNCell)
gated = functools.partial(of_a_cell, kind=nn.GRUCell)
long_short = functools.partial(of_a_cell, kind=nn.LSTMCell, least=1, most=4)


def two_cells(draw):
    """An LSTM cell on top of a GRU cell."""
    width, units = sizes(draw, 2, 4)

    def step(m, x, below, *above):
        below = m.lower(x, below)
        return [below, *m.upper(below, above)]

    lower, upper = stretched(nn.GRUCell(width, units), draw), stretched(nn.LSTMCell(units, 3), draw)
    return Body(width, [(units,), (3,), (3,)], step, lower=lower, upper=upper)


def tokens(draw):
    width, units = sizes(draw)
    embedding, cell = nn.Embedding(7, width), stretched(nn.GRUCell(width, units), draw)
    kind = draw.choice([torch.int64, torch.int64, torch.int32])
    body = Body(width, [(units,)], lambda m, x, h: m.cell(m.embedding(x), h), embedding=embedding, cell=cell)
    body.given = lambda steps, sequences: torch.randint(7, (steps, sequences), dtype=kind)
    return body


def layer_norm(draw):
    """A leaky network with layer normalisation."""
    width, units = sizes(draw, 3, 5)
    into, back, norm = nn.Linear(width, units), stretched(nn.Linear(units, units), draw), nn.LayerNorm(units)
    leak, layers = draw.uniform(0.2, 0.9), {"into": into, "back": back, "norm": norm}
    return Body(width, [(units,)], lambda m, x, h: h.lerp(torch.tanh(m.norm(m.into(x) + m.back(h))), leak), **layers)


def drawn_body(draw):
    return draw.choice([elman, gated, long_short, layer_norm])(draw)


def matrix_memory(draw):
    """C' = f C + i v k^T with values that depend on what is read, n' = f n + i k."""
    width, n = sizes(draw, 2, 3)
    layers = {"gates": nn.Linear(width, 2), "key": nn.Linear(width, n), "value": nn.Linear(width, n), "mix": nn.Linear(n, n)}

    def step(m, x, memory, norm):
        i, f = m.gates(x).sigmoid().chunk(2, dim=-1)
        key = m.key(x)
        value = m.value(x) + m.mix(torch.einsum("bij,bj->bi", memory, norm).tanh())
        return [f[..., None] * memory + i[..., None] * value[:, :, None] * key[:, None], f * norm + i * key]

    return Body(width, [(n, n), (n,)], step, **layers)


def pictures(draw):
    """A state of pictures (C, H, W), driven by pictures or by vectors."""
    picture = draw.choice([(1, 2, 2), (2, 2, 2), (1, 3, 2), (2, 1, 3)])
    by_pictures, width = draw.random() < 0.5, draw.randint(1, 3)

    def step(m, x, h):
        return torch.tanh(m.conv(h) + (x if by_pictures else m.into(x).view(len(x), *picture)))

    conv = grown(nn.Conv2d(picture[0], picture[0], 3, padding=1), draw.uniform(1, 2))
    body = Body(width, [picture], step, conv=conv, into=nn.Linear(width, math.prod(picture)))
    body.given = lambda steps, sequences: torch.randn(steps, sequences, *(picture if by_pictures else (width,)))
    return body


def slots(draw):
    """Slots that attend to one another."""
    (number, depth), width = draw.choice([(2, 2), (3, 2), (2, 3)]), draw.randint(1, 3)

    def step(m, x, s):
        attention = F.softmax(s @ s.mT / s.shape[-1] ** 0.5, dim=-1)
        return torch.tanh(m.back(attention @ s) + 0.5 * s + m.into(x)[:, None])

    return Body(width, [(number, depth)], step, into=nn.Linear(width, depth), back=grown(nn.Linear(depth, depth), 2))


def bilinear(draw):
    """h'_i = tanh(T_ijk h_j x_k + W_ij h_j)."""
    width, units = sizes(draw)
    tensor = nn.Parameter(torch.randn(units, units, width) / units**0.5)
    matrix = nn.Parameter(draw.uniform(0.7, 1.5) * torch.randn(units, units) / units**0.5)

    def step(m, x, h):
        return torch.tanh(torch.einsum("ijk,bj,bk->bi", m.tensor, h, x) + h @ m.matrix.T)

    return Body(width, [(units,)], step, tensor=tensor, matrix=matrix)


def one_number(draw):
    """Inputs without an axis of their own, (T, B)."""
    _, units = sizes(draw)
    into, back = nn.Parameter(torch.randn(units)), nn.Parameter(1.5 * torch.randn(units, units) / units**0.5)
    body = Body(1, [(units,)], lambda m, x, h: torch.tanh(x[..., None] * m.into + h @ m.back), into=into, back=back)
    body.given = lambda steps, sequences: torch.randn(steps, sequences)
    return body


def drive(m, x, h):
    return m.linear(torch.cat([x, h], dim=-1))


def driven(draw, function=lambda m, x, h: torch.tanh(drive(m, x, h)), *, gain=2.5, **more):
    """A network with a linear layer for input and state together."""
    width, units = sizes(draw)
    return Body(width, [(units,)], function, linear=grown(nn.Linear(width + units, units), gain), **more)


def complex_diagonal(draw):
    """z' = lambda z / sqrt(1 + a |z|^2) + B x, as a complex state or as pairs of real numbers; a is 0 or 1."""
    width, n = sizes(draw, 1, 4)
    by_complex, bounded, is_complex = draw.random() < 0.3, draw.random() < 0.6, draw.random() < 0.6
    least, most = draw.uniform(0.3, 0.6), draw.uniform(0.8, 1.0)
    rates = nn.Parameter(torch.polar(torch.linspace(least, most, n), torch.linspace(0.3, 2.5, n)))

    def step(m, x, h):
        z = h if is_complex else torch.view_as_complex(h.reshape(len(h), -1, 2))
        z = m.rates * (z / (1 + z.abs().square()).sqrt() if bounded else z) + x.to(m.into.dtype) @ m.into.T
        return z if is_complex else torch.view_as_real(z).flatten(-2)

    into, shapes = nn.Parameter(torch.randn(n, width, dtype=torch.complex64)), [(n if is_complex else 2 * n,)]
    body = Body(width, shapes, step, rates=rates, into=into, is_complex=is_complex, rounds=False)
    kind = torch.complex64 if by_complex else torch.float32
    body.given = lambda steps, sequences: torch.randn(steps, sequences, width, dtype=kind)
    return body


def complex_dense(draw):
    """z' = U z / (1 + |z|) + B x for a complex matrix U, near a unitary one."""
    width, n = sizes(draw, 2, 4)
    matrix = nn.Parameter(draw.uniform(0.9, 1.6) * torch.linalg.qr(torch.randn(n, n, dtype=torch.complex64))[0])

    def step(m, x, z):
        return torch.einsum("ij,bj->bi", m.matrix, z / (1 + z.abs())) + m.into(x.to(z.dtype))

    into = nn.Linear(width, n).to(torch.complex64)
    return Body(width, [(n,)], step, matrix=matrix, into=into, is_complex=True, rounds=False)


def spectral(draw):
    """A real state filtered in the Fourier domain."""
    width, units = sizes(draw, 3, 6)
    filter_ = nn.Parameter(draw.uniform(0.8, 1.4) * torch.randn(units // 2 + 1, dtype=torch.complex64))

    def step(m, x, h):
        return torch.tanh(torch.fft.irfft(torch.fft.rfft(h) * m.filter, n=units) + m.into(x))

    return Body(width, [(units,)], step, filter=filter_, into=nn.Linear(width, units), rounds=False)
