"""The engine of all spectra: derivatives, intervals, rounding, chunks and blocks; nats per step."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate, pairwise

import oracles
import pytest
import torch
from draws import exact, noise, seeded
from oracles import reference_exponents
from torch.testing import assert_close

from pipeline import cells, lyapunov_spectrum
from pipeline.cells import Stack
from pipeline.cells.base import weigh
from pipeline.core.errors import ModuleError
from pipeline.spectrum import adaptive, engine, growth
from pipeline.spectrum.adaptive import Trajectories
from pipeline.spectrum.engine import ACCURACY
from pipeline.spectrum.estimate import BATCHES
from pipeline.spectrum.reorthonormalise import PANEL
from pipeline.spectrum.tangent import Tangent

BY_HAND = [name for name in cells.names() if cells.get(name).by_hand]
EPS = torch.finfo(torch.float64).eps
ALWAYS, NEVER = 0, 10**9  # for `weigh.MANY`: mix the gates' weights for any number of deviations, or for none


class Matrix:
    """The map state' = A state + x, with its derivative by hand; parameters A (M, S, S)."""

    by_hand = True

    def step(self, weight, state, x):
        return state @ weight.T + x

    def linearise(self, weight, state, new, x):
        return state[..., :1]

    def push(self, weight, linear, deviations, out):
        torch.matmul(deviations, weight.mT[:, None], out=out)


class Given(Matrix):
    """The map state' = X state, where the input x is the matrix X of that step."""

    def step(self, params, state, x):
        return (x.unflatten(-1, (state.shape[-1], -1)) @ state[..., None])[..., 0]

    def linearise(self, params, state, new, x):
        return x.expand(len(state), -1, -1).unflatten(-1, (state.shape[-1], -1))

    def push(self, params, linear, deviations, out):
        torch.matmul(deviations, linear.mT, out=out)


def uniform(shape, scale, generator):
    return scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)


def networks(name, hidden, layers=1, *, scale=0.7, models=2, bias=True, seed=1, **options):
    """A stack with 2 inputs and the parameters of several networks, uniform(-scale, scale)."""
    stack = Stack(tuple(cells.get(name)(hidden if n else 2, hidden, **options) for n in range(layers)))
    generator = seeded(seed)
    params = [
        {n: uniform((models, *s), scale, generator) for n, s in cell.shapes().items() if bias or n.startswith("weight")}
        for cell in stack.cells
    ]
    return stack, params


def started(stack, models, sequences):
    return 0.3 * noise(models, sequences, stack.state_size, seed=7)


def derivatives_allowance(steps, size, logs):
    """The difference in exponents, or in a step's growth, that two correct derivatives may cause.

    An error of the Jacobian of some S eps of its norm changes the growth of a direction by that times e^(l_1 - l_k), the
    lead of the step's largest growth over its own, and the error that remains in the basis is carried on. The allowance is
    T 100 S eps e^(l_1 - l_k), as in tests/test_benchmarks.py, with the widest lead of all steps; `logs` is the growth of
    each step.
    """
    return steps * 100 * size * EPS * math.exp(logs.max() - logs.min())


def distance(found, expected):
    """Largest absolute difference; it is 0 for a direction that is lost in both."""
    return torch.where(found == expected, 0.0, (found - expected).abs()).max().item()


# Derivatives


@pytest.mark.parametrize("many", [ALWAYS, NEVER])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", BY_HAND)
def test_growth_by_hand_is_that_of_the_reference(name, layers, bias, many, monkeypatch):
    monkeypatch.setattr(weigh, "MANY", many)
    stack, params = networks(name, 3, layers, models=3, bias=bias)
    size, inputs, state = stack.state_size, noise(6, 2, 2), started(stack, 3, 2)
    for count in (2, size):
        found = growth(stack, params, state, inputs, count, transient=2, every=1).per_step
        allowed = derivatives_allowance(6, size, found)
        assert allowed < 1e-5  # tame enough to reveal any wrong factor
        expected = reference_exponents(stack, params, state, inputs, count, transient=2)
        assert_close(found.mean(0), expected, rtol=0, atol=allowed)


MIXED = [("lstm", "gru"), ("gru", "elman", "lstm"), ("elman", "leaky"), ("cornn", "lem"), ("indrnn", "lstm")]


