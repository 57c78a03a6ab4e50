"""Random models with known spectra: what `lyapunov_spectrum` measures rightly, refuses, or gets wrong.

`python -m tests.fuzz [N] [SEED]` counts the outcomes of N models; `python -m tests.fuzz FAMILY:SEED ...` shows single ones.
"""

import contextlib
import functools
import itertools
import math
import multiprocessing
import random
import sys
import threading
import time
import types
import warnings
import weakref
import zlib
from collections import Counter, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, make_dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from pipeline import lyapunov_spectrum
from pipeline.core.errors import ModuleError
from pipeline.spectrum.engine import random_basis

TOLERANCE = 1e-5  # nats per step, besides the rounding error that a spectrum states
# The same where the library chooses the interval of reorthonormalisation. Not included in the stated error is then that later
# steps amplify it in the trailing exponents of short runs: of 400 such runs, two were off by 2e-5 and 7e-5.
TOLERANCE_OF_LONG_INTERVALS = 1e-3
# Errors of the Jacobians, relative to their mean norm, that no exponent to be compared may be sensitive to: many times those of
# float64. Where a direction is lost, its exponent and those that follow depend on rounding alone.
PERTURBATION = 1e-14
SHORT = (torch.bfloat16, torch.float16)  # dtypes whose networks are not compared with their own calls
EITHER, MEASURED, REFUSED = "refused or measured", "measured", "refused"


# What a case is, and what it should give


@dataclass
class Truth:
    """A driven map of one sequence, in float64, that a model should be measured as."""

    step: Callable[[Tensor, Tensor, int], Tensor]  # state (S,), input, number of the step -> state (S,)
    start: Tensor  # (B, S)
    inputs: Tensor  # (T, B, ...)
    orders: list[list[int]] = field(default_factory=list)  # orders of the state's numbers that the library may use


@dataclass
class Case:
    """A model, how it is measured, and what would be right."""

    model: Any
    inputs: Tensor
    options: dict[str, Any]
    truths: list[Truth]  # any of them is right; if there is none, only a refusal is
    expected: str = MEASURED
    notes: list[str] = field(default_factory=list)
    follow: Callable[[Any, int], Tensor] | None = None  # the states (n, B, S) that n calls of the model itself give
    comparable: bool = True  # whether those states are the truth's to single precision
    surrogate: bool = False  # whether a warning should say that derivatives are not those of the values
    makes_tensors: bool = False  # whether it makes tensors on the default device
    wraps_dynamo: bool = False
    ambient: str = "none"
    family: str = ""
    seed: int = 0

    def __str__(self):
        return f"{self.family}:{self.seed} ({self.expected}) {', '.join(map(str, self.notes))}; {self.options_in_words()}"

    def options_in_words(self):
        told = {n: v for n, v in self.options.items() if n != "state"}
        state = "none" if self.options.get("state") is None else "given"
        return f"inputs {tuple(self.inputs.shape)} {self.inputs.dtype}, state {state}, {told}, ambient {self.ambient}"


def make(family, seed):
    """The model of a family that belongs to a seed, the same at every call; torch's random state is left as it was."""
    name = f"{family}:{seed}"
    draw = random.Random(name)
    COUNTER.clear()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(zlib.crc32(name.encode()))
        case = FAMILIES[family](draw)
    sizes = [t.start.shape[1] for t in case.truths]
    if case.options.get("count", 0) > min(sizes, default=0):
        del case.options["count"]
    ambients = [n for n in AMBIENTS if n != "meta" or not case.makes_tensors]
    ambient, form = draw.choice(ambients) if draw.random() < 0.35 else "none", draw.choice([*INPUT_FORMS] + ["as they are"] * 6)
    return replace(case, family=family, seed=seed, ambient=ambient, inputs=INPUT_FORMS[form](case.inputs))


def apart(inputs):
    """The same inputs, not contiguous."""
    return torch.stack([inputs, torch.zeros_like(inputs)], dim=-1)[..., 0]


def inferred(inputs):
    """The same inputs, made in inference mode."""
    with torch.inference_mode():
        return inputs.clone()


INPUT_FORMS = {
    "as they are": lambda inputs: inputs,
    "not contiguous": apart,
    "made in inference mode": inferred,
    "with gradients": lambda inputs: inputs if inputs.dtype in (torch.int32, torch.int64) else inputs.clone().requires_grad_(),
}


def drawn_options(draw, *, settled=False):
    """Options of a measurement; `settled` leaves out what depends on the number of steps."""
    options = {"transient": draw.choice([0, 0, 0, 3, 6]), "every": draw.choice([1, 1, 1, 2, None])}
    if not settled and draw.random() < 0.2:
        del options["transient"]
    if draw.random() < 0.15:
        options["count"] = 2
    return options


def drawn_type(draw):
    return draw.choice([torch.float32, torch.float32, torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16])


# Maps in two forms: for batches, with torch's modules, and for one sequence, in plain formulas


def exactly(tensor):
    """A copy in float64 or complex128."""
    return tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64).clone()


def values(module):
    """A function from a tensor's name to its present values in float64; zero if there is none, as without a bias."""
    named = {n: exactly(v) for n, v in itertools.chain(module.named_parameters(), module.named_buffers())}
    return lambda name: named.get(name, torch.zeros((), dtype=torch.float64))


def logistic(u):
    return (1 + torch.tanh(u / 2)) / 2  # whose derivative overflows nowhere


def elman_formula(w, h, x, function=torch.tanh, prefix=""):
    return function(w(prefix + "weight_ih") @ x + w(prefix + "bias_ih") + w(prefix + "weight_hh") @ h + w(prefix + "bias_hh"))


def gru_formula(w, h, x, prefix=""):
    of_x = w(prefix + "weight_ih") @ x + w(prefix + "bias_ih")
    of_h = w(prefix + "weight_hh") @ h + w(prefix + "bias_hh")
    (rx, zx, nx), (rh, zh, nh) = of_x.chunk(3), of_h.chunk(3)
    r, z = logistic(rx + rh), logistic(zx + zh)
    return (1 - z) * torch.tanh(nx + r * nh) + z * h


def lstm_formula(w, h, c, x, prefix=""):
    gates = w(prefix + "weight_ih") @ x + w(prefix + "bias_ih") + w(prefix + "weight_hh") @ h + w(prefix + "bias_hh")
    i, f, g, o = gates.chunk(4)
    new = c * logistic(f) + torch.tanh(g) * logistic(i)
    return torch.tanh(new) * logistic(o), new


def stretched(module, draw):
    """The module with larger recurrent weights, so that its spectrum is not that of a network at rest."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.mul_(draw.uniform(1, 2.5) if "_hh" in name else draw.uniform(0.5, 1.5))
    return module


class Body(nn.Module):
    """A map: `forward(x, parts)` gives its next state for a batch, and `ground()` is the same for one sequence.

    The parts of a state are tensors (B, *shape). `ground()` returns a function (x, parts, t) -> parts of tensors (*shape,)
    in float64, where a complex part is a real one (*shape, 2).
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    is_complex = False
    expected = MEASURED
    surrogate = False
    makes_tensors = False
    rounds = True  # whether its parameters may be bfloat16 or float16

    def given(self, steps, sequences):
        """Inputs (T, B, ...)."""
        return torch.randn(steps, sequences, self.width)

    def start(self, sequences):
        """Parts of an initial state."""
        kind = torch.complex64 if self.is_complex else torch.float32
        return [0.5 * torch.randn(sequences, *shape, dtype=kind) for shape in self.shapes]

    def sizes(self, draw, least=2, most=5):
        self.width, self.units = draw.randint(1, 4), draw.randint(least, most)
        return self.width, self.units


class OneCell(Body):
    """One of torch's cells whose state is one tensor."""

    kind, formula = nn.RNNCell, staticmethod(elman_formula)

    def __init__(self, draw):
        super().__init__()
        self.cell = stretched(self.kind(*self.sizes(draw), bias=draw.random() < 0.7), draw)
        self.shapes = ((self.units,),)

    def forward(self, x, parts):
        return [self.cell(x, parts[0])]

    def ground(self):
        w = values(self.cell)
        return lambda x, parts, t: [self.formula(w, parts[0], x)]


class Elman(OneCell):
    pass


class Gated(OneCell):
    kind, formula = nn.GRUCell, staticmethod(gru_formula)


class Driven(Body):
    """A body with a linear layer for input and state together."""

    gain = 2.5

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.linear = nn.Linear(width + units, units)
        with torch.no_grad():
            self.linear.weight.mul_(self.gain)
        self.shapes = ((units,),)

    def drive(self, x, parts):
        return self.linear(torch.cat([x, parts[0]], dim=-1))

    def forward(self, x, parts):
        return [torch.tanh(self.drive(x, parts))]

    def ground_drive(self):
        w = values(self.linear)
        return lambda x, parts: w("weight") @ torch.cat([x, parts[0]]) + w("bias")

    def ground(self):
        drive = self.ground_drive()
        return lambda x, parts, t: [torch.tanh(drive(x, parts))]


class LongShort(Body):
    def __init__(self, draw):
        super().__init__()
        self.cell = stretched(nn.LSTMCell(*self.sizes(draw, 1, 4), bias=draw.random() < 0.7), draw)
        self.shapes = ((self.units,), (self.units,))

    def forward(self, x, parts):
        return list(self.cell(x, (parts[0], parts[1])))

    def ground(self):
        w = values(self.cell)
        return lambda x, parts, t: list(lstm_formula(w, parts[0], parts[1], x))


class TwoCells(Body):
    """An LSTM cell on top of a GRU cell."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw, 2, 4)
        self.lower, self.upper = stretched(nn.GRUCell(width, units), draw), stretched(nn.LSTMCell(units, 3), draw)
        self.shapes = ((units,), (3,), (3,))

    def forward(self, x, parts):
        lower = self.lower(x, parts[0])
        return [lower, *self.upper(lower, (parts[1], parts[2]))]

    def ground(self):
        below, above = values(self.lower), values(self.upper)

        def step(x, parts, t):
            lower = gru_formula(below, parts[0], x)
            return [lower, *lstm_formula(above, parts[1], parts[2], lower)]

        return step


class Normalised(Body):
    """A leaky network with layer normalisation."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw, 3, 5)
        self.into, self.back, self.norm = nn.Linear(width, units), stretched(nn.Linear(units, units), draw), nn.LayerNorm(units)
        self.leak, self.shapes = draw.uniform(0.2, 0.9), ((units,),)

    def forward(self, x, parts):
        (h,) = parts
        return [torch.lerp(h, torch.tanh(self.norm(self.into(x) + self.back(h))), self.leak)]

    def ground(self):
        w, leak, eps = values(self), self.leak, self.norm.eps

        def step(x, parts, t):
            u = w("into.weight") @ x + w("into.bias") + w("back.weight") @ parts[0] + w("back.bias")
            centred = u - u.sum() / len(u)
            scaled = centred / ((centred * centred).sum() / len(u) + eps) ** 0.5
            return [(1 - leak) * parts[0] + leak * torch.tanh(w("norm.weight") * scaled + w("norm.bias"))]

        return step


class MatrixMemory(Body):
    """C' = f C + i v k^T with values that depend on what is read, n' = f n + i k."""

    def __init__(self, draw):
        super().__init__()
        width, n = self.sizes(draw, 2, 3)
        self.gates, self.key, self.value = nn.Linear(width, 2), nn.Linear(width, n), nn.Linear(width, n)
        self.mix = nn.Linear(n, n)
        self.shapes = ((n, n), (n,))

    def forward(self, x, parts):
        memory, norm = parts
        i, f = self.gates(x).sigmoid().chunk(2, dim=-1)
        key = self.key(x)
        value = self.value(x) + self.mix(torch.einsum("bij,bj->bi", memory, norm).tanh())
        return [f[..., None] * memory + i[..., None] * value[:, :, None] * key[:, None], f * norm + i * key]

    def ground(self):
        w = values(self)

        def step(x, parts, t):
            memory, norm = parts
            i, f = logistic(w("gates.weight") @ x + w("gates.bias"))
            key = w("key.weight") @ x + w("key.bias")
            read = torch.tanh(memory @ norm)
            value = w("value.weight") @ x + w("value.bias") + w("mix.weight") @ read + w("mix.bias")
            return [f * memory + i * torch.outer(value, key), f * norm + i * key]

        return step


class Convolved(Body):
    """A state of pictures (C, H, W), driven by pictures or by vectors."""

    def __init__(self, draw):
        super().__init__()
        self.picture = draw.choice([(1, 2, 2), (2, 2, 2), (1, 3, 2), (2, 1, 3)])
        self.by_pictures, self.width = draw.random() < 0.5, draw.randint(1, 3)
        channels, size = self.picture[0], math.prod(self.picture)
        self.conv, self.into = nn.Conv2d(channels, channels, 3, padding=1), nn.Linear(self.width, size)
        with torch.no_grad():
            self.conv.weight.mul_(draw.uniform(1, 2))
        self.shapes = (self.picture,)

    def given(self, steps, sequences):
        return torch.randn(steps, sequences, *(self.picture if self.by_pictures else (self.width,)))

    def forward(self, x, parts):
        drive = x if self.by_pictures else self.into(x).view(len(x), *self.picture)
        return [torch.tanh(self.conv(parts[0]) + drive)]

    def ground(self):
        w, picture, by_pictures = values(self), self.picture, self.by_pictures
        matrix = dense_convolution(w("conv.weight"), picture)
        bias = w("conv.bias").repeat_interleave(picture[1] * picture[2])

        def step(x, parts, t):
            drive = x.flatten() if by_pictures else w("into.weight") @ x + w("into.bias")
            return [torch.tanh(matrix @ parts[0].flatten() + bias + drive).view(picture)]

        return step


def dense_convolution(kernel, picture):
    """The matrix of a 3 x 3 convolution with padding 1."""
    places = list(itertools.product(*map(range, picture)))
    matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
    for row, (o, i, j) in enumerate(places):
        for column, (c, k, m) in enumerate(places):
            if abs(k - i) <= 1 and abs(m - j) <= 1:
                matrix[row, column] = kernel[o, c, k - i + 1, m - j + 1]
    return matrix


class Slots(Body):
    """Slots that attend to one another."""

    def __init__(self, draw):
        super().__init__()
        slots, depth = draw.choice([(2, 2), (3, 2), (2, 3)])
        self.width = draw.randint(1, 3)
        self.into, self.back = nn.Linear(self.width, depth), nn.Linear(depth, depth)
        with torch.no_grad():
            self.back.weight.mul_(2)
        self.shapes = ((slots, depth),)

    def forward(self, x, parts):
        (s,) = parts
        attention = F.softmax(s @ s.mT / s.shape[-1] ** 0.5, dim=-1)
        return [torch.tanh(self.back(attention @ s) + 0.5 * s + self.into(x)[:, None])]

    def ground(self):
        w = values(self)

        def step(x, parts, t):
            (s,) = parts
            weights = torch.exp(s @ s.T / s.shape[1] ** 0.5)
            mixed = (weights / weights.sum(1, keepdim=True)) @ s
            drive = w("into.weight") @ x + w("into.bias")
            return [torch.tanh(mixed @ w("back.weight").T + w("back.bias") + 0.5 * s + drive)]

        return step


