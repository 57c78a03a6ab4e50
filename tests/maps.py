"""Maps with known Lyapunov exponents, measured through the public function; nats per step unless stated otherwise."""

import math
from functools import cache, partial

import oracles
import torch
from draws import exact, noise, seeded
from oracles import Measured, System

from pipeline import lyapunov_spectrum

SORTED = partial(torch.sort, descending=True)


def of_matrix(matrix, *, steps=120, transient=40, **options):
    """The spectrum of state' = matrix state."""
    state = torch.zeros(1, len(matrix), dtype=torch.float64)
    return lyapunov_spectrum(
        lambda s, x: s @ matrix.T, noise(steps, 1, 1), state=state, transient=transient, **{"every": 1} | options
    )


def products_step(size):
    """A step (B, S) whose input (B, S * S) is the matrix that multiplies the state."""
    return lambda s, x: (x.reshape(-1, size, size) @ s[..., None])[..., 0]


def cycle():
    order = torch.stack([oracles.CYCLE[t % 3].reshape(1, 4) for t in range(180)])
    spectrum = lyapunov_spectrum(products_step(2), order, state=torch.zeros(1, 2), transient=150, every=1)
    a, b, c = oracles.CYCLE
    return Measured(SORTED(torch.linalg.eigvals(c @ b @ a).abs().log() / 3).values, spectrum.exponents)


@cache
def on_the_lorenz_attractor():
    """States (800, 3) of independent orbits after 40 units of time, away from the unstable foci."""
    return oracles.settled(oracles.lorenz_step, noise(800, 3), 2000)


@cache
def lorenz_spectrum():
    return lyapunov_spectrum(oracles.lorenz_step, torch.zeros(550, 800, 1), state=on_the_lorenz_attractor(), transient=400)


def lorenz():
    """Exponents with 4 standard errors from the spread of independent orbits."""
    spectrum = lorenz_spectrum()
    errors = spectrum.per_sequence.std(0) / 800**0.5 / oracles.LORENZ_STEP
    return Measured(exact(*oracles.LORENZ), spectrum.exponents / oracles.LORENZ_STEP, 4 * errors)


def lorenz_sum():
    return Measured(exact(-41 / 3), lorenz_spectrum().exponents.sum()[None] / oracles.LORENZ_STEP)


def linear():
    basis = exact(1.0, 1.0, 0.0, 1.0).reshape(2, 2)
    matrix = basis @ exact(1.5, 0.25).diag() @ basis.inverse()
    return Measured(exact(1.5, 0.25).log(), of_matrix(matrix).exponents)


def driven_linear():
    matrix, drive = oracles.symmetric([0.9, 0.3, 0.1], seeded()), noise(3, 2)
    step = lambda s, x: s @ matrix.T + x @ drive.T  # noqa: E731
    found = lyapunov_spectrum(step, noise(200, 4, 2), state=noise(4, 3), transient=100, every=1)
    return Measured(exact(0.9, 0.3, 0.1).log().repeat(4), found.per_sequence.flatten())


def scaled_rotation(gain):
    spectrum = of_matrix(gain * oracles.rotation(12, seeded()), steps=20, transient=0)
    return Measured(torch.full((12,), math.log(gain), dtype=torch.float64), spectrum.exponents)


def cat():
    log = math.log((3 + 5**0.5) / 2)
    return Measured(exact(log, -log), of_matrix(exact(2, 1, 1, 1).reshape(2, 2)).exponents)


@cache
def henon_spectrum():
    start = oracles.settled(oracles.henon_step, 0.1 * noise(500, 2), 200)
    return lyapunov_spectrum(oracles.henon_step, torch.zeros(320, 500, 1), state=start, transient=20, every=1)


def henon():
    """Exponents with 4 standard errors from the spread of independent orbits, and the last published digit."""
    spectrum = henon_spectrum()
    return Measured(exact(*oracles.HENON), spectrum.exponents, 4 * spectrum.per_sequence.std(0) / 500**0.5 + 1e-4)


def henon_sum():
    sums = henon_spectrum().per_sequence.sum(1)
    return Measured(torch.full_like(sums, math.log(0.3)), sums)


def chaotic_logistic():
    share = torch.rand(2000, 1, generator=seeded(), dtype=torch.float64)
    start = torch.sin(torch.pi / 2 * share).square()  # the invariant density
    found = lyapunov_spectrum(oracles.logistic_step(4), torch.zeros(100, 2000, 1), state=start, transient=0)
    return Measured(exact(math.log(2)), found.exponents)


def periodic_logistic():
    step = oracles.logistic_step(3.2)
    start = oracles.settled(step, exact(0.4)[None], 400)  # contracts by 0.4 per step: on the cycle up to rounding
    found = lyapunov_spectrum(step, torch.zeros(20, 1, 1), state=start, transient=0, every=1)
    return Measured(exact(oracles.LOGISTIC_CYCLE), found.exponents)


