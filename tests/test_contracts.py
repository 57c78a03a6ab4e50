"""Contracts of every cell, head and task, tested by name, so that a new file is tested automatically."""

import hashlib
import itertools
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from draws import noise, seeded
from torch.testing import assert_close

from pipeline import cells, heads, tasks
from pipeline.core.records import TaskData
from pipeline.training.network import StepLoop, recurrence

SPLITS = ("train", "validation", "test")


def reference(name):
    """The naive NumPy form (params, state, x) -> state of a cell without a torch equivalent, from the cell's own test file."""
    path = Path(__file__).parent / "cells" / f"test_{name}.py"
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference


def double(params):
    return {n: p.double() for n, p in params.items()}


def run(cell, params, state, inputs):
    params, outputs = cell.weights(params), []
    for x in inputs:
        state = cell.step(params, state, x)
        outputs.append(cell.output(state))
    return torch.stack(outputs), state


def twin_of(cell, params):
    twin = cell.torch_module(cell.input_size, cell.hidden_size).double()
    twin.load_state_dict({f"{n}_l0": p for n, p in params.items()})
    return twin


def example(name, hidden=5):
    """A cell with strong parameters in float64, a state and 30 inputs."""
    cell = cells.get(name)(3, hidden, init_scale=1.2)
    params = double(cell.init(seeded()))
    state = noise(4, cell.state_size)
    return cell, params, state, noise(30, 4, 3, seed=3)


@pytest.mark.parametrize("name", cells.names())
@pytest.mark.parametrize("spoilt", ["state", "input", "weights"])
def test_nan_stays_nan(name, spoilt):
    """A network that has diverged must not look like one that stands still."""
    cell, params, state, inputs = example(name)
    x = inputs[0]
    if spoilt == "weights":
        params = {n: torch.full_like(p, torch.nan) for n, p in params.items()}
    elif spoilt == "input":
        x = torch.full_like(x, torch.nan)
    else:
        state = torch.full_like(state, torch.nan)
    assert cell.step(cell.weights(params), state, x).isnan().any(-1).all()


def empirical_distance(values, low, high):
    """The largest distance of the empirical distribution from uniform(low, high)."""
    ordered = np.sort((values - low) / (high - low))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return max(np.abs(ordered - steps[1:]).max(), np.abs(ordered - steps[:-1]).max())


def assert_uniform(tensors, scale):
    values = np.concatenate([t.double().numpy().ravel() for t in tensors])
    assert np.abs(values).max() <= np.float32(scale)
    # Dvoretzky, Kiefer, Wolfowitz and Massart: a larger distance has a probability of at most 1e-6
    assert empirical_distance(values, -scale, scale) < (np.log(2 / 1e-6) / (2 * len(values))) ** 0.5


# Cells


@pytest.mark.parametrize("name", cells.names())
def test_cell_follows_its_twin_over_thirty_steps(name):
    cell, params, state, inputs = example(name)
    outputs, last = run(cell, params, state, inputs)
    if cell.torch_module is None:
        expected = state.numpy()
        follow = reference(name)
        for x in inputs.numpy():
            expected = follow({n: p.numpy() for n, p in params.items()}, expected, x)
        np.testing.assert_allclose(last.numpy(), expected, rtol=0, atol=1e-12)
        return
    given = tuple(p[None].contiguous() for p in state.split(cell.hidden_size, dim=1))
    expected, end = twin_of(cell, params)(inputs, given if len(given) > 1 else given[0])
    # rounding: 30 steps of sums of 9 numbers near 1
    assert_close(outputs, expected, rtol=0, atol=1e-12)
    assert_close(last[None], torch.cat(end if len(given) > 1 else (end,), dim=-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "pair"), [(n, p) for n in cells.names() for p in itertools.combinations(range(cells.get(n).gates), 2)]
)
def test_swapping_any_two_gates_changes_the_outputs(name, pair):
    cell, params, state, inputs = example(name)
    order = list(range(cell.gates))
    order[pair[0]], order[pair[1]] = order[pair[1]], order[pair[0]]
    swapped = {n: torch.cat([p.chunk(cell.gates)[i] for i in order]) for n, p in params.items()}
    assert (run(cell, params, state, inputs)[0] - run(cell, swapped, state, inputs)[0]).abs().max() > 0.01