@pytest.mark.parametrize("every", [1, 3, None])
@pytest.mark.parametrize("names", MIXED, ids="+".join)
def test_growth_of_a_stack_of_different_cells_is_that_of_the_reference(names, every):
    kinds = [cells.get(name) for name in names]
    stack = Stack(tuple(kind(4 if n else 2, 4, 0.5) for n, kind in enumerate(kinds)))
    params = [stacked([cell.init(seeded(10 * n + m)) for m in range(3)]) for n, cell in enumerate(stack.cells)]
    inputs, state = noise(26, 2, 2), started(stack, 3, 2)
    for count in (3, stack.state_size):
        found = growth(stack, params, state, inputs, count, transient=2, every=every)
        expected = reference_exponents(stack, params, state, inputs, count, transient=2)
        assert_agrees(found, expected, each=growth(stack, params, state, inputs, count, transient=2, every=1), every=every)


@pytest.mark.parametrize("every", [1, 3, None])
@pytest.mark.parametrize("name", cells.names())
def test_growth_of_every_cell_is_that_of_the_reference(name, every):
    cell = cells.get(name)(2, 5, 0.9)
    params = stacked([cell.weights(double(cell.init(seeded(m)))) for m in range(3)])
    inputs, state = noise(26, 2, 2), started(cell, 3, 2)
    for count in (2, cell.state_size):
        found = growth(cell, params, state, inputs, count, transient=2, every=every)
        expected = reference_exponents(cell, params, state, inputs, count, transient=2)
        assert_agrees(found, expected, each=growth(cell, params, state, inputs, count, transient=2, every=1), every=every)


def double(params):
    return {n: p.double() for n, p in params.items()}


def stacked(params):
    """Parameters (M, ...) in float64 of M networks."""
    return {n: torch.stack([p[n].double() for p in params]) for n in params[0]}


def assert_agrees(found, expected, *, each, every):
    """Compare growth with the exponents (M, B, k) of the reference; `each` is the growth with `every=1`.

    Only directions that are not lost are compared: the reference may give a finite number to one that is lost to rounding.
    """
    kept = each.per_step.isfinite().all(0)
    kept &= each.per_step.amax((0, -1), keepdim=True)[0] - each.per_step.amin(0) < 15  # the lead e^15 magnifies eps to 1e-9
    assert kept[..., :2].any()
    if every != 1:
        kept &= found.rounding_error < ACCURACY
    logs = each.per_step[:, kept]
    allowed = derivatives_allowance(26, expected.shape[-1], logs) + (0 if every == 1 else ACCURACY)
    assert_close(found.per_step.mean(0)[kept], expected[kept], rtol=0, atol=allowed)


@pytest.mark.parametrize("few", [8, None])  # with 8 deviations the gates' weights are multiplied in one way, with all in another
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", BY_HAND)
def test_growth_by_hand_is_that_of_the_automatic_derivative(name, layers, few):
    stack, params = networks(name, 50, layers, scale=0.15)
    assert_same_growth(stack, params, few or stack.state_size)


@pytest.mark.parametrize("layers", [1, 3])
def test_growth_of_relu_by_hand_is_that_of_the_automatic_derivative(layers):
    stack, params = networks("elman", 12, layers, nonlinearity="relu", models=3)
    assert_same_growth(stack, params, 3)  # the slope of half the units is 0: later directions are lost
    inputs, state = noise(6, 1, 2), started(stack, 3, 1)
    expected = reference_exponents(stack, params, state, inputs, 3, transient=2)
    found = growth(stack, params, state, inputs, 3, transient=2, every=1).per_step
    assert_close(found.mean(0), expected, rtol=0, atol=derivatives_allowance(6, stack.state_size, found))


def assert_same_growth(stack, params, count):
    inputs, state = noise(6, 2, 2), started(stack, len(params[0]["weight_hh"]), 2)
    hand, automatic = (growth(f, params, state, inputs, count, transient=1, every=1).per_step for f in (stack, stack.step))
    allowed = derivatives_allowance(6, stack.state_size, automatic)
    assert allowed < 1e-4
    assert automatic.isfinite().all()
    assert_close(hand, automatic, rtol=0, atol=allowed)


# Intervals that the engine chooses