class Bilinear(Body):
    """h'_i = tanh(T_ijk h_j x_k + W_ij h_j)."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.tensor = nn.Parameter(torch.randn(units, units, width) / units**0.5)
        self.matrix = nn.Parameter(draw.uniform(0.7, 1.5) * torch.randn(units, units) / units**0.5)
        self.shapes = ((units,),)

    def forward(self, x, parts):
        return [torch.tanh(torch.einsum("ijk,bj,bk->bi", self.tensor, parts[0], x) + parts[0] @ self.matrix.T)]

    def ground(self):
        w = values(self)
        return lambda x, parts, t: [torch.tanh(((w("tensor") * x).sum(-1) + w("matrix")) @ parts[0])]


class ComplexDiagonal(Body):
    """z' = lambda z / sqrt(1 + a |z|^2) + B x, as a complex state or as pairs of real numbers; a is 0 or 1."""

    is_complex = True
    rounds = False

    def __init__(self, draw):
        super().__init__()
        width, n = self.sizes(draw, 1, 4)
        self.by_complex, self.bounded, self.is_complex = draw.random() < 0.3, draw.random() < 0.6, draw.random() < 0.6
        angles = torch.linspace(0.3, 2.5, n)
        self.rates = nn.Parameter(torch.polar(torch.linspace(draw.uniform(0.3, 0.6), draw.uniform(0.8, 1.0), n), angles))
        self.into = nn.Parameter(torch.randn(n, width, dtype=torch.complex64))
        self.shapes = ((n,),) if self.is_complex else ((2 * n,),)

    def given(self, steps, sequences):
        return torch.randn(steps, sequences, self.width, dtype=torch.complex64 if self.by_complex else torch.float32)

    def forward(self, x, parts):
        z = parts[0] if self.is_complex else torch.view_as_complex(parts[0].reshape(len(parts[0]), -1, 2))
        z = self.rates * (z / (1 + z.abs().square()).sqrt() if self.bounded else z) + x.to(self.into.dtype) @ self.into.T
        return [z if self.is_complex else torch.view_as_real(z).flatten(-2)]

    def ground(self):
        w, flat, bounded = values(self), not self.is_complex, self.bounded
        (a, b), (p, q) = (torch.view_as_real(w(name)).unbind(-1) for name in ("rates", "into"))

        def step(x, parts, t):
            re, im = parts[0].reshape(-1, 2).unbind(-1)
            u, v = (x.real, x.imag) if x.is_complex() else (x, torch.zeros_like(x))
            shrunk = (1 + re * re + im * im) ** -0.5 if bounded else 1.0
            new = torch.stack([(a * re - b * im) * shrunk + p @ u - q @ v, (a * im + b * re) * shrunk + p @ v + q @ u], dim=-1)
            return [new.flatten() if flat else new]

        return step


class ComplexDense(Body):
    """z' = U z / (1 + |z|) + B x for a complex matrix U, near a unitary one."""

    is_complex = True
    rounds = False

    def __init__(self, draw):
        super().__init__()
        width, n = self.sizes(draw, 2, 4)
        unitary = torch.linalg.qr(torch.randn(n, n, dtype=torch.complex64))[0]
        self.matrix = nn.Parameter(draw.uniform(0.9, 1.6) * unitary)
        self.into = nn.Linear(width, n).to(torch.complex64)
        self.shapes = ((n,),)

    def forward(self, x, parts):
        (z,) = parts
        return [torch.einsum("ij,bj->bi", self.matrix, z / (1 + z.abs())) + self.into(x.to(z.dtype))]

    def ground(self):
        w = values(self)
        (a, b), (p, q), (r, s) = (torch.view_as_real(w(n)).unbind(-1) for n in ("matrix", "into.weight", "into.bias"))

        def step(x, parts, t):
            re, im = (parts[0] / (1 + (parts[0] ** 2).sum(-1, keepdim=True) ** 0.5)).unbind(-1)
            return [torch.stack([a @ re - b @ im + p @ x + r, a @ im + b @ re + q @ x + s], dim=-1)]

        return step


