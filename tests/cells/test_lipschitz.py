"""Lipschitz network: parity, and its spectrum at the origin."""

import numpy as np
import pytest
import torch
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.lipschitz import LipschitzRNN


def mixed(free, skew=0.7, diffusion=0.001):
    return skew * (free - free.T) + (1 - skew) * (free + free.T) - diffusion * np.eye(len(free))


def reference(params, state, x):
    total = state @ mixed(params["weight_hh"]).T + x @ params["weight_ih"].T + params["bias"]
    return state + 0.05 * (state @ mixed(params["weight_linear"]).T + np.tanh(total))


@pytest.mark.parametrize("skew", [0.0, 1.0])  # symmetric or antisymmetric, hence normal: all directions of a plane grow alike
def test_spectrum_at_the_origin_is_that_of_an_euler_step_of_both_linear_parts(skew):
    cell = LipschitzRNN(2, 4, 1.0, step_size=0.5, skew=skew, diffusion=0.1)
    params = drawn(cell, seed=10) | {"bias": torch.zeros(4).double()}
    both = sum(mixed(params[name].numpy(), skew, 0.1) for name in ("weight_hh", "weight_linear"))
    moduli = np.sort(np.abs(1 + 0.5 * np.linalg.eigvals(both)))[::-1]
    ratios = moduli[:-1] / moduli[1:]
    assert ratios[ratios > 1 + 1e-12].min() > 2
    found = exponents(cell, params, torch.zeros(80, 1, 2), torch.zeros(1, 4).double(), transient=60)
    # misaligned by 2^-60 = 9e-19; rounding of 20 logs
    assert_close(found[0], torch.from_numpy(np.log(moduli)), rtol=0, atol=1e-13)