@pytest.mark.parametrize("scale", [0.01, 0.2, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", BY_HAND)
def test_chosen_intervals_err_by_less_than_the_accuracy_and_about_what_is_reported(name, scale):
    stack, params = networks(name, 20, scale=scale)
    inputs, state = noise(70, 3, 2), started(stack, 2, 3)
    chosen, each = (growth(stack, params, state, inputs, stack.state_size, transient=10, every=e) for e in (None, 1))
    error = distance(chosen.per_step.mean((0, 2)), each.per_step.mean((0, 2)))
    reported = chosen.rounding_error.mean(1).max().item()
    assert error < ACCURACY
    assert error < 10 * max(reported, 1e-12)  # below that, rounding of the logarithms dominates: 60 eps of numbers up to 20
    assert reported < ACCURACY or error == 0  # if the error is larger even at every=1, no longer interval is tried


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 1.5])
def test_sum_of_elmans_exponents_misses_the_determinant_by_what_is_reported(scale, every):
    stack, (params,) = networks("elman", 24, scale=scale)
    inputs, state = noise(60, 2, 2), started(stack, 2, 2)
    found = growth(stack, [params], state, inputs, 24, transient=0, every=every)
    logs = []
    for x in inputs:  # log slope = log sech^2, without cancellation even for saturated units
        total = state @ params["weight_hh"].mT + x @ params["weight_ih"].mT + (params["bias_ih"] + params["bias_hh"])[:, None]
        state = total.tanh()
        logs.append(2 * (math.log(2) - total.abs() - torch.log1p((-2 * total.abs()).exp())).sum(-1))
    expected = torch.stack(logs).mean(0) + params["weight_hh"].slogdet().logabsdet[:, None]
    error = (found.per_step.mean(0).sum(-1) - expected).abs().max().item()
    assert error < 10 * max(found.rounding_error.max().item(), 1e-12)


def spread_out(*groups):
    """A matrix in a basis that is far from orthonormal, and its log moduli; each group (from, to, number) is evenly spaced."""
    logs = torch.cat([torch.linspace(a, b, n, dtype=torch.float64) for a, b, n in groups])
    basis = torch.eye(len(logs)).double() + 0.3 * noise(len(logs), len(logs), seed=11) / len(logs) ** 0.5
    return basis @ logs.exp().diag() @ basis.inverse(), logs


@pytest.mark.parametrize("every", [None, 1, 3, 4, 5, 6, 8])
@pytest.mark.parametrize(
    "groups",
    [
        [(0, -3, 38), (-5.4, -7, 2)],  # before the loss of orthogonality was tracked, every=5 was off by 1 nat (reported: 7e-6)
        [(0, -5.4, 39), (-7, -7, 1)],  # likewise, every=4 was off by 0.8 (reported: 8e-8)
        [(0, -0.5, 20), (-3.2, -3.2, 12), (-6.4, -6.4, 8)],
        [(0, -1, 68), (-4, -6, 2)],
    ],
)
def test_directions_far_below_the_others_do_not_drift_unreported(groups, every):
    matrix, logs = spread_out(*groups)
    size = len(logs)
    assert size > PANEL  # the last rows are orthogonalised against the first by products, not within one Cholesky factor
    zeros = torch.zeros(120, 1, size, dtype=torch.float64)
    found = growth(Matrix(), matrix[None], zeros[None, 0], zeros, size, transient=40, every=every)
    number = groups[0][2]
    # directions of the first group are still aligning; their sum has converged to within e^(-0.9 * 40) = 2e-16
    errors = torch.stack(
        [f.sum() - t.sum() for f, t in zip(*(v.tensor_split([number]) for v in (mean_of(found), logs)), strict=True)]
    )
    reported = found.rounding_error.max().item()
    assert errors.abs().max() <= 10 * (size - number) * max(reported, 1e-12)
    if every is None:
        assert reported < ACCURACY
        assert errors.abs().max() < ACCURACY


def mean_of(found):
    """The exponents (k,) of the first network and sequence."""
    return found.per_step.mean(0)[0, 0]


@pytest.mark.parametrize("factor", [1e-30, 1e-4, 1e19, 1e30])
def test_growth_that_would_overflow_within_an_interval_shortens_it(factor):
    # 16 factors of 1e30 exceed the largest float64, 1e308; 16 factors of 1e-30 are below the smallest
    zeros = torch.zeros(400, 1, 1, dtype=torch.float64)
    found = growth(lambda _, s, x: factor * s, [], zeros[:1], zeros, 1, transient=0)
    assert_close(mean_of(found), exact(factor).log(), rtol=0, atol=1e-12)  # rounding of 400 logs of numbers up to e^500