class Spectral(Body):
    """A real state filtered in the Fourier domain."""

    rounds = False

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw, 3, 6)
        self.filter = nn.Parameter(draw.uniform(0.8, 1.4) * torch.randn(units // 2 + 1, dtype=torch.complex64))
        self.into = nn.Linear(width, units)
        self.shapes = ((units,),)

    def forward(self, x, parts):
        (h,) = parts
        return [torch.tanh(torch.fft.irfft(torch.fft.rfft(h) * self.filter, n=h.shape[-1]) + self.into(x))]

    def ground(self):
        w = values(self)
        matrix = circulant(*torch.view_as_real(w("filter")).unbind(-1), self.units)
        return lambda x, parts, t: [torch.tanh(matrix @ parts[0] + w("into.weight") @ x + w("into.bias"))]


def circulant(re, im, n):
    """The real matrix that multiplies the k-th Fourier coefficient by re[k] + i im[k]."""
    kernel = torch.zeros(n, dtype=torch.float64)
    for k in range(n):
        a, b = (re[k], im[k]) if k < len(re) else (re[n - k], -im[n - k])
        b = 0.0 if 2 * k % n == 0 else b  # the constant and the fastest wave have real coefficients
        angle = 2 * math.pi * k * torch.arange(n, dtype=torch.float64) / n
        kernel += (a * torch.cos(angle) - b * torch.sin(angle)) / n
    return torch.stack([kernel.roll(j) for j in range(n)], dim=1)


class Tokens(Body):
    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.embedding, self.cell = nn.Embedding(7, width), stretched(nn.GRUCell(width, units), draw)
        self.kind = draw.choice([torch.int64, torch.int64, torch.int32])
        self.shapes = ((units,),)

    def given(self, steps, sequences):
        return torch.randint(7, (steps, sequences), dtype=self.kind)

    def forward(self, x, parts):
        return [self.cell(self.embedding(x), parts[0])]

    def ground(self):
        w, of_cell = values(self), values(self.cell)
        return lambda x, parts, t: [gru_formula(of_cell, parts[0], w("embedding.weight")[int(x)])]


class OneNumber(Body):
    """Inputs without an axis of their own, (T, B)."""

    def __init__(self, draw):
        super().__init__()
        _, units = self.sizes(draw)
        self.into, self.back = nn.Parameter(torch.randn(units)), nn.Parameter(1.5 * torch.randn(units, units) / units**0.5)
        self.shapes = ((units,),)

    def given(self, steps, sequences):
        return torch.randn(steps, sequences)

    def forward(self, x, parts):
        return [torch.tanh(x[..., None] * self.into + parts[0] @ self.back)]

    def ground(self):
        w = values(self)
        return lambda x, parts, t: [torch.tanh(x * w("into") + w("back").T @ parts[0])]


class Attributes(Body):
    """Weights that are plain tensors, neither parameters nor buffers."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.into, self.back = torch.randn(width, units), 1.3 * torch.randn(units, units) / units**0.5
        self.shapes = ((units,),)

    def forward(self, x, parts):
        return [torch.tanh(x @ self.into + parts[0] @ self.back)]

    def _apply(self, fn, recurse=True):
        self.into, self.back = fn(self.into), fn(self.back)  # so that .double() reaches them
        return super()._apply(fn, recurse)

    def ground(self):
        into, back = exactly(self.into), exactly(self.back)
        return lambda x, parts, t: [torch.tanh(x @ into + parts[0] @ back)]


class UncastAttributes(Attributes):
    """Plain tensors that `.double()` does not reach."""

    def _apply(self, fn, recurse=True):
        return nn.Module._apply(self, fn, recurse)


class ListedAttributes(Body):
    """Weights in a plain list and a plain dict."""

    expected = EITHER

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.listed, self.named = [torch.randn(width, units)], {"back": 1.3 * torch.randn(units, units) / units**0.5}
        self.shapes = ((units,),)

    def forward(self, x, parts):
        return [torch.tanh(x @ self.listed[0] + parts[0] @ self.named["back"])]

    def ground(self):
        into, back = exactly(self.listed[0]), exactly(self.named["back"])
        return lambda x, parts, t: [torch.tanh(x @ into + parts[0] @ back)]


class InPlace(Driven):
    """A state, and sometimes an input, that is changed in place."""

    def __init__(self, draw):
        super().__init__(draw)
        self.doubles = draw.random() < 0.5

    def forward(self, x, parts):
        if self.doubles:
            x.mul_(2)
        drive = torch.tanh(self.drive(x, parts))
        return [parts[0].mul_(0.6).add_(drive)]

    def ground(self):
        drive, k = self.ground_drive(), 2 if self.doubles else 1
        return lambda x, parts, t: [0.6 * parts[0] + torch.tanh(drive(k * x, parts))]


class WrittenIntoZeros(Driven):
    """A step that writes its result into torch.zeros(...), of the default dtype."""

    expected = EITHER
    makes_tensors = True

    def forward(self, x, parts):
        new = torch.zeros(len(x), self.units)
        new[:, :] = torch.tanh(self.drive(x, parts))
        return [new]


class AddedZeros(Driven):
    """A step that adds tensors of the default dtype, which are exact in any."""

    makes_tensors = True

    def forward(self, x, parts):
        start = torch.zeros(len(x), self.units) + torch.eye(self.units)[0] - torch.ones(self.units)
        return [start + torch.tanh(self.drive(x, parts))]

    def ground(self):
        drive, first = self.ground_drive(), torch.eye(self.units, dtype=torch.float64)[0]
        return lambda x, parts, t: [first - 1 + torch.tanh(drive(x, parts))]


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

    @staticmethod
    def forward(u):
        return u.tanh()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y)


class OwnDerivative(Driven):
    def __init__(self, draw):
        super().__init__(draw)
        self.function = draw.choice([RightDerivative, NewStyleDerivative])

    def forward(self, x, parts):
        return [self.function.apply(self.drive(x, parts))]


class Spike(torch.autograd.Function):
    """A step function with a smooth derivative in its place."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + 2 * ctx.saved_tensors[0].abs()).square()


class Spiking(Body):
    """Potentials that are reset by spikes; the state holds the potentials alone, or the spikes too."""

    surrogate = True

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.into, self.back = nn.Linear(width, units), nn.Linear(units, units)
        self.both = draw.random() < 0.5
        self.shapes = ((units,), (units,)) if self.both else ((units,),)

    def start(self, sequences):
        potentials = torch.randn(sequences, self.units)
        return [(potentials > 1).float(), potentials] if self.both else [potentials]

    def forward(self, x, parts):
        potentials = parts[-1]
        spikes = parts[0] if self.both else Spike.apply(potentials - 1)
        potentials = 0.9 * potentials - 0.5 * spikes + self.into(x) + self.back(spikes)
        return [Spike.apply(potentials - 1), potentials] if self.both else [potentials]

    def ground(self):
        w, both = values(self), self.both

        def step(x, parts, t):
            spikes = parts[0] if both else Spike.apply(parts[0] - 1)
            drive = w("into.weight") @ x + w("into.bias") + w("back.weight") @ spikes + w("back.bias")
            new = 0.9 * parts[-1] - 0.5 * spikes + drive
            return [Spike.apply(new - 1), new] if both else [new]

        return step


class Branches(Body):
    """Each sequence takes one of two branches, by a Python condition on its state."""

    expected = EITHER  # a step that is read for all deviations at once cannot branch

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.one, self.other = nn.Linear(width + units, units), nn.Linear(width + units, units)
        with torch.no_grad():
            self.one.weight.mul_(2)
            self.other.weight.mul_(3)
        self.shapes = ((units,),)

    def forward(self, x, parts):
        rows = [self.one(r) if r[-1] > 0 else self.other(r) for r in torch.cat([x, parts[0]], dim=-1)]
        return [torch.tanh(torch.stack(rows))]

    def ground(self):
        w = values(self)

        def step(x, parts, t):
            branch = "one" if parts[0][-1] > 0 else "other"
            return [torch.tanh(w(branch + ".weight") @ torch.cat([x, parts[0]]) + w(branch + ".bias"))]

        return step


class Kinked(Body):
    """Piecewise smooth: where, clamp, max, abs and sort."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw, 3, 5)
        self.into, self.back = nn.Linear(width, units), nn.Linear(units, units)
        self.shapes = ((units,),)

    def forward(self, x, parts):
        (h,) = parts
        bent = torch.where(h > 0, 0.9 * h, 1.4 * h).clamp(-3, 3)
        return [bent + torch.tanh(self.into(x) + self.back(h.sort(dim=-1).values)) - 0.3 * h.amax(-1, keepdim=True).abs()]

    def ground(self):
        w = values(self)

        def step(x, parts, t):
            (h,) = parts
            bent = torch.stack([u * 0.9 if u > 0 else u * 1.4 for u in h])
            bent = torch.stack([u if -3 < u < 3 else 3 * u.detach().sign() for u in bent])
            order = sorted(range(len(h)), key=h.tolist().__getitem__)
            drive = w("into.weight") @ x + w("into.bias") + w("back.weight") @ h[order] + w("back.bias")
            return [bent + torch.tanh(drive) - 0.3 * h[order[-1]].abs()]

        return step


class Distances(Body):
    """Distances to centres: torch.cdist has no forward-mode formula."""

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.centres, self.into = nn.Parameter(2 * torch.randn(units, units)), nn.Linear(width, units)
        self.shapes = ((units,),)

    def forward(self, x, parts):
        return [torch.tanh(torch.cdist(parts[0][:, None], self.centres[None])[:, 0] - 2 + self.into(x))]

    def ground(self):
        w = values(self)

        def step(x, parts, t):
            distances = ((parts[0] - w("centres")) ** 2).sum(-1) ** 0.5
            return [torch.tanh(distances - 2 + w("into.weight") @ x + w("into.bias"))]

        return step


class Frozen(Driven):
    """Batch normalisation and dropout in evaluation mode, which are fixed maps."""

    gain = 1.0
    rounds = False

    def __init__(self, draw):
        super().__init__(draw)
        self.norm, self.drop = nn.BatchNorm1d(self.units), nn.Dropout(0.5)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.3, 2)
        self.eval()

    def forward(self, x, parts):
        return [torch.tanh(2 * self.norm(self.drop(self.drive(x, parts))))]

    def ground(self):
        drive, w, eps = self.ground_drive(), values(self), self.norm.eps

        def step(x, parts, t):
            u = (drive(x, parts) - w("norm.running_mean")) / (w("norm.running_var") + eps) ** 0.5
            return [torch.tanh(2 * (w("norm.weight") * u + w("norm.bias")))]

        return step


class Ignoring(Body):
    """The state is ignored: every direction is lost at once."""

    expected = EITHER

    def __init__(self, draw):
        super().__init__()
        width, units = self.sizes(draw)
        self.into, self.shapes = nn.Linear(width, units), ((units,),)

    def forward(self, x, parts):
        return [torch.tanh(self.into(x))]

    def ground(self):
        w = values(self.into)
        return lambda x, parts, t: [torch.tanh(w("weight") @ x + w("bias"))]


class Logistic(Body):
    """Logistic maps, of which those that start outside [0, 1] diverge."""

    def __init__(self, draw):
        super().__init__()
        self.width, self.units, self.shapes = 1, 2, ((2,),)
        self.rates = nn.Parameter(torch.tensor([3.7, 3.3]))

    def start(self, sequences):
        inside = 0.2 + 0.6 * torch.rand(sequences, 2)
        inside[0] += 1.5  # the first sequence diverges
        return [inside]

    def forward(self, x, parts):
        (h,) = parts
        return [self.rates * h * (1 - h) + 0 * x]

    def ground(self):
        w = values(self)
        return lambda x, parts, t: [w("rates") * (parts[0] - parts[0] ** 2)]


# How a state is arranged, and how a map is called


NAMES = ("hidden", "cell", "third")
NAMED = {n: namedtuple(f"Named{n}", NAMES[:n]) for n in (1, 2, 3)}
HELD = {n: make_dataclass(f"Held{n}", NAMES[:n]) for n in (1, 2, 3)}


@dataclass(frozen=True)
class Layout:
    """The structure of a state; `form` is one of the words in FORMS."""

    form: str
    shapes: tuple[tuple[int, ...], ...]
    is_complex: bool

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

    def one(self, flat):
        """The parts (*shape,) of one sequence's state (S,); complex ones are (*shape, 2)."""
        shapes = [(*s, 2) if self.is_complex else s for s in self.shapes]
        return [p.view(s) for p, s in zip(flat.split(self.numbers), shapes, strict=True)]

    def orders(self):
        """Other orders in which the state's numbers may be read: names sorted, or real before imaginary parts."""
        ends = list(itertools.accumulate(self.numbers, initial=0))
        blocks = [list(range(*pair)) for pair in itertools.pairwise(ends)]
        orders = []
        if self.form == "dict":
            orders.append([i for n in sorted(range(len(blocks)), key=NAMES.__getitem__) for i in blocks[n]])
        if self.form == "nested":  # whose names are not in the order of the parts
            orders.append([i for block in (blocks[0], *reversed(blocks[1:])) for i in block])
        if self.is_complex:
            orders.append([i for b in blocks for i in b[::2] + b[1::2]])
        return orders


def _nested(parts):
    first, *others = parts
    return ((first,), {NAMES[i]: p for i, p in reversed(list(enumerate(others, start=1)))})


def _unnested(state):
    return [state[0][0], *(state[1][name] for name in NAMES[1 : 1 + len(state[1])])]


FORMS = {  # words: (structure of parts, parts of a structure)
    "tensor": (lambda parts: parts[0], lambda state: [state]),
    "tuple": (tuple, list),
    "list": (list, list),
    "dict": (lambda parts: dict(zip(NAMES, parts, strict=False)), lambda s: [s[n] for n in NAMES[: len(s)]]),
    "named": (lambda parts: NAMED[len(parts)](*parts), list),
    "nested": (_nested, _unnested),
    "dataclass": (lambda parts: HELD[len(parts)](*parts), lambda state: list(vars(state).values())),
    "layers": (torch.stack, lambda state: list(state.unbind(0))),
    "tuple of layers": (lambda parts: tuple(p[None] for p in parts), lambda state: [p[0] for p in state]),
}


def drawn_layout(draw, body):
    alike = len(set(body.shapes)) == 1 and len(body.shapes[0]) == 1
    forms = ["tuple", "list", "dict", "named", "nested", "dataclass"] + ["layers", "tuple of layers"] * alike
    if len(body.shapes) == 1:
        forms = [*forms, *["tensor"] * 5]
    if len(body.shapes) == 2:
        forms += ["tuple"] * 3
    return Layout(draw.choice(forms), body.shapes, body.is_complex)


class Convention(nn.Module):
    """A body with its state in a structure, given as forward(x, state); with `optional`, zeros if none is given."""

    def __init__(self, body, layout, answer, optional, time=None):
        super().__init__()
        self.body, self.layout, self.answer, self.optional, self.time = body, layout, answer, optional, time
        self.readout = nn.Parameter(torch.randn(3))

    def forward(self, x, state=None):
        if state is None and not self.optional:
            raise TypeError("forward() needs a state")
        parts = self.zeros(x) if state is None else self.layout.unpack(state)
        if self.time is None:
            parts = self.body(x, parts)
            return self.answered(parts, [parts])
        path = []
        for x_t in x.unbind(self.time):
            parts = self.body(x_t, parts)
            path.append(parts)
        return self.answered(parts, path)

    def zeros(self, x):
        sequences = len(x) if self.time is None else x.shape[1 - self.time]
        like = next(self.parameters())
        kind = like.dtype
        if self.layout.is_complex:
            kind = kind if kind.is_complex else kind.to_complex()
        elif kind.is_complex:
            kind = kind.to_real()
        return [torch.zeros(sequences, *shape, dtype=kind, device=like.device) for shape in self.layout.shapes]

    def answered(self, parts, path):
        state = self.layout.pack(parts)
        outputs = [(p[0].abs() if p[0].is_complex() else p[0]).flatten(1).sum(-1, keepdim=True) * self.readout for p in path]
        output = outputs[0] if self.time is None else torch.stack(outputs, dim=self.time)
        return {
            "state": state,
            "pair": (output, state),
            "pair of like": (2 * path[-1][0], state),
            "pair of tuple": ((output, output), state),
            "pair without output": (None, state),
        }[self.answer]


ANSWERS = ("state", "state", "pair", "pair", "pair of like", "pair of tuple", "pair without output")


class AsFunction:
    """A body as a callable object (state, x) -> state; its `step` is a bound method."""

    def __init__(self, body, layout):
        self.body, self.layout = body, layout

    def __call__(self, state, x):
        return self.layout.pack(self.body(x, self.layout.unpack(state)))

    def step(self, state, x):
        return self(state, x)


class WithMethod(nn.Module):
    """A module whose method `step` is meant, not its forward."""

    def __init__(self, body, layout):
        super().__init__()
        self.body, self.layout = body, layout

    def step(self, state, x):
        return self.layout.pack(self.body(x, self.layout.unpack(state)))


def as_function(draw, body, layout):
    """The body in one of the forms of a step function."""
    called = AsFunction(body, layout)
    form = draw.choice(["function", "function", "object", "method", "method of a module", "partial"])
    forms = {
        "function": lambda: lambda state, x: layout.pack(body(x, layout.unpack(state))),
        "object": lambda: called,
        "method": lambda: called.step,
        "method of a module": lambda: WithMethod(body, layout).step,
        "partial": lambda: functools.partial(lambda b, state, x: layout.pack(b(x, layout.unpack(state))), body),
    }
    return forms[form](), form


def body_truth(body, layout, start, inputs):
    """The truth of a body from parts of an initial state; none if it has no ground."""
    ground = body.ground()
    if ground is None:
        return []

    def step(s, x, t):
        return torch.cat([p.reshape(-1) for p in ground(x, layout.one(s), t)])

    x = inputs if not (inputs.is_floating_point() or inputs.is_complex()) else exactly(inputs)
    return [Truth(step, layout.flat([exactly(p) for p in start]), x, layout.orders())]


def own(draw, body, convention=None, *, decorate=None, sequences=None, steps=None, states=None, state_given=None, kind=None):
    """A case of a module or function that steps a body.

    Args:
        draw: source of random choices.
        body: the map.
        convention: "step", "time first", "batch first" or "function"; drawn by default.
        decorate: (model) -> model, a change of the model that its map does not see.
        sequences: B.
        steps: T.
        states: the layout.
        state_given: whether a state is given; drawn by default. Without one, an answer that is no pair may be an output, and
            a module that takes one step may not be tried.
        kind: dtype of the parameters.
    """
    convention = convention or draw.choice(["step"] * 4 + ["time first", "batch first", "function", "function"])
    sequences, steps = sequences or draw.randint(1, 4), steps or draw.randint(24, 36)
    layout = states or drawn_layout(draw, body)
    kind = kind or (drawn_type(draw) if body.rounds else draw.choice([torch.float32, torch.float64]))
    body = typed(body, torch.float64 if convention == "function" and kind not in SHORT else kind)
    body = body.double() if convention == "function" else body
    start = body.start(sequences)
    inputs = body.given(steps, sequences)
    if kind == torch.float64 and inputs.is_floating_point() and draw.random() < 0.7:
        inputs, start = inputs.double(), [exactly(p) for p in start]
    if state_given is None:
        state_given = convention == "function" or body.surrogate or draw.random() < 0.7
    truths = body_truth(body, layout, start, inputs)
    notes = [convention, layout.form, str(kind).removeprefix("torch.")]
    options = drawn_options(draw, settled=not state_given) | {"state": layout.pack(start) if state_given else None}
    if not state_given:
        truths = [after_first(t) for t in truths]
    if convention == "function":
        model, form = as_function(draw, body, layout)
        answer, inferred = "state", True
        notes.append(form)
    else:
        answer, time = draw.choice(ANSWERS), {"step": None, "time first": 0, "batch first": 1}[convention]
        optional = not state_given or draw.random() < 0.5
        model = Convention(body, layout, answer, optional, time)
        model.readout.data = model.readout.data.to(kind)
        model.train(body.training)
        notes.append(answer)
        inferred = state_given or (convention != "step" and answer != "state")
    if decorate is not None:
        model = decorate(model)
    laid = inputs.transpose(0, 1).contiguous() if convention == "batch first" else inputs
    return Case(
        model,
        laid,
        options,
        truths,
        expected=body.expected if inferred else EITHER,
        notes=notes,
        follow=functools.partial(followed, convention, answer, layout, *native(kind, convention, laid, options["state"])),
        comparable=kind not in SHORT,
        surrogate=body.surrogate,
        makes_tensors=body.makes_tensors,
    )


def typed(body, kind):
    """The body with its real parameters in a dtype, and its complex ones in the complex dtype of at least that."""

    def widen(tensor):
        if tensor.is_complex():
            return tensor.to(torch.complex128)
        return tensor.double() if tensor.is_floating_point() else tensor

    if kind == torch.float64:
        return body._apply(widen)
    return body.to(kind) if kind in SHORT else body


def after_first(truth):
    """The truth if the state that a call without a state gives, on the first input, is the start: one step is lost."""
    rest = [truth.step(torch.zeros_like(s), x, 0) for s, x in zip(truth.start, truth.inputs[0], strict=True)]
    return replace(truth, start=torch.stack(rest), inputs=truth.inputs[1:])


def native(kind, convention, *tensors):
    """Inputs and state in the precision of the body, which takes no other by itself."""
    is_double = kind == torch.float64 or convention == "function"

    def convert(p):
        if not (p.is_floating_point() or p.is_complex()):
            return p
        return exactly(p) if is_double else p.to(torch.complex64 if p.is_complex() else torch.float32)

    return [each_tensor(convert, t) for t in tensors]


def followed(convention, answer, layout, inputs, state, model, steps):
    """The states (n, B, S) of n calls of a model, each with one input."""
    state = cloned(state)
    states, lost = [], state is None
    for t in range(steps + lost):
        x = {
            "step": lambda t=t: inputs[t],
            "function": lambda t=t: inputs[t],
            "time first": lambda t=t: inputs[t : t + 1],
            "batch first": lambda t=t: inputs[:, t : t + 1],
        }[convention]().clone()
        if convention == "function":
            state = model(state, x)
        else:
            given = model(x) if state is None else model(x, state)
            state = given if answer == "state" else given[1]
        states.append(layout.flat(layout.unpack(cloned(state))))
    return torch.stack(states[lost:])


def stepped(inputs, state, new_of, flat):
    """A function (model, n) -> states (n, B, S) that calls a model again and again; `new_of` takes the state out of an answer."""

    def follow(model, steps):
        now, states = cloned(state), []
        for x in inputs[:steps]:
            now = new_of(model(x.clone(), now))
            states.append(flat(cloned(now)))
        return torch.stack(states)

    return follow


def cloned(state):
    return each_tensor(lambda p: p.detach().clone(), state)


def each_tensor(function, state):
    """A structure with a function applied to its tensors."""
    if is_dataclass(state):
        return replace(state, **{name: function(value) for name, value in vars(state).items()})
    return torch.utils._pytree.tree_map(lambda p: function(p) if isinstance(p, Tensor) else p, state)


# Torch's own modules


KINDS = {"tanh": (nn.RNN, nn.RNNCell), "relu": (nn.RNN, nn.RNNCell), "gru": (nn.GRU, nn.GRUCell), "lstm": (nn.LSTM, nn.LSTMCell)}


@dataclass(frozen=True)
class Recipe:
    """The settings of a recurrent module or cell of torch's."""

    kind: str
    width: int
    units: int
    layers: int = 1
    is_cell: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    gain: float = 1.0
    shift: int = 0  # of the seed
    scope: type | None = None  # a subclass to build instead

    @property
    def projected(self):
        return dict(self.options).get("proj_size", 0)

    @property
    def batch_first(self):
        return dict(self.options).get("batch_first", False)

    @property
    def is_pair(self):
        return self.kind == "lstm"

    def arguments(self):
        options = dict(self.options)
        if self.kind in ("tanh", "relu"):
            options["nonlinearity"] = self.kind
        if not self.is_cell:
            options["num_layers"] = self.layers
        return (self.width, self.units), options

    def build(self):
        """The module; the same weights at every call."""
        sizes, options = self.arguments()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.shift + 1)
            module = (self.scope or KINDS[self.kind][self.is_cell])(*sizes, **options)
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    scale = self.gain if "weight_h" in name else 1.0
                    parameter.mul_(scale).abs_() if self.kind == "relu" and self.shift % 2 else parameter.mul_(scale)
        return module

    def names(self, layer):
        """The names of a layer's tensors, by their names in a cell."""
        suffix = "" if self.is_cell else f"_l{layer}"
        return {n: n + suffix for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")}


def drawn_recipe(draw, *, is_cell=None, kind=None, **fixed):
    kind = kind or draw.choice(list(KINDS))
    is_cell = draw.random() < 0.3 if is_cell is None else is_cell
    layers = 1 if is_cell else draw.choice([1, 1, 2, 3])
    units = draw.randint(
        1, max(1, (5 if layers == 1 else 4 if layers == 2 else 3) // (2 if kind == "lstm" and layers > 1 else 1))
    )
    options = {"bias": draw.random() < 0.7}
    if not is_cell:
        options["batch_first"] = draw.random() < 0.4
    recipe = Recipe(
        kind, draw.randint(1, 4), units, layers, is_cell, tuple(options.items()), draw.uniform(1, 2.2), draw.randrange(10**6)
    )
    return replace(recipe, **fixed)


def layer_weights(module, recipe):
    """The tensors of each layer, (name in a cell -> float64)."""
    found = []
    for layer in range(recipe.layers):
        tensors = {n: getattr(module, own, None) for n, own in recipe.names(layer).items()}
        found.append({n: exactly(v) for n, v in tensors.items() if isinstance(v, Tensor)})
    return found


def recurrent_ground(recipe, weights):
    """(x, hidden (L, H), cells (L, H) or None) -> the same, for one sequence."""
    read = [lambda n, w=w: w.get(n, torch.zeros((), dtype=torch.float64)) for w in weights]

    def step(x, hidden, cells):
        new_hidden, new_cells = [], []
        for layer, w in enumerate(read):
            h = hidden[layer]
            if recipe.is_pair:
                h, c = lstm_formula(w, h, cells[layer], x)
                h = w("weight_hr") @ h if recipe.projected else h
                new_cells.append(c)
            elif recipe.kind == "gru":
                h = gru_formula(w, h, x)
            else:
                h = elman_formula(w, h, x, torch.tanh if recipe.kind == "tanh" else torch.relu)
            new_hidden.append(h)
            x = h
        return torch.stack(new_hidden), torch.stack(new_cells) if recipe.is_pair else None

    return step


@dataclass(frozen=True)
class TorchForm:
    """How torch's modules hold their state: (L, B, H), or a pair of these; (B, H) for cells."""

    recipe: Recipe

    @property
    def sizes(self):
        """Numbers in a layer's hidden state, and in its cell state."""
        return (self.recipe.projected or self.recipe.units, self.recipe.units) if self.recipe.is_pair else (self.recipe.units,)

    @property
    def numbers(self):
        return [self.recipe.layers * size for size in self.sizes]

    def given(self, flat):
        """The state as the module takes it, from (B, S)."""
        parts = [p.view(len(flat), self.recipe.layers, -1).transpose(0, 1) for p in flat.split(self.numbers, dim=-1)]
        parts = [(p[0] if self.recipe.is_cell else p).contiguous() for p in parts]
        return tuple(parts) if self.recipe.is_pair else parts[0]

    def flat(self, state):
        parts = list(state) if self.recipe.is_pair else [state]
        parts = [p[None] if self.recipe.is_cell else p for p in parts]
        return torch.cat([p.transpose(0, 1).flatten(1) for p in parts], dim=-1)

    def orders(self):
        """The other order of an LSTM: hidden and cell state of each layer end to end."""
        if not self.recipe.is_pair or self.recipe.layers == 1:
            return []
        (h, c), first = self.sizes, self.numbers[0]
        blocks = [[*range(n * h, (n + 1) * h), *range(first + n * c, first + (n + 1) * c)] for n in range(self.recipe.layers)]
        return [[i for block in blocks for i in block]]


def recurrent_truth(recipe, weights, start, inputs, before=None, after=None):
    """The truth of torch's own map; `before` changes its input, and `after` (state, x, old) its new state."""
    form, ground = TorchForm(recipe), recurrent_ground(recipe, weights)

    def step(s, x, t):
        parts = [p.view(recipe.layers, -1) for p in s.split(form.numbers)]
        new = ground(x if before is None else before(x), parts[0], parts[1] if recipe.is_pair else None)
        new = torch.cat([p.flatten() for p in new if p is not None])
        return new if after is None else after(new, s)

    return Truth(step, exactly(start), exactly(inputs), form.orders())


def call_of(module, recipe, x, state):
    """The new state that a module's call gives."""
    answer = module(x) if state is None else module(x, state)
    return answer if recipe.is_cell else answer[1]


def torch_case(
    draw, recipe, model, weights, *, before=None, after=None, inner=None, state=None, pick=None, notes=(), squeezed=False, **more
):
    """A case of a module that takes what torch's own takes.

    Args:
        draw: source of random choices.
        recipe: what kind of module it is.
        model: the module.
        weights: tensors of each layer that a call uses, or a list of such lists, any of which is right.
        before: (x) -> x, a change of each input.
        after: (new, old) -> new, a change of each new state (S,).
        inner: how a call gives the new state, (model, x, state) -> state; torch's own way by default.
        state: "given", "none" (zeros) or "first" (what a call on the first input gives); drawn by default.
        pick: unused parts of an answer.
        notes: words about the model.
        squeezed: whether inputs have no axis B.
        more: further fields of the case.
    """
    sequences = 1 if squeezed else draw.randint(1, 4)
    steps, form = draw.randint(24, 36), TorchForm(recipe)
    inputs = torch.randn(steps, sequences, recipe.width)
    state = state or draw.choice(["given", "none"])
    start = 0.5 * torch.randn(sequences, sum(form.numbers)) if state == "given" else torch.zeros(sequences, sum(form.numbers))
    kind = next((p.dtype for p in model.parameters()), torch.float32) if isinstance(model, nn.Module) else torch.float32
    if kind == torch.float64:
        inputs, start = inputs.double(), start.double()
    candidates = weights if weights and isinstance(weights[0], list) else [weights] if weights else []
    truths = [recurrent_truth(recipe, w, start, inputs, before, after) for w in candidates]
    if state == "first":
        truths = [after_first(t) for t in truths]
    given = form.given(start) if state == "given" else None
    if squeezed and given is not None:
        squeeze = (lambda p: p[0]) if recipe.is_cell else (lambda p: p[:, 0])
        given = tuple(map(squeeze, given)) if recipe.is_pair else squeeze(given)
    laid = inputs.transpose(0, 1).contiguous() if recipe.batch_first else inputs
    inner = inner or (lambda module, x, state: call_of(module, recipe, x, state))

    def follow(module, steps):
        now, states, lost = cloned(form.given(start)) if state == "given" else None, [], state == "first"
        for t in range(steps + lost):
            x = inputs[t : t + 1] if not recipe.batch_first else inputs[t : t + 1].transpose(0, 1)
            now = inner(module, inputs[t] if recipe.is_cell else x, now)
            states.append(form.flat(cloned(now)))
        return torch.stack(states[lost:])

    options = drawn_options(draw, settled=state == "first") | {"state": given}
    words = [recipe.kind, "cell" if recipe.is_cell else f"{recipe.layers} layers", dict(recipe.options), *notes]
    laid = laid.squeeze(0 if recipe.batch_first else 1) if squeezed else laid
    comparable = kind not in SHORT
    return Case(model, laid, options, truths, notes=words, follow=follow, comparable=comparable, **more)


def plain(draw, *, is_cell):
    recipe = drawn_recipe(draw, is_cell=is_cell)
    module = recipe.build().to(drawn_type(draw)).train(draw.random() < 0.5)
    squeezed = draw.random() < 0.15
    return torch_case(draw, recipe, module, layer_weights(module, recipe), squeezed=squeezed, notes=["unbatched"] * squeezed)


def projected(draw):
    recipe = drawn_recipe(draw, is_cell=False, kind="lstm", units=3, layers=draw.choice([1, 2]))
    recipe = replace(recipe, options=(*recipe.options, ("proj_size", draw.choice([1, 2]))))
    module = recipe.build()
    return torch_case(draw, recipe, module, layer_weights(module, recipe))


def bidirectional(draw):
    recipe = drawn_recipe(draw, is_cell=False)
    recipe = replace(recipe, options=(*recipe.options, ("bidirectional", True)))
    return replace(torch_case(draw, recipe, recipe.build(), [], state="none"), expected=REFUSED)


def with_dropout(draw):
    recipe = drawn_recipe(draw, is_cell=False, layers=draw.choice([1, 2]), units=2)
    recipe = replace(recipe, options=(*recipe.options, ("dropout", 0.4)))
    module = recipe.build().train(draw.random() < 0.5)
    random = module.training and recipe.layers > 1
    case = torch_case(draw, recipe, module, [] if random else layer_weights(module, recipe))
    return replace(case, expected=REFUSED if random else MEASURED, notes=[*case.notes, f"training {module.training}"])


# Weights that a call derives from others


def settled_weights(build, recipe, calls=1, accesses=0):
    """The weights that a call uses, in float64: those of a twin, after some calls in training mode."""
    twin = build().double()
    x = torch.zeros(1, 1, recipe.width, dtype=torch.float64)[0 if recipe.is_cell else slice(None)]
    twin.train()
    for _ in range(accesses):
        for name in parametrized_names(twin):
            getattr(twin, name)
        if not parametrized_names(twin):
            twin(x)
    twin.eval()
    for _ in range(calls):
        twin(x)
    return layer_weights(twin, recipe)


def parametrized_names(module):
    return list(module.parametrizations) if parametrize.is_parametrized(module) else []


def derived(draw, name):
    """A case of a module some of whose weights are derived at each call, and may be stale in between."""
    recipe, apply = drawn_recipe(draw), DERIVATIONS[name]
    if name == "orthogonal":
        recipe = replace(recipe, kind=draw.choice(["tanh", "relu"]), units=max(2, recipe.units))
    weight = recipe.names(draw.randrange(recipe.layers))["weight_hh"]
    stale = draw.choice(["fresh", "called", "loaded", "stepped"])
    training, is_double = draw.random() < 0.5, draw.random() < 0.2

    def build():
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(recipe.shift)
            module, x = apply(recipe.build(), weight), torch.randn(1, 2, recipe.width)[0 if recipe.is_cell else slice(None)]
            module = restaled(module, lambda: module(x), stale)
            return (module.double() if is_double else module).train(training)

    moving = "spectral" in name and training
    model = build()
    weights = [settled_weights(build, recipe, accesses=n) for n in range(7)] if moving else settled_weights(build, recipe)
    notes = [weight, stale, f"training {training}"]
    case = torch_case(draw, recipe, model, weights, notes=notes)
    return replace(case, expected=EITHER if moving else MEASURED, comparable=not moving)


def old_weight_norm(module, weight):
    return nn.utils.weight_norm(module, weight)


def new_weight_norm(module, weight):
    return parametrizations.weight_norm(module, weight)


def old_spectral_norm(module, weight):
    return nn.utils.spectral_norm(module, weight)


def new_spectral_norm(module, weight):
    return parametrizations.spectral_norm(module, weight)


def orthogonal(module, weight):
    return parametrizations.orthogonal(module, weight)


def pruned(module, weight):
    return prune.random_unstructured(module, weight, amount=0.3)


DERIVATIONS = {
    "weight norm, old": old_weight_norm,
    "weight norm": new_weight_norm,
    "spectral norm, old": old_spectral_norm,
    "spectral norm": new_spectral_norm,
    "orthogonal": orthogonal,
    "pruned": pruned,
}
CHANGING = ("weight", "bias", "_g", "_v", "_orig", "original", "original0", "original1")  # tensors that training changes


class Derived(Driven):
    """A body whose weight may be derived from other tensors at each call; `called` holds what a call of a twin used."""

    rounds = False

    def ground_drive(self):
        weight, bias = self.called
        return lambda x, parts: weight @ torch.cat([x, parts[0]]) + bias


def derived_inside(draw):
    """A module of one's own with a layer whose weight is derived."""
    how, stale, training = (
        draw.choice(list(DERIVATIONS)),
        draw.choice(["fresh", "called", "loaded", "stepped"]),
        draw.random() < 0.5,
    )
    training = training and "spectral" not in how
    seed, like = draw.randrange(10**6), draw.getstate()

    def build():
        draw.setstate(like)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = Derived(draw)
            DERIVATIONS[how](body.linear, "weight")
            x = torch.randn(2, body.linear.in_features)
            return restaled(body, lambda: body.linear(x), stale).train(training)

    body, twin = build(), build().double().eval()
    twin.linear(torch.zeros(1, twin.linear.in_features, dtype=torch.float64))
    body.called = exactly(twin.linear.weight), exactly(twin.linear.bias)
    case = own(draw, body, draw.choice(["step", "step", "time first"]))
    del body.called
    return replace(case, notes=[*case.notes, how, stale, f"training {training}"])


def restaled(module, call, how):
    """The module after a call, or with other weights loaded or stepped to since, so that what it derived is out of date."""
    if how != "fresh":
        module.eval()
        with torch.no_grad():
            call()
    if how == "loaded":
        others = {n: v + 0.3 * torch.randn_like(v) if n.endswith(CHANGING) else v for n, v in module.state_dict().items()}
        module.load_state_dict(others)
    if how == "stepped":
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter)).mul_(1.2)
    return module


class WeightDrop(nn.Module):
    """A recurrent module whose recurrent weights are dropped out at each call, as in language models of 2017."""

    def __init__(self, module, name, p):
        super().__init__()
        self.module, self.name, self.p = module, name, p
        raw = getattr(module, name)
        del module._parameters[name]
        module.register_parameter(name + "_raw", nn.Parameter(raw.data))

    def forward(self, x, state=None):
        raw = getattr(self.module, self.name + "_raw")
        setattr(self.module, self.name, F.dropout(raw, p=self.p, training=self.training))
        return self.module(x, state)


def weight_drop(draw):
    recipe = drawn_recipe(draw, is_cell=False)
    weights = layer_weights(recipe.build(), recipe)
    model = WeightDrop(recipe.build(), "weight_hh_l0", 0.5).train(draw.random() < 0.4)
    if draw.random() < 0.6:
        with torch.no_grad():
            model.train(model.training)(torch.randn(2, 2, recipe.width))
    state = draw.choice(["given", "first"])
    case = torch_case(draw, recipe, model, [] if model.training else weights, state=state, notes=[f"training {model.training}"])
    return replace(case, expected=REFUSED if model.training else MEASURED)


# Hooks, forwards of an instance, subclasses and wrappers


def hooked(draw):
    """A hook that changes what a module of torch's computes, or does nothing."""
    recipe = drawn_recipe(draw, is_cell=draw.random() < 0.6)
    kinds = ["pre", "pre with names", "output", "nothing"]
    kinds += ["squash", "clip", "state before"] if recipe.is_cell else ["squash"]
    kind, gain = draw.choice(kinds), draw.uniform(0.5, 3)
    module = recipe.build()
    weights, before, after = layer_weights(module, recipe), None, None
    if kind in ("pre", "pre with names"):
        before = lambda x: gain * x  # noqa: E731
        named = kind != "pre"
        hook = (lambda m, a, k: ((gain * a[0], *a[1:]), k)) if named else lambda m, a: (gain * a[0], *a[1:])
        module.register_forward_pre_hook(hook, with_kwargs=named)
    elif kind == "nothing":
        module.register_forward_hook(lambda m, a, out: None)
    elif kind == "output" and not recipe.is_cell:
        module.register_forward_hook(lambda m, a, out: (gain * out[0], out[1]))
    elif kind == "state before":
        damped = lambda s: tuple(0.7 * p for p in s) if recipe.is_pair else 0.7 * s  # noqa: E731
        module.register_forward_pre_hook(lambda m, a: (a[0], damped(a[1])) if len(a) > 1 and a[1] is not None else a)
        return state_before(draw, recipe, module, weights)
    else:  # the new state is replaced: at the end of a call, so that a call for many steps is no chain of calls for one
        squash = torch.tanh if kind != "clip" else lambda p: p.clamp(-0.6, 0.6)
        squash = (lambda p: 0.8 * p) if kind == "output" else squash
        after = lambda new, old: squash(new)  # noqa: E731
        changed = lambda s: tuple(map(squash, s)) if isinstance(s, tuple) else squash(s)  # noqa: E731
        module.register_forward_hook(lambda m, a, out: changed(out) if recipe.is_cell else (out[0], changed(out[1])))
    inconsistent = after is not None and not recipe.is_cell
    case = torch_case(draw, recipe, module, [] if inconsistent else weights, before=before, after=after, notes=[f"hook {kind}"])
    return replace(case, expected=REFUSED if inconsistent else MEASURED)


def state_before(draw, recipe, module, weights):
    """A pre-hook that damps the state that a cell is given."""
    case = torch_case(draw, recipe, module, weights, notes=["hook on the state"])
    (truth,) = case.truths
    undamped = truth.step
    damped = replace(truth, step=lambda s, x, t: undamped(0.7 * s, x, t))
    return replace(case, truths=[damped])


def own_forward(draw):
    """A forward that belongs to the instance."""
    recipe, gain = drawn_recipe(draw), draw.uniform(0.5, 3)
    module = recipe.build()
    form = draw.choice(["method", "method", "closure"])
    if form == "method":
        kind = type(module)
        module.forward = types.MethodType(lambda self, x, hx=None: kind.forward(self, gain * x, hx), module)
    else:  # its closure holds the module itself, so that a copy would call the original
        original = module.forward
        module.forward = lambda x, hx=None: original(gain * x, hx)
        module.double()
    case = torch_case(draw, recipe, module, layer_weights(module, recipe), before=lambda x: gain * x, notes=[form])
    return replace(case, expected=MEASURED if form == "method" else EITHER)


class ScaledGRU(nn.GRU):
    def forward(self, x, hx=None):
        return super().forward(2.5 * x, hx)


class ScaledLSTM(nn.LSTM):
    def forward(self, x, hx=None):
        return super().forward(2.5 * x, hx)


class ScaledRNN(nn.RNN):
    def forward(self, x, hx=None):
        return super().forward(2.5 * x, hx)


class RenamedGRU(nn.GRU):
    """A subclass that changes nothing."""


class ResidualGRUCell(nn.GRUCell):
    def forward(self, x, hx=None):
        hx = x.new_zeros(len(x), self.hidden_size) if hx is None else hx
        return 0.5 * hx + 0.7 * super().forward(x, hx)


class ResidualRNNCell(nn.RNNCell):
    def forward(self, x, hx=None):
        hx = x.new_zeros(len(x), self.hidden_size) if hx is None else hx
        return 0.5 * hx + 0.7 * super().forward(x, hx)


class LearnedGRU(nn.GRU):
    """A GRU that starts from a state of its own if none is given."""

    def forward(self, x, hx=None):
        if hx is None:
            sequences = x.shape[0 if self.batch_first else 1]
            hx = x.new_ones(self.num_layers, sequences, self.hidden_size) / 2
        return super().forward(x, hx)


SUBCLASSES = {
    ScaledGRU: "gru",
    ScaledLSTM: "lstm",
    ScaledRNN: "tanh",
    RenamedGRU: "gru",
    ResidualGRUCell: "gru",
    ResidualRNNCell: "tanh",
    LearnedGRU: "gru",
}


def subclassed(draw):
    scope = draw.choice(list(SUBCLASSES))
    recipe = drawn_recipe(draw, kind=SUBCLASSES[scope], is_cell=issubclass(scope, nn.RNNCellBase), scope=scope)
    module = recipe.build().to(draw.choice([torch.float32, torch.float64]))
    before = (lambda x: 2.5 * x) if scope.__name__.startswith("Scaled") else None
    after = (lambda new, old: 0.5 * old + 0.7 * new) if recipe.is_cell else None
    weights, notes = layer_weights(module, recipe), [scope.__name__]
    case = torch_case(draw, recipe, module, weights, before=before, after=after, notes=notes)
    if scope is LearnedGRU and case.options["state"] is None:  # zeros, its own start, or what its first call gives
        (zeros,) = case.truths
        learned = replace(zeros, start=torch.full_like(zeros.start, 0.5))
        first = replace(after_first_from(learned), orders=zeros.orders)
        return replace(case, truths=[zeros, learned, first], expected=EITHER, comparable=False)
    return case


def after_first_from(truth):
    """The truth one step later."""
    rest = [truth.step(s, x, 0) for s, x in zip(truth.start, truth.inputs[0], strict=True)]
    return replace(truth, start=torch.stack(rest), inputs=truth.inputs[1:])


def compiled(draw):
    """torch.compile, which calls what it wraps."""
    if draw.random() < 0.5:
        recipe = drawn_recipe(draw)
        module = recipe.build()
        case = torch_case(draw, recipe, module, layer_weights(module, recipe))
    else:
        case = own(draw, drawn_body(draw), draw.choice(["step", "time first"]))
    return replace(case, model=torch.compile(case.model, backend="eager"), follow=None, wraps_dynamo=True)


def parallel(draw):
    if draw.random() < 0.5:
        recipe = drawn_recipe(draw)
        module = recipe.build()
        case = torch_case(draw, recipe, module, layer_weights(module, recipe))
    else:
        case = own(draw, drawn_body(draw), draw.choice(["step", "time first"]))
    return replace(case, model=nn.DataParallel(case.model))


class Outer(nn.Module):
    """A wrapper that scales the input and gives its inner module the rest."""

    def __init__(self, inner, gain):
        super().__init__()
        self.inner, self.gain = inner, gain

    def forward(self, x, *state, **named):
        return self.inner(self.gain * x, *state, **named)


def wrapped_twice(draw):
    """A wrapper, a hook or an own forward around another, each of which scales the input."""
    gains = [draw.uniform(0.5, 1.5) for _ in range(draw.choice([1, 2, 3]))]
    body = draw.choice([Elman, Gated, LongShort, Normalised, Convolved])(draw)
    case = own(draw, body, draw.choice(["step", "step", "time first", "batch first"]))
    model, notes = case.model, []
    for gain in gains:
        how = draw.choice(["wrapper", "hook", "forward", "parallel"])
        notes.append(how)
        model = scaled(model, gain if how != "parallel" else 1.0, how)
    total = math.prod(g for g, how in zip(gains, notes, strict=True) if how != "parallel")
    truths = [replace(t, inputs=total * t.inputs) for t in case.truths]
    if case.options["state"] is None:
        truths = [replace(t, **restarted(body, case, total)) for t in truths]
    return replace(case, model=model, truths=truths, notes=[*case.notes, *notes])


def restarted(body, case, gain):
    """The start after the first input, which is scaled too."""
    layout, x = case.follow.args[2], case.inputs[:, 0] if case.follow.args[0] == "batch first" else case.inputs[0]
    ground = body.ground()
    zeros = [torch.zeros(s, dtype=torch.float64) for s in layout.shapes]
    states = [torch.cat([p.flatten() for p in ground(gain * exactly(row), zeros, 0)]) for row in x]
    return {"start": torch.stack(states)}


def scaled(model, gain, how):
    """The model with its input scaled in one of several ways."""
    if how == "wrapper":
        return Outer(model, gain)
    if how == "parallel":
        return nn.DataParallel(model)
    if how == "hook":
        model.register_forward_pre_hook(lambda m, a: (gain * a[0], *a[1:]))
    else:
        inner = type(model).forward if "forward" not in vars(model) else model.forward.__func__
        model.forward = types.MethodType(lambda self, x, *state: inner(self, gain * x, *state), model)
    return model


def hooked_own(draw):
    """A hook on a module of one's own, or on a part of it."""
    body = draw.choice([Elman, Gated, Normalised])(draw)
    kind = draw.choice(["pre", "damped", "clipped", "inside"])
    states = Layout("tensor", body.shapes, is_complex=False)
    case = own(draw, body, "step", states=states, state_given=True)
    paired = case.follow.args[1] != "state"
    (truth,) = case.truths
    step = truth.step
    if kind == "pre":
        case.model.register_forward_pre_hook(lambda m, a: (2 * a[0], *a[1:]))
        truth = replace(truth, step=lambda s, x, t: step(s, 2 * x, t))
    elif kind == "inside":
        inside = next(body.children())
        inside.register_forward_hook(lambda m, a, out: 1.2 * out)
        if not isinstance(body, Elman | Gated):
            return hooked_linear(case, body)
        truth = replace(truth, step=lambda s, x, t: 1.2 * step(s, x, t))
    else:
        change = (lambda p: 0.5 * p) if kind == "damped" else lambda p: p.clamp(-0.7, 0.7)
        case.model.register_forward_hook(lambda m, a, out: (out[0], change(out[1])) if paired else change(out))
        truth = replace(truth, step=lambda s, x, t: change(step(s, x, t)))
    return replace(case, truths=[truth], notes=[*case.notes, kind])


def hooked_linear(case, body):
    """The case of `Normalised` whose input layer gives 1.2 times what it gave."""
    changed = {f"into.{n}": 1.2 * exactly(p) for n, p in body.into.named_parameters()}
    step = type(body).ground(_Doubles(body, changed))
    (truth,) = case.truths
    return replace(case, truths=[replace(truth, step=lambda s, x, t: step(x, [s], t)[0])], notes=[*case.notes, "inside a layer"])


class _Doubles:
    """A stand-in for a body whose tensors have other values."""

    def __init__(self, body, changed):
        self.leak, self.norm = body.leak, body.norm
        self._named = {n: exactly(v) for n, v in body.named_parameters()} | changed

    def named_parameters(self):
        return self._named.items()

    def named_buffers(self):
        return ()


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


SCRIPTS = {Scriptable: ("gru", True), ScriptablePair: ("lstm", True), ScriptableLoop: ("gru", False)}


def scripted(draw):
    kind = draw.choice(list(SCRIPTS))
    name, is_step = SCRIPTS[kind]
    recipe = drawn_recipe(draw, kind=name, is_cell=True, width=3, units=3)
    model = stretched(kind(recipe.width, recipe.units), draw)
    weights = layer_weights(model.cell, recipe)
    inner = lambda module, x, s: module(x, s) if kind is ScriptablePair else module(x if is_step else x[None], s)[1]  # noqa: E731
    case = torch_case(draw, recipe, torch.jit.script(model), weights, inner=inner, state="given", notes=[kind.__name__, "script"])
    return case


def traced(draw):
    """Traced modules: the number of sequences, and dtypes, may be written into the trace."""
    kind = draw.choice([Scriptable, ScriptablePair])
    recipe = drawn_recipe(draw, kind=SCRIPTS[kind][0], is_cell=True, width=3, units=3)
    model = stretched(kind(recipe.width, recipe.units), draw).to(draw.choice([torch.float32, torch.float64]))
    weights = layer_weights(model.cell, recipe)
    like = next(model.parameters())
    h = like.new_zeros(2, 3)
    example = (like.new_zeros(2, 3), h if kind is Scriptable else (h, h))
    inner = lambda module, x, s: module(x, s)[1] if kind is Scriptable else module(x, s)  # noqa: E731
    model = torch.jit.trace(model, example)
    case = torch_case(draw, recipe, model, weights, inner=inner, state="given", notes=[kind.__name__, "trace"])
    return replace(case, expected=EITHER)


# Modules that hold torch's


class Holds(nn.Module):
    """The usual model: a recurrent module and a readout, (output, state) out."""

    def __init__(self, recipe, answer):
        super().__init__()
        self.rnn, self.answer = recipe.build(), answer
        self.readout = nn.Linear(recipe.projected or recipe.units, 2)

    def forward(self, x, state=None):
        out, state = self.rnn(x, state)
        if self.answer == "last":
            return self.readout(out[:, -1] if self.rnn.batch_first else out[-1]), state
        return state if self.answer == "state" else (self.readout(out), state)


class HoldsForOneStep(nn.Module):
    """A module that takes one step, (B, I), with a sequence module inside."""

    def __init__(self, recipe, squeezed):
        super().__init__()
        self.rnn, self.squeezed = recipe.build(), squeezed

    def forward(self, x, state):
        each = (lambda f, s: tuple(map(f, s))) if isinstance(state, tuple) else (lambda f, s: f(s))
        given = each(lambda p: p[None], state) if self.squeezed else state
        out, new = self.rnn(x[:, None] if self.rnn.batch_first else x[None], given)
        return out, each(lambda p: p[0], new) if self.squeezed else new


def holding(draw):
    """A module that holds one of torch's, for whole sequences; often with as many sequences as layers."""
    recipe = drawn_recipe(draw, is_cell=False)
    model = Holds(recipe, draw.choice(["pair", "pair", "state", "last"])).to(draw.choice([torch.float32, torch.float64]))
    weights = layer_weights(model.rnn, recipe)
    inner = lambda m, x, s: m(x, s) if m.answer == "state" else m(x, s)[1]  # noqa: E731
    state = draw.choice(["given", "first"])
    case = torch_case(draw, recipe, model, weights, inner=inner, state=state, notes=[model.answer, state])
    return replace(case, expected=EITHER if (state, model.answer) == ("first", "state") else MEASURED)


def holding_for_one_step(draw):
    recipe = drawn_recipe(draw, is_cell=False)
    squeezed = recipe.layers == 1 and draw.random() < 0.5
    model = HoldsForOneStep(recipe, squeezed)
    weights = layer_weights(model.rnn, recipe)
    inner = lambda m, x, s: m(x[0], s)[1]  # noqa: E731
    words, unlaid = [f"squeezed {squeezed}"], replace(recipe, options=())
    case = torch_case(draw, unlaid, model, weights, inner=inner, state="given", notes=words)
    if not squeezed:
        return case
    state = case.options["state"]
    state = tuple(p[0] for p in state) if recipe.is_pair else state[0]
    return replace(case, options=case.options | {"state": state}, follow=None)


def holding_with_flat_state(draw):
    """A holder for whole sequences whose state is given as (B, H): natively an error, or sequences taken for layers."""
    recipe = drawn_recipe(draw, is_cell=False, kind=draw.choice(["gru", "tanh"]))
    model = Holds(recipe, "pair")
    weights = layer_weights(model.rnn, recipe)
    case = torch_case(draw, recipe, model, weights if recipe.layers == 1 else [], state="given", notes=["state (B, H)"])
    state = case.options["state"][0]
    return replace(case, options=case.options | {"state": state}, expected=EITHER if case.truths else REFUSED, follow=None)


class HoldsTwo(nn.Module):
    """A GRU below an LSTM; the state is nested."""

    def __init__(self, lower, upper):
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, x, state=None):
        below, above = (None, None) if state is None else state
        out, below = self.lower(x, below)
        out, above = self.upper(out, above)
        return out, (below, above)