@pytest.mark.parametrize("name", cells.names())
def test_step_loop_equals_the_fused_kernel(name):
    cell, params, _, inputs = example(name)
    inputs.requires_grad_()  # for cells without trained parameters
    loop, fused = StepLoop(cell, params), recurrence(cell, params).double()
    outputs, expected = loop(inputs)[0], fused(inputs)[0]
    assert_close(outputs, expected, rtol=0, atol=1e-12)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    if cell.torch_module is None:  # both are the step loop
        assert {n for n, _ in loop.named_parameters()} == set(params) - cell.fixed
        assert {n for n, _ in loop.named_buffers()} == cell.fixed
    gradients = {n.removesuffix("_l0"): p.grad for n, p in fused.named_parameters()}
    for n, p in loop.named_parameters():  # gradients of up to 1e4 here, rounded in each of 30 steps
        assert_close(p.grad, gradients[n], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [n for n in cells.names() if cells.get(n).init is cells.Cell.init])
def test_cell_draws_uniformly_within_its_scale(name):
    for hidden, scale in ((40, 0.03), (40, 2.5), (64, None)):
        params = cells.get(name)(20, hidden, scale).init(seeded())
        assert_uniform(params.values(), hidden**-0.5 if scale is None else scale)


@pytest.mark.parametrize("name", cells.names())
def test_parameters_of_a_cell_have_the_documented_shapes(name):
    for hidden in (4, 5):
        cell = cells.get(name)(3, hidden, 0.5)
        params = cell.init(seeded())
        assert {n: tuple(p.shape) for n, p in params.items()} == cell.shapes()
        assert all(p.dtype == torch.float32 for p in params.values())
        assert cell.fixed | set(cell.rates) <= set(params)


@pytest.mark.parametrize("name", cells.names())
def test_scale_changes_the_parameters(name):
    small, large = (cells.get(name)(3, 5, scale).init(seeded()) for scale in (0.1, 2.0))
    assert any(not torch.equal(small[n], large[n]) for n in small)


