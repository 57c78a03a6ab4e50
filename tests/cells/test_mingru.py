"""The minGRU: parity, and the exponent of each unit."""

import numpy as np
import torch
from draws import exact, noise
from driven import drawn, exponents
from torch.testing import assert_close

from pipeline.cells.mingru import MinGRU


def reference(params, state, x):
    z, n = np.split(x @ params["weight_ih"].T + params["bias"], 2, axis=1)
    z = 1 / (1 + np.exp(-z))
    return (1 - z) * state + z * n


def test_exponents_are_the_means_of_the_log_share_kept():
    cell = MinGRU(2, 3, 0.3)
    params = drawn(cell) | {"bias": exact(-4, -1, 1, 0, 0, 0)}
    inputs = noise(250, 4, 2)
    totals = inputs.numpy() @ params["weight_ih"][:3].numpy().T + params["bias"][:3].numpy()
    logs = -np.log1p(np.exp(totals))[200:].mean(0)  # log(1 - sigmoid)
    assert np.diff(np.sort(logs)).min() > 0.2  # so that 200 steps align the directions to exp(-40)
    found = exponents(cell, params, inputs, noise(4, 3), transient=200)
    assert_close(found, torch.from_numpy(-np.sort(-logs)), rtol=0, atol=1e-13)  # rounding of 50 logs