def holding_two(draw):
    lower = drawn_recipe(draw, kind="gru", is_cell=False, units=2, layers=draw.choice([1, 2]))
    upper = replace(drawn_recipe(draw, kind="lstm", is_cell=False, units=2, layers=1), width=2)
    kept = [o for o in upper.options if o[0] != "batch_first"]
    upper = replace(upper, options=(*kept, ("batch_first", lower.batch_first)))
    model = HoldsTwo(lower.build(), upper.build())
    grounds = [recurrent_ground(r, layer_weights(m, r)) for r, m in ((lower, model.lower), (upper, model.upper))]
    size = 2 * lower.layers

    def step(s, x, t):
        h, _ = grounds[0](x, s[:size].view(-1, 2), None)
        above, cells = grounds[1](h[-1], s[size : size + 2][None], s[size + 2 :][None])
        return torch.cat([h.flatten(), above.flatten(), cells.flatten()])

    sequences, steps = draw.randint(1, 4), draw.randint(24, 36)
    inputs, start = torch.randn(steps, sequences, lower.width), torch.zeros(sequences, size + 4)
    truth, state = Truth(step, exactly(start), exactly(inputs)), None
    if draw.random() < 0.5:
        truth = after_first(truth)
    else:
        state = torch.zeros(lower.layers, sequences, 2), tuple(torch.zeros(1, sequences, 2) for _ in range(2))
    laid = inputs.transpose(0, 1).contiguous() if lower.batch_first else inputs
    options = drawn_options(draw, settled=True) | {"state": state}

    def follow(module, steps):
        now, states, lost = state, [], state is None
        for t in range(steps + lost):
            x = inputs[t : t + 1].transpose(0, 1) if lower.batch_first else inputs[t : t + 1]
            _, now = module(x, now)
            h, (above, cells) = now
            states.append(torch.cat([p.transpose(0, 1).flatten(1) for p in (h, above, cells)], dim=-1))
        return torch.stack(states[lost:])

    return Case(model, laid, options, [truth], notes=[f"{lower.layers} layers below"], follow=follow)


