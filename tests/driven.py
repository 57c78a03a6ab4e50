"""A cell of the folder, drawn in float64 and measured through the public function."""

from functools import partial

from draws import seeded

from pipeline import lyapunov_spectrum


def drawn(cell, seed=1):
    """Its parameters in float64."""
    return {name: p.double() for name, p in cell.init(seeded(seed)).items()}


def exponents(cell, params, inputs, state, *, transient=0):
    """(B, S), each row sorted from the largest."""
    step = partial(cell.step, cell.weights(params))
    return lyapunov_spectrum(step, inputs, state=state, transient=transient, every=1).per_sequence


def states(reference, params, inputs, state):
    """States (T, B, S) before each input, by the naive NumPy form: what a closed form is evaluated along."""
    params, state, path = {name: p.numpy() for name, p in params.items()}, state.numpy(), []
    for x in inputs.numpy():
        path.append(state)
        state = reference(params, state, x)
    return path
