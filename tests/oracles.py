"""Closed forms and naive computations that the library's numbers are compared with."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import polygamma, psi
from torch.func import jacrev, vmap

from pipeline.spectrum.engine import random_basis
from pipeline.spectrum.reference import reference_spectrum
from pipeline.spectrum.tangent import Tangent

LORENZ = (0.9056, 0.0, -14.5723)  # per unit time; Sprott 2003; the sum is -41/3
HENON = (0.4192, -1.6231)  # a = 1.4, b = 0.3; Sprott 2003
LOGISTIC_CYCLE = math.log(abs(4 + 2 * 3.2 - 3.2**2)) / 2  # r = 3.2: f'(p) f'(q) on the cycle p, q, over two steps
LORENZ_STEP = 0.02
MEAN_FIELD = {1.5: 0.06522, 2.0: 0.15472, 3.0: 0.31025, 5.0: 0.53243}  # x' = J tanh x, N to infinity
CYCLE = tuple(torch.tensor(m, dtype=torch.float64) for m in ([[2, 1], [0, 1]], [[1, 0], [3, 1]], [[0, -1], [1, 0.5]]))


@dataclass(frozen=True)
class Measured:
    """Exponents, or sums of them: the exact values by a closed form, and those that the library found, (n,) each."""

    exact: torch.Tensor
    found: torch.Tensor
    allowed: torch.Tensor | None = None  # (n,) errors allowed by the run's own standard errors; otherwise the system's tolerance

    @property
    def errors(self):
        """(n,) absolute errors; 0 where both are -inf."""
        return torch.where(self.found == self.exact, 0.0, (self.found - self.exact).abs())


@dataclass(frozen=True)
class System:
    """A driven map with known exponents."""

    name: str
    source: str  # source of the known values
    measure: Callable[[], Measured]
    tolerance: float  # the largest error allowed
    because: str  # how the tolerance is derived
    sees_order: str = "no"  # whether products in the wrong order would fail


def reference_exponents(map, params, state, inputs, count, *, transient):
    """(M, B, k) exponents of an ensemble by `reference_spectrum`, in the order of the engine's own first deviations.

    The arguments are those of `pipeline.spectrum.growth`: state (M, B, S), inputs (T, B, I), and params with an axis M.
    """
    basis, tangent = random_basis(state.shape[-1], count, state).T, Tangent(map, params)
    spectra = [
        reference_spectrum(of_one_sequence(tangent.one(m)), start, inputs[:, b], basis, transient=transient)
        for m, starts in enumerate(state)
        for b, start in enumerate(starts)
    ]
    return torch.stack(spectra).unflatten(0, state.shape[:2])


def of_one_sequence(step):
    """A step (B, S), (B, I) -> (B, S) as a step (S,), (I,) -> (S,)."""
    return lambda state, x: step(state[None], x[None])[0]


def reference_of_module(module, state, inputs, *, transient):
    """(B, S) exponents of torch's own module by `reference_spectrum`, from states (B, S) under inputs (T, B, I)."""
    step, basis = one_step(module), random_basis(state.shape[1], state.shape[1], inputs).T
    driven = zip(state, inputs.unbind(1), strict=True)
    return torch.stack([reference_spectrum(step, s, x, basis, transient=transient) for s, x in driven])


def wrong_order_spectra(step, state, inputs, *, transient):
    """Exponents (B, S) of J_1 J_2 ... J_T, the wrong order, by multiplying with transposed Jacobians.

    step: (S,), (I,) -> (S,); state (B, S); inputs (T, B, I).
    """
    logs = []
    basis = torch.linalg.qr(torch.randn(*state.shape, state.shape[1], generator=torch.Generator().manual_seed(5)).to(state))[0]
    for x in inputs:
        basis, triangle = torch.linalg.qr(vmap(jacrev(step))(state, x).mT @ basis)
        state = vmap(step)(state, x)
        logs.append(triangle.diagonal(dim1=-2, dim2=-1).abs().log())
    return torch.stack(logs[transient:]).mean(0)


def one_step(module):
    """A torch recurrent module as a step (S,), (I,) -> (S,) in float64; the state is h, or h and c, of each layer end to end."""
    twin = type(module)(**_arguments(module)).double()
    twin.load_state_dict(module.state_dict())
    layers = getattr(module, "num_layers", 1)
    is_cell = isinstance(module, torch.nn.RNNCellBase)
    pair = isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell)

    def step(state, x):
        parts = state.reshape(layers, 2 if pair else 1, module.hidden_size).unbind(1)
        given = tuple(parts) if pair else parts[0]
        if is_cell:
            given = tuple(p[0] for p in parts) if pair else parts[0][0]
            new = twin(x, given)
            return torch.cat(new) if pair else new
        new = twin(x[None, None], _batched(given))[1]
        new = torch.stack([p[:, 0] for p in (new if pair else (new,))], dim=1)
        return new.reshape(-1)

    return step


def _batched(given):
    return tuple(p[:, None].contiguous() for p in given) if isinstance(given, tuple) else given[:, None].contiguous()


def _arguments(module):
    names = ["input_size", "hidden_size", "bias"]
    names += [] if isinstance(module, torch.nn.RNNCellBase) else ["num_layers", "batch_first"]
    names += ["nonlinearity"] if isinstance(module, torch.nn.RNN | torch.nn.RNNCell) else []
    return {name: getattr(module, name) for name in names}


def gaussian_products(size, gain):
    """Exponents (N,) of products of i.i.d. Gaussian matrices with variance gain^2 / N (Newman 1986)."""
    ranks = torch.arange(1, size + 1, dtype=torch.float64)
    return math.log(gain) + (math.log(2 / size) + torch.from_numpy(psi(((size - ranks + 1) / 2).numpy()))) / 2


def gaussian_products_deviation(size):
    """Standard deviation (N,) of their log growth per step: half the log of a chi-square has variance psi'(n / 2) / 4."""
    ranks = torch.arange(1, size + 1, dtype=torch.float64)
    return torch.from_numpy(polygamma(1, ((size - ranks + 1) / 2).numpy())).sqrt() / 2


def rotation(size, generator):
    """A random orthogonal matrix, float64."""
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def symmetric(eigenvalues, generator):
    """A random symmetric matrix with the given eigenvalues, float64."""
    basis = rotation(len(eigenvalues), generator)
    return basis @ torch.tensor(eigenvalues, dtype=torch.float64).diag() @ basis.T


def lorenz_step(state, _):
    """One fourth-order Runge-Kutta step, of length LORENZ_STEP, of Lorenz 1963 with the parameters (10, 28, 8/3)."""

    def velocity(s):
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=-1)

    a = velocity(state)
    b = velocity(state + LORENZ_STEP / 2 * a)
    c = velocity(state + LORENZ_STEP / 2 * b)
    d = velocity(state + LORENZ_STEP * c)
    return state + LORENZ_STEP / 6 * (a + 2 * b + 2 * c + d)


def henon_step(state, _):
    """The map of Henon 1976 with a = 1.4, b = 0.3."""
    x, y = state.unbind(-1)
    return torch.stack([1 - 1.4 * x * x + y, 0.3 * x], dim=-1)


def logistic_step(rate):
    """The logistic map x' = r x (1 - x)."""
    return lambda state, _: rate * state * (1 - state)


def settled(step, state, steps):
    """The state after a number of steps without input."""
    for _ in range(steps):
        state = step(state, None)
    return state