@pytest.mark.parametrize("name", cells.names())
def test_cells_parameters_come_from_the_generator_alone(name):
    cell = cells.get(name)(3, 4)
    kept = torch.get_rng_state()
    one, again, other = (cell.init(seeded(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)
    assert torch.equal(torch.get_rng_state(), kept)


@pytest.mark.parametrize("name", cells.names())
def test_cell_does_not_mix_sequences(name):
    cell, params, state, inputs = example(name)
    changed, driven = state.clone(), inputs.clone()
    changed[1] += 1
    driven[:, 2] += 1
    before, after = run(cell, params, state, inputs)[1], run(cell, params, changed, driven)[1]
    assert torch.equal(before[[0, 3]], after[[0, 3]])
    assert not torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


@pytest.mark.parametrize("name", cells.names())
def test_the_state_is_everything_that_one_step_passes_to_the_next(name):
    cell, params, state, inputs = example(name)
    assert state.shape == (4, cell.state_size)
    middle = run(cell, params, state, inputs[:10])[1]
    kept = middle.clone()
    outputs, last = run(cell, params, middle, inputs[10:])
    whole, end = run(cell, params, state, inputs)
    assert torch.equal(middle, kept)  # a step does not change its arguments
    assert torch.equal(outputs, whole[10:])
    assert torch.equal(last, end)
    assert last.shape == state.shape
    assert outputs.shape == (20, 4, cell.output_size)


@pytest.mark.parametrize("name", cells.names())
def test_no_part_of_the_state_is_idle(name):
    cell, params, state, inputs = example(name)
    state, inputs = torch.cat([state, -state]), torch.cat([inputs, -inputs], dim=1)
    jacobian = torch.autograd.functional.jacobian(lambda s: run(cell, params, s, inputs[:2])[1], state)
    assert (jacobian.abs().sum((0, 1, 2)) > 0).all()  # in at least one sequence: units may be silent for a while


@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("deviations", [2, 60])  # few and many: a cell may multiply in different orders
@pytest.mark.parametrize("name", [n for n in cells.names() if cells.get(n).by_hand])
def test_derivative_by_hand_is_that_of_the_step(name, deviations, bias, below):
    cell, numbers = cells.get(name)(3, 5), seeded(7)
    draw = lambda *shape: torch.randn(*shape, generator=numbers, dtype=torch.float64)  # noqa: E731
    params = {n: draw(2, *s) for n, s in cell.shapes().items() if bias or n.startswith("weight")}
    state, x = draw(2, 4, cell.state_size), draw(2, 4, 3)
    along, beside = draw(2, 4, deviations, cell.state_size), draw(2, 4, deviations, 3) if below else None
    new = torch.stack([cell.step({n: p[m] for n, p in params.items()}, state[m], x[m]) for m in range(2)])
    found = torch.full_like(along, torch.nan)  # previous contents are overwritten
    given = along.clone()
    cell.push(params, cell.linearise(params, state, new, x), given, found, beside)
    assert torch.equal(given, along)
    for m, k in itertools.product(range(2), range(deviations)):
        step = lambda s, x, m=m: cell.step({n: p[m] for n, p in params.items()}, s, x)  # noqa: E731
        tangents = along[m, :, k], torch.zeros_like(x[m]) if beside is None else beside[m, :, k]
        # rounding: a few sums of 8 numbers, each of up to 3 * 3 * 3
        assert_close(found[m, :, k], torch.func.jvp(step, (state[m], x[m]), tangents)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in cells.names() if cells.get(n).by_hand])
def test_derivative_by_hand_takes_one_input_for_all_networks(name):
    cell, numbers = cells.get(name)(3, 5), seeded(7)
    params = {n: torch.randn(2, *s, generator=numbers, dtype=torch.float64) for n, s in cell.shapes().items()}
    state, x = (torch.randn(2, 4, n, generator=numbers, dtype=torch.float64) for n in (cell.state_size, 3))
    shared, each = cell.linearise(params, state, state, x[:1]), cell.linearise(params, state, state, x[:1].expand(2, -1, -1))
    for key in shared:
        assert shared[key].shape[:2] == (2, 4)
        assert_close(shared[key], each[key], rtol=0, atol=1e-14)  # a few roundings of numbers near 1


# Heads


@pytest.mark.parametrize("name", heads.names())
def test_head_draws_uniformly_within_the_inverse_root_of_what_it_reads(name):
    head = heads.get(name)(64, 50, 6)
    params = head.init(seeded())
    assert params["weight"].shape[1] in (64, 6 * 64)  # one step, or all steps
    assert_uniform(params.values(), params["weight"].shape[1] ** -0.5)
    one, again, other = (head.init(seeded(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not any(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("name", heads.names())
def test_head_does_not_mix_sequences(name):
    head = heads.get(name)(5, 2, 6)
    params = head.init(seeded())
    outputs = torch.randn(6, 3, 5, generator=seeded(2))
    changed = outputs.clone()
    changed[:, 1] += 1
    before, after = head.read(params, outputs), head.read(params, changed)
    assert torch.equal(before[..., [0, 2], :], after[..., [0, 2], :])
    assert not torch.equal(before[..., 1, :], after[..., 1, :])
    assert before.shape[-2:] == (3, 2)


# Tasks


@pytest.mark.parametrize("name", tasks.names())
def test_same_seed_gives_the_same_arrays_and_another_seed_others(name, prepared):
    one, again, other = prepared(name).arrays, *(tasks.get(name).load("packaged", seed).arrays for seed in (2026, 6))
    assert all(np.array_equal(one[k], again[k]) for k in one)
    assert not any(one[k].shape == other[k].shape and np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", tasks.names())
def test_arrays_of_a_task_have_the_shapes_in_its_info(name, prepared):
    data, task = prepared(name), tasks.get(name)
    info = data.info
    for split in SPLITS:
        inputs, targets = data.split(split)
        assert inputs.shape[:2] == (info.steps, info.sequences[split])
        assert targets.shape[0 if task.head == "last" else 1] == info.sequences[split]
        encoded = task.encode(torch.from_numpy(inputs[:, :3]), info.input_size)
        assert encoded.shape == (info.steps, 3, info.input_size)
        assert encoded.dtype == torch.float32
        assert encoded.isfinite().all()


@pytest.mark.parametrize("name", tasks.names())
def test_task_states_its_source_licence_and_description(name, prepared):
    info = prepared(name).info
    for key in ("source", "licence", "title", "description", "metric", "hash"):
        assert isinstance(getattr(info, key), str)
        assert len(getattr(info, key)) >= 3
    assert info.head in heads.names()
    assert info.batch_size >= 1


@pytest.mark.parametrize("name", tasks.names())
def test_tasks_hash_is_of_its_arrays(name, prepared):
    data = prepared(name)
    total = hashlib.sha256()
    for key in sorted(data.arrays):
        array = data.arrays[key]
        total.update(f"{key} {array.dtype} {array.shape}".encode() + array.tobytes(order="C"))
    assert data.info.hash == total.hexdigest()


@pytest.mark.parametrize("name", tasks.names())
def test_loss_is_a_scalar_that_can_be_trained_on_and_metric_a_scalar(name, prepared):
    task, info = tasks.get(name), prepared(name).info
    inputs, targets = (torch.from_numpy(a) for a in prepared(name).split("validation"))
    shape = (inputs.shape[1],) if task.head == "last" else inputs.shape[:2]
    outputs = torch.randn(*shape, info.output_size, generator=seeded()).requires_grad_()
    loss = task.loss(outputs, targets)
    loss.backward()
    assert loss.shape == task.metric(outputs, targets).shape == ()
    assert loss > 0
    assert outputs.grad.abs().sum() > 0


@pytest.mark.parametrize("name", tasks.names())
def test_no_constant_answer_near_the_one_of_chance_fits_training_better(name, prepared):
    task = tasks.get(name)
    data = prepared(name)
    targets = torch.from_numpy(data.arrays["train_targets"])
    shape = (len(targets),) if task.head == "last" else targets.shape[:2]
    best = task.constant(targets, data.info.output_size)
    least = task.loss(best.expand(*shape, -1), targets)
    for seed in range(3):
        other = best + 0.1 * torch.randn(best.shape, generator=seeded(seed))
        assert task.loss(other.expand(*shape, -1), targets) > least


@pytest.mark.parametrize("name", tasks.names())
def test_splits_share_no_sequence_of_inputs_and_targets(name, prepared):
    data = prepared(name)
    seen = {}
    for split in SPLITS:
        inputs, targets = data.split(split)
        last = targets if targets.ndim == 1 else np.moveaxis(targets, 1, 0)
        seen[split] = {
            hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for x, y in zip(np.moveaxis(inputs, 1, 0), last, strict=True)
        }
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("name", tasks.names())
def test_prepared_task_comes_back_from_its_file(name, prepared, tmp_path):
    data = prepared(name)
    data.save(tmp_path / "data.safetensors")
    again = TaskData.load(tmp_path / "data.safetensors")
    assert again.info == data.info
    assert all(np.array_equal(again.arrays[k], v) and again.arrays[k].dtype == v.dtype for k, v in data.arrays.items())
    assert data.info.hash in again.info.summary()
