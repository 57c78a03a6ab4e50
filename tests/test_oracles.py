"""Every system with known exponents, and deliberately wrong references; nats per step unless stated otherwise."""

import math
from pathlib import Path

import oracles
import pytest
import torch
from draws import exact, noise
from maps import cycle, lorenz, on_the_lorenz_attractor
from oracles import Measured, System
from systems import SYSTEMS, row
from torch.testing import assert_close

from pipeline import lyapunov_spectrum

PAGE = Path(__file__).parent.parent / "docs/oracles.md"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.name)
def test_system_has_its_exponents(system):
    measured = system.measure()
    assert measured.exact.shape == measured.found.shape
    allowed = measured.errors.new_tensor(system.tolerance) if measured.allowed is None else measured.allowed
    assert (allowed <= system.tolerance).all(), allowed
    assert (measured.errors <= allowed).all(), (measured.exact, measured.found)


def test_closed_forms_have_the_published_digits():
    assert_close(cycle().exact, exact(0.2310491, 0.0), rtol=0, atol=1e-7)
    assert math.log((3 + 5**0.5) / 2) == pytest.approx(0.9624237, abs=1e-7)
    assert pytest.approx(-0.916291, abs=1e-6) == oracles.LOGISTIC_CYCLE


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_first_exponent_is_the_growth_of_the_distance_of_two_nearby_henon_orbits(gain):
    start = oracles.settled(oracles.henon_step, 0.1 * noise(100, 2), 200)
    spectrum = lyapunov_spectrum(oracles.henon_step, torch.zeros(30, 100, 1), state=start, transient=15, count=1)
    offset = 1e-11 * gain * noise(100, 2, seed=7)
    distances = []
    near = start + offset
    for _ in range(30):
        start, near = oracles.henon_step(start, None), oracles.henon_step(near, None)
        distances.append((near - start).norm(dim=-1))
    grown = (distances[-1] / distances[14]).log() / 15
    # alignment exp(-2.04 * 15) = 5e-14 and second order 3e-11 exp(0.42 * 30) = 1e-5 in the mean, a hundred times more
    # on the most unstable orbits; rounding 1e-16 / 1e-11, magnified as the distance shrinks on the way
    assert_close(grown.median(), spectrum.per_sequence[:, 0].median(), rtol=0, atol=1e-4)
    assert (grown - spectrum.per_sequence[:, 0]).abs().median() < 1e-4


# Products in the wrong order


def test_wrong_order_gives_the_cycle_two_equal_exponents():
    steps = 300
    matrices = torch.stack([oracles.CYCLE[t % 3].reshape(1, 4) for t in range(steps)])
    start = torch.zeros(1, 2, dtype=torch.float64)
    wrong = oracles.wrong_order_spectra(lambda s, x: x.reshape(2, 2) @ s, start, matrices, transient=0)[0]
    a, b, c = oracles.CYCLE
    values, vectors = torch.linalg.eig((a @ b @ c).mT)
    assert_close(values.abs().log() / 3, exact(1, 1) * math.log(2) / 6, rtol=0, atol=1e-12)  # a complex pair, det = 2
    # the growth of a vector after n cycles is |eigenvalue|^n, up to the condition number of the eigenvectors
    within = math.log(torch.linalg.cond(vectors).item()) / steps
    assert within < 0.01
    assert_close(wrong, exact(0.1155, 0.1155), rtol=0, atol=within + 5e-5)
    right = cycle().found
    assert wrong.sum().item() == pytest.approx(right.sum().item(), abs=1e-12)  # the sum does not depend on the order
    assert (wrong - right).abs().min() > 0.1


def test_wrong_order_gives_lorenz_exponents_outside_the_tolerance():
    start = on_the_lorenz_attractor()[::2]
    wrong = oracles.wrong_order_spectra(oracles.lorenz_step, start, torch.zeros(550, 400, 1), transient=400) / oracles.LORENZ_STEP
    measured = lorenz()
    beyond = 4 * wrong.std(0) / 400**0.5 + measured.allowed  # 4 standard errors of either
    off = wrong.mean(0) - measured.exact
    assert off[0] < -beyond[0]
    assert off[1] > beyond[1]


# The page


def test_page_of_the_docs_lists_every_system():
    lines = PAGE.read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:] == [f"| {s.name}" for s in SYSTEMS]


def test_row_shows_exact_and_measured_exponents_and_the_error():
    measured = Measured(exact(1.5, 1.0, 0.5, -math.inf), exact(1.5, 1.25, 0.5, -math.inf))
    line = row(System("some map", "by |det|", lambda: measured, 0.5, "a guess", "yes"))
    assert line == (
        "| some map | 1.5, 1 ... -inf (4) | 1.5, 1.25 ... -inf (4) | 2.5e-01 | 5.0e-01: a guess | yes | by \\|det\\| |"
    )
