"""The baselines of the benchmarks give right numbers, and the benchmarks run."""

import oracles
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from benchmarks import handwritten, naive
from pipeline import lyapunov_spectrum
from pipeline.spectrum.lyapunov import _random_basis

MODULES = [nn.RNN, nn.LSTM, nn.GRU]
STEPS, TRANSIENT, SEQUENCES, INPUTS, HIDDEN = 12, 4, 3, 2, 5


def noise(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def module_of(kind, seed=3):
    """A float64 module with weights uniform(-.6, .6), drawn from a generator of its own."""
    module = kind(INPUTS, HIDDEN).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6, generator=torch.Generator().manual_seed(seed + parameter.numel()))
    return module


def state_size(module):
    return HIDDEN * (2 if isinstance(module, nn.LSTM) else 1)


def tolerance(exponents):
    """What rounding may do to exponents (..., k) here.

    A Householder QR is the exact one of a matrix that is off by some S eps of its norm, which turns a direction's growth
    by that times the ratio of the largest growth of the step to its own; the product over the steps of a path moves the
    later directions by as much again for every step that it is long. With the ratio of a typical step e^(l_1 - l_k), a
    hundredfold allowance for steps that are worse, T steps and S at most 2 H: T 100 2 H eps e^(l_1 - l_k).
    """
    spread = (exponents.max() - exponents.min()).exp()
    return float(STEPS * 100 * 2 * HIDDEN * torch.finfo(torch.float64).eps * spread)


@pytest.mark.parametrize("count", [2, None])
@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("baseline", [naive, handwritten])
def test_a_baseline_has_the_exponents_of_the_engine_and_of_whole_jacobians(baseline, kind, count):
    module, inputs = module_of(kind), noise(STEPS, SEQUENCES, INPUTS)
    size = state_size(module)
    count = count or size
    basis = _random_basis(size, count, inputs).T
    found = baseline.exponents(module, inputs, count, TRANSIENT, basis=basis)
    step, state = oracles.one_step(module), torch.zeros(size, dtype=torch.float64)
    dense = [oracles.dense_spectrum(step, state, s, basis, transient=TRANSIENT) for s in inputs.unbind(1)]
    allowed = tolerance(torch.stack(dense))
    assert allowed < 1e-6  # the systems are tame enough for the comparison to see a wrong factor of any gate
    assert_close(found, torch.stack(dense).detach(), rtol=0, atol=allowed)
    engine = lyapunov_spectrum(module, inputs, count=count, transient=TRANSIENT, every=1)
    order = found.mean(0).argsort(descending=True)
    assert_close(found[:, order], engine.per_sequence, rtol=0, atol=allowed)


@pytest.mark.parametrize("kind", MODULES)
def test_the_handwritten_loop_gives_each_of_many_networks_its_own(kind):
    modules, inputs = [module_of(kind, seed) for seed in (3, 4)], noise(STEPS, SEQUENCES, INPUTS)
    found = handwritten.exponents_of_all(modules, inputs, 3, TRANSIENT)
    for module, own in zip(modules, found, strict=True):
        expected = naive.exponents(module, inputs, 3, TRANSIENT)
        assert_close(own, expected, rtol=0, atol=tolerance(expected))


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bias": False}, {"bidirectional": True}, {"nonlinearity": "relu"}])
def test_the_handwritten_loop_refuses_what_its_formulas_do_not_cover(options):
    with pytest.raises(ValueError, match="should"):
        handwritten.exponents(nn.RNN(INPUTS, HIDDEN, **options), noise(STEPS, SEQUENCES, INPUTS), 2, 0)
