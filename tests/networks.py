"""Recurrent networks with known Lyapunov exponents, measured through the public function; nats per step."""

import math
from functools import partial

import oracles
import torch
from draws import exact, module_of, noise, seeded
from oracles import Measured, System
from torch import nn
from torch.autograd.functional import jacobian

from pipeline import cells, lyapunov_spectrum

HALF = math.log(0.5)
ROUNDING = "rounding of the logs, times the spread of the growth in one step"


def at_zero_weights(kind, layers):
    module = module_of(kind, 3, 4, layers, scale=0.0, bias=False)
    size = 4 * layers
    values = {nn.RNN: [-math.inf] * size, nn.GRU: [HALF] * size, nn.LSTM: [HALF] * size + [-math.inf] * size}[kind]
    return Measured(exact(*values), lyapunov_spectrum(module, noise(10, 2, 3), every=1).exponents)


def stack_at_rest():
    """Without input the state stays 0, where the Jacobian is block triangular."""
    module = module_of(nn.RNN, 2, 3, 2, bias=False)
    values = [0.9, 0.5, 0.2], [0.7, 0.35, 0.1]  # interleaved: layer by layer would not be sorted
    with torch.no_grad():
        module.weight_hh_l0.copy_(oracles.symmetric(values[0], seeded()))
        module.weight_hh_l1.copy_(oracles.symmetric(values[1], seeded(5)))
    found = lyapunov_spectrum(module, torch.zeros(200, 1, 2), transient=180, every=1).exponents
    return Measured(exact(*values[0], *values[1]).log().sort(descending=True).values, found)


def driven_stack():
    stack = module_of(nn.RNN, 2, 3, 2, scale=0.1)
    with torch.no_grad():  # the lower layer contracts faster in each direction, so that no cross term remains at finite length
        stack.weight_hh_l0.copy_(exact(0.2, 0.05, 0.01).diag() + 1e-3 * noise(3, 3))
        stack.weight_hh_l1.copy_(exact(0.95, 0.6, 0.4).diag() + 1e-3 * noise(3, 3, seed=6))
    inputs = noise(220, 2, 2)
    below, above = nn.RNN(2, 3).double(), nn.RNN(3, 3).double()
    below.load_state_dict({n: p for n, p in stack.state_dict().items() if n.endswith("_l0")})
    above.load_state_dict({n.replace("_l1", "_l0"): p for n, p in stack.state_dict().items() if n.endswith("_l1")})
    with torch.no_grad():
        between = below(inputs)[0]
    whole, *apart = (
        lyapunov_spectrum(m, x, transient=200, every=1).per_sequence
        for m, x in ((stack, inputs), (above, between), (below, inputs))
    )
    return Measured(torch.cat(apart, dim=1).flatten(), whole.flatten())


def stable_fixed_point():
    """The Jacobian diag(1 - h^2) W is similar to a symmetric matrix: real eigenvalues, no slow rotation."""
    module = module_of(nn.RNN, 2, 4)
    weight = oracles.symmetric([0.9, -0.6, 0.4, 0.2], seeded())
    x = noise(1, 1, 2).expand(400, 1, 2)
    with torch.no_grad():
        module.weight_hh_l0.copy_(weight)
        rest = module(x)[1][0, 0]
    moduli = torch.linalg.eigvals((1 - rest.square())[:, None] * weight).abs().log().sort(descending=True).values
    assert (moduli[:-1] - moduli[1:]).min() > 0.1  # so that 300 steps align the directions to exp(-30)
    return Measured(moduli, lyapunov_spectrum(module, x, transient=300, every=1).exponents)


def mean_log_determinant(module, inputs, size, transient):
    """The mean of log |det J| along one trajectory from rest, by reverse mode through torch's own module."""
    step, state, logs = oracles.one_step(module), torch.zeros(size, dtype=torch.float64), []
    for x in inputs[:, 0]:
        logs.append(jacobian(lambda s, x=x: step(s, x), state).slogdet().logabsdet)
        state = step(state, x).detach()
    return torch.stack(logs[transient:]).mean()