def superstable_logistic():
    found = lyapunov_spectrum(oracles.logistic_step(2), torch.zeros(10, 3, 1), state=torch.full((3, 1), 0.5), transient=0)
    return Measured(exact(-math.inf), found.exponents)


def gaussian_products():
    """Exponents with 4 standard errors from the exact variance of a step's log growth."""
    size, gain, steps, sequences = 8, 1.3, 60, 100
    matrices = noise(steps, sequences, size * size) * gain / size**0.5
    found = lyapunov_spectrum(products_step(size), matrices, state=torch.zeros(sequences, size), transient=0)
    error = oracles.gaussian_products_deviation(size) / (steps * sequences) ** 0.5
    return Measured(oracles.gaussian_products(size, gain), found.exponents, 4 * error)


def random_rates(gain):
    """The first exponent with 4 standard errors over networks and time."""
    networks, size = 4, 200
    weights = torch.randn(networks, size, size, generator=seeded(), dtype=torch.float64) * gain / size**0.5
    step = lambda s, x: torch.einsum("bij,bj->bi", weights, s.tanh())  # noqa: E731
    start = noise(networks, size)
    found = lyapunov_spectrum(step, torch.zeros(400, networks, 1), state=start, count=1, transient=100)
    error = max(found.standard_error.item(), found.per_sequence.std().item() / networks**0.5)
    return Measured(exact(oracles.MEAN_FIELD[gain] - 0.015), found.exponents, exact(0.005 + 4 * error))


def fewer_exponents():
    values = [1.5, 1.1, 0.8, 0.5, 0.3, 0.1]
    matrix = oracles.symmetric(values, seeded())
    found = [of_matrix(matrix, steps=200, transient=180, count=count).exponents for count in (1, 2, 5)]
    return Measured(exact(*values[:1], *values[:2], *values[:5]).log(), torch.cat(found))


def rarer_orthonormalisation():
    values = [1.5, 1.1, 0.8, 0.5, 0.3]
    matrix = oracles.symmetric(values, seeded())
    found = [of_matrix(matrix, steps=240, transient=180, every=every).exponents for every in (1, 2, 3, 5, 10)]
    return Measured(exact(*values).log().repeat(5), torch.cat(found))


TO_ROUNDING = "rounding of a few dozen logs"
MAPS = (
    System("3-cycle of matrices", "eigenvalues of CBA", cycle, 1e-12, "misaligned by exp(-0.231 x 150) = 1e-15", "yes"),
    System("Lorenz-63, per unit time", "Lorenz 1963; Sprott 2003", lorenz, 0.1, "4 standard errors of 800 orbits", "yes"),
    System("Lorenz-63, sum", "divergence of the flow", lorenz_sum, 4e-4 * 41 / 3, "Runge-Kutta: z^4 / 120 relative, z = 0.46"),
    System("linear map", "eigenvalues", linear, 1e-12, "misaligned by (0.25 / 1.5)^40; " + TO_ROUNDING),
    System("driven linear map, 4 sequences", "eigenvalues", driven_linear, 1e-12, "misaligned by (0.3 / 0.9)^100"),
    *(
        System(f"{g:g} times orthogonal", "all log g", partial(scaled_rotation, g), 1e-13, "any basis grows alike; 12 eps a step")
        for g in (0.3, 1.0, 4.0)
    ),
    System("cat map", "Arnold and Avez 1968", cat, 1e-12, "misaligned by exp(-1.92 x 40) = 3e-34"),
    System("Henon map", "Henon 1976; Sprott 2003", henon, 0.0121, "4 standard errors of 500 orbits, and the printed digits"),
    System("Henon map, sum on each orbit", "log 0.3, the determinant", henon_sum, 1e-12, "rounding of 300 logs"),
    System("logistic map, r = 4", "log 2", chaotic_logistic, 0.0082, "4 standard errors: variance pi^2 / 12, 200,000 steps"),
    System("logistic map, r = 3.2", "multiplier 4 + 2 r - r^2", periodic_logistic, 1e-13, TO_ROUNDING),
    System("logistic map, r = 2", "slope 0 at the fixed point", superstable_logistic, 0.0, "exact"),
    System(
        "Gaussian products, N = 8, g = 1.3", "Newman 1986", gaussian_products, 0.06, "4 standard errors, variance psi'(n/2) / 4"
    ),
    *(
        System(
            f"x' = J tanh x, N = 200, g = {g:g}",
            "mean field, less 0.015 for N",
            partial(random_rates, g),
            0.045,
            "0.005, and 4 standard errors of 4 networks",
        )
        for g in oracles.MEAN_FIELD
    ),
    System("k = 1, 2, 5 of 6 exponents", "eigenvalues", fewer_exponents, 1e-12, "misaligned by (1.1 / 1.5)^180 = 6e-25"),
    System(
        "every 1, 2, 3, 5, 10 steps",
        "eigenvalues",
        rarer_orthonormalisation,
        100 * 2**-52 * 5**10,
        "100 eps times the first direction's lead over the last, (1.5 / 0.3)^10",
    ),
)