# Modules that are hard to copy


class HardToCopy(Body):
    """A body that holds something that copy.deepcopy refuses."""

    def __init__(self, inner, draw):
        super().__init__()
        self.inner, self.width, self.units = inner, inner.width, inner.units
        self.shapes, self.rounds = inner.shapes, False
        self.kept = self.last = None
        self.kind = draw.choice(["lock", "generator", "non-leaf", "history", "random generator", "file"])
        if self.kind == "lock":
            self.kept = threading.Lock()
        elif self.kind == "generator":
            self.kept = (i for i in range(3))
        elif self.kind == "random generator":
            self.kept = torch.Generator()
        elif self.kind == "file":
            self.kept = sys.stderr
        elif self.kind == "non-leaf":
            self.kept = 2 * next(inner.parameters())
        self.expected = MEASURED if self.kind in ("non-leaf", "history") else EITHER

    def forward(self, x, parts):
        new = self.inner(x, parts)
        if self.kind == "history":
            self.last = new[0]
        return new

    def ground(self):
        return self.inner.ground()


def hard_to_copy(draw):
    body = HardToCopy(draw.choice([Elman, Gated, LongShort])(draw), draw)
    case = own(draw, body, draw.choice(["step", "step", "time first"]))
    if body.kind == "history":  # as training left it
        with torch.enable_grad():
            body(torch.randn(2, body.width).to(next(body.parameters())), [p.to(next(body.parameters())) for p in body.start(2)])
    return replace(case, notes=[*case.notes, body.kind])