def determinants(modules):
    """The sum of the exponents of each module, which at any length is the mean log of |det J|."""
    inputs = noise(12, 1, 2)
    found = [lyapunov_spectrum(m, inputs, transient=2, every=1).exponents for m in modules]
    expected = [mean_log_determinant(m, inputs, len(f), 2) for m, f in zip(modules, found, strict=True)]
    return Measured(torch.stack(expected), torch.stack([f.sum() for f in found]))


def determinants_of_stacks(kind):
    return determinants([module_of(kind, 2, 3, layers, scale=0.8) for layers in (1, 2, 3, 4)])


def determinants_of_cells():
    return determinants([module_of(kind, 2, 3, scale=0.8) for kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell)])


def batched_step(module):
    """A torch module of one layer as a step (B, S), (B, I) -> (B, S)."""

    def step(state, x):
        if isinstance(module, nn.LSTM):
            return torch.cat(module(x[None], tuple(s[None].contiguous() for s in state.chunk(2, dim=-1)))[1], dim=-1)[0]
        return module(x[None], state[None])[1][0]

    return step


def two_trajectories(kind):
    """The growth of the distance of two trajectories, rescaled at every step (Benettin et al. 1976)."""
    module, inputs = module_of(kind, 2, 3, scale=1.5, seed=5), noise(200, 4, 2)
    size = 6 if kind is nn.LSTM else 3
    step, state, offset, logs = batched_step(module), torch.zeros(4, size).double(), 1e-6 * noise(4, size, seed=9), []
    for x in inputs:
        with torch.no_grad():  # central difference: the second order cancels
            apart = (step(state + offset, x) - step(state - offset, x)) / 2
            logs.append((apart.norm(dim=-1) / offset.norm(dim=-1)).log())
            state, offset = step(state, x), 1e-6 * apart / apart.norm(dim=-1, keepdim=True)
    spectrum = partial(lyapunov_spectrum, module, inputs, every=1)
    first, second = spectrum(transient=0, count=2).per_sequence.unbind(1)
    assert (first - second).min() > 0.2  # so that after 150 steps both deviations are parallel, up to exp(-30)
    return Measured(torch.stack(logs[150:]).mean(0), spectrum(transient=150, count=1).per_sequence[:, 0])


# Further cells, some as plain step functions


def heavy_ball():
    """SBO-RNN with momentum mu: subtracting rows of the Jacobian gives a triangle with I and mu I on its diagonal."""
    cell = cells.get("sbo_heavy_ball")(2, 6, 0.8, step_size=0.1)
    weights = cell.weights({n: p.double() for n, p in cell.init(seeded()).items()})
    step = partial(cell.step, weights)
    found = lyapunov_spectrum(step, noise(60, 2, 2), state=noise(2, cell.state_size), transient=10, every=1)
    return Measured(exact(6 * math.log(0.5)), found.exponents.sum()[None])


def orthogonal_modrelu():
    """A scoRNN with three units of slope 1, |z| + b > 0, and three of slope 0, which do not mix."""
    cell = cells.get("scornn")(2, 6, 1.0)
    params = {n: p.double() for n, p in cell.init(seeded()).items()}
    mixing = torch.tensor([(i < 3) == (j < 3) for i in range(6) for j in range(i)])
    params["skew"] = torch.where(mixing, noise(15), 0.0)
    weights = cell.weights(params | {"bias": exact(0, 0.1, 0.3, -100, -100, -100)})
    found = lyapunov_spectrum(partial(cell.step, weights), noise(40, 2, 2), state=noise(2, 6), every=1)
    return Measured(exact(*[0.0] * 3, *[-math.inf] * 3), found.exponents)


