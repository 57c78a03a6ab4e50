"""The fast network against its equations in NumPy."""

import numpy as np
import torch
from torch.testing import assert_close

from pipeline import lyapunov_spectrum
from pipeline.cells.fastrnn import FastRNN


def reference(params, state, x):
    a, c = (1 / (1 + np.exp(-params[n])) for n in ("new", "old"))
    return a * np.tanh(x @ params["weight_ih"].T + params["bias"] + state @ params["weight_hh"].T) + c * state


def test_without_recurrent_weights_every_direction_shrinks_by_the_share_that_is_kept():
    cell = FastRNN(2, 3, 0.5)
    params = {n: p.double() for n, p in cell.init(torch.Generator().manual_seed(1)).items()}
    params["weight_hh"] = torch.zeros(3, 3, dtype=torch.float64)
    inputs = torch.randn(20, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = lyapunov_spectrum(lambda s, x: cell.step(params, s, x), inputs, state=inputs.new_zeros(2, 3), every=1).exponents
    expected = params["old"].sigmoid().log().expand(3)
    assert_close(found, expected, rtol=0, atol=1e-14)  # the mean of 20 logs near .05


def test_it_starts_near_the_identity():
    params = FastRNN(2, 3).init(torch.Generator().manual_seed(1))
    assert_close(
        params["new"].sigmoid() + params["old"].sigmoid(), torch.ones(1), rtol=0, atol=1e-7
    )  # sigmoid(-s) = 1 - sigmoid(s)
    assert 0.95 < params["old"].sigmoid() < 0.96