# Impure steps


COUNTER = Counter()  # a counter of the whole process, which `make` clears


class Faulty(Body):
    """A body with a fault: (self, x, parts) -> parts; `truth` is what it computes but for the fault, or None."""

    def __init__(self, inner, fault, truth="inner", expected=EITHER):
        super().__init__()
        self.inner, self.fault, self.truth = inner, fault, truth
        self.width, self.units, self.shapes, self.is_complex = inner.width, inner.units, inner.shapes, inner.is_complex
        self.expected = expected if truth is not None else REFUSED
        self.rounds, self.calls, self.trace = False, 0, None

    def given(self, steps, sequences):
        return self.inner.given(steps, sequences)

    def start(self, sequences):
        return self.inner.start(sequences)

    def forward(self, x, parts):
        return self.fault(self, x, parts)

    def ground(self):
        if self.truth is None:
            return None
        return self.inner.ground() if self.truth == "inner" else self.truth(self.inner.ground())


def drawn_body(draw):
    return draw.choice([Elman, Gated, LongShort, Normalised])(draw)


def on_first(change):
    """A fault that changes the first part of the new state, (self, part) -> part."""

    def fault(body, x, parts):
        new = body.inner(x, parts)
        return [change(body, new[0]), *new[1:]]

    return fault


def faulty(draw, fault, *, truth="inner", note="", **more):
    """A case with a fault, in any convention."""
    body = Faulty(drawn_body(draw), fault, truth)
    case = own(draw, body, **more)
    return replace(case, notes=[*case.notes, note])


def through(kind):
    """A cast of some dtype and back."""
    return lambda p: p.to(kind).to(p.dtype)


def cast_inside(draw):
    """The new state, the old one, or one of its parts loses digits."""
    kind = draw.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16])
    where, cast = draw.choice(["new", "old", "one branch", "input too"]), through(kind)

    def fault(body, x, parts):
        if where == "new":
            return [cast(p) for p in body.inner(x, parts)]
        if where == "one branch":
            return [torch.cat([cast(p[:, :1]), p[:, 1:]], dim=-1) for p in body.inner(x, parts)]
        return body.inner(cast(x) if where == "input too" else x, [cast(p) for p in parts])

    return faulty(draw, fault, note=f"{kind} {where}")


class CastNetwork(nn.Module):
    """A linear map of quickly shrinking directions, computed in another dtype."""

    def __init__(self, matrix, kind, weights_too):
        super().__init__()
        self.matrix, self.kind, self.weights_too = nn.Parameter(matrix), kind, weights_too

    def forward(self, x, state):
        if self.weights_too:
            return (state.to(self.kind) @ self.matrix.to(self.kind).T).to(state.dtype) + 0 * x.sum(-1, keepdim=True)
        return state.to(self.kind).to(state.dtype) @ self.matrix.T


def seldom(draw):
    """Faults that act only on rare inputs."""
    how = draw.choice(["cast", "detach", "mixing", "noise", "dropout"])
    generator = np.random.default_rng(1)
    least = draw.choice([1.0, 1.5, 2.0])

    def fault(body, x, parts):
        new = body.inner(x, parts)
        p, rare = new[0], x[:, :1] > least
        changed = {
            "cast": lambda: through(torch.bfloat16)(p),
            "detach": lambda: p.detach(),
            "mixing": lambda: p.mean(0).expand_as(p),
            "noise": lambda: p + 0.1 * torch.from_numpy(generator.standard_normal(tuple(p.shape))).to(p),
            "dropout": lambda: p * torch.from_numpy(generator.random(tuple(p.shape)) > 0.5).to(p),
        }[how]()
        return [torch.where(rare, changed, p), *new[1:]]

    case = faulty(draw, fault, note=f"{how} above {least}", sequences=draw.randint(2, 4))
    return replace(case, comparable=False)  # the truth is right only if no input is large enough, or if it does not matter


class Lazy(Faulty):
    """A body whose first call sets a scale by what it sees, as data-dependent initialisations do."""

    def __init__(self, inner, truth):
        super().__init__(inner, None, truth)
        self.scale = None

    def forward(self, x, parts):
        new = self.inner(x, parts)
        if self.scale is None:
            self.scale = 1 / (0.5 + new[0].detach().abs().mean())
        return [self.scale * new[0], *new[1:]]


def lazy(draw):
    """The scale of the first call in order, or of one long ago."""
    called = draw.random() < 0.5
    inner = drawn_body(draw)
    body, ground = Lazy(inner, None), inner.ground()
    if called:
        body.scale, scale = torch.tensor(1.3), exactly(torch.tensor(1.3))
    else:
        scale = None
    case = own(draw, body, draw.choice(["step", "time first"]), kind=torch.float32, state_given=True)
    layout = case.follow.args[2]
    starts = [exactly(p) for p in layout.unpack(case.options["state"])]
    if not called:
        first = [ground(exactly(x), [p[b] for p in starts], 0)[0] for b, x in enumerate(case.inputs[0])]
        scale = 1 / (0.5 + torch.stack(first).abs().mean())

    def step(s, x, t):
        first, *others = ground(x, layout.one(s), t)
        return torch.cat([p.reshape(-1) for p in (scale * first, *others)])

    truth = Truth(step, layout.flat(starts), exactly(case.inputs), layout.orders())
    expected, notes = MEASURED if called else EITHER, [*case.notes, f"called {called}"]
    return replace(case, truths=[truth], expected=expected, notes=notes)


def cast_of_a_linear_map(draw):
    """Where lost digits matter most: directions that shrink much faster than others."""
    basis = torch.randn(4, 4, dtype=torch.float64)
    rates = torch.tensor([0.9, 0.3, 0.01, 0.001], dtype=torch.float64)
    matrix = basis @ rates.diag() @ basis.inverse()
    kind = draw.choice([torch.float32, torch.bfloat16, torch.float16])
    inputs, start = torch.zeros(40, 2, 1, dtype=torch.float64), torch.ones(2, 4, dtype=torch.float64)
    truth = Truth(lambda s, x, t: matrix @ s, start, inputs)
    weights_too = draw.random() < 0.5
    module = CastNetwork(matrix, kind, weights_too)
    model = (lambda state, x: module(x, state)) if draw.random() < 0.5 else module
    returned = draw.random() < 0.3 and not isinstance(model, nn.Module)
    if returned:  # in the other dtype
        model = lambda state, x: state.to(kind) @ matrix.to(kind).T  # noqa: E731
    options = {"state": start, "transient": draw.choice([0, 10]), "every": 1}
    notes = [str(kind), f"weights too {weights_too}", f"returned {returned}"]
    return Case(model, inputs, options, [truth], expected=EITHER, notes=notes)


def dropped(draw):
    """Dropout by the function or the module, sometimes rare."""
    p = draw.choice([0.5, 0.1, 0.01, 0.01])
    where, generator = draw.choice(["state", "function on the state", "inside", "numpy"]), np.random.default_rng(1)

    def fault(body, x, parts):
        if where == "inside":
            return body.inner(F.dropout(x, p, body.training), parts)
        new = body.inner(x, parts)
        drops = {
            "state": body.drop,
            "function on the state": lambda v: F.dropout(v, p, body.training),
            "numpy": lambda v: v * torch.from_numpy(generator.random(tuple(v.shape)) > p).to(v),
        }
        return [drops[where](new[0]), *new[1:]]

    body = Faulty(drawn_body(draw), fault, "inner" if where == "numpy" else None)
    body.drop = nn.Dropout(p)
    case = own(draw, body, sequences=draw.randint(2, 4))
    return replace(case, notes=[*case.notes, f"p {p} {where}"], comparable=False)


def noisy(draw):
    """Noise of torch, NumPy or Python, of any amplitude; below the tolerance it may as well be measured."""
    size, source = draw.choice([1.0, 0.1, 1e-3, 1e-6, 1e-9, 1e-13]), draw.choice(["torch", "torch", "numpy", "python", "own"])
    generator = torch.Generator().manual_seed(1)
    own_random, from_numpy = random.Random(1), np.random.default_rng(1)
    noises = {
        "torch": lambda p: torch.randn_like(p),
        "numpy": lambda p: torch.from_numpy(from_numpy.standard_normal(tuple(p.shape))).to(p.dtype),
        "python": lambda p: own_random.gauss(0, 1),
        "own": lambda p: torch.randn(p.shape, generator=generator).to(p.dtype),
    }
    fault = on_first(lambda body, p: p + size * noises[source](p))
    case = faulty(draw, fault, note=f"{source} {size}")
    return replace(case, makes_tensors=True, comparable=size < 1e-4)


class WithBuffer(Faulty):
    """A fault that remembers in a buffer."""

    def __init__(self, inner, fault, truth=None):
        super().__init__(inner, fault, truth)
        del self.trace
        self.register_buffer("trace", torch.zeros(1, 1))


def remembering(draw):
    """A trace of earlier states, in a buffer, an attribute, a closure or a global, from the first, 10th or 100th call on."""
    place, late = draw.choice(["buffer", "buffer in place", "attribute", "closure", "list"]), draw.choice([0, 0, 10, 100])
    memory = {"trace": 0.0, "calls": 0}

    def fault(body, x, parts):
        held = memory if place == "closure" else vars(body.store) if place == "list" else None
        trace = body.trace if held is None else held["trace"]
        calls = body.calls if held is None else held["calls"]
        first = parts[0] - trace if calls >= late and trace is not None else parts[0]
        new = body.inner(x, [first, *parts[1:]])
        kept = 0.9 * (0.0 if trace is None else trace) + 0.3 * new[0].detach()
        if held is not None:
            held["trace"], held["calls"] = kept, calls + 1
        else:
            remember(body, kept, place)
        return new

    kind = WithBuffer if place.startswith("buffer") else Faulty
    body = kind(draw.choice([Elman, Gated])(draw), fault, None)
    body.store = types.SimpleNamespace(trace=0.0, calls=0)
    sequences = draw.randint(1, 3)
    if place == "buffer in place":
        body.trace = torch.zeros(sequences, *body.shapes[0])
    case = own(draw, body, sequences=sequences, steps=130 if late == 100 else None, kind=torch.float32)
    return replace(case, notes=[*case.notes, f"{place} from call {late}"])


def remember(body, kept, place):
    body.calls += 1
    if place == "buffer in place":
        body.trace.copy_(kept)
    else:
        body.trace = kept