def oscillators():
    """UnICORNN on (y, z): two successive shears of determinant 1."""
    stiffness, share, drive = noise(4), noise(4, seed=3).sigmoid() / 2, noise(2, 4, seed=4)

    def step(state, x):
        y, z = state.chunk(2, dim=-1)
        z = z - share * ((stiffness * y + x @ drive).tanh() + 2 * y)
        return torch.cat([y + share * z, z], dim=-1)

    found = lyapunov_spectrum(step, noise(60, 2, 2), state=noise(2, 8), every=1)
    return Measured(exact(0.0), found.exponents.sum()[None])


def input_gates():
    """A minGRU: h' = (1 - z(x)) h + z(x) g(x) is diagonal, and z depends only on the input."""
    inputs, drive = noise(400, 2, 2), noise(2, 3, seed=4)
    kept = lambda x: 1 - (0.3 * x @ drive + exact(-4.0, -1.0, 1.0)).sigmoid()  # noqa: E731
    step = lambda s, x: kept(x) * s + (1 - kept(x)) * (x @ drive)  # noqa: E731
    found = lyapunov_spectrum(step, inputs, state=noise(2, 3), transient=300, every=1)
    return Measured(kept(inputs[300:]).log().mean((0, 1)), found.exponents)


def linear_recurrence():
    """An LRU: h' = lambda h + b x with complex lambda, real parts before imaginary parts."""
    moduli, phases, drive = exact(0.99, 0.7, 0.4), exact(0.1, 1.0, 2.5), noise(2, 6)
    real, imaginary = moduli * phases.cos(), moduli * phases.sin()

    def step(state, x):
        a, b = state.chunk(2, dim=-1)
        return torch.cat([real * a - imaginary * b, imaginary * a + real * b], dim=-1) + x @ drive

    found = lyapunov_spectrum(step, noise(150, 2, 2), state=noise(2, 6), transient=100, every=1)
    return Measured(moduli.log().repeat_interleave(2), found.exponents)


NETWORKS = (
    *(
        System(
            f"{kind.__name__} of zero weights, {layers} layer{'s' * (layers > 1)}",
            "derivative at 0",
            partial(at_zero_weights, kind, layers),
            1e-14,
            "10 logs",
        )
        for kind in (nn.RNN, nn.GRU, nn.LSTM)
        for layers in (1, 2)
    ),
    System("stacked RNN at rest", "eigenvalues of its layers", stack_at_rest, 1e-12, "misaligned by (0.7 / 0.9)^180 = 2e-20"),
    System(
        "stacked RNN, driven", "its layers measured alone", driven_stack, 1e-12, "misaligned by exp(-0.19 x 200) = 3e-17", "yes"
    ),
    System(
        "RNN at a fixed point", "eigenvalues of J", stable_fixed_point, 1e-10, "misaligned by less than exp(-0.1 x 300) = 1e-13"
    ),
    *(
        System(
            f"{kind.__name__}, sum, 1 to 4 layers", "mean of log |det J|", partial(determinants_of_stacks, kind), 1e-10, ROUNDING
        )
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
    ),
    System("RNNCell, LSTMCell, GRUCell, sum", "mean of log |det J|", determinants_of_cells, 1e-10, ROUNDING),
    *(
        System(
            f"{kind.__name__}, first exponent",
            "two trajectories, Benettin et al. 1976",
            partial(two_trajectories, kind),
            1e-8,
            "rounding eps / 1e-6 of the distance, times its shrinking in a step",
            "yes",
        )
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
    ),
    System("SBO-RNN, heavy ball, sum", "n log mu; Zhang et al. 2021", heavy_ball, 1e-12, ROUNDING),
    System("scoRNN, b >= 0 and dead units", "Helfrich et al. 2018", orthogonal_modrelu, 1e-13, "6 eps a step"),
    System("UnICORNN, sum", "0; Rusch and Mishra 2021", oscillators, 1e-12, ROUNDING),
    System("LRU", "log |lambda|; Orvieto et al. 2023", linear_recurrence, 1e-12, "misaligned by (0.7 / 0.99)^100 = 9e-16"),
    System("minGRU", "mean of log (1 - z); Feng et al. 2024", input_gates, 1e-12, "misaligned by exp(-0.28 x 300)"),
)
