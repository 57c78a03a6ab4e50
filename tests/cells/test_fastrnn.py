"""The fast network against its equations in NumPy."""

import numpy as np
import torch
from draws import noise, seeded
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.fastrnn import FastRNN


def reference(params, state, x):
    a, c = (1 / (1 + np.exp(-params[n])) for n in ("new", "old"))
    return a * np.tanh(x @ params["weight_ih"].T + params["bias"] + state @ params["weight_hh"].T) + c * state


def test_without_recurrent_weights_every_direction_shrinks_by_the_share_that_is_kept():
    cell = FastRNN(2, 3, 0.5)
    params = drawn(cell) | {"weight_hh": torch.zeros(3, 3, dtype=torch.float64)}
    found = exponents(cell, params, noise(20, 2, 2), torch.zeros(2, 3).double())
    expected = params["old"].sigmoid().log().expand(2, 3)
    assert_close(found, expected, rtol=0, atol=1e-14)  # the mean of 20 logs near 0.05


def test_it_starts_near_the_identity():
    params = FastRNN(2, 3).init(seeded())
    assert_close(
        params["new"].sigmoid() + params["old"].sigmoid(), torch.ones(1), rtol=0, atol=1e-7
    )  # sigmoid(-s) = 1 - sigmoid(s)
    assert 0.95 < params["old"].sigmoid() < 0.96