def test_block_that_is_done_again_leaves_no_trace(monkeypatch):
    # mild matrices let the interval grow; from step 40 on, the last direction falls behind by 7 nats per step
    mild, steep = (oracles.symmetric(v, seeded()) for v in ([1.2, 1.0, 0.8, 0.6], [1.2, 1.0, 0.8, 1e-3]))
    inputs = torch.stack([mild] * 40 + [steep] * 40 + [mild] * 20).flatten(1)[:, None]
    tried, attempt = [], Trajectories._attempt

    def noted(self, linear, alive, *, repair):
        tried.append((len(tried) and tried[-1][1] is linear, linear, self.every))
        return attempt(self, linear, alive, repair=repair)

    state = torch.ones(1, 1, 4, dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(Trajectories, "_attempt", noted)
        found = growth(Given(), [], state, inputs, 4, transient=0).per_step
    assert any(again for again, _, _ in tried)
    held = iter([every for n, (_, _, every) in enumerate(tried) if n + 1 == len(tried) or not tried[n + 1][0]])

    def at_once(self, linear, alive):
        self.every = next(held)
        return attempt(self, linear, alive, repair=True)

    monkeypatch.setattr(Trajectories, "_accurate_attempt", at_once)
    assert torch.equal(growth(Given(), [], state, inputs, 4, transient=0).per_step, found)


# Lost directions and sequences that diverge


def test_outputs_of_an_lstm_without_weights_are_lost_and_its_cells_halve():
    for layers in (1, 2):
        stack, params = networks("lstm", 4, layers, scale=0.0)
        size = stack.state_size
        state = torch.zeros(2, 3, size, dtype=torch.float64)
        found = growth(stack, params, state, noise(40, 3, 2), size, transient=5).per_step.mean(0)
        expected = exact(*[math.log(0.5)] * (size // 2), *[-math.inf] * (size // 2)).expand_as(found)
        # at zero, c' = c / 2 and h' = tanh(c') / 2, so that whole rows are multiplied by 1/2: rounding of 35 logs
        assert_close(found, expected, rtol=0, atol=1e-13)


def test_what_a_singular_matrix_loses_is_lost_and_the_rest_and_other_networks_are_right():
    values = [1.3, 0.7, 0.3], [1.2, 0.9, 0.5, 0.2, 0.1]
    singular = torch.zeros(5, 5, dtype=torch.float64)  # a block and two more columns: nothing is rounded to a number near 0
    singular[:3] = torch.cat([oracles.symmetric(values[0], seeded()), noise(3, 2)], dim=1)
    matrices = torch.stack([singular, oracles.symmetric(values[1], seeded())])
    zeros = torch.zeros(160, 2, 5, dtype=torch.float64)
    found = growth(Matrix(), matrices, zeros[:2], zeros, 5, transient=80).per_step.mean(0)
    assert found[0, :, 3:].eq(-math.inf).all()
    assert_close(found[0, :, :3], exact(*values[0]).log().expand(2, 3), rtol=0, atol=1e-12)  # aligned by (0.7/1.3)^80 = 3e-22
    assert_close(found[1], exact(*values[1]).log().expand(2, 5), rtol=0, atol=ACCURACY)


@pytest.mark.parametrize("every", [None, 1])
def test_sequence_that_diverges_is_nan_from_there_on_and_touches_no_other(every):
    step = lambda w, s, x: (s @ w.T).pow(3) + x  # noqa: E731 - explodes beyond 1, contracts below
    weight, inputs = oracles.rotation(3, seeded())[None], 0.3 * noise(60, 3, 3)
    calm = 0.1 * noise(1, 3, 3)
    wild = calm.clone()
    wild[:, 1] = 1e3
    found, undisturbed = (growth(step, weight, s, inputs, 3, transient=0, every=every).per_step for s in (wild, calm))
    state, finite = wild[0, 1], 0
    for x in inputs[:, 1]:
        state = step(weight[0], state, x)
        finite += int(state.isfinite().all())
    assert 0 < finite < 10  # 1e3, cubed repeatedly, exceeds 1e308 at the fifth step
    assert found[finite:, 0, 1].isnan().all()
    assert not found[:finite, 0, 1].isnan().any()
    assert undisturbed.isfinite().all()
    others, alone = found[:, 0, [0, 2]], undisturbed[:, 0, [0, 2]]
    assert distance(others.mean(0), alone.mean(0)) <= (0 if every == 1 else ACCURACY)


# Single precision


@pytest.mark.parametrize("name", BY_HAND)
def test_rounding_error_of_single_precision_is_large_and_about_right(name):
    stack, params = networks(name, 16, scale=0.8)
    inputs, state = noise(70, 3, 2).float(), started(stack, 2, 3).float()
    coarse = [{n: p.float() for n, p in layer.items()} for layer in params]
    fine = [{n: p.double() for n, p in layer.items()} for layer in coarse]
    truth = growth(stack, fine, state.double(), inputs.double(), stack.state_size, transient=10, every=1).per_step.mean((0, 2))
    for every in (None, 1):
        found = growth(stack, coarse, state, inputs, stack.state_size, transient=10, every=every)
        error = distance(found.per_step.double().mean((0, 2)), truth)
        reported = found.rounding_error.mean(1).max().item()
        assert 1e-6 < error < 1e-2  # 60 steps of 2^-24, magnified: large enough to be visible
        assert error / 10 < reported < 300 * error


# Chunks and threads


@pytest.mark.parametrize("chunk_bytes", [1, 2**10, 2**30])  # one trajectory, three trajectories, one chunk per thread
@pytest.mark.parametrize(("models", "sequences"), [(1, 5), (3, 4), (5, 1)])
@pytest.mark.usefixtures("two_threads")
def test_results_do_not_depend_on_how_the_ensemble_is_cut(models, sequences, chunk_bytes, monkeypatch):
    stack, params = networks("gru", 6, models=models)
    arguments = (stack, params, started(stack, models, sequences), noise(20, sequences, 2), 6)
    whole, whole_adapted = (growth(*arguments, transient=4, every=e).per_step for e in (1, None))  # too small for threads
    monkeypatch.setattr(engine, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(engine, "SERIAL_BELOW", 0)
    cut, cut_adapted = (growth(*arguments, transient=4, every=e).per_step for e in (1, None))
    # products of other shapes may be rounded in another order, with the effect of two different derivatives
    assert_close(cut, whole, rtol=0, atol=derivatives_allowance(20, 6, whole))
    assert distance(cut_adapted.mean(0), whole_adapted.mean(0)) < 2 * ACCURACY  # each chunk chooses its own intervals


@pytest.mark.parametrize("rows", range(1, 14))
@pytest.mark.parametrize(("models", "sequences"), [(1, 1), (1, 7), (4, 3), (6, 2), (5, 1)])
def test_chunks_contain_each_network_and_sequence_once_and_are_not_larger_than_requested(models, sequences, rows):
    taken = torch.zeros(models, sequences)
    for m, b in engine._cut(models, sequences, rows):
        taken[m, b] += 1
        assert taken[m, b].numel() <= rows
    assert taken.eq(1).all()


class Broken(Matrix):
    """A map that fails in the derivative, which every chunk computes first in its thread."""

    def linearise(self, weight, state, new, x):
        raise ZeroDivisionError


class Counting(Matrix):
    """A map that records the number of torch threads when deviations are pushed."""

    def __init__(self):
        self.seen = set()

    def push(self, weight, linear, deviations, out):
        self.seen.add(torch.get_num_threads())
        super().push(weight, linear, deviations, out)


@pytest.mark.parametrize("serial", [0, 2**40])
@pytest.mark.filterwarnings("ignore:the deviations of exponent")  # which do not align in ten steps
@pytest.mark.usefixtures("two_threads")
def test_torch_has_its_threads_again_afterwards_also_after_a_failure(serial, monkeypatch):
    monkeypatch.setattr(engine, "SERIAL_BELOW", serial)
    weights, zeros, counting = noise(3, 4, 4), torch.zeros(10, 2, 4, dtype=torch.float64), Counting()
    growth(counting, weights, zeros[:3], zeros, 4, transient=2)
    assert counting.seen == {1}
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        growth(Broken(), weights, zeros[:3], zeros, 4, transient=2)
    assert torch.get_num_threads() == 2
    lyapunov_spectrum(torch.nn.GRU(2, 3), noise(10, 2, 2))
    assert torch.get_num_threads() == 2
    with pytest.raises(ModuleError):
        lyapunov_spectrum(lambda s, x: s / (1 // 0), noise(10, 2, 2), state=zeros[0])
    assert torch.get_num_threads() == 2


class Meeting(Matrix):
    """A map at whose first derivative in each of several threads all of them wait for one another."""

    def __init__(self, threads):
        self.barrier, self.own = threading.Barrier(threads, timeout=60), threading.local()

    def linearise(self, weight, state, new, x):
        if not hasattr(self.own, "met"):
            self.own.met = True
            self.barrier.wait()
        return super().linearise(weight, state, new, x)


def give_this_thread(number):
    """Set its number of torch threads; the first question for it would overwrite an answer that was set before."""
    torch.get_num_threads()
    torch.set_num_threads(number)


def in_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=60)


@pytest.mark.usefixtures("two_threads")
def test_threads_that_measure_at_once_have_their_numbers_of_torch_threads_again():
    weights, zeros, meeting = noise(1, 4, 4), torch.zeros(10, 2, 4, dtype=torch.float64), Meeting(4)

    def measure(number):
        give_this_thread(number)
        growth(meeting, weights, zeros[:1], zeros, 4, transient=2)
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(measure, (2, 3, 2, 2))) == [2, 3, 2, 2]  # a thread waits for all others: none has two tasks
    assert torch.get_num_threads() == 2
    assert in_new_thread(torch.get_num_threads) in (2, 3)  # the number that was set last


@pytest.mark.parametrize("last", ["old", "new"])
@pytest.mark.usefixtures("two_threads")
def test_a_thread_that_begins_during_a_measurement_does_not_keep_its_one_thread(last):
    weights, zeros = noise(1, 4, 4), torch.zeros(10, 2, 4, dtype=torch.float64)
    ensemble = engine.Ensemble(Tangent(Matrix(), weights), zeros[:1], 4, every=1, accuracy=ACCURACY)
    with ThreadPoolExecutor(1) as pool, ExitStack() as new, ExitStack() as old:
        old.enter_context(ensemble.threads())
        assert pool.submit(torch.get_num_threads).result(timeout=60) == 1
        pool.submit(new.enter_context, ensemble.threads()).result(timeout=60)
        if last == "new":
            old.close()
        pool.submit(new.close).result(timeout=60)
        old.close()
        assert pool.submit(torch.get_num_threads).result(timeout=60) == 2
        assert torch.get_num_threads() == 2
        assert in_new_thread(torch.get_num_threads) == 2


@pytest.mark.usefixtures("two_threads")
def test_a_thread_with_one_thread_of_its_own_keeps_it_and_gives_it_to_no_other():
    weights, zeros = noise(1, 4, 4), torch.zeros(10, 2, 4, dtype=torch.float64)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(give_this_thread, 1).result(timeout=60)
        torch.set_num_threads(2)
        pool.submit(growth, Matrix(), weights, zeros[:1], zeros, 4, transient=2).result(timeout=60)
        assert pool.submit(torch.get_num_threads).result(timeout=60) == 1
    assert in_new_thread(torch.get_num_threads) == 2


# Blocks


@pytest.mark.parametrize("first", [0, adaptive.FIRST_BLOCK])
def test_blocks_fill_the_steps_are_short_and_end_where_batches_do(first):
    for steps in range(1, 200):
        lengths = adaptive._block_lengths(steps, first)
        ends = set(accumulate(lengths))
        assert sum(lengths) == steps
        assert 1 <= min(lengths) <= max(lengths) <= adaptive.BLOCK
        assert not first or min(first, steps) in ends
        # standard errors come from the last steps, in up to BATCHES batches of equal length, as long as possible
        batches = min(BATCHES, steps)
        length = steps // batches
        assert {steps - n * length for n in range(batches)} <= ends
        assert steps - batches * length in ends | {0}


def test_growth_is_not_spread_from_one_batch_into_the_next():
    # each batch of 10 steps has its own factor; an interval across two batches would share out their growth
    factors = exact(1.0, 2.0, 0.5, 3.0, 0.7, 1.5).repeat_interleave(10)
    found = growth(Given(), [], torch.ones(1, 1, 1).double(), factors.reshape(60, 1, 1), 1, transient=0).per_step
    means = [values.reshape(6, 10).mean(1) for values in (found.flatten(), factors.log())]
    assert_close(*means, rtol=0, atol=1e-13)  # a few roundings


@pytest.mark.parametrize("every", [1, 2, 3, 5, 16])
def test_intervals_are_as_equal_as_possible_and_none_is_longer_than_requested(every):
    for steps in range(1, 60):
        ends = adaptive._ends(steps, every)
        lengths = [b - a for a, b in pairwise(ends)]
        assert ends[0] == 0
        assert ends[-1] == steps
        assert len(lengths) == -(-steps // every)  # no more than necessary
        assert max(lengths) <= every
        assert max(lengths) - min(lengths) <= 1