def counting(draw):
    """A map that changes with the number of calls: in order, it is a map that depends on time."""
    place, late = draw.choice(["attribute", "buffer", "closure", "global"]), draw.choice([1, 10, 100])
    kind = draw.choice(["late", "wave"])
    calls = itertools.count()

    def number(body):
        if place == "closure":
            return next(calls)
        if place == "global":
            COUNTER["calls"] += 1
            return COUNTER["calls"] - 1
        body.calls += 1
        return int(body.calls) - 1

    gain = functools.partial(gain_of_a_call, late if kind == "late" else None)

    def fault(body, x, parts):
        factor = gain(number(body))
        return [factor * p for p in body.inner(x, parts)]

    def in_time(ground):
        return lambda x, parts, t: [gain(t) * p for p in ground(x, parts, t)]

    body = Faulty(drawn_body(draw), fault, in_time)
    if place == "buffer":
        del body.calls
        body.register_buffer("calls", torch.zeros((), dtype=torch.int64))
    case = own(draw, body, steps=130 if late == 100 else None, sequences=draw.randint(1, 2), state_given=True)
    truths = case.truths
    if place in ("closure", "global") and (kind, late) == ("late", 1):  # which any call before the measurement brings about
        truths = [*truths, replace(truths[0], step=lambda s, x, t: truths[0].step(s, x, t + 1))]
    return replace(case, truths=truths, notes=[*case.notes, f"{place} {kind} {late}"])


def gain_of_a_call(late, call):
    """A gain that changes once, or with every call if `late` is None."""
    if late is None:
        return 1 + 0.5 * math.sin(0.3 * call)
    return 0.5 if call >= late else 1.0


def cut_off(draw):
    """Derivatives that are cut off: detach, no_grad, inference_mode, of all or of a part."""
    how = draw.choice(["detach", "detach part", "no_grad", "inference_mode", "no_grad part", "data", "item", "numpy"])

    def fault(body, x, parts):
        whole = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
        if how in whole:
            with whole[how]():
                return body.inner(x, parts)
        if how in ("detach", "data"):
            return body.inner(x, [p.detach() if how == "detach" else p.data for p in parts])
        new = body.inner(x, parts)
        return [new[0] * torch.sigmoid(gate(how, parts[0])), *new[1:]]

    def gated(ground):
        def step(x, parts, t):
            new = ground(x, parts, t)
            return [new[0] * logistic(parts[0]), *new[1:]]

        return step

    return faulty(draw, fault, truth="inner" if how in ("detach", "no_grad", "inference_mode", "data") else gated, note=how)


def gate(how, part):
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

    def change(body, p):
        changes = {
            "mean": lambda: p - 0.5 * p.mean(0),
            "roll": lambda: 0.5 * p + 0.5 * p.roll(1, 0),
            "softmax": lambda: p * torch.softmax(p, dim=0),
            "batch norm": lambda: torch.tanh(body.norm(p)),
            "sort": lambda: p.sort(dim=0).values,
            "first": lambda: p + 0.3 * p[:1],
            "slightly": lambda: p + 1e-3 * p.flip(0),
        }
        return changes[how]()

    body = Faulty(drawn_body(draw), on_first(change), None)
    body.norm = nn.BatchNorm1d(body.units)
    case = own(draw, body, sequences=draw.randint(2, 4))
    return replace(case, notes=[*case.notes, how])


def autocasting(draw):
    """A step under autocast, which leaves float64 as it is."""
    kind = torch.bfloat16

    def fault(body, x, parts):
        with torch.autocast("cpu", dtype=kind):
            return [p.to(parts[0].dtype) for p in body.inner(x, parts)]

    return replace(faulty(draw, fault, note="autocast"), comparable=False)


class Twisted(nn.Module):
    """A module that changes the state that another returns."""

    def __init__(self, body, layout, change, paired):
        super().__init__()
        self.body, self.layout, self.change, self.paired = body, layout, change, paired

    def forward(self, x, state):
        new = self.layout.pack(self.body(x, self.layout.unpack(state)))
        changed = self.change(new, state)
        return (x.sum(-1), changed) if self.paired else changed


def twisted(draw, body, layout, change, *, truth="body", note="", sequences=None):
    """A case whose returned state is not shaped like the given one; `truth` is "body", None or a function of a truth."""
    paired = draw.random() < 0.5
    model = Twisted(body, layout, change, paired)
    sequences = sequences or draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    truths = body_truth(body, layout, start, inputs) if truth is not None else []
    truths = [truth(t) for t in truths] if callable(truth) else truths
    options = drawn_options(draw) | {"state": layout.pack(start)}
    words = [layout.form, note, f"paired {paired}"]
    follow = stepped(inputs, options["state"], lambda a: a[1] if paired else a, lambda s: layout.flat(layout.unpack(s)))
    expected = EITHER if truths else REFUSED
    return Case(model, inputs, options, truths, expected, notes=words, follow=follow, comparable=callable(truth))


def another_type(draw):
    body = drawn_body(draw)
    kind, layout = draw.choice([torch.float32, torch.float16, torch.bfloat16, torch.float64]), drawn_layout(draw, body)
    change = lambda new, old: each_tensor(lambda p: p.to(kind), new)  # noqa: E731
    return twisted(draw, body, layout, change, note=f"returned {kind}")


def another_shape(draw):
    body = draw.choice([Elman, Gated])(draw)
    layout = Layout("tensor", body.shapes, is_complex=False)
    how, sequences = draw.choice(["cut", "longer", "transposed", "first axis", "last axis", "flat", "first sequence"]), 2
    changes = {
        "cut": lambda p, _: p[:, :-1],
        "longer": lambda p, _: torch.cat([p, p[:, :1]], dim=-1),
        "transposed": lambda p, _: p.T,
        "first axis": lambda p, _: p[None],
        "last axis": lambda p, _: p[..., None],
        "flat": lambda p, _: p.flatten(),
        "first sequence": lambda p, _: p[:1],
    }
    if how == "transposed":
        sequences = body.units  # so that the shape is the same
    keeps = how in ("first axis", "last axis")
    return twisted(draw, body, layout, changes[how], truth="body" if keeps else None, note=how, sequences=sequences)


def another_structure(draw):
    """The numbers are right, but in another structure: a list for a tuple, a tuple of one for a tensor, other names."""
    body = draw.choice([Elman, LongShort])(draw)
    forms = ["tuple", "list", "dict", "named", "nested"] + ["tensor"] * (len(body.shapes) == 1)
    given, returned = draw.sample(forms, 2)
    layout, other = Layout(given, body.shapes, is_complex=False), Layout(returned, body.shapes, is_complex=False)
    return twisted(draw, body, layout, lambda new, old: other.pack(layout.unpack(new)), note=f"returned {returned}")


def another_order(draw):
    """Parts of one shape come back in another order: the map is what calling the module again and again computes."""
    body = LongShort(draw)
    form = draw.choice(["tuple", "list", "dict"])
    layout, units = Layout(form, body.shapes, is_complex=False), body.units

    def change(new, old):
        if form == "dict":
            return dict(reversed(new.items()))  # other order, same names
        return type(new)(reversed(new))

    def reordered(truth):
        step = truth.step
        if form == "dict":
            return truth
        return replace(truth, step=lambda s, x, t: step(s, x, t).roll(units))

    return twisted(draw, body, layout, change, truth=reordered, note="reversed")


class WithCount(nn.Module):
    """A module that carries an integer, None or a Python number besides its state."""

    def __init__(self, body, uses):
        super().__init__()
        self.body, self.uses = body, uses

    def forward(self, x, state):
        (h, other) = state
        if other is None:
            return self.body(x, [h])[0], None
        factor = 1 + 0.5 * torch.sin(0.3 * torch.as_tensor(other, dtype=h.dtype)) if self.uses else 1.0
        factor = factor.reshape(-1, 1) if isinstance(factor, Tensor) and factor.dim() else factor
        return factor * self.body(x, [h])[0], other + 1


def integer_parts(draw):
    body = draw.choice([Elman, Gated])(draw)
    kind, uses, sequences = draw.choice(["tensor", "vector", "python", "none"]), draw.random() < 0.5, draw.randint(1, 3)
    others = {"tensor": torch.tensor(0), "vector": torch.zeros(sequences, dtype=torch.int64), "python": 0, "none": None}
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    layout = Layout("tensor", body.shapes, is_complex=False)
    (truth,) = body_truth(body, layout, start, inputs)
    step, wave = truth.step, uses and kind != "none"
    if wave:
        truth = replace(truth, step=lambda s, x, t: (1 + 0.5 * math.sin(0.3 * t)) * step(s, x, t))
    options = drawn_options(draw) | {"state": (start[0], others[kind])}
    notes, follow = [kind, f"uses {uses}"], stepped(inputs, options["state"], lambda a: a, lambda s: s[0])
    model = WithCount(body, uses)
    return Case(model, inputs, options, [truth], EITHER, notes=notes, follow=follow, makes_tensors=True)


class Growing(nn.Module):
    """A module whose state holds all earlier hidden states."""

    def __init__(self, body, place):
        super().__init__()
        self.body, self.place, self.cache = body, place, []

    def forward(self, x, state):
        if self.place == "attribute":
            new = self.body(x, [state - 0.1 * sum(self.cache)])[0] if self.cache else self.body(x, [state])[0]
            self.cache.append(new.detach())
            return new
        h, cache = state
        new = self.body(x, [h - 0.1 * cache.mean(1)])[0]
        return new, (new, torch.cat([cache, new[:, None]], dim=1))


def growing(draw):
    body, place, sequences = draw.choice([Elman, Gated])(draw), draw.choice(["attribute", "state"]), draw.randint(1, 3)
    start, inputs = body.start(sequences)[0], body.given(24, sequences)
    state = start if place == "attribute" else (start, start[:, None])
    options = drawn_options(draw) | {"state": state}
    return Case(Growing(body, place), inputs, options, [], expected=REFUSED, notes=[place])


class Swapped(nn.Module):
    """forward(state, x), against the contract."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, state, x):
        return self.body(x, [state])[0]


def swapped(draw):
    """Arguments in the other order: an error where the sizes differ; where they agree, the contract's reading is a map too."""
    body = draw.choice([Elman, Gated])(draw)
    if draw.random() < 0.5:
        body.cell = stretched(type(body.cell)(body.units, body.units), draw)
        body.width = body.units
    sequences = draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    layout = Layout("tensor", body.shapes, is_complex=False)
    truths = body_truth(body, layout, start, inputs)
    ground, same = body.ground(), body.width == body.units
    if same:
        (meant,) = truths
        truths = [replace(meant, step=lambda s, x, t: ground(s, [x], t)[0]), meant]
    options = drawn_options(draw) | {"state": start[0]}
    follow = stepped(inputs, start[0], lambda a: a, lambda s: s)
    return Case(Swapped(body), inputs, options, truths, EITHER, [f"same size {same}"], follow, comparable=same)


