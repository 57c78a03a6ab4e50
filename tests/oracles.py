"""Closed forms and naive references that the library's numbers are held against."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import polygamma, psi
from torch.autograd.functional import jacobian
from torch.func import jacrev, vmap

LORENZ = (0.9056, 0.0, -14.5723)  # per unit time; Sprott 2003; sums to -41/3
HENON = (0.4192, -1.6231)  # a = 1.4, b = .3; Sprott 2003
LOGISTIC_CYCLE = math.log(abs(4 + 2 * 3.2 - 3.2**2)) / 2  # r = 3.2: f'(p) f'(q) on the cycle of p and q, over two steps
LORENZ_STEP = 0.02
MEAN_FIELD = {1.5: 0.06522, 2.0: 0.15472, 3.0: 0.31025, 5.0: 0.53243}  # x' = J tanh x, N to infinity
CYCLE = tuple(torch.tensor(m, dtype=torch.float64) for m in ([[2, 1], [0, 1]], [[1, 0], [3, 1]], [[0, -1], [1, 0.5]]))


@dataclass(frozen=True)
class Measured:
    """Exponents, or sums of them, as a closed form has them and as the library found them; (n,) each."""

    exact: torch.Tensor
    found: torch.Tensor
    allowed: torch.Tensor | None = None  # (n,) error that the run's own standard errors allow; else the system's tolerance

    @property
    def errors(self):
        """(n,) absolute; 0 where both are -inf."""
        return torch.where(self.found == self.exact, 0.0, (self.found - self.exact).abs())


@dataclass(frozen=True)
class System:
    """A driven map whose exponents are known."""

    name: str
    source: str  # of the known values
    measure: Callable[[], Measured]
    tolerance: float  # no error may be larger
    because: str  # how the tolerance is derived
    sees_order: str = "no"  # whether products in the wrong order would fail


def dense_spectrum(step, state, inputs, basis, *, transient):
    """Exponents (k,) of one sequence in the textbook's way: whole Jacobians by reverse mode, then QR, later ones on the left.

    step: (S,), (I,) -> (S,); state (S,); inputs (T, I); basis (S, k) with orthonormal columns.
    """
    logs = []
    for x in inputs:
        matrix = jacobian(lambda s, x=x: step(s, x), state)
        state = step(state, x).detach()
        basis, triangle = torch.linalg.qr(matrix @ basis)
        logs.append(triangle.diagonal().abs().log())
    return torch.stack(logs[transient:]).mean(0)


def wrong_order_spectra(step, state, inputs, *, transient):
    """Exponents (B, S) of J_1 J_2 ... J_T, the wrong order: transposed Jacobians are applied as time goes on.

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
    """A torch recurrent module as (S,), (I,) -> (S,) in float64; the state is, layer by layer, h or h and c end to end."""
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
    """Exponents (N,) of products of i.i.d. Gaussian matrices of variance gain^2 / N (Newman 1986)."""
    ranks = torch.arange(1, size + 1, dtype=torch.float64)
    return math.log(gain) + (math.log(2 / size) + torch.from_numpy(psi(((size - ranks + 1) / 2).numpy()))) / 2


def gaussian_products_deviation(size):
    """Standard deviation (N,) of one step's log growth there: half the log of a chi-square has variance psi'(n / 2) / 4."""
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
    """Lorenz 1963 with (10, 28, 8/3): one Runge-Kutta step of fourth order, of length LORENZ_STEP."""

    def velocity(s):
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=-1)

    a = velocity(state)
    b = velocity(state + LORENZ_STEP / 2 * a)
    c = velocity(state + LORENZ_STEP / 2 * b)
    d = velocity(state + LORENZ_STEP * c)
    return state + LORENZ_STEP / 6 * (a + 2 * b + 2 * c + d)


def henon_step(state, _):
    """Henon 1976 with a = 1.4, b = .3."""
    x, y = state.unbind(-1)
    return torch.stack([1 - 1.4 * x * x + y, 0.3 * x], dim=-1)


def logistic_step(rate):
    """x' = r x (1 - x)."""
    return lambda state, _: rate * state * (1 - state)


def settled(step, state, steps):
    """The state after some steps without input."""
    for _ in range(steps):
        state = step(state, None)
    return state
