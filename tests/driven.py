"""Helpers of the cells' tests: a cell in float64, and its exponents through the public function."""

from functools import partial

from draws import seeded

from pipeline import lyapunov_spectrum


def drawn(cell, seed=1):
    """The cell's initial parameters in float64."""
    return {name: p.double() for name, p in cell.init(seeded(seed)).items()}


def exponents(cell, params, inputs, state, *, transient=0):
    """(B, S) exponents per sequence, in the order of their means over the sequences."""
    step = partial(cell.step, cell.weights(params))
    return lyapunov_spectrum(step, inputs, state=state, transient=transient, every=1).per_sequence


def states(reference, params, inputs, state):
    """States (T, B, S) before each input, by the naive NumPy form; closed forms are evaluated along them."""
    params, state, path = {name: p.numpy() for name, p in params.items()}, state.numpy(), []
    for x in inputs.numpy():
        path.append(state)
        state = reference(params, state, x)
    return path
