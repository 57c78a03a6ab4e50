"""The small form of the Lyapunov-exponent paper: right and earlier ways of measuring, and what trained networks show."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pipeline.core.cards import Estimate
from replications import _lyapunov_evidence as evidence
from replications import _lyapunov_networks as ways
from replications import lyapunov_paper as paper
from replications._harness import Outcome, prose

pytestmark = pytest.mark.slow

CYCLE = [[[2.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [3.0, 1.0]], [[0.0, -1.0], [1.0, 0.5]]]  # applied in this order


@pytest.fixture(scope="module")
def networks():
    """Four small networks trained on characters for one epoch, by cell and p."""
    return {(n.point.cell, n.point.init_scale): n for n in ways.networks(ways.characters(small=True))}


@pytest.mark.parametrize("turned", [False, True])
def test_product_in_either_order_has_the_log_moduli_of_its_own_eigenvalues(turned):
    cycle = torch.tensor(CYCLE, dtype=torch.float64)
    a, b, c = cycle
    along = cycle.repeat(60, 1, 1)[:, None]
    found = ways.of_product(along.mT if turned else along, transient=90).sort(descending=True).values[0]
    product = a @ b @ c if turned else c @ b @ a
    exact = torch.linalg.eigvals(product).abs().log().sort(descending=True).values / 3
    # Right order: eigenvalues 2 and 1; the 30 cycles of the transient leave an angle of 2 ** -30, shared by 90 counted steps.
    # Wrong order: a complex pair; the exponents oscillate with its angle, by log(condition) / 90 < 0.03 after the same steps.
    assert_close(found, exact, rtol=0, atol=0.03 if turned else 1e-10)
    assert found.sum() == pytest.approx(math.log(2) / 3, abs=1e-12)  # the determinants' product is 2


def test_wrong_order_keeps_the_sum_of_all_exponents(networks):
    for network in networks.values():
        right, turned = network.spectra["final"], network.other["reversed"]
        assert right.sum() == pytest.approx(turned.sum(), abs=1e-6 * len(right))  # both are the mean of log abs det J


def test_lstm_without_its_cell_state_seems_to_forget_at_once(networks):
    """Before training, over four seeds, it was 1.7 to 2.2 nats per step lower for p = 0.2 and 0.4 to 0.9 for p = 1.6."""
    for p, margin in ((0.2, 1.0), (1.6, 0.2)):
        network = networks["lstm", p]
        assert network.largest - network.other["h alone"][0] > margin
        assert len(network.spectra["final"]) == 2 * len(network.other["h alone"])


def test_wider_start_lifts_the_largest_exponent_of_a_gru(networks):
    """By 0.23 to 0.52 nats per step over four seeds; that of the LSTM fell for one of four seeds at this size."""
    narrow, wide = (networks["gru", p].spectra["initial"][0] for p in (0.2, 1.6))
    assert wide - narrow > 0.1


def test_jacobians_are_those_of_the_step():
    matrix = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = ways.jacobians(lambda s, x: (s @ matrix.T + x).tanh(), inputs, 3)
    state = torch.zeros(2, 3, dtype=torch.float64)
    for x, jacobian in zip(inputs, found, strict=True):
        state = (state @ matrix.T + x).tanh()
        assert_close(jacobian, (1 - state**2)[..., None] * matrix)


def test_stretched_spectrum_keeps_its_ends_and_a_straight_line():
    line = np.linspace(-1, -3, 8)
    assert evidence.stretched(line) == pytest.approx(np.linspace(-1, -3, evidence.LENGTH))


def test_copies_are_of_networks_that_were_not_lost():
    features, losses = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    lost = np.array([False, True, False, False, True, False])
    copied, copied_losses = evidence.with_copies(features, losses, lost)
    assert (copied[~lost] == features[~lost]).all()
    assert set(copied_losses) <= {0.0, 2.0, 3.0, 5.0}
    assert (copied == features[copied_losses.astype(int)]).all()


def test_r2_of_perfect_and_constant_answers_and_their_difference():
    losses = np.array([1.0, 2.0, 4.0, 5.0])
    perfect, constant = np.array([losses, losses]), np.full((2, 4), losses.mean())
    assert evidence.judged(perfect, losses) == Estimate(1, 1, 1)
    assert evidence.judged(constant, losses).value == pytest.approx(0)
    assert evidence.judged(perfect, losses, constant).value == pytest.approx(1)


@pytest.fixture(scope="module")
def outcome(networks):
    known, real = {n.point: n for n in networks.values()}, paper.networks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "networks", lambda points: [known[p] if p in known else next(real([p])) for p in points])
        return paper.run(small=True)


def test_small_form_says_what_was_measured(outcome):
    assert any("h alone" in row.what for row in outcome.rows)
    assert prose("lyapunov_paper", outcome)["summary"].startswith("Without c, an LSTM seems to forget in ")


def test_the_prose_of_the_full_form_needs_exactly_the_figures_that_are_judged(outcome, networks, monkeypatch):
    monkeypatch.setattr(evidence, "out_of_fold", lambda model, features, losses: np.array([losses]))
    monkeypatch.setattr(evidence, "WIDEST", np.inf)
    r2 = evidence.judge(list(networks.values()))
    written = prose("lyapunov_paper", Outcome(outcome.rows, {**outcome.facts, "r2": r2}))
    assert "| R2 1.00 (1.00 to 1.00) | cell, size and hyper-parameters" in written["discussion"]
