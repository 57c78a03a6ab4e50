"""LEM: parity, and the sum of its exponents, which depends on y reading the new z."""

import numpy as np
import torch
from draws import exact, noise
from driven import drawn, exponents, states
from torch.testing import assert_close

from pipeline.cells.lem import LEM


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gate(params, number, x, other):
    rows = slice(number * len(params["bias_ih"]) // 4, (number + 1) * len(params["bias_ih"]) // 4)
    weights, biases = (params[f"weight_{side}"][rows] for side in ("ih", "hh")), params["bias_ih"][rows] + params["bias_hh"][rows]
    return sum(v @ w.T for v, w in zip((x, other), weights, strict=True)) + biases


def reference(params, state, x):
    y, z = np.split(state, 2, axis=1)
    z_step, y_step = sigmoid(gate(params, 0, x, y)), sigmoid(gate(params, 1, x, y))
    z = (1 - z_step) * z + z_step * np.tanh(gate(params, 2, x, y))
    y = (1 - y_step) * y + y_step * np.tanh(gate(params, 3, x, z))
    return np.hstack([y, z])


def test_sum_of_the_exponents_is_that_of_two_triangular_steps():
    """First z contributes diag(1 - dz), then y at the new z contributes diag(1 - dy) + diag(dy (1 - dy) (tanh - y)) U_dy."""
    cell = LEM(2, 3, 1.5)
    params, inputs, state = drawn(cell), noise(30, 2, 2), noise(2, 6)
    numbers, logs = {name: p.numpy() for name, p in params.items()}, []
    for x, before in zip(inputs.numpy(), states(reference, params, inputs, state), strict=True):
        y = before[:, :3]
        z = reference(numbers, before, x)[:, 3:]
        z_step, y_step, target = sigmoid(gate(numbers, 0, x, y)), sigmoid(gate(numbers, 1, x, y)), np.tanh(gate(numbers, 3, x, z))
        slopes = y_step * (1 - y_step) * (target - y)
        turn = np.eye(3) * (1 - y_step)[:, None, :] + slopes[:, :, None] * numbers["weight_hh"][3:6]
        logs.append(np.log(1 - z_step).sum(1) + np.linalg.slogdet(turn)[1])
    found = exponents(cell, params, inputs, state).sum(1)
    # rounding of 6 * 30 logs, times the spread of the growth in one step
    assert_close(found, torch.from_numpy(np.mean(logs, axis=0)), rtol=0, atol=1e-11)


def test_y_reads_the_new_z():
    """With fully open gates, z jumps to its target within the step, and y becomes the tanh of that, whatever z was before."""
    cell = LEM(1, 1)
    params = {name: torch.zeros_like(p) for name, p in drawn(cell).items()}
    params |= {"bias_ih": exact(50, 50, 0.7, 0), "weight_hh": exact(0, 0, 0, 2)[:, None]}
    found = cell.step(params, exact(-0.4, 0.9)[None], exact(0.0)[None])
    z = np.tanh(0.7)
    assert_close(found, exact(np.tanh(2 * z), z)[None], rtol=0, atol=1e-15)  # sigmoid(50) is 1 to 2e-22
    assert cell.output(found).item() == found[0, 0].item()


def test_without_weights_both_states_decay_by_the_gates_at_a_half():
    cell = LEM(2, 2, step_size=0.6)
    params = {name: torch.zeros_like(p) for name, p in drawn(cell).items()}
    found = exponents(cell, params, noise(20, 1, 2), noise(1, 4))
    assert_close(found, exact(0.7).log().expand(1, 4), rtol=0, atol=1e-13)  # 1 - 0.6 sigmoid(0); all directions shrink alike