class Stale(nn.Module):
    """(new state, old state): what it returns as its state never changes."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x, state):
        return self.body(x, [state])[0], state


def stale(draw):
    body = draw.choice([Elman, Gated])(draw)
    sequences = draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    truth = Truth(lambda s, x, t: 1.0 * s, exactly(start[0]), exactly(inputs))
    follow = stepped(inputs, start[0], lambda a: a[1], lambda s: s)
    return Case(Stale(body), inputs, drawn_options(draw) | {"state": start[0]}, [truth], EITHER, follow=follow)


class Answering(nn.Module):
    """A module with an answer in an unusual form."""

    def __init__(self, body, form):
        super().__init__()
        self.body, self.form = body, form

    def forward(self, x, state):
        new = self.body(x, [state])[0]
        out = x.sum(-1)
        return {
            "three": (out, new, out),
            "three, state last": (out, out, new),
            "names": {"output": out, "state": new},
            "nothing": None,
            "number": 1.0,
            "pair in a list": [out, new],
            "state first": (new, out),
            "text": "state",
        }[self.form]


def unusual_answers(draw):
    body = draw.choice([Elman, Gated])(draw)
    form = draw.choice(["three", "three, state last", "names", "nothing", "number", "pair in a list", "state first", "text"])
    sequences = draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    layout = Layout("tensor", body.shapes, is_complex=False)
    truths = [] if form in ("nothing", "number", "text") else body_truth(body, layout, start, inputs)
    options = drawn_options(draw) | {"state": start[0]}
    return Case(Answering(body, form), inputs, options, truths, expected=EITHER if truths else REFUSED, notes=[form])


class Inconsistent(nn.Module):
    """A sequence module for which a call for many steps is no chain of calls for one."""

    def __init__(self, body, how):
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x, state):
        h, outputs = state, []
        if self.how == "centred":
            x = x - x.mean(0)
        if self.how == "reversed":
            x = x.flip(0)
        for t, x_t in enumerate(x):
            factor = 1 + 0.5 * math.sin(0.5 * t) if self.how == "position" else 1.0
            h = factor * self.body(x_t, [h])[0]
            outputs.append(h)
        if self.how == "at the end":
            h = torch.tanh(h)
        return torch.stack(outputs), h


def inconsistent(draw):
    """Refused; a call for all inputs at once would be a right reading of a network that knows its position."""
    body = draw.choice([Elman, Gated])(draw)
    how, sequences = draw.choice(["centred", "reversed", "position", "at the end"]), draw.randint(1, 3)
    start, inputs = body.start(sequences), body.given(draw.randint(24, 36), sequences)
    truths = []
    if how == "position":
        (truth,) = body_truth(body, Layout("tensor", body.shapes, is_complex=False), start, inputs)
        step = truth.step
        truths = [replace(truth, step=lambda s, x, t: (1 + 0.5 * math.sin(0.5 * t)) * step(s, x, t))]
    options = drawn_options(draw) | {"state": start[0]}
    return Case(Inconsistent(body, how), inputs, options, truths, expected=EITHER if truths else REFUSED, notes=[how])


def bidirectional_inside(draw):
    recipe = drawn_recipe(draw, is_cell=False, kind="gru", layers=1)
    recipe = replace(recipe, options=(*recipe.options, ("bidirectional", True)))
    model = Holds(recipe, "pair")
    model.readout = nn.Linear(2 * recipe.units, 2)
    sequences = draw.randint(1, 3)
    inputs = torch.randn(24, sequences, recipe.width)
    state = torch.zeros(2, sequences, recipe.units) if draw.random() < 0.5 else None
    inputs = inputs.transpose(0, 1).contiguous() if recipe.batch_first else inputs
    return Case(model, inputs, {"state": state}, [], expected=REFUSED)


def without_a_state(draw):
    """No state is given, and none can be inferred."""
    body = drawn_body(draw)
    convention = draw.choice(["step", "function", "time first"])
    case = own(draw, body, convention, state_given=True)
    if isinstance(case.model, Convention):
        case.model.optional = False
    return replace(case, options={n: v for n, v in case.options.items() if n != "state"}, truths=[], expected=REFUSED)


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


# Families


def of(body, **more):
    """A family of modules and functions that step one kind of body."""
    return lambda draw: own(draw, body(draw), **more)


def sequential(draw):
    """Loops over time, with any body."""
    kinds = [Elman, Gated, LongShort, TwoCells, MatrixMemory, Convolved, ComplexDense, Tokens, OneNumber]
    return own(draw, draw.choice(kinds)(draw), draw.choice(["time first", "batch first"]))


def functional(draw):
    kinds = [Elman, LongShort, TwoCells, Bilinear, Slots, MatrixMemory, ComplexDiagonal, Tokens]
    return own(draw, draw.choice(kinds)(draw), "function")


def first_sequence_diverges(draw):
    return own(draw, Logistic(draw), draw.choice(["step", "function"]), steps=40, state_given=True, sequences=draw.randint(1, 3))


FAMILIES = {
    "torch module": functools.partial(plain, is_cell=False),
    "torch cell": functools.partial(plain, is_cell=True),
    "projection": projected,
    "bidirectional": bidirectional,
    "dropout between layers": with_dropout,
    "weight norm, old": functools.partial(derived, name="weight norm, old"),
    "weight norm": functools.partial(derived, name="weight norm"),
    "spectral norm, old": functools.partial(derived, name="spectral norm, old"),
    "spectral norm": functools.partial(derived, name="spectral norm"),
    "orthogonal": functools.partial(derived, name="orthogonal"),
    "pruned": functools.partial(derived, name="pruned"),
    "derived inside": derived_inside,
    "weight drop": weight_drop,
    "hooked": hooked,
    "own forward": own_forward,
    "subclass": subclassed,
    "compiled": compiled,
    "parallel": parallel,
    "script": scripted,
    "trace": traced,
    "elman": of(Elman),
    "gated": of(Gated),
    "pair": of(LongShort),
    "two cells": of(TwoCells),
    "layer norm": of(Normalised),
    "matrix memory": of(MatrixMemory),
    "pictures": of(Convolved),
    "attention": of(Slots),
    "einsum": of(Bilinear),
    "complex diagonal": of(ComplexDiagonal),
    "complex dense": of(ComplexDense),
    "spectral filter": of(Spectral),
    "tokens": of(Tokens),
    "one number": of(OneNumber),
    "plain attributes": of(Attributes, convention="step"),
    "uncast attributes": of(UncastAttributes, convention="step", kind=torch.float32),
    "listed attributes": of(ListedAttributes, convention="step", kind=torch.float32),
    "in place": of(InPlace),
    "written into zeros": of(WrittenIntoZeros),
    "added zeros": of(AddedZeros),
    "own derivative": of(OwnDerivative),
    "surrogate": of(Spiking),
    "branches": of(Branches),
    "kinks": of(Kinked),
    "no forward mode": of(Distances),
    "evaluation mode": of(Frozen),
    "state ignored": of(Ignoring),
    "diverging": first_sequence_diverges,
    "loop over time": sequential,
    "function": functional,
    "wrapped twice": wrapped_twice,
    "hooked module of one's own": hooked_own,
    "holds": holding,
    "holds, one step": holding_for_one_step,
    "holds, flat state": holding_with_flat_state,
    "holds two": holding_two,
    "hard to copy": hard_to_copy,
    "cast": cast_inside,
    "cast linear map": cast_of_a_linear_map,
    "float32 function": float32_function,
    "seldom": seldom,
    "lazy": lazy,
    "dropout": dropped,
    "noise": noisy,
    "memory": remembering,
    "counter": counting,
    "cut off": cut_off,
    "mixing": mixing,
    "autocast inside": autocasting,
    "another type": another_type,
    "another shape": another_shape,
    "another structure": another_structure,
    "another order": another_order,
    "integer parts": integer_parts,
    "growing": growing,
    "swapped": swapped,
    "stale": stale,
    "unusual answers": unusual_answers,
    "inconsistent": inconsistent,
    "bidirectional inside": bidirectional_inside,
    "without a state": without_a_state,
}


# What a call must leave as it was


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


def differences(before, after):
    return [name for name in before | after if before.get(name) != after.get(name)]


# Where a call is made


@contextlib.contextmanager
def default_dtype(kind):
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def in_thread(call):
    """What a call gives in another thread."""
    given = {}

    def target():
        try:
            given["value"] = call()
        except Exception as error:
            given["error"] = error

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if "error" in given:
        raise given["error"]
    return given["value"]


AMBIENTS = {
    "none": contextlib.nullcontext,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "float64": lambda: default_dtype(torch.float64),
    "meta": lambda: torch.device("meta"),
    "thread": contextlib.nullcontext,
}


def measured(case):
    """The spectrum of a case, measured where the case says."""
    with AMBIENTS[case.ambient]():
        call = functools.partial(lyapunov_spectrum, case.model, case.inputs, **case.options)
        return in_thread(call) if case.ambient == "thread" else call()


# What is right


@dataclass
class Path:
    """The Jacobians along a truth's trajectories, (T, B, S, S), and which sequences stayed finite, (B,)."""

    jacobians: Tensor
    whole: Tensor


def path_of(truth):
    """Dense Jacobians by reverse mode, one sequence and one step after another."""
    jacobians = torch.zeros(*truth.inputs.shape[:2], *[truth.start.shape[1]] * 2, dtype=torch.float64)
    whole = torch.ones(len(truth.start), dtype=torch.bool)
    for b, s in enumerate(truth.start):
        for t, x in enumerate(truth.inputs[:, b]):
            jacobian = torch.autograd.functional.jacobian(lambda z, x=x, t=t: truth.step(z, x, t), s)
            s = truth.step(s, x, t).detach()
            whole[b] &= bool(s.isfinite().all() & jacobian.isfinite().all())
            if not whole[b]:
                break
            jacobians[t, b] = jacobian
    return Path(jacobians, whole)


def dense_exponents(path, transient, order=None):
    """Exponents (B, S) in the order of the basis, and which of them rounding decides, (B, S).

    The basis is the engine's own, whose numbers are in the given order of the state's.
    """
    generator = torch.Generator().manual_seed(0)
    exponents = orthonormalised(path.jacobians, transient, order)
    unsure = torch.zeros_like(exponents, dtype=torch.bool)
    for _ in range(3):
        noise = torch.randn(path.jacobians.shape, generator=generator, dtype=torch.float64)
        size = PERTURBATION * torch.linalg.matrix_norm(path.jacobians).mean(0)[:, None, None]
        unsure |= ~((orthonormalised(path.jacobians + size * noise, transient, order) - exponents).abs() < TOLERANCE / 10)
    return exponents, unsure


def orthonormalised(jacobians, transient, order):
    """Exponents (B, S) of Jacobians (T, B, S, S)."""
    size = jacobians.shape[-1]
    basis = torch.empty(size, size, dtype=torch.float64)
    basis[slice(None) if order is None else order] = random_basis(size, size, basis).T
    basis, total = basis.expand_as(jacobians[0]), torch.zeros(jacobians.shape[1:3], dtype=torch.float64)
    for t, jacobian in enumerate(jacobians):
        basis, triangle = torch.linalg.qr(jacobian @ basis)
        if t >= transient:
            total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().log()
    return total / (len(jacobians) - transient)


def fault_of(case, spectrum):
    """Why a spectrum is none of those that are right; empty if it is one."""
    faults = [fault_against(case, truth, spectrum) for truth in case.truths]
    if not faults:
        return f"measured, though no answer is right: {spectrum.exponents.tolist()}"
    return "" if "" in faults else faults[0]


def fault_against(case, truth, spectrum):
    size = truth.start.shape[1]
    if spectrum.state_size != size:
        return f"{spectrum.state_size} numbers in the state instead of {size}"
    count, steps = min(case.options.get("count", size), size), len(truth.inputs)
    if spectrum.per_sequence.shape != (len(truth.start), count):
        return f"exponents {tuple(spectrum.per_sequence.shape)} instead of {(len(truth.start), count)}"
    path, transient = path_of(truth), case.options.get("transient", steps // 5)
    faults = []
    for order in (None, *truth.orders):
        exponents, unsure = dense_exponents(path, transient, order)
        tolerance = TOLERANCE if case.options["every"] else TOLERANCE_OF_LONG_INTERVALS
        fault = disagreement(spectrum, exponents[:, :count], unsure[:, :count], path.whole, tolerance)
        if not fault:
            return ""
        faults.append(fault)
    return faults[0]


def disagreement(spectrum, exponents, unsure, whole, tolerance):
    """How found exponents (B, k) differ from dense ones (B, k); empty if each is within tolerance and rounding error."""
    found = spectrum.per_sequence
    if (found.isnan().any(-1) == whole).any():
        return f"NaN in sequences {found.isnan().any(-1).tolist()}, not finite {(~whole).tolist()}"
    allowed = spectrum.rounding_error.nan_to_num(torch.inf) * len(whole)
    allowed[0] += TOLERANCE
    allowed[1:] += tolerance
    worst = 0.0, ""
    for b in whole.nonzero().flatten().tolist():
        free = list(range(found.shape[1]))
        for exact in exponents[b][~unsure[b]].sort(descending=True).values.tolist():
            nearest = min(free, key=lambda j: abs(found[b, j].item() - exact))
            free.remove(nearest)
            error = abs(found[b, nearest].item() - exact)
            if not error <= allowed[nearest]:
                worst = max(worst, (error, f"sequence {b}: {found[b].tolist()} instead of {exponents[b].tolist()}"))
    if not worst[0] and not unsure[:, 0].any() and not allowed[0] < torch.inf:
        return "even the first exponent has no rounding error"
    return worst[1] and f"off by {worst[0]:.1e}, allowed {allowed.tolist()}; {worst[1]}"


# Outcomes


RIGHT, REFUSAL, WRONG, OTHER = "right", "refused", "wrong", "other"
FORK = multiprocessing.get_context("fork")


@dataclass
class Outcome:
    """What became of a case."""

    family: str
    seed: int
    kind: str
    reason: str = ""
    case: str = ""  # in words
    needless: bool = False  # whether it was refused though it must be measurable
    seconds: float = 0.0  # in the call

    def __str__(self):
        return f"{self.kind.upper()} {self.case or f'{self.family}:{self.seed}'}\n    {self.reason}"


def outcome_of(family, seed):
    """What becomes of the model of a family and a seed."""
    case = make(family, seed)
    before, begin = surroundings(case), time.perf_counter()
    spectrum, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            spectrum = measured(case)
        except Exception as raised:
            error = raised
    seconds = time.perf_counter() - begin
    changed = differences(before, surroundings(case))
    kind, reason = judged(case, spectrum, error, [str(w.message) for w in caught])
    needless = kind == REFUSAL and case.expected == MEASURED
    if changed:
        kind, reason = WRONG, f"changed {changed}; {kind} {reason}"
    return Outcome(family, seed, kind, reason, str(case), needless, seconds)


def outcomes_of(cases):
    """What becomes of pairs of family and seed, in child processes, since some wrong calls of torch end the process."""
    todo, outcomes = list(cases), []
    while todo:
        receiver, sender = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_report, args=(todo, sender))
        child.start()
        sender.close()
        with contextlib.suppress(EOFError):
            while todo:
                outcomes.append(receiver.recv())
                del todo[0]
        child.join()
        if todo:
            outcomes.append(Outcome(*todo.pop(0), OTHER, f"the process ended with code {child.exitcode}"))
    return outcomes


def _report(cases, sender):
    for case in cases:
        sender.send(outcome_of(*case))


def judged(case, spectrum, error, words):
    """The kind of an outcome, and the reason."""
    if isinstance(error, ModuleError):
        lines = str(error).splitlines()
        return (REFUSAL, lines[0]) if len(lines) == 1 else (OTHER, f"a refusal of {len(lines)} lines: {lines}")
    if error is not None:
        return OTHER, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
    warned = any("surrogate" in w for w in words)
    if warned != case.surrogate:
        return WRONG, "no warning of surrogate derivatives" if case.surrogate else f"needless warning: {words}"
    with torch.enable_grad():
        fault = fault_of(case, spectrum)
    return (WRONG, fault) if fault else (RIGHT, "")


def ground_fault(family, seed, steps=4):
    """How a truth differs from what calls of the model itself give; empty if it does not, or cannot be compared."""
    case = make(family, seed)
    if case.follow is None or not case.comparable or not case.truths:
        return ""
    truth = case.truths[0]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        found = case.follow(case.model, steps).double()
        states = []
        for b, s in enumerate(truth.start):
            path = [s := truth.step(s, truth.inputs[t, b], t) for t in range(steps)]
            states.append(torch.stack(path))
    error = (found - torch.stack(states, dim=1)).abs().max().item()
    scale = 1 + torch.stack(states).abs().max().item()
    # float32 networks err by 1e-7 a step, casts to bfloat16 and float16 by up to 1e-2
    return "" if error <= (0.1 if family.startswith("cast") else 1e-4) * scale else f"{case}: differs by {error:.1e}"


def cases_of(count, seed):
    """Families in turn with seeds that follow from one."""
    names = itertools.cycle(FAMILIES)
    return [(next(names), seed + n // len(FAMILIES)) for n in range(count)]


def table(outcomes):
    """Lines of counts by family and in total."""
    families = list(dict.fromkeys(o.family for o in outcomes))
    width = max(map(len, families))
    yield f"{'family':{width}}  right  refused  wrong  other  refused though measurable"
    for name in (*families, "total"):
        chosen = [o for o in outcomes if name in (o.family, "total")]
        counts, needless = Counter(o.kind for o in chosen), sum(o.needless for o in chosen)
        numbers = f"{counts[RIGHT]:5}  {counts[REFUSAL]:7}  {counts[WRONG]:5}  {counts[OTHER]:5}  {needless or '':>5}"
        yield f"{name:{width}}  {numbers}".rstrip()


def main(words):
    """Run the cases that are named, or a number of them, and write what became of them."""
    torch.set_num_threads(1)
    named = [w.rsplit(":", 1) for w in words if ":" in w]
    numbers = [int(w) for w in words if ":" not in w]
    count, seed = (*numbers, *(600, 0)[len(numbers) :])
    outcomes = outcomes_of([(f, int(s)) for f, s in named] or cases_of(count, seed))
    lines = [*table(outcomes), ""]
    lines += [str(o) for o in outcomes if named or o.kind in (WRONG, OTHER) or o.needless]
    lines.append(f"{sum(o.seconds for o in outcomes):.0f} s in calls, the longest {max(o.seconds for o in outcomes):.1f} s")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
